"""The order: every digest, signature and chain hash made again from what the entries and states hold."""

from collections.abc import Iterator

from sqlalchemy import Connection, select
from sqlalchemy.engine import Row

from protocol.codec import decode
from protocol.commits import chain, commit_digest, first_chain_hash, operation_hash, signed_bytes, verify_commit
from protocol.deltas import MAX_DELTA_BYTES, Record, record_digest
from protocol.errors import BadSignature, Malformed
from protocol.identifiers import HASH_LENGTH, CommitHash, CommitId, DeviceId, WorkspaceId
from tracker.checking.report import Report
from tracker.schema import COMMIT, devices, entries, states, workspaces

_WINDOW = 500


def check_order(connection: Connection, report: Report, workspace: WorkspaceId) -> None:
    """Recompute a workspace's chain from its first revision."""
    keys = {row.id: row.signing_key for row in connection.execute(select(devices.c.id, devices.c.signing_key))}
    revision, hash = 0, first_chain_hash(workspace)
    for row in _entries(connection, workspace):
        at = f"workspace {workspace.hex()}, revision {row.revision}"
        report.expect(row.revision == revision + 1, f"{at}: the revision before it is missing")
        _check_entry(connection, report, workspace, row, keys, at)
        revision, hash = row.revision, chain(hash, row.revision, row.digest)
        report.expect(hash == row.hash, f"{at}: the chain hash is wrong")
        hash = CommitHash(row.hash)  # one wrong link is one problem
        report.counts["revisions"] += 1
    head = connection.execute(select(workspaces).where(workspaces.c.id == workspace)).one()
    report.expect(
        (head.revision, head.hash) == (revision, hash), f"workspace {workspace.hex()}: the head is not the last entry"
    )


def _entries(connection: Connection, workspace: WorkspaceId) -> Iterator[Row[*tuple[object, ...]]]:
    after = 0
    while True:
        rows = connection.execute(
            select(entries)
            .where(entries.c.workspace == workspace, entries.c.revision > after)
            .order_by(entries.c.revision)
            .limit(_WINDOW)
        ).all()
        yield from rows
        if len(rows) < _WINDOW:
            return
        after = rows[-1].revision


def _check_entry(
    connection: Connection,
    report: Report,
    workspace: WorkspaceId,
    row: Row[*tuple[object, ...]],
    keys: dict[bytes, bytes],
    at: str,
) -> None:
    if row.kind != COMMIT:
        try:
            digest = record_digest(decode(Record, row.record, MAX_DELTA_BYTES))
        except Malformed as error:
            report.problem(f"{at}: the record can't be read: {error}")
            return
        report.expect(digest == row.digest, f"{at}: the record is not what was recorded")
        return
    hashes = [row.items[at_ : at_ + HASH_LENGTH] for at_ in range(0, len(row.items), HASH_LENGTH)]
    signed = signed_bytes(
        workspace, DeviceId(row.device), row.epoch, CommitId(row.commit_id), CommitHash(row.seen), hashes
    )
    report.expect(commit_digest(signed, row.signature) == row.digest, f"{at}: the commit is not what was recorded")
    try:
        verify_commit(signed, keys.get(row.device, b""), row.signature)
    except BadSignature:
        report.problem(f"{at}: the commit's signature does not verify")
    _check_operations(connection, report, workspace, row.revision, hashes, at)


def _check_operations(
    connection: Connection, report: Report, workspace: WorkspaceId, revision: int, hashes: list[bytes], at: str
) -> None:
    rows = connection.execute(
        select(states.c.position, states.c.operation)
        .where(states.c.workspace == workspace, states.c.revision == revision)
        .order_by(states.c.position)
    ).all()
    report.counts["operations"] += len(rows)
    whole = [row.position for row in rows] == list(range(len(hashes)))
    right = whole and all(operation_hash(row.operation) == hash for row, hash in zip(rows, hashes, strict=True))
    report.expect(right, f"{at}: its operations are not those that were signed")
