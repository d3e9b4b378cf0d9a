"""Reading what a commit is judged by: every query covers many operations, none is per row."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from sqlalchemy import Connection, func, not_, select, text
from sqlalchemy.engine import Row

from protocol.commits import DIRECTORY, Create, Delete, Move, Operation, Place, Restore
from protocol.identifiers import ROOT, NameToken, NodeId, WorkspaceId
from tracker.metadata.batches import WORKSPACE, Lookup, arrays, batches, joined_ids, lookup, one_by_one
from tracker.metadata.rules import At, Before, Node
from tracker.metadata.weighing import Weighed, contents_of
from tracker.schema import nodes, states, versions

_NODES = lookup(nodes.c.node, *nodes.c)
_WANTED = arrays(nodes.c.parent, nodes.c.token, names=("parents", "tokens"))
_OCCUPANTS = Lookup(
    # Of lists of values, of two lists as `among` makes them, or of rows of values SQLite thinks that reading all of
    # the workspace is cheaper. CROSS JOIN keeps the order of the two.
    text("""
        WITH RECURSIVE cuts(at) AS (VALUES (1) UNION ALL SELECT at + 16 FROM cuts WHERE at + 16 <= length(:tokens))
        SELECT parent, token, node FROM cuts CROSS JOIN nodes
        WHERE workspace = :workspace AND deleted = 0
            AND parent = substr(:parents, at, 16) AND token = substr(:tokens, at, 16)
    """)
    .bindparams(joined_ids("parents", nodes.c.parent), joined_ids("tokens", nodes.c.token))
    .columns(nodes.c.parent, nodes.c.token, nodes.c.node),
    one_by_one(
        _WANTED,
        select(nodes.c.parent, nodes.c.token, nodes.c.node).where(
            nodes.c.workspace == WORKSPACE,
            nodes.c.parent == _WANTED.c.parents_,
            nodes.c.token == _WANTED.c.tokens_,
            not_(nodes.c.deleted),
        ),
    ),
)
_USED_MARKS = lookup(states.c.place, states.c.place, name="places").beside(
    lookup(versions.c.version, versions.c.version, name="versions")
)


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
    parts: Sequence[int] = (0,),
) -> Before:
    """Everything `rules.judge` looks at. `parts` are the indices at which the parts of a staged commit begin."""
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
        crowded=_crowded(
            connection, workspace, gone, [known[id] for id in {op.node for op in operations} & known.keys()]
        ),
        used_marks=_used_marks(connection, workspace, operations),
        contents=weighed.measured,
        used=limits.used,
        quota=limits.quota,
        max_file=limits.max_file,
        parts=parts,
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
        rows = _NODES.execute(connection, {"workspace": workspace, "ids": batch})
        found.update((node.node, node) for node in map(node_of, rows))
    return found


def live_files(connection: Connection, workspace: WorkspaceId) -> int:
    """How many files and symlinks there are."""
    live = (nodes.c.workspace == workspace, not_(nodes.c.deleted), nodes.c.kind != DIRECTORY)
    return connection.execute(select(func.count()).select_from(nodes).where(*live)).scalar_one()


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
    """Which live nodes have the names that these places give."""
    found: dict[tuple[NodeId, NameToken], NodeId] = {}
    for batch in batches(dict.fromkeys((place.parent, place.token) for place in places)):
        parents, tokens = map(list, zip(*batch, strict=True))
        rows = _OCCUPANTS.execute(connection, {"workspace": workspace, "parents": parents, "tokens": tokens})
        found.update(((NodeId(row.parent), NameToken(row.token)), NodeId(row.node)) for row in rows)
    return found


def _crowded(
    connection: Connection, workspace: WorkspaceId, directories: Iterable[NodeId], touched: Iterable[Node]
) -> set[NodeId]:
    """Directories with a live child outside `touched`: with more of them than are in it."""
    inside = Counter(node.parent for node in touched if not node.deleted)
    found: set[NodeId] = set()
    for batch in batches(dict.fromkeys(directories)):
        rows = connection.execute(
            select(nodes.c.parent, func.count())
            .where(nodes.c.workspace == workspace, nodes.c.parent.in_(batch), not_(nodes.c.deleted))
            .group_by(nodes.c.parent)
        )
        found.update(NodeId(parent) for parent, count in rows if count > inside[parent])
    return found


def _used_marks(connection: Connection, workspace: WorkspaceId, operations: Iterable[Operation]) -> set[bytes]:
    """Of the marks these operations bring, those the workspace has seen before."""
    operations = list(operations)
    marks = [place.mark for place in places_of(operations)]
    marks += [op.mark for op in operations if isinstance(op, Delete)]
    contents = [content.version for content in contents_of(operations)]
    used: set[bytes] = set()
    for places, ids in zip_longest(batches(marks), batches(contents), fillvalue=()):
        asked = {"workspace": workspace, "places": list(places), "versions": list(ids)}
        used.update(_USED_MARKS.execute(connection, asked).scalars())
    return used
