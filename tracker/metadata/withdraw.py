"""Withdrawing announced versions: the head falls back to the durable one, and the quota is free again.

A file that never had a durable version is left without content; its author commits it anew or deletes it.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, select, update

from protocol.api import WithdrawRequest
from protocol.deltas import Record
from protocol.errors import Code, Refused
from protocol.identifiers import DeviceId, NodeId, UserId, VersionId, WorkspaceId
from tracker.metadata.access import WRITERS, require
from tracker.metadata.batches import batches
from tracker.metadata.loading import find_nodes
from tracker.metadata.order import Head, NewRecord, add_used, append_record, lock_head
from tracker.metadata.rules import Node
from tracker.metadata.writing import update_contents
from tracker.schema import ANNOUNCED, NO_UPLOAD, WITHDRAWN, awaiting, versions


def withdraw(
    connection: Connection, user: UserId, device: DeviceId, request: WithdrawRequest, time_ms: int
) -> NewRecord | None:
    """Take back those of the versions that are still announced; None when none is.

    `Refused` (FORBIDDEN) when another device is the author of one.
    """
    workspace = request.workspace
    require(connection, workspace, user, WRITERS)
    head = lock_head(connection, workspace)
    mine = _announced_by(connection, workspace, device, request.versions)
    if not mine:
        return None
    for batch in batches(version for _, version in mine):
        of_batch = (versions.c.workspace == workspace, versions.c.version.in_(batch))
        connection.execute(update(versions).where(*of_batch).values(state=WITHDRAWN, missing=0, **NO_UPLOAD))
        connection.execute(delete(awaiting).where(awaiting.c.workspace == workspace, awaiting.c.version.in_(batch)))
    return _fall_back(connection, head, mine, time_ms)


def _announced_by(
    connection: Connection, workspace: WorkspaceId, device: DeviceId, named: Sequence[VersionId]
) -> list[tuple[NodeId, VersionId]]:
    found = []
    for batch in batches(dict.fromkeys(named)):
        rows = connection.execute(
            select(versions.c.node, versions.c.version, versions.c.device)
            .where(versions.c.workspace == workspace, versions.c.version.in_(batch), versions.c.state == ANNOUNCED)
            .order_by(versions.c.revision, versions.c.position)
        )
        for row in rows:
            if row.device != device:
                raise Refused(Code.FORBIDDEN, "only its author withdraws a version")
            found.append((NodeId(row.node), VersionId(row.version)))
    return found


def _fall_back(
    connection: Connection, head: Head, withdrawn: Sequence[tuple[NodeId, VersionId]], time_ms: int
) -> NewRecord | None:
    gone = {version for _, version in withdrawn}
    known = find_nodes(connection, head.workspace, dict.fromkeys(node for node, _ in withdrawn))
    before = [node for node in known.values() if node.version in gone]
    now = [_without_head(node) for node in before]
    update_contents(connection, head.workspace, now)
    add_used(connection, head.owner, sum(node.charge for node in now) - sum(node.charge for node in before))
    fallen = {node.node: node for node in now}
    rows = [(node, version, fallen[node].version) for node, version in withdrawn if _was_head(known, node, version)]
    if not rows:
        return None
    return append_record(connection, head, Record(withdrawn=tuple(rows)), time_ms)


def _was_head(known: dict[NodeId, Node], node: NodeId, version: VersionId) -> bool:
    return node in known and known[node].version == version


def _without_head(node: Node) -> Node:
    """The durable head is the head again. Without one the operation that announced the head stays its content's,
    so that it still travels whole: it tells what kind of node this is."""
    content_at = node.content_at if node.durable_version is None else node.durable_at
    return replace(
        node,
        version=node.durable_version,
        size=node.durable_size,
        content_at=content_at,
    )
