"""What one disk can't do stops one path, says why, and is tried again when it can be done (law 15)."""

import errno
import unicodedata
from collections.abc import Callable
from itertools import pairwise
from random import Random
from typing import Any

import pytest
import trio

from peer.synchronizer.context import LONGEST, POSTPONED
from protocol.names import RESERVED
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.inodes import failure
from tests.simulation.stage import HOUR, LONG, NOTICED, Stage, perform, save, visible
from tracker.plans import PLANS, Plan

FIRST, SECOND = (Random(seed).randbytes(60_000) for seed in (1, 2))
TWINS = {
    "case": ("Readme", "README", str.casefold),
    "accents": (
        unicodedata.normalize("NFC", "café"),
        unicodedata.normalize("NFD", "café"),
        lambda name: unicodedata.normalize("NFD", name),
    ),
}


def problems(device: SimulatedDevice) -> dict[str, str]:
    """Reasons by path."""
    assert device.peer is not None
    return {problem.path: problem.reason for problem in device.peer.context.problems.all()}


def calls(device: SimulatedDevice) -> Callable[[], int]:
    """How many system calls it makes from now on."""
    count = 0

    def counting(*_: object) -> None:
        nonlocal count
        count += 1

    device.mischief.meddle = counting
    return lambda: count


def refusing(device: SimulatedDevice, code: int, *names: str) -> None:
    """From now on these calls fail."""

    def refuse(_: str, call: str, arguments: tuple[Any, ...]) -> None:
        if call in names:
            raise failure(code)

    device.mischief.meddle = refuse


async def alike(stage: Stage, seconds: float, *devices: SimulatedDevice) -> None:
    """They are, within so many seconds."""
    await stage.until(
        lambda: all(device.settled and visible(device) == visible(devices[0]) for device in devices), seconds
    )


@pytest.mark.parametrize(("first", "second", "fold"), TWINS.values(), ids=TWINS)
def test_two_names_that_are_one_to_this_disk(first: str, second: str, fold: Callable[[str], str]) -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        desktop.disk.volume.fold = fold
        save(laptop, first, FIRST)
        await stage.all_well(laptop, desktop)
        save(laptop, second, SECOND)
        save(laptop, "other", b"goes on")
        await stage.until(lambda: problems(desktop))
        assert problems(desktop) == {second: f"this disk can't tell its name from that of {first}"}
        assert visible(desktop) == {first: FIRST, "other": b"goes on"}
        made = calls(desktop)
        await stage.pass_time(HOUR / 2)
        assert made() < 3000, "it is left alone"
        assert visible(laptop) == {first: FIRST, second: SECOND, "other": b"goes on"}
        laptop.disk.user.remove(f"{FOLDER}/{first}")
        await alike(stage, 30, laptop, desktop)
        assert visible(desktop) == {second: SECOND, "other": b"goes on"}
        assert problems(desktop) == {}

    perform(scene)


def test_two_folders_that_are_one_to_this_disk() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        desktop.disk.volume.fold = str.casefold
        for folder in ("photos", "Photos"):
            laptop.disk.user.mkdir(f"{FOLDER}/{folder}")
            save(laptop, f"{folder}/inside {folder}", FIRST)
            await stage.pass_time(NOTICED)
        await stage.until(lambda: problems(desktop))
        assert problems(desktop) == {"Photos": "this disk can't tell its name from that of photos"}
        assert visible(desktop) == {"photos/inside photos": FIRST}
        desktop.disk.user.move(f"{FOLDER}/photos", f"{FOLDER}/elsewhere")
        await stage.all_well(laptop, desktop)
        assert visible(desktop) == {"elsewhere/inside photos": FIRST, "Photos/inside Photos": FIRST}

    perform(scene)


def test_a_rename_that_only_changes_case() -> None:
    """On a disk that ignores it, in either direction, of a file and of a folder."""

    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        desktop.disk.volume.fold = str.casefold
        laptop.disk.user.mkdir(f"{FOLDER}/folder")
        save(laptop, "folder/inside", FIRST)
        save(laptop, "file", SECOND)
        await stage.all_well(laptop, desktop)
        laptop.disk.user.move(f"{FOLDER}/file", f"{FOLDER}/File")
        laptop.disk.user.move(f"{FOLDER}/folder", f"{FOLDER}/Folder")
        await stage.all_well(laptop, desktop)
        assert visible(desktop) == {"Folder/inside": FIRST, "File": SECOND}
        desktop.disk.user.move(f"{FOLDER}/File", f"{FOLDER}/FILE")
        await stage.all_well(laptop, desktop)
        assert visible(laptop) == {"Folder/inside": FIRST, "FILE": SECOND}

    perform(scene)


def test_a_move_onto_a_name_that_is_taken_here() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        desktop.disk.volume.fold = str.casefold
        save(laptop, "a", FIRST)
        save(laptop, "b", SECOND)
        await stage.all_well(laptop, desktop)
        laptop.disk.user.move(f"{FOLDER}/b", f"{FOLDER}/A")
        await stage.until(lambda: problems(desktop))
        assert problems(desktop) == {"A": "this disk can't tell its name from that of a"}
        assert visible(desktop) == {"a": FIRST, "b": SECOND}
        save(laptop, "a", SECOND)
        laptop.disk.user.move(f"{FOLDER}/a", f"{FOLDER}/c")
        await stage.all_well(laptop, desktop)
        assert visible(desktop) == {"A": SECOND, "c": SECOND}

    perform(scene)


def test_a_disk_smaller_than_the_workspace() -> None:
    """What fits comes; changes made here go up; nothing here is touched; what didn't fit comes when there is room."""

    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        desktop.disk.volume.capacity = 100_000
        save(desktop, "mine", FIRST)
        await stage.all_well(laptop, desktop)
        save(laptop, "large", FIRST)
        save(laptop, "small", b"fits")
        await stage.until(lambda: problems(desktop) and "small" in visible(desktop))
        assert problems(desktop) == {"large": "no space left on device"}
        save(laptop, "mine", SECOND + FIRST)
        await stage.until(lambda: len(problems(desktop)) == 2)
        save(desktop, "new", b"made here")
        await stage.until(lambda: "new" in visible(laptop))
        assert visible(desktop) == {"mine": FIRST, "small": b"fits", "new": b"made here"}
        asked = desktop.moved
        await stage.pass_time(HOUR)
        assert desktop.moved == asked, "nothing is fetched that is known not to fit"
        desktop.disk.volume.capacity = None
        await alike(stage, POSTPONED + 10, laptop, desktop)
        assert visible(desktop) == visible(laptop)
        assert problems(desktop) == {}

    perform(scene)


def test_files_that_are_fetched_side_by_side_count_each_others_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """What can never fit doesn't keep out what does, and nothing is fetched in vain."""
    monkeypatch.setattr("peer.synchronizer.jobs.GROUP_BYTES", 1)

    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        desktop.disk.volume.capacity = 100_000
        rng = Random(1)
        for name, size in (("a huge one", 150_000), ("b", 60_000), ("c", 60_000), ("d", 30_000)):
            save(laptop, name, rng.randbytes(size))
        began = trio.current_time()
        await stage.until(lambda: len(visible(desktop)) == 2)
        assert trio.current_time() - began < POSTPONED
        assert {*visible(desktop)} in ({"b", "d"}, {"c", "d"})
        await stage.until(lambda: len(problems(desktop)) == 2)
        assert {*problems(desktop)} == {"a huge one", "b", "c"} - {*visible(desktop)}
        asked = desktop.moved
        await stage.pass_time(HOUR)
        assert desktop.moved == asked

    perform(scene)


@pytest.mark.parametrize("code", [errno.EACCES, errno.EDQUOT])
def test_what_was_refused_for_long_comes_as_soon_as_something_changes_there(code: int) -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        laptop.disk.user.mkdir(f"{FOLDER}/d")
        save(laptop, "d/f", FIRST)
        await stage.all_well(laptop, desktop)
        refusing(desktop, code, "exchange")
        save(laptop, "d/f", SECOND)
        save(laptop, "d/new", FIRST)
        await stage.until(lambda: problems(desktop) and "d/new" in visible(desktop))
        await stage.pass_time(HOUR)
        assert visible(desktop)["d/f"] == FIRST
        assert set(problems(desktop)) == {"d/f"}
        desktop.mischief.meddle = lambda *_: None
        desktop.disk.user.chmod(f"{FOLDER}/d", 0o700)
        await alike(stage, 10, laptop, desktop)
        assert visible(desktop) == {"d/f": SECOND, "d/new": FIRST}

    perform(scene)


def test_what_is_refused_is_tried_less_and_less_often() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        times: list[float] = []

        def refuse(_: str, call: str, arguments: tuple[Any, ...]) -> None:
            if call == "make_directory":
                times.append(trio.current_time())
                raise failure(errno.EACCES)

        desktop.mischief.meddle = refuse
        laptop.disk.user.mkdir(f"{FOLDER}/d")
        await stage.pass_time(HOUR)
        pauses = [later - earlier for earlier, later in pairwise(times)]
        assert pauses[0] == pytest.approx(POSTPONED, abs=2)
        assert pauses[-1] == pytest.approx(LONGEST, abs=LONG)
        assert len(times) < 25
        assert desktop.peer is not None
        began = trio.current_time()
        desktop.peer.synchronizer.pause(paused=False)
        await trio.sleep(NOTICED)
        assert times[-1] >= began, "resume tries everything at once"

    perform(scene)


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOSYS])
def test_a_file_system_that_can_not_exchange(code: int) -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        save(laptop, "f", FIRST)
        await stage.all_well(laptop, desktop)
        refusing(desktop, code, "exchange")
        save(laptop, "f", SECOND)
        await stage.all_well(laptop, desktop)
        assert visible(desktop) == {"f": SECOND}
        assert problems(desktop) == {}

    perform(scene)


def test_a_crash_while_the_name_is_missing_is_no_delete() -> None:
    """What went out is back, or something newer is."""

    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        save(laptop, "f", FIRST)
        await stage.all_well(laptop, desktop)
        crashed = False

        def meddle(_: str, call: str, arguments: tuple[Any, ...]) -> None:
            nonlocal crashed
            if call == "exchange":
                raise failure(errno.EINVAL)
            if call == "rename" and arguments[3] == "f" and not crashed:
                crashed = True
                assert "f" not in visible(desktop)
                desktop.crash()

        desktop.mischief.meddle = meddle
        save(laptop, "f", SECOND)
        await stage.all_well(laptop, desktop)
        assert crashed
        assert visible(desktop) == visible(laptop) == {"f": SECOND}

    perform(scene)


def test_a_name_that_this_disk_can_not_hold() -> None:
    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")

        def refuse(_: str, call: str, arguments: tuple[Any, ...]) -> None:
            if call in ("stat", "rename") and any(":" in str(each) for each in arguments):
                raise failure(errno.EINVAL)
            if call in ("stat", "rename") and any(len(str(each)) > 140 for each in arguments):
                raise failure(errno.ENAMETOOLONG)

        desktop.mischief.meddle = refuse
        save(laptop, "10:30", FIRST)
        save(laptop, "l" * 150, FIRST)
        save(laptop, "fine", SECOND)
        await stage.until(lambda: len(problems(desktop)) == 2)
        assert problems(desktop) == {"10:30": "this disk can't hold such a name", "l" * 150: "file name too long"}
        assert visible(desktop) == {"fine": SECOND}
        assert not desktop.disk.user.find(f"{FOLDER}/{RESERVED}/temp").entries
        laptop.disk.user.move(f"{FOLDER}/10:30", f"{FOLDER}/half past ten")
        laptop.disk.user.move(f"{FOLDER}/{'l' * 150}", f"{FOLDER}/short")
        await stage.all_well(laptop, desktop)
        assert visible(desktop) == {"fine": SECOND, "half past ten": FIRST, "short": FIRST}

    perform(scene)


def test_a_full_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    """What doesn't fit stays here and is told; it goes up when another device has made room."""
    monkeypatch.setitem(PLANS, "free", Plan("free", 150_000))

    async def scene(stage: Stage) -> None:
        laptop, desktop = await stage.begin("laptop", "desktop")
        for name in ("first", "second"):
            save(laptop, name, FIRST)
        await stage.all_well(laptop, desktop)
        save(laptop, "third", SECOND)
        save(laptop, "second", SECOND)
        save(laptop, "note", b"small")
        await stage.until(lambda: len(problems(laptop)) == 2 and "note" in visible(desktop))
        assert problems(laptop) == dict.fromkeys(("second", "third"), "your plan's storage is full")
        await stage.pass_time(HOUR)
        assert visible(laptop) == {"first": FIRST, "second": SECOND, "third": SECOND, "note": b"small"}
        assert visible(desktop) == {"first": FIRST, "second": FIRST, "note": b"small"}
        desktop.disk.user.remove(f"{FOLDER}/first")
        await stage.until(lambda: len(problems(laptop)) < 2, 20)
        await alike(stage, LONGEST + 30, laptop, desktop)
        assert visible(desktop) == {"second": SECOND, "third": SECOND, "note": b"small"}
        assert problems(laptop) == {}

    perform(scene)
