"""Commits: signed lists of operations, and the hash chained over them.

    operation    = CBOR map, its kind under key 0; these exact bytes are hashed and never re-encoded
    signed bytes = workspace ‖ device ‖ epoch: u32 ‖ commit id ‖ seen ‖ number of operations: u32 ‖ BLAKE3(operation) …
    signature    = Ed25519(device key, "Shoal 1 commit" ‖ 00 ‖ signed bytes)
    digest       = BLAKE3-derive("commit digest", signed bytes ‖ signature)
    chain hash   = BLAKE3-derive("commit chain", chain hash before ‖ revision: u64 ‖ digest)

One signature covers a commit, so an operation can be handed on with only the hashes of its neighbours.

What is too large for one commit is staged in parts, each a commit of its own, and closed by one request that names
them all in their order. They enter the order together, one revision after the other, or not at all:

    signed bytes = workspace ‖ device ‖ number of parts: u32 ‖ digest of each part
    signature    = Ed25519(device key, "Shoal 1 commit close" ‖ 00 ‖ signed bytes)
"""

from collections.abc import Sequence
from typing import TypeAlias

from protocol.breaker import Approval
from protocol.codec import (
    U32,
    blob,
    decode,
    decode_union,
    encode,
    many,
    message,
    nested,
    octets,
    optional,
    unsigned,
    wire,
)
from protocol.errors import Malformed
from protocol.hashing import digest, hash_for
from protocol.identifiers import (
    HASH_LENGTH,
    ID_LENGTH,
    MAX_COMMIT_BYTES,
    MAX_COMMIT_OPERATIONS,
    MAX_PARTS,
    CommitHash,
    CommitId,
    DeviceId,
    NameToken,
    NodeId,
    PlaceMark,
    RunId,
    VersionId,
    WorkspaceId,
)
from protocol.manifests import MAX_MANIFEST_BYTES
from protocol.names import MAX_SEALED_NAME, TOKEN_LENGTH
from protocol.runs import MAX_RUN_BYTES, MAX_RUNS
from protocol.signing import SIGNATURE_LENGTH, SigningKey, verify

FILE, DIRECTORY, SYMLINK, MOUNT = 1, 2, 3, 4
"""Kinds of node."""
FORMAT = 1
MAX_OPERATION_BYTES = 700_000
_PURPOSE, _CLOSE_PURPOSE = "commit", "commit close"


@message
class Content:
    """A new version of a file or symlink."""

    version: VersionId = wire(1, octets(ID_LENGTH))
    manifest: bytes = wire(2, blob(MAX_MANIFEST_BYTES))  # sealed
    runs: tuple[RunId, ...] = wire(3, many(octets(HASH_LENGTH), MAX_RUNS), default=())


@message
class Place:
    """Where a node is from now on."""

    parent: NodeId = wire(1, octets(ID_LENGTH))
    token: NameToken = wire(2, octets(TOKEN_LENGTH))
    name: bytes = wire(3, blob(MAX_SEALED_NAME))  # sealed
    mark: PlaceMark = wire(4, octets(ID_LENGTH))


@message(tag=1)
class Create:
    """A new node. A directory has no content, a file or symlink has."""

    node: NodeId = wire(1, octets(ID_LENGTH))
    kind: int = wire(2, unsigned(MOUNT))
    place: Place = wire(3, nested(Place))
    content: Content | None = wire(4, optional(nested(Content)), default=None)


@message(tag=2)
class Write:
    """A new version, made on what version `base` shows."""

    node: NodeId = wire(1, octets(ID_LENGTH))
    base: VersionId = wire(2, octets(ID_LENGTH))
    content: Content = wire(3, nested(Content))


@message(tag=3)
class Move:
    """A new parent, name or both, made on the place `base`. It repeats the kind, so that whoever gets this operation
    and not the create, long overtaken, still knows what was moved."""

    node: NodeId = wire(1, octets(ID_LENGTH))
    base: PlaceMark = wire(2, octets(ID_LENGTH))
    place: Place = wire(3, nested(Place))
    kind: int = wire(4, unsigned(MOUNT))


@message(tag=4)
class Delete:
    """The node is gone; made on the place `base` and, for what has content, on version `content_base`. A directory
    must be empty once the commit is done."""

    node: NodeId = wire(1, octets(ID_LENGTH))
    base: PlaceMark = wire(2, octets(ID_LENGTH))
    mark: PlaceMark = wire(3, octets(ID_LENGTH))  # the place mark from now on
    content_base: VersionId | None = wire(4, optional(octets(ID_LENGTH)), default=None)


@message(tag=5)
class Restore:
    """A deleted node is back, with the content it had; made on the place `base` and version `content_base`."""

    node: NodeId = wire(1, octets(ID_LENGTH))
    base: PlaceMark = wire(2, octets(ID_LENGTH))
    place: Place = wire(3, nested(Place))
    content_base: VersionId | None = wire(4, optional(octets(ID_LENGTH)), default=None)
    kind: int = wire(5, unsigned(MOUNT))  # as in a move


# Kind 6 is kept for `adopt` (chunks taken over from another workspace), which comes with sharing.
Operation: TypeAlias = Create | Write | Move | Delete | Restore
OPERATIONS: tuple[type[Operation], ...] = (Create, Write, Move, Delete, Restore)


@message
class Commit:
    """What a device sends: operations, its signature, and the runs the operations name that may be new to the
    tracker."""

    format: int = wire(1, unsigned(255))
    workspace: WorkspaceId = wire(2, octets(ID_LENGTH))
    epoch: int = wire(3, unsigned(U32))  # every name and manifest inside is sealed under this key epoch
    id: CommitId = wire(4, octets(ID_LENGTH))
    seen: CommitHash = wire(5, octets(HASH_LENGTH))  # the chain hash at the device's cursor
    operations: tuple[bytes, ...] = wire(6, many(blob(MAX_OPERATION_BYTES), MAX_COMMIT_OPERATIONS))
    signature: bytes = wire(7, octets(SIGNATURE_LENGTH))
    runs: tuple[bytes, ...] = wire(8, many(blob(MAX_RUN_BYTES), MAX_RUNS), default=())
    # For deletes and overwrites past what goes unasked; not covered by the commit's signature, it has its own.
    approval: Approval | None = wire(9, optional(nested(Approval)), default=None)


@message
class Close:
    """All parts of a staged commit, by their digests in their order; they are to be taken into the order as one."""

    format: int = wire(1, unsigned(255))
    workspace: WorkspaceId = wire(2, octets(ID_LENGTH))
    parts: tuple[bytes, ...] = wire(3, many(octets(HASH_LENGTH), MAX_PARTS))
    signature: bytes = wire(4, octets(SIGNATURE_LENGTH))


def decode_operation(data: bytes) -> Operation:
    """One operation from its exact bytes; `Malformed` when a directory has content or something else has none."""
    operation: Operation = decode_union(OPERATIONS, data, MAX_OPERATION_BYTES)
    if not isinstance(operation, Create | Move | Restore):
        return operation
    if operation.kind not in (FILE, DIRECTORY, SYMLINK, MOUNT):
        raise Malformed(f"kind of node {operation.kind} is not known here")
    if isinstance(operation, Create) and (operation.content is None) != (operation.kind in (DIRECTORY, MOUNT)):
        raise Malformed("a create whose content does not fit its kind")
    return operation


def operation_hash(data: bytes) -> bytes:
    """What the commit's signature covers of one operation."""
    return digest(data)


def signed_bytes(
    workspace: WorkspaceId,
    device: DeviceId,
    epoch: int,
    commit: CommitId,
    seen: CommitHash,
    hashes: list[bytes],
) -> bytes:
    """What a commit's signature is over; `hashes` are the operations' in order."""
    head = workspace + device + epoch.to_bytes(4, "big") + commit + seen + len(hashes).to_bytes(4, "big")
    return head + b"".join(hashes)


def sign_commit(
    *,
    workspace: WorkspaceId,
    device: DeviceId,
    epoch: int,
    commit: CommitId,
    seen: CommitHash,
    operations: tuple[bytes, ...],
    runs: tuple[bytes, ...],
    signing_key: SigningKey,
    approval: Approval | None = None,
) -> Commit:
    """A commit ready to send."""
    body = signed_bytes(workspace, device, epoch, commit, seen, [operation_hash(op) for op in operations])
    return Commit(
        format=FORMAT,
        workspace=workspace,
        epoch=epoch,
        id=commit,
        seen=seen,
        operations=operations,
        signature=signing_key.sign(_PURPOSE, body),
        runs=runs,
        approval=approval,
    )


def verify_commit(signed: bytes, device_key: bytes, signature: bytes) -> None:
    """Raise `BadSignature` unless the device holding `device_key` signed these `signed_bytes`."""
    verify(device_key, _PURPOSE, signed, signature)


def commit_digest(signed: bytes, signature: bytes) -> bytes:
    """32 bytes that stand for the whole commit in the chain and in the tracker's record of commit ids."""
    return hash_for("commit digest", signed, signature)


def chain(before: CommitHash, revision: int, entry_digest: bytes) -> CommitHash:
    """The chain hash after `revision`."""
    return CommitHash(hash_for("commit chain", before, revision.to_bytes(8, "big"), entry_digest))


def first_chain_hash(workspace: WorkspaceId) -> CommitHash:
    """The chain hash at revision 0."""
    return CommitHash(hash_for("commit chain start", workspace))


def decode_commit(data: bytes) -> Commit:
    """A commit from a request body. `Malformed` also for a format that this version does not know."""
    commit = decode(Commit, data, MAX_COMMIT_BYTES)
    check_commit(commit)
    return commit


def check_commit(commit: Commit) -> None:
    """`Malformed` for a format that this version does not know, and for nothing at all."""
    if commit.format != FORMAT:
        raise Malformed(f"commit format {commit.format} is not known here")
    if not commit.operations:
        raise Malformed("a commit without operations")


def encode_operation(operation: Operation) -> bytes:
    """The exact bytes that are hashed, signed and sent."""
    return encode(operation)


def digest_of(commit: Commit, device: DeviceId) -> bytes:
    """The digest of a commit that this device made."""
    hashes = [operation_hash(operation) for operation in commit.operations]
    signed = signed_bytes(commit.workspace, device, commit.epoch, commit.id, commit.seen, hashes)
    return commit_digest(signed, commit.signature)


def close_bytes(workspace: WorkspaceId, device: DeviceId, parts: Sequence[bytes]) -> bytes:
    """What the signature of a `Close` is over; `parts` are digests."""
    return workspace + device + len(parts).to_bytes(4, "big") + b"".join(parts)


def sign_close(workspace: WorkspaceId, device: DeviceId, parts: tuple[bytes, ...], signing_key: SigningKey) -> Close:
    """A request that closes a staged commit."""
    signature = signing_key.sign(_CLOSE_PURPOSE, close_bytes(workspace, device, parts))
    return Close(format=FORMAT, workspace=workspace, parts=parts, signature=signature)


def verify_close(close: Close, device: DeviceId, device_key: bytes) -> None:
    """Raise `BadSignature` unless this device closes these parts, `Malformed` for what can't be closed."""
    if close.format != FORMAT:
        raise Malformed(f"commit format {close.format} is not known here")
    if not close.parts or len(set(close.parts)) < len(close.parts):
        raise Malformed("a staged commit without parts, or with one twice")
    verify(device_key, _CLOSE_PURPOSE, close_bytes(close.workspace, device, close.parts), close.signature)
