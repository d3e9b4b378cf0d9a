"""News of local change in the simulation: `peer.ports.FolderEvents`, fed by a simulated disk.

Late, in batches, some twice and some never, as inotify does it: an event in a directory that was made a moment ago may
be lost in any seed, any other only where the plan says so (an overflow that nobody tells of). The watcher's second look
and its regular scans have to make up for that. `tests/peer/test_folder_events.py` holds the rest against inotify. That
a writer has closed a file is told in some seeds only: whoever waits for it has to do without in all others.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import trio

from peer.ports import Changes, EntryKind
from protocol.errors import WatchLimit
from protocol.names import RESERVED
from tests.simulation.disk import SimulatedDisk

NO_WATCHES = "no watches left, says the simulation"
_UNWATCHED = 0.02
"""Seconds until a new directory is watched."""


@dataclass
class EventFaults:
    """How likely an event is to be lost, or to be told again later."""

    lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0  # told only after some seconds
    overflow: float = 0.0  # all that is pending is dropped, and "look at everything" said instead
    unwatched: float = 0.0  # the kernel has no watches left
    closings: bool = False  # it is told that a file is no longer open for writing

    def end(self) -> None:
        """No more of it."""
        self.lost = self.repeated = self.late = self.overflow = self.unwatched = 0.0


class SimulatedEvents:
    """Tells of changes below `folder` on one disk."""

    def __init__(self, disk: SimulatedDisk, folder: str, rng: Random, faults: EventFaults) -> None:
        self.faults = faults
        self._disk = disk
        self._below = folder.strip("/")
        self._rng = rng
        self._feeds: list[_Feed] = []
        self._fresh: dict[str, float] = {}
        disk.on_change = self._changed

    @asynccontextmanager
    async def watch(self, folder: str) -> AsyncIterator[AsyncIterator[Changes]]:
        """See `peer.ports.FolderEvents`."""
        self._disk.user.find(self._disk.root_instead or folder)
        if self.faults.unwatched and self._rng.random() < self.faults.unwatched:
            raise WatchLimit(NO_WATCHES)
        feed = _Feed(self._rng)
        self._feeds.append(feed)
        try:
            yield feed
        finally:
            self._feeds.remove(feed)

    def overflow(self) -> None:
        """Events were lost, and whoever watches is told so."""
        for feed in self._feeds:
            feed.overflow()

    def end(self) -> None:
        """The folder is no longer what was watched."""
        for feed in self._feeds:
            feed.end()

    def _changed(self, full: str) -> None:
        if f"{full}/" == f"{self._below}/" and not self._disk.user.exists(full):
            self.end()
        if not f"{full}/".startswith(f"{self._below}/".removeprefix("/")):
            return
        path = full.removeprefix(self._below).lstrip("/")
        if path.split("/")[0] == RESERVED:
            return
        now = trio.current_time()
        parent = path.rpartition("/")[0]
        unwatched = now - self._fresh.get(parent, -1.0) < _UNWATCHED and parent != ""
        if self._disk.user.exists(full) and self._disk.user.find(full).is_directory:
            self._fresh[path] = now
        if (unwatched and self._rng.random() < 0.5) or self._rng.random() < self.faults.lost:
            return
        for feed in self._feeds:
            if self._rng.random() < self.faults.overflow:
                feed.overflow()
            elif self._rng.random() < self.faults.late:
                feed.again.add(path)
                feed.news.set()
                continue
            feed.add(path)
            if self.faults.closings and self._is_closed(full):
                feed.closed.add(path)
            if self._rng.random() < self.faults.repeated:
                feed.again.add(path)

    def _is_closed(self, full: str) -> bool:
        inode = self._disk.user.find(full) if self._disk.user.exists(full) else None
        return inode is not None and inode.kind is EntryKind.FILE and not inode.opened


@dataclass
class _Feed:
    """One open watch."""

    rng: Random
    pending: set[str] = field(default_factory=set)
    again: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    news: trio.Event = field(default_factory=trio.Event)
    over: bool = False

    def end(self) -> None:
        """The folder itself is gone, or elsewhere."""
        self.over = True
        self.add("")

    def add(self, path: str) -> None:
        self.pending.add(path)
        self.news.set()

    def overflow(self) -> None:
        """The queue was full: what it held is lost, and that is all that is told."""
        self.pending = {""}
        self.news.set()

    def __aiter__(self) -> "_Feed":
        return self

    async def __anext__(self) -> Changes:
        if self.over and not self.pending:
            raise StopAsyncIteration
        while not self.pending:
            self.news = trio.Event()
            with trio.move_on_after(self.rng.choice((0.5, 5.0)) if self.again else float("inf")) as waiting:
                await self.news.wait()
            if waiting.cancelled_caught:
                self.pending |= self.again
                self.again = set()
        await trio.sleep(self.rng.uniform(0.002, 0.06))
        taken, self.pending = self.pending, set()
        closed, self.closed = self.closed & taken, set()
        return Changes(taken, closed)
