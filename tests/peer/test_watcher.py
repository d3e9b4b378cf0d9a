"""What the watcher makes of events in a large directory: it must not be listed again for each of them, and none of them
may be lost."""

from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from peer.ports import Changes
from peer.root import Names
from peer.watcher import REST, Watcher
from tests.peer.folders import SyncFolder, sync_folder

LARGE: Names = ("large",)


class Told:
    """Events as they are told."""

    def __init__(self) -> None:
        self.tell, self._changes = trio.open_memory_channel[Changes](10)

    @asynccontextmanager
    async def watch(self, path: str) -> Any:
        yield self._changes


class Asked:
    """What the watcher asks of the indexer."""

    def __init__(self, *unlike: Names) -> None:
        self.unlike, self.changed = set(unlike), dict[Names, set[str]]()

    async def __call__(self, changed: Mapping[Names, set[str]]) -> set[Names]:
        self.changed |= changed
        return self.unlike & changed.keys()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


async def watching(folder: SyncFolder, nursery: trio.Nursery) -> tuple[Watcher, Told]:
    """A watcher that has just looked at one directory, which took a second."""
    told = Told()
    watcher = Watcher(folder.context, told)
    nursery.start_soon(watcher.run)
    await trio.testing.wait_all_tasks_blocked()
    watcher.looked([LARGE], 1.0)
    folder.context.to_look_at.clear()
    return watcher, told


async def tell(told: Told, *paths: str) -> None:
    await told.tell.send(Changes(set(paths)))
    await trio.testing.wait_all_tasks_blocked()


async def test_a_large_directory_rests(folder: SyncFolder, nursery: trio.Nursery, autojump_clock: object) -> None:
    watcher, told = await watching(folder, nursery)
    await tell(told, "large/a", "small/b")
    await tell(told, "large/c")
    assert folder.context.to_look_at == {("small",)}
    asked = Asked(LARGE)
    await watcher.glance(asked)
    assert asked.changed == {}
    assert watcher.later_looks() == pytest.approx(REST)
    await trio.sleep(REST)
    await watcher.glance(asked)
    assert asked.changed == {LARGE: {"a", "c"}}
    assert folder.context.to_look_at == {("small",), LARGE}
    assert watcher.later_looks() == float("inf")


async def test_it_is_not_looked_at_while_all_is_as_known(
    folder: SyncFolder, nursery: trio.Nursery, autojump_clock: object
) -> None:
    watcher, told = await watching(folder, nursery)
    await tell(told, "large/a")
    await trio.sleep(REST)
    await watcher.glance(Asked())
    assert folder.context.to_look_at == set()
    await tell(told, "large/a")
    await watcher.glance(Asked(LARGE))
    assert folder.context.to_look_at == {LARGE}


async def test_what_comes_while_it_is_asked_is_asked_next(
    folder: SyncFolder, nursery: trio.Nursery, autojump_clock: object
) -> None:
    watcher, told = await watching(folder, nursery)
    await tell(told, "large/a")
    await trio.sleep(REST)

    async def meanwhile(changed: Mapping[Names, set[str]]) -> set[Names]:
        await tell(told, "large/b")
        return set()

    await watcher.glance(meanwhile)
    asked = Asked(LARGE)
    await watcher.glance(asked)
    assert asked.changed == {LARGE: {"b"}}
    assert folder.context.to_look_at == {LARGE}


async def test_what_could_not_be_asked_is_looked_at(
    folder: SyncFolder, nursery: trio.Nursery, autojump_clock: object
) -> None:
    watcher, told = await watching(folder, nursery)
    await tell(told, "large/a")
    await trio.sleep(REST)

    async def fails(changed: Mapping[Names, set[str]]) -> set[Names]:
        raise OSError("the folder is gone")

    with pytest.raises(OSError, match="the folder is gone"):
        await watcher.glance(fails)
    assert folder.context.to_look_at == {LARGE}


async def test_it_is_large_no_more(folder: SyncFolder, nursery: trio.Nursery) -> None:
    watcher, told = await watching(folder, nursery)
    watcher.looked([LARGE], 0.001)
    await tell(told, "large/a")
    assert folder.context.to_look_at == {LARGE}
