"""The demo, phase by phase."""

import secrets
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from bench.compare import Listing, changed, differences, listing
from bench.demo.changes import Change, Choice, choose, conflict_copies
from bench.demo.screen import Row, Screen
from bench.demo.settling import PHASE_SECONDS, in_thread, logs, settle, settle_alone, summary
from bench.demo.tree import BIG_FILE, Scale, make_big_file, make_odd_things, make_sources
from bench.failures import BenchFailed
from bench.parts import Device, Tracker
from bench.programs import Programs
from bench.words import counted, sized

EMAIL = "demo@example.org"
IN_THE_CLOUD = "synced, in the cloud"
LOOPBACK = "127.0.0.1"
LAN_SHARE = 0.9
"""Of the second device's bytes, at least so much has to come over the LAN."""
MEET_SECONDS = 60.0


class Scenario:
    """A tracker, two devices, and what happens to them."""

    def __init__(self, place: Path, scale: Scale, screen: Screen, programs: Programs, *, lan: bool = True) -> None:
        """Everything is made below `place`. Without the `lan` all goes through the cloud, and only the first part is
        played."""
        self._scale = scale
        self._screen = screen
        self._programs = programs
        self.place = place
        self._original = place / "original"  # what both folders should be, as nobody but the demo writes there
        self._expected: Listing = {}  # of `_original`, without contents
        self.tracker = Tracker(programs, place / "tracker")
        where = ["--lan-interface", LOOPBACK] if lan else ["--no-lan"]
        self.first = Device(programs, "laptop", place / "laptop", where)
        self.second = Device(programs, "desktop", place / "desktop", where)
        self.devices = (self.first, self.second)
        self.rows: list[Row] = []
        self._lan = lan

    async def run(self) -> None:
        """All of it; `BenchFailed` at the first thing that is not as it should be."""
        await self.prepare()
        await self.fill()
        await self.compare("what was put in")
        await self.tell_the_way()
        if self._lan:
            await self.change_on_second()
            await self.catch_up()
            await self.compare("what should have come of it")
        await self.confirm()

    async def tell_the_way(self) -> None:
        """Hold the way that the second device's bytes took against the one that they should have taken."""
        await self.second.status()
        near, far = self.second.moved["lan_in"], self.second.moved["cloud_in"]
        share = near / max(1, near + far)
        said = f"{share:.1%} of what the desktop got came over the LAN: {sized(near)}, and {sized(far)} from the cloud"
        if share < LAN_SHARE if self._lan else near > 0:
            raise BenchFailed(said, *logs(self.devices))
        self._screen.say(f"  {said}", "green")

    async def prepare(self) -> None:
        """A tracker, an account with two devices, two daemons, and the tree that will travel."""
        self._screen.say(
            "a tracker, an account, and two devices that are given an e-mail address and a password", "bold"
        )
        password = secrets.token_urlsafe(24)
        with self._screen.busy("starting"):
            await self.tracker.start()
            await self.first.join("signup", EMAIL, password, self.tracker)
            await self.second.join("login", EMAIL, password, self.tracker)
            async with trio.open_nursery() as nursery:
                for device in self.devices:
                    nursery.start_soon(device.start)
                nursery.start_soon(in_thread, self._make_original)
            if self._lan:
                await self._meet()

    async def _meet(self) -> None:
        """Wait until the devices have found each other."""
        with trio.move_on_after(MEET_SECONDS):
            while not all([(await device.status()).peers for device in self.devices]):
                self._programs.check()
                await trio.sleep(0.1)
            return
        raise BenchFailed(f"the devices did not meet within {MEET_SECONDS:g} s", *logs(self.devices))

    def _make_original(self) -> None:
        self._original.mkdir()
        make_sources(self._original, self._scale)
        make_odd_things(self._original)

    async def fill(self) -> None:
        """Copy the tree into the first device's folder, then the big file."""
        scale, original, folder = self._scale, self._original, self.first.folder
        copy_tree = partial(shutil.copytree, original, folder, symlinks=True, dirs_exist_ok=True)
        await self._phase(
            "a tree of files",
            f"{scale.files:,} of Python's own files in {scale.directories} directories, and odd things",
            partial(in_thread, copy_tree),
            size=changed({}, listing(original, contents=False))[1],
        )

        with self._screen.busy("making random bytes"):
            await in_thread(partial(make_big_file, original / BIG_FILE, scale.big_bytes))
        copy_file = partial(shutil.copy2, original / BIG_FILE, folder / BIG_FILE)
        await self._phase(
            "a big file",
            f"one file of {sized(scale.big_bytes)} of random bytes",
            partial(in_thread, copy_file),
            size=scale.big_bytes,
        )

    async def change_on_second(self) -> None:
        """Everyday changes on the second device come back to the first."""
        choice = choose(self._expected)
        await self._phase(
            "changes come back",
            "on the desktop: edit, rename, move a directory, delete",
            partial(in_thread, Change(self.second.folder, choice).on_second),
            partial(in_thread, Change(self._original, choice).on_second),
        )

    async def catch_up(self) -> None:
        """The first device is off while both sides change, one file even on both."""
        choice = choose(self._expected)
        since = await self._moved()
        with self._screen.busy("stopping the laptop, changing what the desktop has"):
            await self.first.stop()
            Change(self.second.folder, choice).while_first_is_off()
            await settle_alone(self._programs, self.second)
        offline = Change(self.first.folder, choice)
        offline.while_off()
        offline.conflicting()
        await self._phase(
            "catching up",
            "the laptop was off while both sides changed, one file on both: it catches up",
            self.first.start,
            partial(self._expect_both, choice),
            since=since,
        )

    async def _expect_both(self, choice: Choice) -> None:
        """Do to the original what both sides did; of the edits to one file, each has to be there."""
        copies = conflict_copies(listing(self.first.folder, contents=False))
        if len(copies) != 1:
            raise BenchFailed(f"one conflict gave {len(copies)} conflict copies: {copies}", *logs(self.devices))
        self._screen.say(f"  both edits were kept, one as {Path(copies[0]).name}")
        original = Change(self._original, choice)
        original.while_off()
        original.keep_other_edit(copies[0])
        original.while_first_is_off()

    async def compare(self, what: str) -> None:
        """Hold both folders against the original, byte for byte."""
        folders = (self._original, *(device.folder for device in self.devices))
        with self._screen.busy("comparing"):
            read = [partial(listing, folder, contents=True) for folder in folders]
            original, *copies = [await in_thread(each) for each in read]
        for device, found in zip(self.devices, copies, strict=True):
            lines = list(differences(original, found, "the original", device.name))
            if lines:
                raise BenchFailed(summary(f"the {device.name} does not have {what}", lines), *logs(self.devices))
        self._screen.say(f"  both have {what}: {len(original):,} paths, byte for byte and to the nanosecond", "green")

    async def confirm(self) -> None:
        """What the commands themselves say."""
        for device in self.devices:
            said = await device.confirm_durable(PHASE_SECONDS)
            if said != IN_THE_CLOUD:
                raise BenchFailed(f"the {device.name} says {said!r}, not {IN_THE_CLOUD!r}", *logs(self.devices))
            self._screen.say(f"  shoal status on the {device.name}: {said}", "green")
        with self._screen.busy("checking the tracker"):
            found = await self.tracker.check()
        self._screen.say(f"  shoal-tracker check: clean: {found.removeprefix('checked ')}", "green")

    async def _phase(
        self,
        title: str,
        what: str,
        act: Callable[[], Awaitable[object]],
        remember: Callable[[], Awaitable[object]] = trio.lowlevel.checkpoint,
        *,
        size: int = 0,
        since: list[Counter[str]] | None = None,
    ) -> None:
        """Act, and wait until both sides are done with it; then do the same to the original with `remember`.

        `title` is for the table, `what` for the screen; `size` is the bytes to come, if that is known, and `since` what
        the devices had moved before the phase.
        """
        since = since or await self._moved()
        began = trio.current_time()
        with self._screen.phase(what, size) as shown:
            await act()
            await settle(self._programs, self.devices, shown, since)
        seconds = trio.current_time() - began
        await remember()
        before, self._expected = self._expected, listing(self._original, contents=False)
        files, bytes_ = changed(before, self._expected)
        moved = Counter[str]()
        for device, earlier in zip(self.devices, since, strict=True):
            moved += device.moved - earlier
        row = Row(title, files, bytes_, seconds, moved["cloud_out"], moved["cloud_in"], moved["lan_in"])
        self._screen.say(
            f"  {seconds:.1f} s: {counted(files, 'file')}, {sized(bytes_)}; {sized(row.cloud_out)} went up"
        )
        self.rows.append(row)

    async def _moved(self) -> list[Counter[str]]:
        for device in self.devices:
            await device.status()
        return [device.moved for device in self.devices]
