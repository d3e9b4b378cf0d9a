"""Withdrawing announced versions: the head falls back to the durable one, and the quota is free again.

    by its author       at any time
    by the tracker      a version that made no progress for 7 days (design §6, rule d)
                        a head that made none for 24 h, when a write made on the durable head passes over it (rule e)

Progress is the commit itself, and each pack with one of the version's chunks. A record tells of heads; a version that
was overtaken goes quietly. A node without a durable head is deleted by the record: it has nothing to show.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from protocol.api import WithdrawRequest
from protocol.codec import decode
from protocol.deltas import MAX_DELTA_BYTES, Record, Withdrawal
from protocol.errors import Code, Refused
from protocol.identifiers import DeviceId, NodeId, UserId, VersionId, WorkspaceId
from tracker.metadata.access import WRITERS
from tracker.metadata.batches import batches
from tracker.metadata.loading import find_nodes
from tracker.metadata.order import Head, NewRecord, add_used, append_record, lock_for, lock_head
from tracker.metadata.rules import without_head
from tracker.metadata.writing import update_contents
from tracker.schema import ANNOUNCED, IS_ANNOUNCED, NO_UPLOAD, WITHDRAWAL, WITHDRAWN, awaiting, entries, versions

STALLED_MS = 24 * 3600 * 1000
"""Writes may pass over a head that made no progress for so long."""
FORSAKEN_MS = 7 * 24 * 3600 * 1000
"""A version that made no progress for so long is withdrawn."""
AT_ONCE, CHUNKS_AT_ONCE = 1000, 20_000
"""Forsaken versions in one transaction, and chunks that they await, so that others needn't wait long for it."""

Taken = tuple[NodeId, VersionId]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """What one transaction took from a workspace; `record` is None when no head was among the versions."""

    workspace: WorkspaceId
    versions: int
    record: NewRecord | None


def withdraw(
    connection: Connection, user: UserId, device: DeviceId, request: WithdrawRequest, time_ms: int
) -> NewRecord | None:
    """Take back those of the versions that are still announced; None when no head is among them.

    `Refused` (FORBIDDEN) when another device is the author of one.
    """
    workspace = request.workspace
    head = lock_for(connection, workspace, user, WRITERS)
    return take_back(connection, head, _announced_by(connection, workspace, device, request.versions), time_ms)


def _announced_by(
    connection: Connection, workspace: WorkspaceId, device: DeviceId, named: Sequence[VersionId]
) -> list[Taken]:
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


def withdraw_stalled(connection: Connection, time_ms: int, *, at_once: int = AT_ONCE) -> Withdrawn | None:
    """Take back some of the versions that made no progress for FORSAKEN_MS, all of one workspace; None when there are
    no more anywhere."""
    latest = time_ms - FORSAKEN_MS
    workspace = connection.execute(
        select(versions.c.workspace).where(IS_ANNOUNCED, versions.c.progress_ms <= latest).limit(1)
    ).scalar_one_or_none()
    if workspace is None:
        return None
    head = lock_head(connection, WorkspaceId(workspace))
    forsaken = list(_forsaken(connection, head.workspace, latest, at_once))
    return Withdrawn(head.workspace, len(forsaken), take_back(connection, head, forsaken, time_ms))


def _forsaken(connection: Connection, workspace: WorkspaceId, latest: int, at_once: int) -> Iterator[Taken]:
    """The versions that made no progress since `latest`, oldest first, as many as one transaction may take."""
    rows = connection.execute(
        select(versions.c.node, versions.c.version, versions.c.missing)
        .where(versions.c.workspace == workspace, IS_ANNOUNCED, versions.c.progress_ms <= latest)
        .order_by(versions.c.progress_ms, versions.c.revision, versions.c.position)
        .limit(at_once)
    ).all()
    chunks = 0
    for row in rows:
        yield NodeId(row.node), VersionId(row.version)
        chunks += row.missing
        if chunks >= CHUNKS_AT_ONCE:
            return


def stalled_among(
    connection: Connection, workspace: WorkspaceId, heads: Mapping[NodeId, VersionId], time_ms: int
) -> dict[NodeId, VersionId]:
    """Those of these heads that are announced and made no progress for STALLED_MS."""
    stalled: set[VersionId] = set()
    for batch in batches(heads.values()):
        rows = connection.scalars(
            select(versions.c.version).where(
                versions.c.workspace == workspace,
                versions.c.version.in_(batch),
                versions.c.state == ANNOUNCED,
                versions.c.progress_ms <= time_ms - STALLED_MS,
            )
        )
        stalled.update(map(VersionId, rows))
    return {node: version for node, version in heads.items() if version in stalled}


def take_back(connection: Connection, head: Head, taken: Sequence[Taken], time_ms: int) -> NewRecord | None:
    """Withdraw announced versions of the locked workspace; None when no head is among them."""
    for batch in batches(version for _, version in taken):
        of_batch = (versions.c.workspace == head.workspace, versions.c.version.in_(batch))
        connection.execute(update(versions).where(*of_batch).values(state=WITHDRAWN, missing=0, **NO_UPLOAD))
        connection.execute(
            delete(awaiting).where(awaiting.c.workspace == head.workspace, awaiting.c.version.in_(batch))
        )
    return _fall_back(connection, head, taken, time_ms)


def _fall_back(connection: Connection, head: Head, taken: Sequence[Taken], time_ms: int) -> NewRecord | None:
    known = find_nodes(connection, head.workspace, dict.fromkeys(node for node, _ in taken))
    heads = [(node, version) for node, version in taken if node in known and known[node].version == version]
    if not heads:
        return None
    fallen = {node: without_head(known[node]) for node, _ in heads}
    update_contents(connection, head.workspace, fallen.values())
    freed = sum(known[node].charge - now.charge for node, now in fallen.items())
    add_used(connection, head.owner, -freed)
    record = Record(withdrawn=tuple((node, version, fallen[node].version) for node, version in heads))
    return append_record(connection, head, record, time_ms)


def withdrawn_since(
    connection: Connection, workspace: WorkspaceId, revision: int, named: Iterable[VersionId]
) -> Iterator[Withdrawal]:
    """What the records after `revision` say of those of `named` that they withdraw."""
    gone: set[VersionId] = set()
    for batch in batches(named):
        rows = connection.scalars(
            select(versions.c.version).where(
                versions.c.workspace == workspace, versions.c.version.in_(batch), versions.c.state == WITHDRAWN
            )
        )
        gone.update(map(VersionId, rows))
    if gone:
        records = connection.scalars(
            select(entries.c.record).where(
                entries.c.workspace == workspace, entries.c.revision > revision, entries.c.kind == WITHDRAWAL
            )
        )
        for record in records:
            yield from (row for row in decode(Record, record, MAX_DELTA_BYTES).withdrawn if row[1] in gone)
