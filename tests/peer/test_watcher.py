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
from peer.watcher import EVERYTHING, LEISURE, OFTEN, REST, Watcher
from protocol.errors import WatchLimit
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


class Refused:
    """A folder that can't be watched, as the kernel's limit is reached, until it is raised."""

    def __init__(self) -> None:
        self.tries, self.raised = 0, False

    @asynccontextmanager
    async def watch(self, path: str) -> Any:
        self.tries += 1
        if not self.raised:
            raise WatchLimit("raise fs.inotify.max_user_watches (sysctl), now 8")
        yield trio.open_memory_channel[Changes](1)[1]


def looks(folder: SyncFolder) -> bool:
    """Whether everything was to be looked at; no longer."""
    asked, folder.context.look_at_all = folder.context.look_at_all, False
    return asked


async def count_looks(folder: SyncFolder, watcher: Watcher, seconds: float) -> int:
    """How often everything was to be looked at in this time."""
    count = 0
    for _ in range(int(seconds)):
        await trio.sleep(1)
        count += looks(folder)
    return count


async def test_past_the_limit_the_folder_is_scanned_until_it_is_raised(
    folder: SyncFolder, nursery: trio.Nursery, autojump_clock: object
) -> None:
    events = Refused()
    watcher = Watcher(folder.context, events)
    nursery.start_soon(watcher.run)
    nursery.start_soon(watcher.look_regularly)
    await watcher.ready.wait()
    looks(folder)
    assert watcher.limit == "raise fs.inotify.max_user_watches (sysctl), now 8"
    assert 18 <= await count_looks(folder, watcher, 100) <= 21
    watcher.looked_at_everything(10.0)
    looks(folder)
    assert watcher.interval == 10.0 * LEISURE, "a large folder is not scanned all the time"
    assert await count_looks(folder, watcher, 410) in (2, 3)
    events.raised = True
    await trio.sleep(watcher.interval + 1)
    assert watcher.limit is None
    assert watcher.interval == EVERYTHING


@pytest.mark.parametrize(
    ("kind", "often"), [("nfs", OFTEN), ("fuse", OFTEN), ("ext4", EVERYTHING), ("0x1", EVERYTHING)]
)
async def test_a_folder_that_others_may_change_is_scanned_often(
    folder: SyncFolder, nursery: trio.Nursery, autojump_clock: object, kind: str, often: float
) -> None:
    folder.simulated.kind = kind
    watcher = Watcher(folder.context, Told())
    nursery.start_soon(watcher.run)
    nursery.start_soon(watcher.look_regularly)
    await watcher.ready.wait()
    looks(folder)
    assert watcher.interval == often
    assert watcher.shared == (kind if often == OFTEN else None)
    assert await count_looks(folder, watcher, 4 * EVERYTHING + 10) == pytest.approx(4 * EVERYTHING / often, rel=0.3)
