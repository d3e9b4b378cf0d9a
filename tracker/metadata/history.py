"""Reading history: what nodes were, from their past states (`protocol/history.py`).

A node's place at a revision is that of its last state up to there, given by the first state with that mark; its content
is the newest version up to there that is durable by now. An answer ends at a whole node, or a whole commit, once it is
a page long.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, func, not_, or_, select
from sqlalchemy.engine import Row as SqlRow

from protocol.commits import Operation, decode_operation
from protocol.deltas import MAX_REVISION, PAGE_BYTES, Entry
from protocol.errors import Code, Refused
from protocol.history import MAX_ASKED, ChangedRequest, DeletedRequest, HistoryReply, HistoryRequest, PastNode
from protocol.identifiers import MAX_COMMIT_OPERATIONS, CommitHash, NodeId, UserId, VersionId, WorkspaceId
from tracker.metadata.access import require
from tracker.metadata.batches import batches
from tracker.metadata.deltas import ENTRY_OVERHEAD, PAGE_ENTRIES, commit_entry, entry_rows
from tracker.metadata.loading import find_nodes, node_of
from tracker.metadata.rules import Node
from tracker.metadata.weighing import contents_of
from tracker.schema import DURABLE, entries, nodes, states, versions, workspaces

# States are looked up by their node. Compared and sorted by as it is, this column would have SQLite read the whole
# workspace in the order of the primary key instead.
_REVISION = states.c.revision + 0

Row: TypeAlias = SqlRow[*tuple[Any, ...]]
ROWS = MAX_COMMIT_OPERATIONS + 1
"""States read at a time: a whole commit, and one that shows it to be whole."""
AT_ONCE = 50
"""Nodes looked up together."""
MAX_NODES = 1000
"""Nodes in one answer."""
NODE_BYTES = 120
"""Bytes a node takes in an answer, about."""


class _Past(NamedTuple):
    """An operation on a node, and the version that it brought if that is why it is told of."""

    node: NodeId
    revision: int
    position: int
    operation: bytes
    durable: VersionId | None = None


@dataclass(slots=True)
class _Told:
    """The operations of an answer, by revision and position, and how long it has become. Entries that are `known` to
    who asks are left out."""

    known: frozenset[int] = frozenset()
    operations: dict[int, dict[int, _Past]] = field(default_factory=dict)
    entries: dict[int, Row] = field(default_factory=dict)
    durable: dict[VersionId, None] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    size: int = 0

    @property
    def full(self) -> bool:
        return self.size >= PAGE_BYTES or len(self.entries) >= PAGE_ENTRIES or len(self.nodes) >= MAX_NODES

    def add(self, entry: Row, operations: Iterable[_Past]) -> None:
        """Some operations of one commit."""
        if entry.revision not in self.entries:
            self.entries[entry.revision] = entry
            self.size += ENTRY_OVERHEAD + len(entry.items)
        self._add_operations(operations)

    def _add_operations(self, operations: Iterable[_Past]) -> None:
        for each in operations:
            here = self.operations.setdefault(each.revision, {})
            if each.position not in here:
                self.size += len(each.operation)
            here[each.position] = each

    def add_node(self, node: Node, past: Iterable[_Past], entry_at: Mapping[int, Row]) -> None:
        """A node, and operations on it; `entry_at` has those entries that aren't known."""
        for each in past:
            if each.revision in self.known:
                self._add_operations([each])
            else:
                self.add(entry_at[each.revision], [each])
            if each.durable is not None:
                self.durable[each.durable] = None
        self.nodes.append(node)
        self.size += NODE_BYTES

    def decoded(self) -> list[Operation]:
        """All operations."""
        return [decode_operation(each.operation) for here in self.operations.values() for each in here.values()]

    def written(self) -> tuple[Entry, ...]:
        """The entries, in order."""
        told = sorted(self.entries.items())
        return tuple(commit_entry(row, self.operations[revision].values()) for revision, row in told)

    def loose(self) -> tuple[tuple[int, int, bytes], ...]:
        """The operations of known entries."""
        return tuple(
            (each.revision, each.position, each.operation)
            for revision, here in sorted(self.operations.items())
            for each in here.values()
            if revision in self.known
        )


@dataclass(frozen=True, slots=True)
class _Now:
    """Where the workspace stands."""

    head: int
    hash: CommitHash
    time_ms: int


# What is asked ------------------------------------------------------------------------------------------------------


def read_history(connection: Connection, user: UserId, request: HistoryRequest, now_ms: int) -> HistoryReply:
    """All that happened to some nodes, one page of it, for a member."""
    now = _now(connection, user, request.workspace)
    rows = connection.execute(
        select(states)
        .where(
            states.c.workspace == request.workspace,
            states.c.node.in_(set(request.nodes)),
            request.after < _REVISION,
        )
        .order_by(_REVISION, states.c.position)
        .limit(ROWS)
    ).all()
    commits = {revision: list(group) for revision, group in groupby(rows, key=attrgetter("revision"))}
    if len(rows) == ROWS:
        commits.popitem()  # there may be more of it
    told, more = _Told(), len(rows) == ROWS
    for entry in entry_rows(connection, request.workspace, list(commits)):
        if told.full:
            more = True
            break
        told.add(entry, [_past(row) for row in commits[entry.revision]])
    _add_durable(connection, request.workspace, told)
    told.nodes = list(find_nodes(connection, request.workspace, set(request.nodes)).values())
    return _reply(now, (now.head, now.time_ms), now_ms, told, more=more)


def read_deleted(connection: Connection, user: UserId, request: DeletedRequest, now_ms: int) -> HistoryReply:
    """Deleted nodes that were in some directories, one page of them, for a member."""
    now = _now(connection, user, request.workspace)
    if request.moved:
        left = _Told(nodes=_moved_nodes(connection, request))
        return _reply(now, (now.head, now.time_ms), now_ms, left, more=False)

    def past(ids: Sequence[NodeId]) -> list[_Past]:
        places = _places(connection, request.workspace, ids, MAX_REVISION, not_(states.c.deleted))
        contents = _contents(connection, request.workspace, ids, MAX_REVISION)
        return [*places, *contents, *_deletions(connection, request.workspace, ids)]

    told, more = _with_past(connection, request.workspace, _deleted_nodes(connection, request), past, request.known)
    return _reply(now, (now.head, now.time_ms), now_ms, told, more=more)


def read_changed(connection: Connection, user: UserId, request: ChangedRequest, now_ms: int) -> HistoryReply:
    """Nodes that changed after a revision, and what they were at it, one page, for a member."""
    now = _now(connection, user, request.workspace)
    through = _revision_of(connection, request, now.head, now_ms)
    changed = or_(nodes.c.place_revision > through, nodes.c.content_revision > through)

    def past(ids: Sequence[NodeId]) -> list[_Past]:
        places = _places(connection, request.workspace, ids, through)
        existed = [place.node for place in places]
        return [*places, *_contents(connection, request.workspace, existed, through)]

    wanted = [nodes.c.workspace == request.workspace, changed]
    found = _all_nodes(connection, wanted, request.after or b"")
    told, more = _with_past(connection, request.workspace, found, past, request.known)
    at = through, _time_at(connection, request.workspace, through)
    return _reply(now, at, now_ms, told, more=more)


# Where and when -----------------------------------------------------------------------------------------------------


def _now(connection: Connection, user: UserId, workspace: WorkspaceId) -> _Now:
    require(connection, workspace, user)
    head = connection.execute(select(workspaces).where(workspaces.c.id == workspace)).one()
    return _Now(head.revision, CommitHash(head.hash), _time_at(connection, workspace, head.revision))


def _time_at(connection: Connection, workspace: WorkspaceId, revision: int) -> int:
    time = select(entries.c.time_ms).where(entries.c.workspace == workspace, entries.c.revision == revision)
    return connection.execute(time).scalar_one_or_none() or 0


def _revision_of(connection: Connection, request: ChangedRequest, head: int, now_ms: int) -> int:
    """What a request goes back to."""
    given = [each for each in (request.revision, request.time_ms, request.ago_ms) if each is not None]
    if len(given) != 1:
        raise Refused(Code.MALFORMED, "one of a revision, a time and an age is to be given")
    if request.revision is not None:
        if request.revision > head:
            raise Refused(Code.NOT_FOUND, f"the newest revision is {head}")
        return request.revision
    time_ms = request.time_ms if request.time_ms is not None else max(0, now_ms - given[0])
    if time_ms > now_ms:
        raise Refused(Code.NOT_FOUND, "that is in the future, by the tracker's clock")
    return _last_until(connection, request.workspace, head, time_ms)


def _last_until(connection: Connection, workspace: WorkspaceId, head: int, time_ms: int) -> int:
    """The last revision at a time. Times don't fall from one revision to the next, unless a clock was set back."""
    low, high = 0, head
    while low < high:
        middle = (low + high + 1) // 2
        if _time_at(connection, workspace, middle) <= time_ms:
            low = middle
        else:
            high = middle - 1
    return low


# The past of nodes --------------------------------------------------------------------------------------------------


def _with_past(
    connection: Connection,
    workspace: WorkspaceId,
    found: Iterable[Node],
    past: Callable[[Sequence[NodeId]], list[_Past]],
    known: Iterable[int],
) -> tuple[_Told, bool]:
    """A page of these nodes, each with the operations that `past` finds; whether there are more."""
    told = _Told(known=frozenset(known))
    for batch in batches(found, AT_ONCE):
        operations = past([node.node for node in batch])
        revisions = sorted({each.revision for each in operations} - told.known - told.entries.keys())
        entry_at = told.entries | {row.revision: row for row in entry_rows(connection, workspace, revisions)}
        for node in batch:
            if told.full:
                return told, True
            told.add_node(node, [each for each in operations if each.node == node.node], entry_at)
    return told, False


def _all_nodes(connection: Connection, wanted: Sequence[ColumnElement[bool]], after: bytes) -> Iterator[Node]:
    """The nodes that are `wanted`, in the order of their ids."""
    while True:
        query = select(nodes).where(*wanted, nodes.c.node > after).order_by(nodes.c.node).limit(AT_ONCE)
        rows = connection.execute(query).all()
        yield from map(node_of, rows)
        if len(rows) < AT_ONCE:
            return
        after = rows[-1].node


def _deleted_nodes(connection: Connection, request: DeletedRequest) -> Iterator[Node]:
    """One directory after the other: the index that finds deleted nodes there gives them in the order of their ids."""
    after = request.after or b""
    for parent in dict.fromkeys(request.parents):
        wanted = [nodes.c.workspace == request.workspace, nodes.c.parent == parent, nodes.c.deleted]
        if request.tokens:
            wanted.append(nodes.c.token.in_(set(request.tokens)))
        yield from _all_nodes(connection, wanted, after)
        after = b""


def _moved_nodes(connection: Connection, request: DeletedRequest) -> list[Node]:
    """Nodes that were in these directories under these names and are elsewhere now. That reads all states of the
    workspace: an index for what people ask once in a while would cost every commit."""
    if not request.tokens:
        raise Refused(Code.MALFORMED, "what was moved is asked for by the names that it had")

    def there(table: Table) -> ColumnElement[bool]:
        return and_(table.c.parent.in_(set(request.parents)), table.c.token.in_(set(request.tokens)))

    once = select(states.c.node).where(states.c.workspace == request.workspace, there(states), not_(states.c.deleted))
    query = select(nodes).where(nodes.c.workspace == request.workspace, nodes.c.node.in_(once), not_(there(nodes)))
    return [node_of(row) for row in connection.execute(query.order_by(nodes.c.node).limit(MAX_ASKED))]


def _rank(column: ColumnElement[Any], *, newest: bool) -> ColumnElement[int]:
    """The place of a state among those with the same value: the newest first, or the oldest."""
    order = (_REVISION, states.c.position)
    by = [each.desc() for each in order] if newest else list(order)
    return func.row_number().over(partition_by=column, order_by=by).label("rank")


def _first_operations(
    connection: Connection, workspace: WorkspaceId, ranked: Select[*tuple[Any, ...]]
) -> Iterator[Row]:
    """The states that rank first."""
    found = ranked.subquery()
    at = and_(states.c.revision == found.c.revision, states.c.position == found.c.position)
    query = select(states).join_from(found, states, at).where(found.c.rank == 1, states.c.workspace == workspace)
    yield from connection.execute(query)


def _places(
    connection: Connection,
    workspace: WorkspaceId,
    ids: Sequence[NodeId],
    through: int,
    *conditions: ColumnElement[bool],
) -> list[_Past]:
    """The operations that put nodes where they were at a revision; none of nodes that didn't exist then."""
    if not ids:
        return []
    last = (
        select(states.c.place, states.c.deleted, _rank(states.c.node, newest=True))
        .where(states.c.workspace == workspace, states.c.node.in_(ids), through >= _REVISION, *conditions)
        .subquery()
    )
    marks = connection.scalars(select(last.c.place).where(last.c.rank == 1, not_(last.c.deleted))).all()
    if not marks:
        return []
    setting = select(states.c.revision, states.c.position, _rank(states.c.place, newest=False)).where(
        states.c.workspace == workspace, states.c.place.in_(marks)
    )
    return [_past(row) for row in _first_operations(connection, workspace, setting)]


def _contents(connection: Connection, workspace: WorkspaceId, ids: Sequence[NodeId], through: int) -> list[_Past]:
    """The operations that brought the newest contents up to a revision that are durable by now."""
    if not ids:
        return []
    brought = and_(
        versions.c.workspace == states.c.workspace,
        versions.c.version == states.c.version,
        versions.c.revision == states.c.revision,
        versions.c.position == states.c.position,
        versions.c.state == DURABLE,
    )
    newest = (
        select(states.c.revision, states.c.position, _rank(states.c.node, newest=True))
        .join_from(states, versions, brought)
        .where(states.c.workspace == workspace, states.c.node.in_(ids), through >= _REVISION)
    )
    return [
        _past(row)._replace(durable=VersionId(row.version)) for row in _first_operations(connection, workspace, newest)
    ]


def _deletions(connection: Connection, workspace: WorkspaceId, ids: Sequence[NodeId]) -> list[_Past]:
    """The operations that deleted nodes. A withdrawal is none."""
    at = and_(
        states.c.workspace == nodes.c.workspace,
        states.c.revision == nodes.c.place_revision,
        states.c.position == nodes.c.place_position,
        states.c.deleted,
    )
    query = select(states).join_from(nodes, states, at).where(nodes.c.workspace == workspace, nodes.c.node.in_(ids))
    return [_past(row) for row in connection.execute(query)]


def _past(row: Row) -> _Past:
    return _Past(NodeId(row.node), row.revision, row.position, row.operation)


# The answer ---------------------------------------------------------------------------------------------------------


def _add_durable(connection: Connection, workspace: WorkspaceId, told: _Told) -> None:
    """Note which of the versions that were told of are durable."""
    named = dict.fromkeys(content.version for content in contents_of(told.decoded()))
    for batch in batches(named):
        query = select(versions.c.version).where(
            versions.c.workspace == workspace, versions.c.version.in_(batch), versions.c.state == DURABLE
        )
        told.durable |= dict.fromkeys(map(VersionId, connection.scalars(query)))


def _reply(now: _Now, at: tuple[int, int], now_ms: int, told: _Told, *, more: bool) -> HistoryReply:
    return HistoryReply(
        revision=at[0],
        time_ms=at[1],
        head=now.head,
        hash=now.hash,
        now_ms=now_ms,
        entries=told.written(),
        operations=told.loose(),
        durable=tuple(told.durable),
        nodes=tuple(_past_node(node) for node in told.nodes),
        more=more,
    )


def _past_node(node: Node) -> PastNode:
    return PastNode(
        node=node.node,
        kind=node.kind,
        parent=node.parent,
        place=node.place,
        version=node.version,
        deleted=node.deleted,
    )
