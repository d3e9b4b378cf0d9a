"""When a changed file may be read: once it is quiet (design §7, "Publishing").

A file that arrived whole, by rename or link, or is small and not growing, is read after 20 ms; one that may still be
written to after 500 ms, or after as long as it has been growing, up to 8 s.
"""

from dataclasses import dataclass

from peer.trees import Fingerprint
from protocol.identifiers import NodeId

SHORT, LONG, LONGEST = 0.02, 0.5, 8.0
"""Seconds."""
SMALL = 1 << 20
"""Bytes up to which a file is small."""
WHOLE_NS = 10_000_000
"""A file whose inode changed this long after its content was renamed or linked to where it is."""


@dataclass(slots=True)
class _Watched:
    print: Fingerprint
    since: float  # that it grows
    pause: float
    due: float


class Quiet:
    """Due times of changed files, by `trio.current_time()`. Pure: it is told the time."""

    def __init__(self) -> None:
        """Nothing has changed yet."""
        self._watched: dict[NodeId, _Watched] = {}

    def changed(self, node: NodeId, now: Fingerprint, time: float) -> None:
        """A file was seen to have changed."""
        before = self._watched.get(node)
        if before is not None and before.print == now:
            return
        since, pause = time, LONG
        if before is not None and now.size != before.print.size and now.inode == before.print.inode:
            since = before.since
            pause = min(LONGEST, max(LONG, time - since))
        elif now.size <= SMALL or now.ctime_ns - now.mtime_ns > WHOLE_NS:
            pause = SHORT
        self._watched[node] = _Watched(now, since, pause, time + pause)

    def disturbed(self, node: NodeId, known: Fingerprint, time: float) -> None:
        """A file turned out not to be as known when it was read. If a look finds no change, it is left for a while."""
        before = self._watched.get(node)
        since, pause = (time, SHORT) if before is None else (before.since, before.pause)
        self._watched[node] = _Watched(known, since, pause, time + max(LONG, pause))

    def due(self, node: NodeId, time: float) -> float:
        """Seconds until the file may be read; 0 when it may be now."""
        watched = self._watched.get(node)
        return 0.0 if watched is None else max(0.0, watched.due - time)

    def read(self, node: NodeId) -> None:
        """The file was read as it was; the next change starts anew."""
        self._watched.pop(node, None)
