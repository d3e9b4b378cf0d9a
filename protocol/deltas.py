"""Deltas: what happened in a workspace after a cursor, as the state that came of it.

A delta lists, in order, the revisions after `since` up to `through`. A commit's operations that a later one has
overtaken travel as their 32-byte hash, all others whole, so a receiver can verify every signature and still never
reads what no longer matters. Revisions of which nothing is left don't appear. An operation is never 32 bytes long.

An entry that the tracker made itself (no commit) says which versions turned durable or were withdrawn:

    record digest = BLAKE3-derive("record digest", CBOR of Record)
"""

from typing import TypeAlias

from protocol.breaker import Approval
from protocol.codec import (
    U32,
    blob,
    decode,
    encode,
    many,
    message,
    nested,
    octets,
    optional,
    row,
    unsigned,
    wire,
)
from protocol.commits import MAX_OPERATION_BYTES, commit_digest, operation_hash, signed_bytes, verify_commit
from protocol.errors import Malformed
from protocol.hashing import hash_for
from protocol.identifiers import (
    HASH_LENGTH,
    ID_LENGTH,
    MAX_COMMIT_OPERATIONS,
    CommitHash,
    CommitId,
    DeviceId,
    NodeId,
    TrackerEpoch,
    VersionId,
    WorkspaceId,
)
from protocol.runs import MAX_RUN_BYTES, MAX_RUNS
from protocol.signing import SIGNATURE_LENGTH

MAX_DELTA_BYTES = 6 << 20
PAGE_BYTES = 2 << 20
"""A tracker ends a page at the first entry that passes this."""
MAX_ENTRIES = 20_000
MAX_VERSIONS = 20_000
MAX_REVISION = (1 << 62) - 1
INLINE_DELTA_BYTES = 256 << 10
"""A notification carries the delta itself up to this size."""


@message
class SignedCommit:
    """A commit as it is handed on: `items` are whole operations or the hashes of overtaken ones."""

    device: DeviceId = wire(1, octets(ID_LENGTH))
    epoch: int = wire(2, unsigned(U32))
    id: CommitId = wire(3, octets(ID_LENGTH))
    seen: CommitHash = wire(4, octets(HASH_LENGTH))
    signature: bytes = wire(5, octets(SIGNATURE_LENGTH))
    items: tuple[bytes, ...] = wire(6, many(blob(MAX_OPERATION_BYTES), MAX_COMMIT_OPERATIONS))
    approval: Approval | None = wire(7, optional(nested(Approval)), default=None)  # as it came with the commit


Withdrawal: TypeAlias = tuple[NodeId, VersionId, VersionId | None]
"""A node, its version that was withdrawn, and its head from now on."""
WITHDRAWAL = row(octets(ID_LENGTH), octets(ID_LENGTH), optional(octets(ID_LENGTH)))


@message
class Record:
    """What the tracker itself puts in the order: rows of (node, version); a withdrawn row adds the head from now on,
    None when the node has no durable version, and is deleted thereby."""

    durable: tuple[tuple[NodeId, VersionId], ...] = wire(
        1, many(row(octets(ID_LENGTH), octets(ID_LENGTH)), MAX_VERSIONS), default=()
    )
    withdrawn: tuple[Withdrawal, ...] = wire(2, many(WITHDRAWAL, MAX_VERSIONS), default=())


@message
class Entry:
    """One revision: a commit, or a record the tracker made."""

    revision: int = wire(1, unsigned(MAX_REVISION))
    time_ms: int = wire(2, unsigned(MAX_REVISION))  # by the tracker's clock, since 1970 UTC
    commit: SignedCommit | None = wire(3, optional(nested(SignedCommit)), default=None)
    record: Record | None = wire(4, optional(nested(Record)), default=None)


@message
class Delta:
    """Revisions after `since` up to `through`; more are there when `through` < `head`."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    tracker_epoch: TrackerEpoch = wire(2, octets(ID_LENGTH))
    since: int = wire(3, unsigned(MAX_REVISION))
    through: int = wire(4, unsigned(MAX_REVISION))
    head: int = wire(5, unsigned(MAX_REVISION))
    hash: CommitHash = wire(6, octets(HASH_LENGTH))  # the chain hash at `through`
    entries: tuple[Entry, ...] = wire(7, many(nested(Entry), MAX_ENTRIES), default=())
    # Versions among the operations here that the tracker does not hold whole yet; all others are durable.
    announced: tuple[VersionId, ...] = wire(8, many(octets(ID_LENGTH), MAX_VERSIONS), default=())
    # Bodies of runs that the operations name; a convenience, the rest is asked for.
    runs: tuple[bytes, ...] = wire(9, many(blob(MAX_RUN_BYTES), MAX_RUNS), default=())


def decode_delta(data: bytes) -> Delta:
    """A delta, with its numbers held against each other."""
    delta = decode(Delta, data, MAX_DELTA_BYTES)
    revisions = [entry.revision for entry in delta.entries]
    if not delta.since <= delta.through <= delta.head:
        raise Malformed("a delta whose bounds are out of order")
    if revisions != sorted(set(revisions)) or any(not delta.since < r <= delta.through for r in revisions):
        raise Malformed("a delta's entries are out of order")
    if any((entry.commit is None) == (entry.record is None) for entry in delta.entries):
        raise Malformed("a delta's entry is neither a commit nor a record")
    return delta


def item_hash(item: bytes) -> bytes:
    """The hash of an item, which is either an operation or a hash already."""
    return item if len(item) == HASH_LENGTH else operation_hash(item)


def signed_bytes_of(workspace: WorkspaceId, commit: SignedCommit) -> bytes:
    """What the commit's signature is over, whether its operations are whole or hashes."""
    hashes = [item_hash(item) for item in commit.items]
    return signed_bytes(workspace, commit.device, commit.epoch, commit.id, commit.seen, hashes)


def verify_signed_commit(workspace: WorkspaceId, commit: SignedCommit, device_key: bytes) -> None:
    """Raise `BadSignature` unless the device holding `device_key` signed this commit in this workspace."""
    verify_commit(signed_bytes_of(workspace, commit), device_key, commit.signature)


def entry_digest(workspace: WorkspaceId, entry: Entry) -> bytes:
    """What the chain hash takes in of an entry."""
    if entry.commit is not None:
        return commit_digest(signed_bytes_of(workspace, entry.commit), entry.commit.signature)
    if entry.record is None:
        raise Malformed("an empty entry")
    return record_digest(entry.record)


def record_digest(record: Record) -> bytes:
    """What the chain hash takes in of a record the tracker made."""
    return hash_for("record digest", encode(record))
