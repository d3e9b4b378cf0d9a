"""Rows of nodes and their history, written many at a time."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, insert, update

from protocol.identifiers import NodeId, WorkspaceId
from tracker.metadata.batches import among, batches
from tracker.metadata.bulk import Bulk, Work
from tracker.metadata.rules import At, Node
from tracker.schema import nodes, states

# Rows of all columns, in their order.
_APPEND_STATES = Bulk(insert(states), *states.columns.keys())
_INSERT_NODES = Bulk(insert(nodes), *nodes.columns.keys())


def states_of(workspace: WorkspaceId, revision: int, after: Sequence[Node], operations: Sequence[bytes]) -> Work:
    """One state an operation, to be appended."""
    rows = [
        (
            workspace,
            revision,
            position,
            node.node,
            node.kind,
            node.parent,
            node.token,
            node.place,
            node.version,
            node.deleted,
            operation,
        )
        for position, (node, operation) in enumerate(zip(after, operations, strict=True))
    ]
    return _APPEND_STATES, rows


def remove_nodes(connection: Connection, workspace: WorkspaceId, known: Iterable[NodeId]) -> None:
    """Take away the rows of nodes that `nodes_of` gives new ones.

    Old rows go first: two nodes that swap names would collide in the index of live names if one was updated
    before the other.
    """
    for batch in batches(known):
        connection.execute(delete(nodes).where(nodes.c.workspace == workspace, nodes.c.node.in_(batch)))


def nodes_of(workspace: WorkspaceId, now: Iterable[Node]) -> Work:
    """Rows for nodes that have none, to be inserted."""
    return _INSERT_NODES, [_row(workspace, node) for node in now]


def _row(workspace: WorkspaceId, node: Node) -> tuple[Any, ...]:
    """The opposite of `loading.node_of`."""
    *registers, place, content, durable = node
    return workspace, *registers, *place, *_pair(content), *_pair(durable)


def _content_columns(node: Node) -> dict[str, Any]:
    content, durable = _pair(node.content_at), _pair(node.durable_at)
    return {
        "version": node.version,
        "durable_version": node.durable_version,
        "size": node.size,
        "durable_size": node.durable_size,
        "content_revision": content[0],
        "content_position": content[1],
        "durable_revision": durable[0],
        "durable_position": durable[1],
    }


def _pair(at: At | None) -> tuple[int | None, int | None]:
    return (None, None) if at is None else at


_HEADS_ARE_DURABLE = (
    update(nodes)
    .where(nodes.c.workspace == bindparam("at_workspace"), among(nodes.c.node))
    .values(
        durable_version=nodes.c.version,
        durable_size=nodes.c.size,
        durable_revision=nodes.c.content_revision,
        durable_position=nodes.c.content_position,
    )
)


def turn_heads_durable(connection: Connection, workspace: WorkspaceId, ids: Iterable[NodeId]) -> None:
    """Make these nodes what `rules.as_durable` says."""
    for batch in batches(ids):
        connection.execute(_HEADS_ARE_DURABLE, {"at_workspace": workspace, "ids": batch})


def update_contents(connection: Connection, workspace: WorkspaceId, now: Iterable[Node]) -> None:
    """Set the content registers of nodes whose places stay, and whether the nodes are deleted."""
    rows = [
        {"at_workspace": workspace, "at_node": node.node, "deleted": node.deleted, **_content_columns(node)}
        for node in now
    ]
    if rows:
        connection.execute(
            update(nodes).where(nodes.c.workspace == bindparam("at_workspace"), nodes.c.node == bindparam("at_node")),
            rows,
        )
