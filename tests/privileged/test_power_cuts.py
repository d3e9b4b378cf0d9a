"""Power cuts, one after the other, at drawn moments and at failpoints: what was said to be durable is there afterwards,
nothing half-written is put in place or published, and all goes on (laws 1, 3 and 5).

One device and the tracker have a disk each that loses what it has not flushed; the other device is a witness.
"""

import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
import trio

import peer.failpoints
import tracker.failpoints
from tests.simulation.oracle import Oracle, Violation
from tests.support.folder_people import FolderPerson, tree_of
from tests.support.patched import FAULTS, IMPATIENT
from tests.support.power import PowerDisk
from tests.support.processes import DeviceProgram, Lab, settled, until

SEED = int(os.environ.get("SHOAL_TEST_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
CUTS = 30
SETTLED_EVERY = 5
"""Cuts between two times at which all comes to rest and is judged."""
CUTS_FOR_A_FAULT = 3
"""Within so many cuts each fault has to show."""
AFTER_AN_EXCHANGE = 0.3
"""How many cuts come just after each has what the other saved."""
LONGEST = 1.2
"""Seconds from a start to the next cut, at most."""
PAUSE = 0.04
"""Seconds between two things that people do, on average."""
AT_FAILPOINT = 0.5
EXCHANGED = 5.0
"""Seconds that are waited for an exchange; a device may have no connection just then."""
SOON, PATIENCE = 6.0, 45.0
"""Seconds in which all comes to rest as a rule, and in any case."""
FSYNCED = 0.3
MERGED = "merging with the tracker from a full snapshot"
"""What a device logs whose cursor the tracker doesn't know."""
SHOWN_BY = r"nothing half-written is in place|nothing is lost|nothing is invented"
PASSED = [name for name in peer.failpoints.FAILPOINTS if name != "peer.remove.outgoing"]
"""Failpoints that are soon come by; a delete waits for two seconds of quiet."""
SERVED = [name for name in tracker.failpoints.FAILPOINTS if name != tracker.failpoints.SIGNUP_RECORDED]


class House:
    """Two machines that may lose their power, one that doesn't, and the people at two of them."""

    def __init__(self, lab: Lab, place: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.oracle = Oracle(memory_lost=True)  # a power cut takes the newest transactions from the device's database
        self.diary: list[str] = []
        self.committed: set[bytes] = set()
        """Contents that must not go, whoever loses his power: seen elsewhere, fsynced, or said to be in the cloud."""
        self.adopted: set[bytes] = set()
        """What cuts have made of contents that nobody had fsynced."""
        self.lab = lab
        self.tracker = lab.tracker()
        self.disks = {
            "tracker": PowerDisk(place / "t.img", place / "t"),
            "one": PowerDisk(place / "1.img", place / "1"),
        }
        self.one: DeviceProgram
        self.two: DeviceProgram
        self.people: list[FolderPerson] = []
        self.cuts = 0

    def note(self, text: str) -> None:
        self.diary.append(f"{datetime.now(UTC):%H:%M:%S.%f} {text}")

    async def begin(self, *patches: str) -> None:
        """The device that loses its power has these patches: nobody waits five minutes for what is lost."""
        for disk in self.disks.values():
            disk.mount()
        self.tracker.data = self.disks["tracker"].place / "data"
        await self.tracker.start()
        module = ("-m", "tests.support.patched", ",".join([IMPATIENT, *patches]), "peer")
        self.one, self.two = self.lab.device("one", module), self.lab.device("two")
        self.one.home_path, self.one.folder = (self.disks["one"].place / name for name in ("home", "folder"))
        self.one.folder.mkdir()
        for device in (self.one, self.two):
            await device.join(self.tracker, "someone@example.org", first=device is self.one)
            await self.tracker.hold_nothing("someone@example.org")
            await device.start()
            rng = random.Random(self.rng.random())
            self.people.append(FolderPerson(device.name, device.folder, rng, self.oracle, self.note))
        self.people[0].synced = FSYNCED
        os.sync()

    async def cut_again_and_again(self, cuts: int) -> None:
        """Raises the first `Violation`."""
        for number in range(cuts):
            await self._work(self.rng.uniform(0.1, LONGEST))
            if self.rng.random() < AFTER_AN_EXCHANGE:
                await self._exchange()
            victims = self.rng.choices((["one"], ["tracker"], ["one", "tracker"]), (7, 2, 2))[0]
            await self._cut(victims, AT_FAILPOINT)
            if number % SETTLED_EVERY == SETTLED_EVERY - 1:
                await self._settle()

    async def _work(self, seconds: float) -> None:
        """People act until the time has come, or a program has died where it was to."""
        with trio.move_on_after(seconds):
            while not self._stopped():
                self.rng.choice(self.people).act()
                await trio.sleep(self.rng.expovariate(1 / PAUSE))

    async def cut_after_exchanges(self, cuts: int) -> None:
        """The same with the device alone, when a missing fsync shows most."""
        for _ in range(cuts):
            await self._exchange()
            await self._cut(["one"], 0)

    async def _exchange(self) -> None:
        """Each saves something, without an fsync, until the other has it. Then another program has its fsync: that
        makes all names last, and no content but its own."""
        one, two = self.people
        one.synced, before = 0.0, one.synced
        paths = {person: f"exchange {self.cuts} by {person.name}" for person in self.people}
        wanted = {paths[person]: person.save(paths[person]) for person in self.people}
        one.synced = before
        self.note("an exchange")
        with suppress(AssertionError):
            await until(lambda: self._stopped() or all(has(each.folder, wanted) for each in (one, two)), EXCHANGED)
        fsync(self.disks["one"].place)

    def _stopped(self) -> bool:
        return not (self.one.running and self.tracker.running)

    # Cutting

    async def _cut(self, victims: list[str], at_failpoint: float) -> None:
        one, two = self.people
        dying = [program for name, program in (("one", self.one), ("tracker", self.tracker)) if name in victims]
        # An fsync that is under way as its file system is shut down may say that all went well: nobody may hear of it.
        for program in dying:
            program.freeze()
        before = contents_by_inode(self.disks["one"].place)
        self.committed |= one.safe | {*contents(two.folder)}
        self.cuts += 1
        for name in victims:
            self.disks[name].cut()
        self.note(f"the power of {' and '.join(victims)} goes")
        for program in dying:
            program.kill()
        if self.one in dying:
            one.lose_power()
        for name in victims:
            self.disks[name].boot()
        if self.one in dying:
            self._look(before)
        await self._start_again(at_failpoint)

    async def _start_again(self, at_failpoint: float) -> None:
        """Those that don't run: no power, or they died at their failpoints."""
        async with trio.open_nursery() as nursery:
            for program, names in ((self.tracker, SERVED), (self.one, PASSED)):
                if not program.running:
                    drawn = f"{self.rng.choice(names)}:{self.rng.choice((1, 1, 2, 4))}"
                    failpoint = drawn if self.rng.random() < at_failpoint else None
                    self.note(f"{program.name} starts, failpoint {failpoint}")
                    nursery.start_soon(partial(program.start, failpoint=failpoint))

    def _look(self, before: dict[int, bytes]) -> None:
        """Nothing is half-written but what somebody wrote a moment ago, without an fsync, and Shoal hadn't sent."""
        person = self.people[0]
        unsent = person.wrote - self.committed
        whole = self.adopted.union(*(each.wrote for each in self.people))
        for path, entry in tree_of(person.folder).items():
            if entry[0] != "file" or entry[1] in whole:
                continue
            inode = (person.folder / path).stat(follow_symlinks=False).st_ino
            if before.get(inode) not in unsent:
                text = f"{path} has {len(entry[1])} bytes after the power cut, of {len(before.get(inode, b''))}"
                raise Violation("nothing half-written is in place", text)
            self.adopted.add(entry[1])
            self.oracle.save("the power cut", path, entry[1])
            self.oracle.supersede("the power cut", [entry], "is what was left")
        for content in unsent:
            self.oracle.supersede("the power cut", [("file", content, 0, 0)], "was not fsynced")

    # Judging

    async def _settle(self) -> None:
        for program in (self.tracker, self.one):
            if program.armed:
                program.kill()
        await self._start_again(0)
        for person in self.people:
            person.finish_everything()
        await self._come_to_rest()
        for person in self.people:
            person.empty_bin()
        self.oracle.judge({device.name: tree_of(device.folder) for device in (self.one, self.two)})
        self.committed |= {*contents(self.two.folder)}
        if MERGED in self.two.logged():
            raise Violation("durable means durable", "the tracker has lost commits that it had answered")
        await self.tracker.check()

    async def _come_to_rest(self) -> None:
        """Devices that have met nobody for a while ask again after a while: a restart spares the wait."""
        devices = self.one, self.two
        with suppress(AssertionError):
            await settled(*devices, seconds=SOON)
            return
        self.note("the devices start again")
        async with trio.open_nursery() as nursery:
            for device in devices:
                device.kill()
                nursery.start_soon(device.start)
        try:
            await settled(*devices, seconds=PATIENCE)
        except AssertionError as error:
            raise Violation("all comes to rest", str(error)) from None


def has(folder: Path, wanted: dict[str, bytes]) -> bool:
    """Whether these files are in a folder."""
    return all((folder / path).exists() and (folder / path).read_bytes() == wanted[path] for path in wanted)


def fsync(place: Path) -> None:
    """Of a directory."""
    descriptor = os.open(place, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def contents(folder: Path) -> list[bytes]:
    """What is in the files of a folder."""
    return [entry[1] for entry in tree_of(folder).values() if entry[0] == "file"]


def contents_by_inode(place: Path) -> dict[int, bytes]:
    """What is in all files of a disk, but those of Shoal's home."""
    found = {}
    for path in (path for part in ("folder", "folder.bin") for path in (place / part).rglob("*")):
        try:
            if path.is_file() and not path.is_symlink():
                found[path.stat().st_ino] = path.read_bytes()
        except FileNotFoundError:
            continue
    return found


@asynccontextmanager
async def house(lab: Lab, place: Path, seed: int) -> AsyncIterator[House]:
    """With a failure goes what was done, and how to do it again."""
    made = House(lab, place, seed)
    try:
        yield made
    except BaseException:
        print("\n".join(made.diary))
        print(f"Replay: SHOAL_TEST_SEED={seed} .venv/bin/pytest tests/privileged/test_power_cuts.py")
        raise
    finally:
        lab.close()
        for person in made.people:
            person.lose_power()
        for disk in made.disks.values():
            disk.unmount()


@pytest.mark.timeout(400)
async def test_thirty_power_cuts(lab: Lab, tmp_path: Path) -> None:
    async with house(lab, tmp_path, SEED) as made:
        await made.begin()
        await made.cut_again_and_again(CUTS)
        assert made.cuts == CUTS


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_missing_fsync_shows(fault: str, lab: Lab, tmp_path: Path) -> None:
    async with house(lab, tmp_path, SEED) as made:
        await made.begin(fault)
        with pytest.raises(Violation, match=SHOWN_BY):
            await made.cut_after_exchanges(CUTS_FOR_A_FAULT)
