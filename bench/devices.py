"""Accounts, devices and what they send, made without any home, disk or password hash.

Account, Device    keys, certificates and the requests that make them known
Author             names, contents and signed commits, made through `protocol/`

Measurements send these to a tracker, and so do the tests.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from protocol import api
from protocol.certificates import DeviceStatement, SealingKeyStatement, certify_device, certify_sealing_key
from protocol.chunks import ChunkRef, seal_chunk
from protocol.commits import (
    DIRECTORY,
    FILE,
    SYMLINK,
    Commit,
    Content,
    Create,
    Delete,
    Move,
    Operation,
    Place,
    Restore,
    Write,
    encode_operation,
    first_chain_hash,
    sign_commit,
)
from protocol.grants import make_grant
from protocol.identifiers import (
    ID_LENGTH,
    MAX_CHUNK,
    MAX_INLINE,
    ROOT,
    ChunkId,
    CommitHash,
    CommitId,
    ContentHash,
    DeviceId,
    NodeId,
    PlaceMark,
    UserId,
    VersionId,
    WorkspaceId,
)
from protocol.keys import WorkspaceKeys, new_workspace_keys
from protocol.login import KdfParameters
from protocol.manifests import Manifest, seal_manifest
from protocol.names import seal_name
from protocol.packs import build_pack
from protocol.ports import RandomBytes
from protocol.runs import cut_runs, seal_run
from protocol.signing import ExchangeKey, SigningKey


def seeded(seed: int = 1) -> RandomBytes:
    """Random bytes that are the same in every run."""
    return random.Random(seed).randbytes


@dataclass
class Device:
    """One device's keys, and whose it is."""

    account: "Account"
    id: DeviceId
    signing: SigningKey
    exchange: ExchangeKey

    def new(self) -> api.NewDevice:
        """What makes it known to the tracker."""
        statement = DeviceStatement(
            user=self.account.user,
            device=self.id,
            signing_key=self.signing.public,
            exchange_key=self.exchange.public,
            issued_ms=1,
        )
        return api.NewDevice(
            certificate=certify_device(self.account.identity, statement), name=self.account.random_bytes(40)
        )


@dataclass
class Account:
    """One user's secrets: random ones, since a password hash costs half a second."""

    email: str
    random_bytes: RandomBytes
    user: UserId
    auth: bytes
    identity: SigningKey
    sealing: ExchangeKey
    keys: WorkspaceKeys  # of the home workspace
    first: Device = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.new_device()

    @property
    def home(self) -> WorkspaceId:
        return self.keys.workspace

    def new_device(self) -> Device:
        """Another device of this user, unknown to the tracker so far."""
        return Device(
            account=self,
            id=DeviceId(self.random_bytes(ID_LENGTH)),
            signing=SigningKey(self.random_bytes(32)),
            exchange=ExchangeKey(self.random_bytes(32)),
        )

    def signup(self) -> api.SignupRequest:
        """The sign-up of this user with the first device."""
        statement = SealingKeyStatement(user=self.user, number=1, public=self.sealing.public)
        return api.SignupRequest(
            email=self.email,
            auth=self.auth,
            cost=KdfParameters(),
            user=self.user,
            identity_key=self.identity.public,
            identity_by_password=self.random_bytes(90),
            identity_by_recovery=self.random_bytes(90),
            recovery_auth=self.random_bytes(32),
            sealing_key=api.WrappedSealingKey(
                certificate=certify_sealing_key(self.identity, statement), wrapped=self.random_bytes(90)
            ),
            device=self.first.new(),
            home=make_grant(
                self.keys,
                recipient=self.user,
                key_number=1,
                recipient_key=self.sealing.public,
                granter=self.first.id,
                signing_key=self.first.signing,
                random_bytes=self.random_bytes,
            ),
        )


def new_account(email: str = "ann@example.org", random_bytes: RandomBytes | None = None) -> Account:
    """A user nobody knows yet."""
    draw = random_bytes or seeded(sum(email.encode()))
    return Account(
        email=email,
        random_bytes=draw,
        user=UserId(draw(ID_LENGTH)),
        auth=draw(32),
        identity=SigningKey(draw(32)),
        sealing=ExchangeKey(draw(32)),
        keys=new_workspace_keys(WorkspaceId(draw(ID_LENGTH)), draw),
    )


@dataclass(frozen=True)
class Sealed:
    """A version's content with everything to send: what goes into the operation, its runs, its sealed chunks."""

    content: Content
    runs: tuple[bytes, ...] = ()
    chunks: tuple[tuple[ChunkId, bytes], ...] = ()


@dataclass
class Author:
    """Makes operations and signs commits as one device in one workspace."""

    device: Device
    keys: WorkspaceKeys
    random_bytes: RandomBytes
    seen: CommitHash = field(init=False)
    kinds: dict[NodeId, int] = field(default_factory=dict)  # of nodes that are no files

    def __post_init__(self) -> None:
        self.seen = first_chain_hash(self.keys.workspace)

    @property
    def workspace(self) -> WorkspaceId:
        return self.keys.workspace

    def new_node(self) -> NodeId:
        return NodeId(self.random_bytes(ID_LENGTH))

    def place(self, node: NodeId, name: str, parent: NodeId = ROOT) -> Place:
        """A fresh place mark at this name."""
        sealed = seal_name(self.keys, parent, node, name, self.random_bytes)
        return Place(parent=parent, token=sealed.token, name=sealed.sealed, mark=sealed.place)

    def seal(self, node: NodeId, data: bytes, chunk_size: int = MAX_CHUNK) -> Sealed:
        """A version with this content, cut at fixed sizes; short content travels inline."""
        if len(data) <= MAX_INLINE:
            return self._manifest(node, Manifest(size=len(data), mtime_ns=1, inline=data), [], [])
        sealed = [
            seal_chunk(self.keys.newest.convergence, data[at : at + chunk_size])
            for at in range(0, len(data), chunk_size)
        ]
        manifest = Manifest(size=len(data), mtime_ns=1, content_hash=ContentHash(bytes(32)))
        return self._manifest(node, manifest, [ref for ref, _ in sealed], [(ref.id, body) for ref, body in sealed])

    def _manifest(
        self, node: NodeId, manifest: Manifest, refs: Sequence[ChunkRef], chunks: Sequence[tuple[ChunkId, bytes]]
    ) -> Sealed:
        runs = [seal_run(self.keys.newest.run, each) for each in cut_runs(refs)]
        ids = tuple(run.id for run in runs)
        whole = Manifest(
            size=manifest.size,
            mtime_ns=manifest.mtime_ns,
            content_hash=manifest.content_hash,
            link=manifest.link,
            inline=manifest.inline,
            run_keys=tuple(run.key for run in runs),
        )
        made = seal_manifest(self.keys.newest, self.workspace, node, whole, ids, self.random_bytes)
        content = Content(version=made.version, manifest=made.sealed, runs=ids)
        return Sealed(content, tuple(run.body for run in runs), tuple(chunks))

    def create(
        self, name: str, parent: NodeId = ROOT, *, content: Sealed | None = None, node: NodeId | None = None
    ) -> Create:
        """A file; inline content unless `content` says otherwise."""
        node = node or self.new_node()
        sealed = content or self.seal(node, b"content")
        return Create(node=node, kind=FILE, place=self.place(node, name, parent), content=sealed.content)

    def create_directory(self, name: str, parent: NodeId = ROOT) -> Create:
        node = self.new_node()
        self.kinds[node] = DIRECTORY
        return Create(node=node, kind=DIRECTORY, place=self.place(node, name, parent))

    def create_symlink(self, name: str, parent: NodeId = ROOT) -> Create:
        node = self.new_node()
        self.kinds[node] = SYMLINK
        sealed = self._manifest(node, Manifest(size=0, mtime_ns=1, link="elsewhere"), [], [])
        return Create(node=node, kind=SYMLINK, place=self.place(node, name, parent), content=sealed.content)

    def write(self, node: NodeId, base: VersionId, content: Sealed | None = None) -> Write:
        return Write(node=node, base=base, content=(content or self.seal(node, b"other content")).content)

    def move(self, node: NodeId, base: PlaceMark, name: str, parent: NodeId = ROOT) -> Move:
        return Move(node=node, base=base, place=self.place(node, name, parent), kind=self.kinds.get(node, FILE))

    def delete(self, node: NodeId, base: PlaceMark, content_base: VersionId | None = None) -> Delete:
        return Delete(node=node, base=base, mark=PlaceMark(self.random_bytes(ID_LENGTH)), content_base=content_base)

    def restore(
        self, node: NodeId, base: PlaceMark, name: str, content_base: VersionId | None, parent: NodeId = ROOT
    ) -> Restore:
        return Restore(
            node=node,
            base=base,
            place=self.place(node, name, parent),
            content_base=content_base,
            kind=self.kinds.get(node, FILE),
        )

    def commit(self, *operations: Operation, runs: tuple[bytes, ...] = (), epoch: int | None = None) -> Commit:
        """These operations, signed."""
        return sign_commit(
            workspace=self.workspace,
            device=self.device.id,
            epoch=epoch or self.keys.newest.epoch,
            commit=CommitId(self.random_bytes(ID_LENGTH)),
            seen=self.seen,
            operations=tuple(encode_operation(operation) for operation in operations),
            runs=runs,
            signing_key=self.device.signing,
        )

    def pack(self, *sealed: Sealed) -> bytes:
        """The chunks of these contents in one pack."""
        return build_pack(self.workspace, [chunk for each in sealed for chunk in each.chunks])


def author_of(device: Device, keys: WorkspaceKeys | None = None) -> Author:
    """An author in the device's home workspace, or in another."""
    return Author(device, keys or device.account.keys, device.account.random_bytes)


def version_of(operation: Create | Write) -> VersionId:
    """The version an operation introduces."""
    assert operation.content is not None
    return operation.content.version
