"""The tracker's side of the breaker (law 8): too many deletes or overwrites in a while are refused, unless approved.

What counts stands in the workspace's own row, which is locked, read and written with every commit anyway. A file counts
as overwritten once in a while, however often it is saved: only when what is replaced is older than all that counts. So
the check costs no statement, but for the count of the files once so much has come together that it matters.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from protocol.breaker import WINDOW_MS, Changes, Limits
from protocol.codec import U32, decode, encode, many, message, row, unsigned, wire
from protocol.commits import DIRECTORY, Delete, Operation, Write
from protocol.identifiers import NodeId
from tracker.metadata.rules import Node

MINUTE_MS = 60_000
"""Changes are counted by the minute, and forgotten when all of a minute is out of the window."""
MINUTES = WINDOW_MS // MINUTE_MS
_NUMBER = unsigned((1 << 62) - 1)
_MOST_BYTES = 4096


@message
class Recent:
    """What has been deleted and overwritten in a while without an approval."""

    # Live files when they were last counted, less those deleted since: never more than there are.
    files: int = wire(1, unsigned(U32), default=0)
    # For each minute in which something was: its number since 1970, the first revision, deletes, overwrites.
    minutes: tuple[tuple[int, int, int, int], ...] = wire(
        2, many(row(_NUMBER, _NUMBER, _NUMBER, _NUMBER), 64), default=()
    )

    def at(self, now_ms: int) -> "Recent":
        """What of it still counts. A clock that was set back doesn't make it count for longer."""
        now = now_ms // MINUTE_MS
        kept = tuple((min(minute, now), *rest) for minute, *rest in self.minutes if minute >= now - MINUTES)
        return Recent(files=self.files, minutes=kept)  # type: ignore[arg-type]

    @property
    def changes(self) -> Changes:
        """All together."""
        return Changes(sum(each[2] for each in self.minutes), sum(each[3] for each in self.minutes))

    @property
    def since(self) -> int | None:
        """The first revision that counts."""
        return min((each[1] for each in self.minutes), default=None)

    def with_files(self, files: int) -> "Recent":
        """The same, files counted."""
        return Recent(files=files, minutes=self.minutes)

    def adding(self, now_ms: int, revision: int, counted: Changes, all: Changes) -> "Recent":
        """What it is after a commit: `counted` of `all` that it changed weren't approved."""
        files, now = max(0, self.files - all.deletes), now_ms // MINUTE_MS
        if counted == Changes():
            return self.with_files(files)
        *before, last = self.minutes or ((now, revision, 0, 0),)
        if last[0] != now:
            before, last = [*before, last], (now, revision, 0, 0)
        last = (now, last[1], last[2] + counted.deletes, last[3] + counted.overwrites)
        return Recent(files=files, minutes=(*before, last))


def recent_of(stored: bytes | None) -> Recent:
    """From a workspace's row."""
    return decode(Recent, stored, _MOST_BYTES) if stored else Recent()


def limits_of(stored: bytes | None) -> Limits:
    """From a workspace's row; without any, those of all workspaces."""
    return decode(Limits, stored, _MOST_BYTES) if stored else Limits()


def uncounted(stored: bytes | None) -> bytes | None:
    """What stands in the row once files have gone that nobody deleted: they are counted anew when it matters."""
    return encode(recent_of(stored).with_files(0)) if stored else None


def changes_of(operations: Sequence[Operation], known: Mapping[NodeId, Node], recent: Recent) -> Changes:
    """The files that operations delete, and those that they overwrite and that don't count already."""
    deleted = {op.node for op in operations if isinstance(op, Delete) and _is_file(known.get(op.node))}
    written = {op.node for op in operations if isinstance(op, Write)}
    overwritten = {node for node in written if node in known and _is_old(known[node], recent)}
    return Changes(len(deleted), len(overwritten))


def _is_file(node: Node | None) -> bool:
    return node is not None and node.kind != DIRECTORY


def _is_old(node: Node, recent: Recent) -> bool:
    return recent.since is None or node.content_at is None or node.content_at[0] < recent.since


class Judged(NamedTuple):
    """Whether it is too much, and what is known of the files by now."""

    deletes: bool
    overwrites: bool
    recent: Recent


def judge(recent: Recent, limits: Limits, counted: Changes, count_files: Callable[[], int]) -> Judged:
    """Whether `counted`, with what counts already, is too much. `count_files` counts what is there before the commit;
    it is asked only where what is known of it doesn't do."""
    after = recent.changes.plus(counted)

    def exceeded(files: int) -> tuple[bool, bool]:
        before = files + recent.changes.deletes
        return (
            counted.deletes > 0 and limits.too_many_deletes(after.deletes, before),
            counted.overwrites > 0 and limits.too_many_overwrites(after.overwrites, before),
        )

    if any(exceeded(recent.files)):
        recent = recent.with_files(count_files())
    return Judged(*exceeded(recent.files), recent)
