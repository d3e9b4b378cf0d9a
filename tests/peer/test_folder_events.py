"""What `peer.ports.FolderEvents` promises, held against inotify and against the simulated events.

Where the two differ, neither is relied on: what is put into a directory before it has been told of may go unnoticed,
and only inotify tells that a writer has closed a file. `tests/peer/test_events.py` has what is inotify's own.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

import pytest
import trio

from peer.ports import Changes, FolderEvents
from peer.system.events import InotifyEvents
from tests.peer.folders import Hand, RealHand, SimulatedHand
from tests.simulation.disk import SimulatedDisk
from tests.simulation.events import EventFaults, SimulatedEvents

BOUND = 5.0
"""Seconds within which a change is told; either takes some milliseconds."""
SETTLED = 0.1
"""Seconds after which a directory that was told of is watched."""


@dataclass
class Scene:
    """A folder, somebody who works in it, and the news of it."""

    events: FolderEvents
    hand: Hand
    path: str
    leave: Callable[[str], None]
    """Remove or move the whole folder."""
    overflow: Callable[[], None]
    """Make some news go lost, as when too much comes at once."""

    def watch(self) -> AbstractAsyncContextManager[AsyncIterator[Changes]]:
        return self.events.watch(self.path)


@pytest.fixture(params=["inotify", "simulated"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    return real_scene(tmp_path) if request.param == "inotify" else simulated_scene()


def real_scene(place: Path) -> Scene:
    folder = place / "folder"
    folder.mkdir()

    def leave(how: str) -> None:
        if how == "removed":
            folder.rmdir()
        else:
            folder.rename(place / "elsewhere")

    def overflow() -> None:
        limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
        first, other = folder / "first", folder / "other"
        for file in (first, other):
            file.write_bytes(b"")
        for number in range(limit):  # alternating, as equal ones in a row are told once
            (first if number % 2 else other).chmod(0o600 + number % 2)

    return Scene(InotifyEvents(), RealHand(folder), str(folder), leave, overflow)


def simulated_scene() -> Scene:
    disk = SimulatedDisk(count(1_700_000_000_000_000_000).__next__, Random(7))
    disk.user.mkdir("folder")
    events = SimulatedEvents(disk, "/folder", Random(7), EventFaults())

    def leave(how: str) -> None:
        if how == "removed":
            disk.user.remove("folder")
        else:
            disk.user.move("folder", "elsewhere")

    return Scene(events, SimulatedHand(disk), "/folder", leave, events.overflow)


async def told(changes: AsyncIterator[Changes], *wanted: str) -> set[str]:
    """All paths up to the set that completes `wanted`."""
    seen: set[str] = set()
    with trio.fail_after(BOUND):
        while not seen.issuperset(wanted):
            seen |= (await anext(changes)).paths
    return seen


async def test_the_watch_is_in_place_on_entering(scene: Scene) -> None:
    for number in range(5):
        async with scene.watch() as changes:
            scene.hand.write(f"file{number}", b"")
            assert await told(changes, f"file{number}") == {f"file{number}"}


async def test_every_sort_of_change(scene: Scene) -> None:
    hand = scene.hand
    hand.mkdir("d")
    hand.write("d/other", b"other")
    async with scene.watch() as changes:
        steps: list[tuple[Callable[[], None], list[str]]] = [
            (lambda: hand.write("d/f", b"new"), ["d/f"]),
            (lambda: hand.append("d/f", b"more"), ["d/f"]),
            (lambda: hand.write("d/f", b"in place"), ["d/f"]),
            (lambda: hand.save("d/f", b"by rename"), ["d/f"]),
            (lambda: hand.chmod("d/f", 0o600), ["d/f"]),
            (lambda: hand.touch("d/f", 10**18), ["d/f"]),
            (lambda: hand.hard_link("d/f", "further"), ["further"]),
            (lambda: hand.append("further", b"through the other name"), ["further"]),
            (lambda: hand.link_to("nowhere", "link"), ["link"]),
            (lambda: hand.mkfifo("fifo"), ["fifo"]),
            (lambda: hand.move("d/f", "moved"), ["d/f", "moved"]),
            (lambda: hand.move("moved", "d/other"), ["moved", "d/other"]),
            (lambda: hand.remove("further"), ["further"]),
            (lambda: hand.remove("link"), ["link"]),
            (lambda: hand.remove("d"), ["d/other", "d"]),
        ]
        for change, paths in steps:
            change()
            await told(changes, *paths)


async def test_a_new_directory_is_told_and_then_watched(scene: Scene) -> None:
    async with scene.watch() as changes:
        scene.hand.mkdir("new")
        await told(changes, "new")
        await trio.sleep(SETTLED)
        scene.hand.write("new/file", b"")
        await told(changes, "new/file")
        scene.hand.mkdir("new/deeper")
        await told(changes, "new/deeper")
        await trio.sleep(SETTLED)
        scene.hand.write("new/deeper/file", b"")
        await told(changes, "new/deeper/file")


async def test_a_directory_made_with_something_in_it_is_told_at_least(scene: Scene) -> None:
    async with scene.watch() as changes:
        scene.hand.mkdir("new")
        scene.hand.write("new/file", b"")
        assert await told(changes, "new") <= {"new", "new/file"}


async def test_a_moved_directory_is_told_of_under_its_new_path(scene: Scene) -> None:
    scene.hand.mkdir("a")
    scene.hand.mkdir("a/inner")
    async with scene.watch() as changes:
        scene.hand.move("a", "b")
        await told(changes, "a", "b")
        await trio.sleep(SETTLED)
        scene.hand.write("b/inner/file", b"")
        assert await told(changes, "b/inner/file") == {"b/inner/file"}


async def test_names_that_others_hide_and_names_that_are_no_text(scene: Scene) -> None:
    names = [".git", "node_modules", "x.pyc", "ü\n", "caf\udce9"]
    async with scene.watch() as changes:
        for name in names:
            scene.hand.write(name, b"")
        await told(changes, *names)


async def test_our_own_folder_is_left_out(scene: Scene) -> None:
    for path in (".shoal", ".shoal/temp"):
        scene.hand.mkdir(path)
    async with scene.watch() as changes:
        scene.hand.write(".shoal/temp/file", b"")
        scene.hand.chmod(".shoal/temp", 0o755)
        scene.hand.write(".shoalignore", b"")
        assert await told(changes, ".shoalignore") == {".shoalignore"}


async def test_leaving_is_instant(scene: Scene) -> None:
    with trio.fail_after(1):
        async with scene.watch() as changes:
            with trio.move_on_after(0.01):
                await anext(changes)
        with trio.move_on_after(0.01):
            async with scene.watch() as changes:
                await anext(changes)


async def test_a_cancelled_wait_loses_nothing(scene: Scene) -> None:
    async with scene.watch() as changes:
        seen: set[str] = set()
        for number in range(10):
            scene.hand.write(f"file{number}", b"")
            with trio.move_on_after(0.001 * number):
                seen |= (await anext(changes)).paths
        await told(changes, *({f"file{number}" for number in range(10)} - seen))


async def test_two_watch_at_once_and_each_is_told(scene: Scene) -> None:
    async with scene.watch() as one, scene.watch() as other:
        scene.hand.write("file", b"")
        for changes in (one, other):
            assert await told(changes, "file") == {"file"}


async def test_an_overflow_means_look_at_everything(scene: Scene) -> None:
    async with scene.watch() as changes:
        scene.overflow()
        await told(changes, "")
        scene.hand.write("after", b"")
        await told(changes, "after")


@pytest.mark.parametrize("how", ["removed", "moved"])
async def test_a_folder_that_goes_ends_the_news(how: str, scene: Scene) -> None:
    async with scene.watch() as changes:
        scene.leave(how)
        seen: set[str] = set()
        with trio.fail_after(BOUND):
            async for news in changes:
                seen |= news.paths
        assert "" in seen


async def test_a_missing_folder(scene: Scene) -> None:
    scene.leave("removed")
    with pytest.raises(FileNotFoundError):
        async with scene.watch():
            pass
