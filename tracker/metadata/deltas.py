"""Deltas: what came after a cursor, as the state that came of it (`protocol/deltas.py`).

An operation is *current* while it defines one of its node's registers: place, content or durable content. Current ones
travel whole, overtaken ones as hashes, and entries without any current one not at all.

A record travels whole or not at all, as the chain hash is over all of it. One that says what turned durable is told if
that still holds of a version which this delta doesn't introduce. One that withdraws versions is told to every cursor
before it, also when something was written since: who made a withdrawn version, or has its content, must learn that
nobody else may ever see it. A snapshot is told of those that still hold.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, and_, bindparam, or_, select
from sqlalchemy.engine import Row

from protocol.api import DeltaRequest
from protocol.breaker import MAX_APPROVAL_BYTES, Approval
from protocol.codec import decode
from protocol.commits import Create, decode_operation, first_chain_hash
from protocol.deltas import MAX_DELTA_BYTES, PAGE_BYTES, Delta, Entry, Record, SignedCommit
from protocol.errors import Code, Refused
from protocol.identifiers import (
    HASH_LENGTH,
    MAX_COMMIT_OPERATIONS,
    CommitHash,
    CommitId,
    DeviceId,
    TrackerEpoch,
    UserId,
    VersionId,
    WorkspaceId,
)
from tracker.metadata.access import require
from tracker.metadata.batches import WORKSPACE, batches
from tracker.metadata.loading import find_nodes
from tracker.schema import RECORD, WITHDRAWAL, entries, nodes, states, versions, workspaces

ROWS = 2 * MAX_COMMIT_OPERATIONS + 1
"""Operations read at a time, until a page is full: two whole commits, and the one that shows the second to be whole."""
PAGE_ENTRIES = 10_000
ENTRY_OVERHEAD = 220
"""Bytes an entry takes beside its items, about."""
ROW_BYTES = 55
"""Bytes a row of a record takes, at most."""


def _is_set_by(revision: Column[Any], position: Column[Any]) -> ColumnElement[bool]:
    """Whether the node has the register that these columns are of from the operation of this state."""
    return and_(revision == states.c.revision, position == states.c.position)


_SETS_PLACE = _is_set_by(nodes.c.place_revision, nodes.c.place_position)
_SETS_CONTENT = _is_set_by(nodes.c.content_revision, nodes.c.content_position)
_SETS_DURABLE = _is_set_by(nodes.c.durable_revision, nodes.c.durable_position)

_CURRENT = (
    select(
        states.c.revision,
        states.c.position,
        states.c.operation,
        states.c.version,
        nodes.c.durable_version,
        _SETS_CONTENT.label("sets_content"),
    )
    .join(nodes, and_(nodes.c.workspace == states.c.workspace, nodes.c.node == states.c.node))
    .where(
        states.c.workspace == WORKSPACE,
        states.c.revision > bindparam("since"),
        or_(_SETS_PLACE, _SETS_CONTENT, _SETS_DURABLE),
    )
    .order_by(states.c.revision, states.c.position)
    .limit(ROWS)
)

_Operations: TypeAlias = Sequence[Row[*tuple[Any, ...]]]
"""Rows of _CURRENT, of one commit."""


@dataclass(slots=True)
class _Page:
    """The entries of one answer as they are gathered."""

    entries: list[Entry] = field(default_factory=list)
    announced: list[VersionId] = field(default_factory=list)
    size: int = 0

    @property
    def full(self) -> bool:
        return self.size >= PAGE_BYTES or len(self.entries) >= PAGE_ENTRIES


def read_delta(connection: Connection, user: UserId, request: DeltaRequest, tracker_epoch: TrackerEpoch) -> Delta:
    """One page for a member. `Refused` (CURSOR_UNKNOWN) when the cursor is none of this database's."""
    require(connection, request.workspace, user)
    head, head_hash = connection.execute(
        select(workspaces.c.revision, workspaces.c.hash).where(workspaces.c.id == request.workspace)
    ).one()
    _check_cursor(connection, request, head, tracker_epoch)
    page, through = _gather(connection, request, head)
    return Delta(
        workspace=request.workspace,
        tracker_epoch=tracker_epoch,
        since=request.revision,
        through=through,
        head=head,
        hash=CommitHash(head_hash) if through == head else hash_at(connection, request.workspace, through),
        entries=tuple(page.entries),
        announced=tuple(page.announced),
    )


def hash_at(connection: Connection, workspace: WorkspaceId, revision: int) -> CommitHash:
    """The chain hash at a revision."""
    if revision == 0:
        return first_chain_hash(workspace)
    return CommitHash(
        connection.execute(
            select(entries.c.hash).where(entries.c.workspace == workspace, entries.c.revision == revision)
        ).scalar_one()
    )


def _check_cursor(connection: Connection, request: DeltaRequest, head: int, tracker_epoch: TrackerEpoch) -> None:
    if request.revision == 0:
        return
    if (
        request.tracker_epoch != tracker_epoch
        or request.revision > head
        or request.hash != hash_at(connection, request.workspace, request.revision)
    ):
        raise Refused(Code.CURSOR_UNKNOWN, "the cursor is not of this tracker's history; take a snapshot")


def _gather(connection: Connection, request: DeltaRequest, head: int) -> tuple[_Page, int]:
    """A page, and the revision it goes up to."""
    page = _Page()
    commits = _Commits(connection, request.workspace, request.revision)
    records = _Records(connection, request)
    while not page.full:
        revision = min(commits.next_revision(), records.next_revision())
        if revision > head:
            return page, head
        if commits.next_revision() == revision:
            commits.take(page)
        else:
            records.take(page)
    return page, page.entries[-1].revision


_PAST = 1 << 63
"""After every revision."""


class _Commits:
    """Entries with a current operation, in order, read ahead in windows."""

    def __init__(self, connection: Connection, workspace: WorkspaceId, since: int) -> None:
        self._current = _current_commits(connection, workspace, since)
        self._next = next(self._current, None)

    def next_revision(self) -> int:
        return _PAST if self._next is None else self._next[0].revision

    def take(self, page: _Page) -> None:
        """Move the next entry to the page."""
        assert self._next is not None
        entry, operations = self._next
        assert entry.commit is not None
        page.entries.append(entry)
        page.announced += _not_durable(operations)
        page.size += ENTRY_OVERHEAD + sum(map(len, entry.commit.items))
        self._next = next(self._current, None)


def _current_commits(connection: Connection, workspace: WorkspaceId, since: int) -> Iterator[tuple[Entry, _Operations]]:
    """Entries after `since` with a current operation, and these operations."""
    while True:
        rows = connection.execute(_CURRENT, {"workspace": workspace, "since": since}).all()
        groups = {revision: list(group) for revision, group in groupby(rows, key=itemgetter(0))}
        if len(rows) == ROWS:
            groups.popitem()  # the window may end within it
        for row in entry_rows(connection, workspace, list(groups)):
            yield commit_entry(row, groups[row.revision]), groups[row.revision]
        if len(rows) < ROWS:
            return
        since = max(groups)


def entry_rows(
    connection: Connection, workspace: WorkspaceId, revisions: Sequence[int]
) -> Iterator[Row[*tuple[Any, ...]]]:
    """The entries of these revisions, in order."""
    for batch in batches(revisions):
        yield from connection.execute(
            select(entries)
            .where(entries.c.workspace == workspace, entries.c.revision.in_(batch))
            .order_by(entries.c.revision)
        ).all()


class Placed(Protocol):
    """An operation, and which of its commit's it is."""

    @property
    def position(self) -> int: ...
    @property
    def operation(self) -> bytes: ...


def commit_entry(row: Row[*tuple[Any, ...]], operations: Iterable[Placed]) -> Entry:
    """A commit as it is handed on: these operations whole, the others as their hashes."""
    items = [row.items[at : at + HASH_LENGTH] for at in range(0, len(row.items), HASH_LENGTH)]
    for current in operations:
        items[current.position] = current.operation
    signed = SignedCommit(
        device=DeviceId(row.device),
        epoch=row.epoch,
        id=CommitId(row.commit_id),
        seen=CommitHash(row.seen),
        signature=row.signature,
        items=tuple(items),
        approval=None if row.approval is None else decode(Approval, row.approval, MAX_APPROVAL_BYTES),
    )
    return Entry(revision=row.revision, time_ms=row.time_ms, commit=signed)


def _not_durable(operations: _Operations) -> Iterator[VersionId]:
    """Those versions that a device must not take for their nodes' durable heads.

    Announced ones, that is; and, where an operation travels for its place only, a version that was withdrawn, or
    overtaken before it was whole: nobody is told when the latter turns durable.
    """
    for row in operations:
        if row.version is not None and row.version != row.durable_version and _introduces(row):
            yield VersionId(row.version)


def _introduces(row: Row[*tuple[Any, ...]]) -> bool:
    """Whether the version that the node had after the operation came with it."""
    return row.sets_content or isinstance(decode_operation(row.operation), Create)


class _Records:
    """The tracker's own entries that matter to who asks, in order."""

    def __init__(self, connection: Connection, request: DeltaRequest) -> None:
        self._entries = _telling_records(connection, request)
        self._next = next(self._entries, None)

    def next_revision(self) -> int:
        return _PAST if self._next is None else self._next.revision

    def take(self, page: _Page) -> None:
        """Move the next entry to the page."""
        assert self._next is not None
        assert self._next.record is not None
        page.entries.append(self._next)
        rows = len(self._next.record.durable) + len(self._next.record.withdrawn)
        page.size += ENTRY_OVERHEAD + ROW_BYTES * rows
        self._next = next(self._entries, None)


def _telling_records(connection: Connection, request: DeltaRequest) -> Iterator[Entry]:
    """Records after the cursor that have something to tell."""
    snapshot = request.revision == 0 and request.tracker_epoch is None
    kinds = (WITHDRAWAL,) if snapshot else (RECORD, WITHDRAWAL)
    after = request.revision
    while True:
        rows = connection.execute(
            select(entries.c.revision, entries.c.time_ms, entries.c.record)
            .where(entries.c.workspace == request.workspace, entries.c.revision > after, entries.c.kind.in_(kinds))
            .order_by(entries.c.revision)
            .limit(100)
        ).all()
        for row in rows:
            record = decode(Record, row.record, MAX_DELTA_BYTES)
            if snapshot:
                telling = _is_still_so(connection, request.workspace, row.revision, record)
            else:
                telling = bool(record.withdrawn) or _is_news(connection, request, record)
            if telling:
                yield Entry(revision=row.revision, time_ms=row.time_ms, record=record)
        if len(rows) < 100:
            return
        after = rows[-1].revision


def _is_still_so(connection: Connection, workspace: WorkspaceId, revision: int, record: Record) -> bool:
    """Whether nothing was written to one of the nodes after the withdrawal at `revision`."""
    known = find_nodes(connection, workspace, dict.fromkeys(node for node, _, _ in record.withdrawn))
    for id, _, head in record.withdrawn:
        node = known[id]
        if node.version == head and (node.content_at is None or node.content_at[0] < revision):
            return True
    return False


def _is_news(connection: Connection, request: DeltaRequest, record: Record) -> bool:
    """Whether one of the versions that turned durable is still a durable head, and was announced before the cursor."""
    known = find_nodes(connection, request.workspace, dict.fromkeys(node for node, _ in record.durable))
    holding = [version for node, version in record.durable if known[node].durable_version == version]
    return bool(_introduced_by(connection, request.workspace, request.revision, holding))


def _introduced_by(
    connection: Connection, workspace: WorkspaceId, since: int, named: Sequence[VersionId]
) -> set[VersionId]:
    """Those versions whose operation the asking device has seen already."""
    found: set[VersionId] = set()
    for batch in batches(named):
        rows = connection.scalars(
            select(versions.c.version).where(
                versions.c.workspace == workspace, versions.c.version.in_(batch), versions.c.revision <= since
            )
        )
        found.update(map(VersionId, rows))
    return found


def record_delta(
    workspace: WorkspaceId, tracker_epoch: TrackerEpoch, since: int, through: int, hash: CommitHash, entry: Entry
) -> Delta:
    """One new record as the delta that brings it to devices."""
    return Delta(
        workspace=workspace,
        tracker_epoch=tracker_epoch,
        since=since,
        through=through,
        head=through,
        hash=hash,
        entries=(entry,),
    )
