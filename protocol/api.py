"""The tracker's requests: each endpoint's path, what is asked, what is answered, and the caps on both.

Every request is a POST of one CBOR message (packs excepted) with the headers `Shoal-Protocol: LOWEST-HIGHEST` and,
where a device is needed, `Authorization: Bearer TOKEN`. An answer other than 200 carries a `Refusal`.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from protocol.breaker import Limits
from protocol.certificates import Certificate
from protocol.codec import (
    U32,
    blob,
    encode,
    flag,
    many,
    message,
    nested,
    octets,
    optional,
    text,
    unsigned,
    wire,
)
from protocol.commits import Close, Commit
from protocol.deltas import MAX_DELTA_BYTES, MAX_REVISION, WITHDRAWAL, Delta, Withdrawal
from protocol.errors import Code, Refused
from protocol.grants import Grant
from protocol.history import ChangedRequest, DeletedRequest, HistoryReply, HistoryRequest
from protocol.identifiers import (
    HASH_LENGTH,
    ID_LENGTH,
    MAX_COMMIT_BYTES,
    MAX_COMMIT_OPERATIONS,
    MAX_REQUEST_CHUNKS,
    ChunkId,
    CommitHash,
    DeviceId,
    NameToken,
    NodeId,
    PlaceMark,
    RunId,
    TrackerEpoch,
    UserId,
    VersionId,
    WorkspaceId,
)
from protocol.login import MAX_EMAIL, SALT_PART_LENGTH, SECRET_LENGTH, KdfParameters
from protocol.runs import MAX_RUN_BYTES
from protocol.signing import KEY_LENGTH, SIGNATURE_LENGTH

PROTOCOL_LOWEST, PROTOCOL_HIGHEST = 1, 1
PROTOCOL_HEADER = "Shoal-Protocol"
PROTOCOL_RANGE = f"{PROTOCOL_LOWEST}-{PROTOCOL_HIGHEST}"
CONTENT_TYPE = "application/cbor"
SLOWEST_UPLINK = 4096
"""Bytes per second of the slowest uplink that both sides wait for."""
NOTIFICATIONS_PATH = "/v1/notifications"
PACK_PATH = "/v1/pack"
CHUNKS_PATH = "/v1/chunks"
HEALTH_PATH = "/healthz"

SMALL = 16 << 10
LARGE = 8 << 20
MAX_TOKEN = 256
MAX_WRAPPED = 512
MAX_SEALED_DEVICE_NAME = 512
OWNER, EDITOR, VIEWER = 1, 2, 3
"""Roles in a workspace."""

HTTP_STATUS = {
    Code.MALFORMED: 400,
    Code.TOO_LARGE: 413,
    Code.VERSION: 426,
    Code.NOT_FOUND: 404,
    Code.UNAUTHENTICATED: 401,
    Code.WRONG_PASSWORD: 403,
    Code.ADDRESS_TAKEN: 409,
    Code.SUSPENDED: 403,
    Code.FORBIDDEN: 403,
    Code.BAD_SIGNATURE: 400,
    Code.CURSOR_UNKNOWN: 409,
    Code.COMMIT: 409,
    Code.NOT_ANNOUNCED: 409,
    Code.WRONG_ID: 400,
    Code.UNAVAILABLE: 503,
    Code.INTERNAL: 500,
}


@message
class Refusal:
    """Why a request was refused."""

    code: str = wire(1, text(64))
    message: str = wire(2, text(1000))  # one line for a person
    detail: bytes = wire(3, blob(LARGE), default=b"")


@message
class Empty:
    """Nothing to say."""


# Accounts and devices --------------------


@message
class SaltRequest:
    """Ask for an address's part of the salt; an unknown address gets one too, always the same."""

    email: str = wire(1, text(MAX_EMAIL))


@message
class SaltReply:
    """What a password is to be hashed with."""

    salt_part: bytes = wire(1, octets(SALT_PART_LENGTH))
    cost: KdfParameters = wire(2, nested(KdfParameters))


@message
class WrappedSealingKey:
    """One numbered sealing key of a user: certified, its private part wrapped under the identity key."""

    certificate: Certificate = wire(1, nested(Certificate))
    wrapped: bytes = wire(2, blob(MAX_WRAPPED))


@message
class NewDevice:
    """A device about to be known: certified by the identity key; its name sealed for the user's other devices."""

    certificate: Certificate = wire(1, nested(Certificate))
    name: bytes = wire(2, blob(MAX_SEALED_DEVICE_NAME))


@message
class SignupRequest:
    """A new user with a first device and a home workspace. All ids and keys are made by the device."""

    email: str = wire(1, text(MAX_EMAIL))
    auth: bytes = wire(2, octets(SECRET_LENGTH))
    cost: KdfParameters = wire(3, nested(KdfParameters))
    user: UserId = wire(4, octets(ID_LENGTH))
    identity_key: bytes = wire(5, octets(KEY_LENGTH))  # Ed25519 public
    identity_by_password: bytes = wire(6, blob(MAX_WRAPPED))
    identity_by_recovery: bytes = wire(7, blob(MAX_WRAPPED))
    recovery_auth: bytes = wire(8, octets(SECRET_LENGTH))
    sealing_key: WrappedSealingKey = wire(9, nested(WrappedSealingKey))
    device: NewDevice = wire(10, nested(NewDevice))
    home: Grant = wire(11, nested(Grant))  # names the home workspace; epoch 1, granted by the device above


@message
class LoginRequest:
    """Prove the password; the answer is what a new device needs to make itself known."""

    email: str = wire(1, text(MAX_EMAIL))
    auth: bytes = wire(2, octets(SECRET_LENGTH))


@message
class LoginReply:
    """The account's sealed keys."""

    user: UserId = wire(1, octets(ID_LENGTH))
    identity_key: bytes = wire(2, octets(KEY_LENGTH))
    identity_by_password: bytes = wire(3, blob(MAX_WRAPPED))
    generation: int = wire(4, unsigned(U32))  # of the password wrapping
    cost: KdfParameters = wire(5, nested(KdfParameters))
    sealing_keys: tuple[WrappedSealingKey, ...] = wire(6, many(nested(WrappedSealingKey), 1000))


@message
class RegisterRequest:
    """Add a device to the account whose password is proven once more."""

    email: str = wire(1, text(MAX_EMAIL))
    auth: bytes = wire(2, octets(SECRET_LENGTH))
    device: NewDevice = wire(3, nested(NewDevice))


@message
class Session:
    """A bearer token for one device."""

    token: str = wire(1, text(MAX_TOKEN))
    expires_ms: int = wire(2, unsigned(MAX_REVISION))  # by the tracker's clock
    now_ms: int = wire(3, unsigned(MAX_REVISION))  # the tracker's clock, so that the device's own need not be right


@message
class ChallengeRequest:
    """Ask for a nonce to sign, to renew a token."""

    device: DeviceId = wire(1, octets(ID_LENGTH))


@message
class ChallengeReply:
    """Good for a minute."""

    nonce: bytes = wire(1, blob(128))


@message
class RenewRequest:
    """The nonce, signed by the device key for the purpose "session"."""

    device: DeviceId = wire(1, octets(ID_LENGTH))
    nonce: bytes = wire(2, blob(128))
    signature: bytes = wire(3, octets(SIGNATURE_LENGTH))


@message
class DeviceInfo:
    """One of the user's own devices."""

    device: DeviceId = wire(1, octets(ID_LENGTH))
    name: bytes = wire(2, blob(MAX_SEALED_DEVICE_NAME))
    added_ms: int = wire(3, unsigned(MAX_REVISION))
    seen_ms: int = wire(4, unsigned(MAX_REVISION))  # last request, to the minute


@message
class AccountReply:
    """The account as the tracker sees it."""

    email: str = wire(1, text(MAX_EMAIL))
    plan: str = wire(2, text(64))
    quota_bytes: int = wire(3, unsigned(MAX_REVISION))
    used_bytes: int = wire(4, unsigned(MAX_REVISION))
    devices: tuple[DeviceInfo, ...] = wire(5, many(nested(DeviceInfo), 1000))


# Workspaces --------------------


@message
class MemberDevice:
    """A device that signed or may sign here; retired ones stay, so that their commits can be verified."""

    certificate: Certificate = wire(1, nested(Certificate))
    retired: bool = wire(2, flag(), default=False)


@message
class Member:
    """A user with a role in a workspace."""

    user: UserId = wire(1, octets(ID_LENGTH))
    role: int = wire(2, unsigned(VIEWER))
    identity_key: bytes = wire(3, octets(KEY_LENGTH))
    devices: tuple[MemberDevice, ...] = wire(4, many(nested(MemberDevice), 1000))


@message
class WorkspaceInfo:
    """A workspace of the asking user, with the grant that opens it and the certificates to verify it with."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    role: int = wire(2, unsigned(VIEWER))
    home: bool = wire(3, flag())
    epoch: int = wire(4, unsigned(U32))
    grant: Grant = wire(5, nested(Grant))
    members: tuple[Member, ...] = wire(6, many(nested(Member), 10_000))
    limits: Limits = wire(7, nested(Limits), default=Limits())  # of the breaker


@message
class WorkspacesReply:
    """All workspaces of the asking user."""

    workspaces: tuple[WorkspaceInfo, ...] = wire(1, many(nested(WorkspaceInfo), 10_000))


# Metadata --------------------


@message
class CommitReply:
    """The commit is in the order. `missing` chunks are to be uploaded; versions that aren't `announced` are durable
    already. When it is sent again they may have been overtaken and given up as well, or withdrawn by a record, which
    `withdrawn` tells in the record's rows."""

    # The workspace's revision just before; the tracker may have put a record in front of the commit.
    since: int = wire(1, unsigned(MAX_REVISION))
    revision: int = wire(2, unsigned(MAX_REVISION))
    hash: CommitHash = wire(3, octets(HASH_LENGTH))  # the chain hash at `revision`
    time_ms: int = wire(4, unsigned(MAX_REVISION))
    announced: tuple[VersionId, ...] = wire(5, many(octets(ID_LENGTH), MAX_COMMIT_OPERATIONS), default=())
    missing: tuple[ChunkId, ...] = wire(6, many(octets(HASH_LENGTH), 100_000), default=())
    withdrawn: tuple[Withdrawal, ...] = wire(7, many(WITHDRAWAL, MAX_COMMIT_OPERATIONS), default=())


@message
class NodeState:
    """A node as it stands at the tracker."""

    parent: NodeId = wire(1, octets(ID_LENGTH))
    token: NameToken = wire(2, octets(16))
    place: PlaceMark = wire(3, octets(ID_LENGTH))
    version: VersionId | None = wire(4, optional(octets(ID_LENGTH)), default=None)
    deleted: bool = wire(5, flag(), default=False)


@message
class FailedOperation:
    """Why one operation of a commit can't be: its index, a reason, and the node's present state, if it is known."""

    index: int = wire(1, unsigned(U32))  # in a staged commit counted through all parts
    reason: str = wire(2, text(64))  # one of REASONS
    state: NodeState | None = wire(3, optional(nested(NodeState)), default=None)


REASONS = (
    "stale-place",  # the place mark it was made on is not the present one
    "stale-content",  # the version it was made on is not the present one
    "name-taken",
    "no-parent",  # the parent is unknown, deleted or no directory
    "cycle",
    "not-empty",
    "unknown-node",
    "deleted",
    "not-deleted",
    "node-exists",
    "wrong-kind",
    "mark-reused",
    "too-large",  # past the plan's file size
    "quota",
    "unknown-run",  # names a run that neither the tracker nor the commit has
    "held",  # one delete or overwrite too many for so short a time, without an approval
)


@message
class CommitRefusal:
    """The detail of a refusal with `Code.COMMIT`: every failing operation, of a staged commit the first 1,000; nothing
    was recorded."""

    operations: tuple[FailedOperation, ...] = wire(1, many(nested(FailedOperation), MAX_COMMIT_OPERATIONS), default=())
    epoch: int | None = wire(2, optional(unsigned(U32)), default=None)  # the present key epoch, when that is why


@message
class DeltaRequest:
    """What came after a cursor. Revision 0 asks for a snapshot and needs no epoch."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    revision: int = wire(2, unsigned(MAX_REVISION))
    tracker_epoch: TrackerEpoch | None = wire(3, optional(octets(ID_LENGTH)), default=None)
    hash: CommitHash | None = wire(4, optional(octets(HASH_LENGTH)), default=None)


@message
class RunsRequest:
    """Bodies of runs."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    runs: tuple[RunId, ...] = wire(2, many(octets(HASH_LENGTH), 512))


@message
class RunsReply:
    """The bodies that the tracker has, in the order asked for; the rest is left out."""

    bodies: tuple[bytes, ...] = wire(1, many(blob(MAX_RUN_BYTES), 512))


@message
class LeaseRequest:
    """The device wants to upload what these versions still lack."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    versions: tuple[VersionId, ...] = wire(2, many(octets(ID_LENGTH), 1000))


@message
class LeaseReply:
    """Whose uploading is the device's from now on. Versions in neither list are leased to another device."""

    granted: tuple[VersionId, ...] = wire(1, many(octets(ID_LENGTH), 1000), default=())
    missing: tuple[ChunkId, ...] = wire(2, many(octets(HASH_LENGTH), 100_000), default=())  # of the granted versions
    # Announced no longer: durable, withdrawn or unknown.
    settled: tuple[VersionId, ...] = wire(3, many(octets(ID_LENGTH), 1000), default=())


@message
class WithdrawRequest:
    """The author takes back versions that will never be whole."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    versions: tuple[VersionId, ...] = wire(2, many(octets(ID_LENGTH), 1000))


MAX_WANTED, MAX_WANTED_VERSIONS = 1000, 8000
"""Damaged chunks in one answer, and versions that list them."""


@message
class WantedRequest:
    """Which chunks were damaged at the tracker, and are to be brought again?"""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))


@message
class WantedReply:
    """Each of the chunks is listed by one of the versions, if any version that can be had still lists it."""

    chunks: tuple[ChunkId, ...] = wire(1, many(octets(HASH_LENGTH), MAX_WANTED), default=())
    versions: tuple[VersionId, ...] = wire(2, many(octets(ID_LENGTH), MAX_WANTED_VERSIONS), default=())


@message
class PackReply:
    """The chunks are durable; so are the versions that they completed."""

    stored: int = wire(1, unsigned(MAX_REQUEST_CHUNKS))
    durable: tuple[VersionId, ...] = wire(2, many(octets(ID_LENGTH), 20_000), default=())


@message
class ChunksRequest:
    """Sealed chunks, answered as a pack of at most MAX_PACK_BYTES; those past it are left out, not held ones have
    length 0."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    chunks: tuple[ChunkId, ...] = wire(2, many(octets(HASH_LENGTH), MAX_REQUEST_CHUNKS))


Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Q, A]):
    """One request: its path, types and caps in bytes. `device` says whether a token is needed."""

    path: str
    request: type[Q]
    reply: type[A]
    request_limit: int = SMALL
    reply_limit: int = SMALL
    device: bool = True


SALT = Endpoint("/v1/salt", SaltRequest, SaltReply, device=False)
SIGNUP = Endpoint("/v1/signup", SignupRequest, Session, device=False)
LOGIN = Endpoint("/v1/login", LoginRequest, LoginReply, reply_limit=LARGE, device=False)
REGISTER = Endpoint("/v1/register", RegisterRequest, Session, device=False)
CHALLENGE = Endpoint("/v1/challenge", ChallengeRequest, ChallengeReply, device=False)
RENEW = Endpoint("/v1/renew", RenewRequest, Session, device=False)
LOGOUT = Endpoint("/v1/logout", Empty, Empty)
ACCOUNT = Endpoint("/v1/account", Empty, AccountReply, reply_limit=LARGE)
WORKSPACES = Endpoint("/v1/workspaces", Empty, WorkspacesReply, reply_limit=LARGE)
COMMIT = Endpoint("/v1/commit", Commit, CommitReply, request_limit=MAX_COMMIT_BYTES, reply_limit=LARGE)
DELTA = Endpoint("/v1/delta", DeltaRequest, Delta, reply_limit=MAX_DELTA_BYTES)
RUNS = Endpoint("/v1/runs", RunsRequest, RunsReply, request_limit=64 << 10, reply_limit=LARGE)
LEASE = Endpoint("/v1/lease", LeaseRequest, LeaseReply, request_limit=64 << 10, reply_limit=LARGE)
HISTORY = Endpoint("/v1/history", HistoryRequest, HistoryReply, reply_limit=MAX_DELTA_BYTES)
DELETED = Endpoint("/v1/deleted", DeletedRequest, HistoryReply, request_limit=64 << 10, reply_limit=MAX_DELTA_BYTES)
CHANGED = Endpoint("/v1/changed", ChangedRequest, HistoryReply, request_limit=64 << 10, reply_limit=MAX_DELTA_BYTES)
STAGE = Endpoint("/v1/stage", Commit, Empty, request_limit=MAX_COMMIT_BYTES)
CLOSE = Endpoint("/v1/close", Close, CommitReply, request_limit=SMALL, reply_limit=LARGE)
WITHDRAW = Endpoint("/v1/withdraw", WithdrawRequest, Empty, request_limit=64 << 10)
WANTED = Endpoint("/v1/wanted", WantedRequest, WantedReply, reply_limit=LARGE)
ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    SALT, SIGNUP, LOGIN, REGISTER, CHALLENGE, RENEW, LOGOUT, ACCOUNT, WORKSPACES, COMMIT, DELTA, RUNS, LEASE, WITHDRAW,
    HISTORY, DELETED, CHANGED, STAGE, CLOSE, WANTED,
)  # fmt: skip

MAX_CHUNKS_REQUEST_BYTES = 256 << 10


def refusal_of(error: Refused) -> bytes:
    """The body that tells the other side of a refusal."""
    return encode(Refusal(code=error.code.value, message=str(error)[:1000], detail=error.detail))
