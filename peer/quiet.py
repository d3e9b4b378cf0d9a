"""When a changed file may be read: once it is quiet (design §7, "Publishing").

A file that arrived whole, by rename or link, or is small and not growing, is read after 20 ms; one that its writer has
closed after 50 ms, a small one after 5 ms, but so only once in 8 s, as some open and close a file for each line; one
that may still be written to after 500 ms, or after as long as it has been growing, up to 8 s.

A small file to which something is added all the time, as to a log, is read every 5 s after the first few times: each of
its versions costs a chunk, twenty times as much as a line (adaptive deferment, as Li et al. call it, Middleware 2013).
"""

from collections import deque
from collections.abc import Set
from dataclasses import dataclass
from itertools import takewhile

from peer.root import Names
from peer.trees import Fingerprint
from protocol.identifiers import NodeId

BRIEF, SHORT, CLOSED, LONG, LONGEST = 0.005, 0.02, 0.05, 0.5, 8.0
"""Seconds."""
SMALL = 1 << 20
"""Bytes up to which a file is small."""
BURST = 4
"""Small files closed within SHORT after which no further one is read sooner than it."""
GAP, RECENT, OFTEN = 5.0, 10.0, 3
"""Seconds between two reads of a file that was added to and read so often in a row, each time so soon."""
WHOLE_NS = 10_000_000
"""A file whose inode changed this long after its content was renamed or linked to where it is."""


@dataclass(slots=True)
class _Watched:
    print: Fingerprint
    since: float  # that it grows
    pause: float
    due: float
    not_before: float  # however quiet it is


@dataclass(slots=True)
class _Log:
    """A file as it was read, and how often in a row it had only been added to since it was last read."""

    inode: int
    size: int
    read_at: float
    times: int


class Quiet:
    """Due times of changed files, by `trio.current_time()`. Pure: it is told the time."""

    def __init__(self) -> None:
        """Nothing has changed yet."""
        self._watched: dict[NodeId, _Watched] = {}
        self._closed: dict[Names, set[str]] = {}  # and not looked at since
        self._hurried: dict[NodeId, float] = {}  # less than LONGEST ago, in this order
        self._small: deque[float] = deque(maxlen=BURST)  # when small files were last closed
        self._logs: dict[NodeId, _Log] = {}  # read less than RECENT ago, in this order

    def closed(self, directory: Names, name: str) -> None:
        """A program that had a file open for writing has closed it. Until the next look nobody knows what is in it. A
        file that is mapped into memory counts as open (the kernel tells when the last hold on it is gone)."""
        self._closed.setdefault(directory, set()).add(name)

    def closed_in(self, directories: Set[Names]) -> dict[Names, set[str]]:
        """What was closed in directories that are about to be looked at: told once."""
        return {directory: self._closed.pop(directory) for directory in self._closed.keys() & directories}

    def changed(self, node: NodeId, now: Fingerprint, time: float) -> None:
        """A file was seen to have changed."""
        before = self._watched.get(node)
        if before is not None and before.print == now:
            return
        since, pause, not_before = time, LONG, self._not_before(node, now)
        if not_before:
            pause = SHORT  # it has waited long enough already
        elif before is not None and now.size != before.print.size and now.inode == before.print.inode:
            since = before.since
            pause = min(LONGEST, max(LONG, time - since))
        elif now.size <= SMALL or now.ctime_ns - now.mtime_ns > WHOLE_NS:
            pause = SHORT
        self._watched[node] = _Watched(now, since, pause, max(time + pause, not_before), not_before)

    def _not_before(self, node: NodeId, now: Fingerprint) -> float:
        log = self._logs.get(node)
        if log is None or log.times < OFTEN or not _was_added_to(log, now):
            return 0.0
        return log.read_at + GAP

    def let_go(self, node: NodeId, time: float) -> None:
        """Who had a file open for writing has closed it, and so it was last seen."""
        watched = self._watched.get(node)
        if watched is None:
            return
        pause = CLOSED
        if watched.print.size <= SMALL:
            pause = SHORT if self._is_burst(time) else BRIEF
        if watched.due > max(time + pause, watched.not_before) and self._may_hurry(node, time):
            watched.due = max(time + pause, watched.not_before)

    def _is_burst(self, time: float) -> bool:
        """Whether many files have just been closed: they are better read and sent together."""
        burst = len(self._small) == BURST and time - self._small[0] < SHORT
        self._small.append(time)
        return burst

    def _may_hurry(self, node: NodeId, time: float) -> bool:
        """Whether a closed file is to be read at once; not again and again what is opened, added to and closed."""
        for each in list(takewhile(lambda each: time - self._hurried[each] >= LONGEST, self._hurried)):
            del self._hurried[each]
        return self._hurried.setdefault(node, time) == time

    def disturbed(self, node: NodeId, known: Fingerprint, time: float) -> None:
        """A file turned out not to be as known when it was read. If a look finds no change, it is left for a while."""
        before = self._watched.get(node)
        since, pause = (time, SHORT) if before is None else (before.since, before.pause)
        self._watched[node] = _Watched(known, since, pause, time + max(LONG, pause), 0.0)

    def due(self, node: NodeId, time: float) -> float:
        """Seconds until the file may be read; 0 when it may be now."""
        watched = self._watched.get(node)
        return 0.0 if watched is None else max(0.0, watched.due - time)

    def read(self, node: NodeId, time: float) -> None:
        """The file was read as it was; the next change starts anew."""
        watched = self._watched.pop(node, None)
        for each in list(takewhile(lambda each: time - self._logs[each].read_at >= RECENT, self._logs)):
            del self._logs[each]
        before = self._logs.pop(node, None)
        if watched is not None and watched.print.size <= SMALL:
            times = before.times + 1 if before is not None and _was_added_to(before, watched.print) else 0
            self._logs[node] = _Log(watched.print.inode, watched.print.size, time, times)


def _was_added_to(log: _Log, now: Fingerprint) -> bool:
    return now.inode == log.inode and now.size > log.size
