"""Reading what a commit is judged by: every query covers many operations, none is per row."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, bindparam, not_, select
from sqlalchemy.engine import Row

from protocol.commits import DIRECTORY, Create, Delete, Move, Operation, Place, Restore
from protocol.identifiers import ROOT, NameToken, NodeId, WorkspaceId
from tracker.metadata.batches import WORKSPACE, among, batches
from tracker.metadata.rules import At, Before, Node
from tracker.metadata.weighing import Weighed, contents_of
from tracker.schema import nodes, states, versions

PARENTS = 16


_NODES = select(nodes).where(nodes.c.workspace == WORKSPACE, among(nodes.c.node))
# With `among` twice SQLite reads all of the workspace.
_OCCUPANTS = select(nodes.c.parent, nodes.c.token, nodes.c.node).where(
    nodes.c.workspace == WORKSPACE,
    nodes.c.parent.in_(bindparam("parents", expanding=True)),
    nodes.c.token.in_(bindparam("tokens", expanding=True)),
    not_(nodes.c.deleted),
)
_PLACES = select(states.c.place).where(states.c.workspace == WORKSPACE, among(states.c.place))
_VERSIONS = select(versions.c.version).where(versions.c.workspace == WORKSPACE, among(versions.c.version))


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner's plan allows, in bytes."""

    used: int
    quota: int
    max_file: int


def read_before(
    connection: Connection,
    workspace: WorkspaceId,
    revision: int,
    operations: Sequence[Operation],
    weighed: Weighed,
    limits: Limits,
) -> Before:
    """Everything `rules.judge` looks at."""
    places = places_of(operations)
    known = find_nodes(connection, workspace, _named(operations, places))
    if any(isinstance(op, Move | Restore) and _is_directory(known.get(op.node)) for op in operations):
        _add_ancestors(connection, workspace, known)
    gone = [op.node for op in operations if isinstance(op, Delete) and _is_directory(known.get(op.node))]
    # A directory that the commit itself makes has nothing in it yet.
    occupants = _occupants(connection, workspace, [at for at in places if at.parent == ROOT or at.parent in known])
    known |= find_nodes(connection, workspace, [node for node in occupants.values() if node not in known])
    return Before(
        revision=revision,
        nodes=known,
        occupants=occupants,
        crowded=_crowded(connection, workspace, gone, {op.node for op in operations}),
        used_marks=_used_marks(connection, workspace, operations),
        contents=weighed.measured,
        used=limits.used,
        quota=limits.quota,
        max_file=limits.max_file,
    )


def places_of(operations: Iterable[Operation]) -> list[Place]:
    """The places that operations give."""
    return [op.place for op in operations if isinstance(op, Create | Move | Restore)]


def _named(operations: Iterable[Operation], places: Iterable[Place]) -> list[NodeId]:
    named = dict.fromkeys(op.node for op in operations)
    named |= dict.fromkeys(place.parent for place in places)
    named.pop(ROOT, None)
    return list(named)


def _is_directory(node: Node | None) -> bool:
    return node is not None and node.kind == DIRECTORY


def find_nodes(connection: Connection, workspace: WorkspaceId, ids: Iterable[NodeId]) -> dict[NodeId, Node]:
    """Those of these nodes that exist or existed."""
    found: dict[NodeId, Node] = {}
    for batch in batches(ids):
        rows = connection.execute(_NODES, {"workspace": workspace, "ids": batch})
        found.update((node.node, node) for node in map(node_of, rows))
    return found


def node_of(row: Row[*tuple[Any, ...]]) -> Node:
    """A node from its row in `nodes`, all columns in their order."""
    _, *registers, place_revision, place_position, content, content_at, durable, durable_at = row
    return Node._make(
        (*registers, (place_revision, place_position), _at(content, content_at), _at(durable, durable_at))
    )


def _at(revision: int | None, position: int | None) -> At | None:
    return None if revision is None or position is None else (revision, position)


def _add_ancestors(connection: Connection, workspace: WorkspaceId, known: dict[NodeId, Node]) -> None:
    """Complete `known` up to the root, one query a level."""
    while wanted := {node.parent for node in known.values()} - known.keys() - {ROOT}:
        found = find_nodes(connection, workspace, wanted)
        known |= found
        if len(found) < len(wanted):
            return  # a damaged tree; `check` tells


def _occupants(
    connection: Connection, workspace: WorkspaceId, places: Iterable[Place]
) -> dict[tuple[NodeId, NameToken], NodeId]:
    """Which live nodes have the names that these places give.

    Asked as parents × tokens, few parents at a time: SQLite answers row-value lists from no index.
    """
    found: dict[tuple[NodeId, NameToken], NodeId] = {}
    names: dict[NodeId, dict[NameToken, None]] = defaultdict(dict)
    for place in places:
        names[place.parent][place.token] = None
    for parents in batches(names, PARENTS):
        for tokens in batches(token for parent in parents for token in names[parent]):
            at = {"workspace": workspace, "parents": parents, "tokens": tokens}
            rows = connection.execute(_OCCUPANTS, at)
            found.update(((NodeId(row.parent), NameToken(row.token)), NodeId(row.node)) for row in rows)
    return found


def _crowded(
    connection: Connection, workspace: WorkspaceId, directories: Iterable[NodeId], touched: set[NodeId]
) -> set[NodeId]:
    """Directories with a live child outside `touched`."""
    found: set[NodeId] = set()
    for batch in batches(dict.fromkeys(directories)):
        rows = connection.execute(
            select(nodes.c.parent)
            .where(
                nodes.c.workspace == workspace,
                nodes.c.parent.in_(batch),
                not_(nodes.c.deleted),
                nodes.c.node.not_in(touched),
            )
            .distinct()
        )
        found.update(NodeId(row.parent) for row in rows)
    return found


def _used_marks(connection: Connection, workspace: WorkspaceId, operations: Iterable[Operation]) -> set[bytes]:
    """Of the marks these operations bring, those the workspace has seen before."""
    operations = list(operations)
    marks = [place.mark for place in places_of(operations)]
    marks += [op.mark for op in operations if isinstance(op, Delete)]
    used: set[bytes] = set()
    for batch in batches(marks):
        used.update(connection.scalars(_PLACES, {"workspace": workspace, "ids": batch}))
    for ids in batches(content.version for content in contents_of(operations)):
        used.update(connection.scalars(_VERSIONS, {"workspace": workspace, "ids": ids}))
    return used
