"""Writes the golden vectors in tests/vectors/: what format 1 makes of fixed inputs, for whoever writes another client.

    .venv/bin/python -m scripts.make_vectors

All bytes are hex. Randomness is BLAKE3 of a seed in counter mode, and what was drawn stands among the inputs.
`tests/vectors/decode.py` reads the files without a line of Shoal.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from bench.seeded import seeded_bytes
from protocol import aead, api, certificates, chunks, commits, deltas, lan, login, names, notices, packs, runs
from protocol.breaker import Changes, sign_approval
from protocol.certificates import Certificate, DeviceStatement, SealingKeyStatement
from protocol.codec import encode
from protocol.commits import Commit, Content, Create, Delete, Move, Operation, Place, Restore, Write, encode_operation
from protocol.deltas import Delta, Entry, Record, SignedCommit
from protocol.grants import make_grant
from protocol.hashing import digest
from protocol.identifiers import (
    MAX_NAME_BYTES,
    ROOT,
    ApprovalId,
    ChunkId,
    CommitHash,
    CommitId,
    ContentHash,
    DeviceId,
    NodeId,
    PlaceMark,
    TrackerEpoch,
    UserId,
    VersionId,
    WorkspaceId,
)
from protocol.keys import WorkspaceKeys
from protocol.lan_frames import ControlSender, RecordSender
from protocol.lan_messages import Ask, Bye, Control, Done, Get, Hello, Holding, Offer, Ping, Pong
from protocol.login import KdfParameters, Wrapping
from protocol.manifests import Manifest, seal_manifest
from protocol.names import seal_name
from protocol.ports import RandomBytes
from protocol.signing import ExchangeKey, SigningKey

FOLDER = Path(__file__).resolve().parent.parent / "tests" / "vectors"
Case: TypeAlias = dict[str, Any]
CLOCK_MS = 1_800_000_000_000


class World:
    """One user, one device and one workspace at key epoch 2, the same in every file."""

    def __init__(self, seed: str) -> None:
        """`seed` decides what `random_bytes` draws next; the world itself is always the same."""
        fixed = seeded_bytes("Shoal vectors")
        self.user = UserId(fixed(16))
        self.device = DeviceId(fixed(16))
        self.workspace = WorkspaceId(fixed(16))
        self.tracker_epoch = TrackerEpoch(fixed(16))
        self.keys = WorkspaceKeys(self.workspace, fixed(32), (fixed(32), fixed(32)))
        self.identity = SigningKey(fixed(32))
        self.signing_key = SigningKey(fixed(32))
        self.exchange_key = ExchangeKey(fixed(32))
        self.sealing_key = ExchangeKey(fixed(32))
        self.random_bytes: RandomBytes = seeded_bytes(f"Shoal vectors {seed}")

    def node(self) -> NodeId:
        """A fresh node id."""
        return NodeId(self.random_bytes(16))

    def base(self) -> Case:
        """What every sealed thing of the workspace depends on."""
        secrets = [secret.hex() for secret in self.keys.secrets]
        return {"workspace": self.workspace.hex(), "constant": self.keys.constant.hex(), "secrets": secrets}


def chunk_vectors() -> list[Case]:
    """Sealing of bodies of several lengths, under both epochs; stored, and compressed."""
    world = World("chunk")
    stored = [_chunk(world, epoch, world.random_bytes(length)) for epoch in (1, 2) for length in (1, 1025, 4096)]
    return [*stored, *(_chunk(world, 2, body) for body in (_text(world, 1100), _text(world, 9000), bytes(20_000)))]


def _chunk(world: World, epoch: int, body: bytes) -> Case:
    ref, sealed = chunks.seal_chunk(world.keys.epoch(epoch).convergence, body)
    return {
        "name": f"{len(body)} bytes, epoch {epoch}" + (", compressed" if ref.saved else ""),
        "inputs": {**world.base(), "epoch": epoch, "body": body.hex()},
        "outputs": {"key": ref.key.hex(), "sealed": sealed.hex(), "id": ref.id.hex()},
    }


def _text(world: World, length: int) -> bytes:
    """Words from a short list: something that compresses as text does."""
    words = (b"tide", b"shoal", b"reef", b"current", b"harbour", b"lee", b"mooring", b"swell")
    return b" ".join(words[each % len(words)] for each in world.random_bytes(length))[:length]


def _refs(world: World, count: int) -> list[chunks.ChunkRef]:
    return [chunks.seal_chunk(world.keys.newest.convergence, world.random_bytes(1 + at % 7))[0] for at in range(count)]


def _mixed_refs(world: World, count: int) -> list[chunks.ChunkRef]:
    """Every other one compressed."""
    bodies = [_text(world, 2000) if at % 2 else world.random_bytes(2000) for at in range(count)]
    return [chunks.seal_chunk(world.keys.newest.convergence, body)[0] for body in bodies]


def run_vectors() -> list[Case]:
    """Sealed runs of 1, 9 and the most chunks, where a list is cut, and runs with compressed chunks."""
    world = World("run")
    stored = [_run(world, _refs(world, count)) for count in (1, 9, runs.MAX_CHUNKS)]
    return [*stored, _run_cuts(world), *(_run(world, _mixed_refs(world, count)) for count in (2, runs.MAX_CHUNKS))]


def _run(world: World, refs: list[chunks.ChunkRef]) -> Case:
    run = runs.seal_run(world.keys.newest.run, refs)
    rows = [
        {"id": ref.id.hex(), "key": ref.key.hex(), "length": ref.length, "sealed_length": ref.sealed_length}
        for ref in refs
    ]
    return {
        "name": f"{len(refs)} chunks" + (", some of them compressed" if any(ref.saved for ref in refs) else ""),
        "inputs": {**world.base(), "epoch": 2, "chunks": rows},
        "outputs": {"key": run.key.hex(), "body": run.body.hex(), "id": run.id.hex()},
    }


def _run_cuts(world: World) -> Case:
    first = bytes([1] * 70 + [0] * 30 + list(range(1, 100)) + [224, 32, 64])
    ids = [ChunkId(bytes([byte]) + world.random_bytes(31)) for byte in first]
    cut = [len(run) for run in runs.cut_runs(chunks.ChunkRef(id, bytes(32), 1) for id in ids)]
    return {
        "name": "cuts",
        "inputs": {"first_bytes": first.hex()},
        "outputs": {"run_lengths": cut},
    }


def manifest_vectors() -> list[Case]:
    """Manifests of everything that a version can be."""
    world = World("manifest")
    mtime = CLOCK_MS * 10**6 + 123_456_789
    runs_of_file = [runs.seal_run(world.keys.newest.run, refs) for refs in (_refs(world, 9), _refs(world, 2))]
    kilobyte = world.random_bytes(1024)
    large = Manifest(
        size=43,
        mtime_ns=-1,
        content_hash=ContentHash(world.random_bytes(32)),
        run_keys=tuple(run.key for run in runs_of_file),
        cut=(8192, 16384, 65536),
    )
    return [
        _manifest(world, "empty file", Manifest(size=0, mtime_ns=mtime, inline=b""), []),
        _manifest(
            world,
            "1 KiB inline, executable, private",
            Manifest(size=1024, mtime_ns=mtime, executable=True, private=True, inline=kilobyte),
            [],
        ),
        _manifest(world, "symlink", Manifest(size=0, mtime_ns=mtime, link="../ä/target"), []),
        _manifest(world, "two runs, before 1970", large, runs_of_file),
    ]


def _manifest(world: World, name: str, manifest: Manifest, listed: list[runs.SealedRun]) -> Case:
    node, ids = world.node(), tuple(run.id for run in listed)
    sealed = seal_manifest(world.keys.newest, world.workspace, node, manifest, ids, world.random_bytes)
    return {
        "name": name,
        "inputs": {
            **world.base(),
            "epoch": 2,
            "node": node.hex(),
            "version": sealed.version.hex(),
            "runs": [id.hex() for id in ids],
            "manifest": _fields(manifest),
        },
        "outputs": {"sealed": sealed.sealed.hex(), "plain": encode(manifest).hex()},
    }


def _fields(manifest: Manifest) -> Case:
    return {
        "size": manifest.size,
        "mtime_ns": manifest.mtime_ns,
        "executable": manifest.executable,
        "private": manifest.private,
        "content_hash": manifest.content_hash and manifest.content_hash.hex(),
        "link": manifest.link,
        "inline": None if manifest.inline is None else manifest.inline.hex(),
        "run_keys": [key.hex() for key in manifest.run_keys],
        "cut": manifest.cut and list(manifest.cut),
    }


def name_vectors() -> list[Case]:
    """Names at the edges of padding, length and Unicode: the twins in NFC and NFD are two names."""
    world = World("name")
    folder = world.node()
    return [
        _name(world, "one byte", ROOT, "a"),
        _name(world, "16 bytes need no padding", folder, "0123456789abcdef"),
        _name(world, "longest", folder, "ж" * (MAX_NAME_BYTES // 2) + "x"),
        _name(world, "é in NFC", folder, "caf\u00e9"),
        _name(world, "é in NFD", folder, "cafe\u0301"),
        _name(world, "reserved only in the root", folder, names.RESERVED),
        _name(world, "line break and quotes", ROOT, "a\n'\"\\"),
    ]


def _name(world: World, title: str, parent: NodeId, name: str) -> Case:
    node = world.node()
    sealed = seal_name(world.keys, parent, node, name, world.random_bytes)
    return {
        "name": title,
        "inputs": {
            **world.base(),
            "epoch": 2,
            "parent": parent.hex(),
            "node": node.hex(),
            "place": sealed.place.hex(),
            "text": name.encode().hex(),
        },
        "outputs": {"token": sealed.token.hex(), "sealed": sealed.sealed.hex()},
    }


def certificate_vectors() -> list[Case]:
    """A device and a sealing key, certified."""
    world = World("certificate")
    device = DeviceStatement(
        user=world.user,
        device=world.device,
        signing_key=world.signing_key.public,
        exchange_key=world.exchange_key.public,
        issued_ms=CLOCK_MS,
    )
    sealing = SealingKeyStatement(user=world.user, number=1, public=world.sealing_key.public)
    return [
        _certificate(world, "device", device, certificates.certify_device(world.identity, device)),
        _certificate(world, "sealing key", sealing, certificates.certify_sealing_key(world.identity, sealing)),
    ]


def _certificate(
    world: World, name: str, statement: DeviceStatement | SealingKeyStatement, certificate: Certificate
) -> Case:
    if isinstance(statement, DeviceStatement):
        fields: list[Any] = [statement.device.hex(), statement.signing_key.hex(), statement.exchange_key.hex()]
        fields.append(statement.issued_ms)
    else:
        fields = [statement.number, statement.public.hex()]
    return {
        "name": name,
        "inputs": {
            "purpose": f"{name} certificate",
            "identity_seed": world.identity.seed.hex(),
            "user": world.user.hex(),
            "fields": fields,
        },
        "outputs": {"identity_key": world.identity.public.hex(), "certificate": encode(certificate).hex()},
    }


def grant_vectors() -> list[Case]:
    """Grants at epoch 1 and 2."""
    world = World("grant")
    return [_grant(world, epoch) for epoch in (1, 2)]


def _grant(world: World, epoch: int) -> Case:
    keys = WorkspaceKeys(world.workspace, world.keys.constant, world.keys.secrets[:epoch])
    ephemeral = world.random_bytes(32)
    grant = make_grant(
        keys,
        recipient=world.user,
        key_number=epoch,
        recipient_key=world.sealing_key.public,
        granter=world.device,
        signing_key=world.signing_key,
        random_bytes=lambda _count: ephemeral,
    )
    return {
        "name": f"epoch {epoch}",
        "inputs": {
            "workspace": world.workspace.hex(),
            "constant": keys.constant.hex(),
            "secrets": [secret.hex() for secret in keys.secrets],
            "recipient": world.user.hex(),
            "key_number": epoch,
            "sealing_private": world.sealing_key.private.hex(),
            "granter": world.device.hex(),
            "granter_key": world.signing_key.public.hex(),
            "signing_seed": world.signing_key.seed.hex(),
            "ephemeral_private": ephemeral.hex(),
        },
        "outputs": {"grant": encode(grant).hex()},
    }


class Story:
    """Commits that follow one another in one workspace, with the operations they are made of."""

    def __init__(self, world: World) -> None:
        """Nothing has happened."""
        self.world = world
        self.hash = commits.first_chain_hash(world.workspace)
        self.revision = 0

    def create(self, name: str, inline: bytes | None, parent: NodeId = ROOT) -> Create:
        """A file, or without content a directory."""
        node = self.world.node()
        place = self.place(parent, node, name)
        if inline is None:
            return Create(node=node, kind=commits.DIRECTORY, place=place)
        return Create(node=node, kind=commits.FILE, place=place, content=self.content(node, inline))

    def place(self, parent: NodeId, node: NodeId, name: str) -> Place:
        """A sealed place."""
        sealed = seal_name(self.world.keys, parent, node, name, self.world.random_bytes)
        return Place(parent=parent, token=sealed.token, name=sealed.sealed, mark=sealed.place)

    def content(self, node: NodeId, inline: bytes) -> Content:
        """A sealed version with inline content."""
        manifest = Manifest(size=len(inline), mtime_ns=CLOCK_MS * 10**6, inline=inline)
        keys, world = self.world.keys.newest, self.world
        sealed = seal_manifest(keys, world.workspace, node, manifest, (), world.random_bytes)
        return Content(version=sealed.version, manifest=sealed.sealed)

    def listed(self, node: NodeId) -> tuple[Content, bytes]:
        """A sealed version of one run, and the run's body."""
        world = self.world
        refs = _refs(world, 2)
        run = runs.seal_run(world.keys.newest.run, refs)
        size = sum(ref.length for ref in refs)
        whole = ContentHash(world.random_bytes(32))
        manifest = Manifest(size=size, mtime_ns=0, content_hash=whole, run_keys=(run.key,), cut=(8192, 16384, 65536))
        sealed = seal_manifest(world.keys.newest, world.workspace, node, manifest, (run.id,), world.random_bytes)
        return Content(version=sealed.version, manifest=sealed.sealed, runs=(run.id,)), run.body

    def commit(self, operations: list[Operation], bodies: tuple[bytes, ...] = ()) -> tuple[Commit, CommitHash]:
        """Sign the next commit; also the chain hash before it."""
        before, world = self.hash, self.world
        commit = commits.sign_commit(
            workspace=world.workspace,
            device=world.device,
            epoch=2,
            commit=CommitId(world.random_bytes(16)),
            seen=before,
            operations=tuple(encode_operation(operation) for operation in operations),
            runs=bodies,
            signing_key=world.signing_key,
        )
        self._chained(commits.commit_digest(_signed(world, commit), commit.signature))
        return commit, before

    def record(self, record: Record) -> Entry:
        """The tracker's own next revision."""
        self._chained(deltas.record_digest(record))
        return Entry(revision=self.revision, time_ms=CLOCK_MS + self.revision, record=record)

    def entry(self, commit: Commit, revision: int, overtaken: tuple[int, ...] = ()) -> Entry:
        """A commit as a delta hands it on."""
        items = [digest(operation) if at in overtaken else operation for at, operation in enumerate(commit.operations)]
        signed = SignedCommit(
            device=self.world.device,
            epoch=commit.epoch,
            id=commit.id,
            seen=commit.seen,
            signature=commit.signature,
            items=tuple(items),
        )
        return Entry(revision=revision, time_ms=CLOCK_MS + revision, commit=signed)

    def _chained(self, entry_digest: bytes) -> None:
        self.revision += 1
        self.hash = commits.chain(self.hash, self.revision, entry_digest)


def _signed(world: World, commit: Commit) -> bytes:
    hashes = [commits.operation_hash(operation) for operation in commit.operations]
    return commits.signed_bytes(world.workspace, world.device, commit.epoch, commit.id, commit.seen, hashes)


def commit_vectors() -> list[Case]:
    """A first commit, one with a run, and one with every kind of operation."""
    story = Story(World("commit"))
    world = story.world
    folder, file = story.create("folder", None), story.create("file", b"hello")
    gone, large = story.create("gone", b""), NodeId(world.random_bytes(16))
    content, body = story.listed(large)
    named = story.place(folder.node, large, "large")
    assert file.content is not None
    assert gone.content is not None
    moved = story.place(folder.node, file.node, "file moved")
    mark = PlaceMark(world.random_bytes(16))
    delete = Delete(node=gone.node, base=gone.place.mark, content_base=gone.content.version, mark=mark)
    back = story.place(ROOT, gone.node, "back")
    return [
        _commit(story, "directory and two files", [folder, file, gone], ()),
        _commit(story, "a run", [Create(node=large, kind=commits.FILE, place=named, content=content)], (body,)),
        _commit(
            story,
            "write, move, delete",
            [
                Write(node=file.node, base=file.content.version, content=story.content(file.node, b"hello, world")),
                Move(node=file.node, base=file.place.mark, place=moved, kind=commits.FILE),
                delete,
            ],
            (),
        ),
        _commit(
            story,
            "restore",
            [Restore(node=gone.node, base=mark, content_base=gone.content.version, place=back, kind=commits.FILE)],
            (),
        ),
    ]


def _commit(story: Story, name: str, operations: list[Operation], bodies: tuple[bytes, ...]) -> Case:
    commit, before = story.commit(operations, bodies)
    world, signed = story.world, _signed(story.world, commit)
    return {
        "name": name,
        "inputs": {
            "workspace": world.workspace.hex(),
            "device": world.device.hex(),
            "device_key": world.signing_key.public.hex(),
            "signing_seed": world.signing_key.seed.hex(),
            "id": commit.id.hex(),
            "epoch": commit.epoch,
            "before": before.hex(),
            "revision": story.revision,
            "operations": [type(operation).__name__.lower() for operation in operations],
        },
        "outputs": {
            "commit": encode(commit).hex(),
            "signed_bytes": signed.hex(),
            "signature": commit.signature.hex(),
            "digest": commits.commit_digest(signed, commit.signature).hex(),
            "hash": story.hash.hex(),
        },
    }


def approval_vectors() -> list[Case]:
    """An approval of deletes and overwrites."""
    world = World("approval")
    bound, id = Changes(deletes=300, overwrites=7), ApprovalId(world.random_bytes(16))
    approval = sign_approval(world.workspace, world.device, id, CLOCK_MS, bound, world.signing_key)
    return [
        {
            "name": "300 deletes and 7 overwrites",
            "inputs": {
                "workspace": world.workspace.hex(),
                "device": world.device.hex(),
                "device_key": world.signing_key.public.hex(),
                "signing_seed": world.signing_key.seed.hex(),
                "id": id.hex(),
                "time": CLOCK_MS,
                "deletes": bound.deletes,
                "overwrites": bound.overwrites,
            },
            "outputs": {"approval": encode(approval).hex(), "signature": approval.signature.hex()},
        }
    ]


def close_vectors() -> list[Case]:
    """Commits in one part, in two and in three, and the request that closes them."""
    story = Story(World("close"))
    world = story.world
    cases = []
    for count in (1, 2, 3):
        folders = [story.create(f"{count}.{number}", None) for number in range(count)]
        parts = [story.commit([folder])[0] for folder in folders]
        digests = tuple(commits.digest_of(part, world.device) for part in parts)
        close = commits.sign_close(world.workspace, world.device, digests, world.signing_key)
        inputs = {
            "workspace": world.workspace.hex(),
            "device": world.device.hex(),
            "device_key": world.signing_key.public.hex(),
            "signing_seed": world.signing_key.seed.hex(),
            "parts": [encode(part).hex() for part in parts],
        }
        outputs = {
            "signed_bytes": commits.close_bytes(world.workspace, world.device, digests).hex(),
            "signature": close.signature.hex(),
            "close": encode(close).hex(),
        }
        cases.append({"name": f"parts: {count}", "inputs": inputs, "outputs": outputs})
    return cases


def delta_vectors() -> list[Case]:
    """A snapshot with an overtaken operation, and what came after it, a record included."""
    story = Story(World("delta"))
    folder, file = story.create("folder", None), story.create("file", b"one")
    assert file.content is not None
    first, _ = story.commit([folder, file])
    two = Write(node=file.node, base=file.content.version, content=story.content(file.node, b"two"))
    second, _ = story.commit([two])
    content, body = story.listed(file.node)
    assert two.content is not None
    three = Write(node=file.node, base=two.content.version, content=content)
    moved = Move(
        node=file.node, base=file.place.mark, place=story.place(folder.node, file.node, "file"), kind=commits.FILE
    )
    third, _ = story.commit([three, moved], (body,))
    snapshot = [story.entry(first, 1), story.entry(second, 2, (0,)), story.entry(third, 3)]
    at_three = _delta(story, 0, snapshot, (content.version,), (body,))
    four = story.record(Record(durable=((file.node, content.version),)))
    lost, _ = story.listed(file.node)
    fifth, _ = story.commit([Write(node=file.node, base=content.version, content=lost)])
    six = story.record(Record(withdrawn=((file.node, lost.version, content.version),)))
    mark = PlaceMark(story.world.random_bytes(16))
    start = commits.first_chain_hash(story.world.workspace)
    seventh, _ = story.commit([Delete(node=folder.node, base=folder.place.mark, mark=mark)])
    later = [four, story.entry(fifth, 5), six, story.entry(seventh, 7)]
    in_folder = {"parent": folder.node.hex(), "version": content.version.hex(), "deleted": False}
    return [
        _delta_case(
            "snapshot",
            story,
            start,
            at_three,
            {file.node.hex(): {**in_folder, "durable": False}, folder.node.hex(): _directory(deleted=False)},
        ),
        _delta_case(
            "durable, withdrawn, deleted",
            story,
            at_three.hash,
            _delta(story, 3, later, (), ()),
            {
                file.node.hex(): {"version": content.version.hex(), "durable": True},
                folder.node.hex(): {"deleted": True},
            },
        ),
    ]


def _directory(*, deleted: bool) -> Case:
    return {"parent": ROOT.hex(), "version": None, "deleted": deleted, "durable": True}


def _delta(
    story: Story, since: int, entries: list[Entry], announced: tuple[VersionId, ...], bodies: tuple[bytes, ...]
) -> Delta:
    return Delta(
        workspace=story.world.workspace,
        tracker_epoch=story.world.tracker_epoch,
        since=since,
        through=story.revision,
        head=story.revision,
        hash=story.hash,
        entries=tuple(entries),
        announced=announced,
        runs=bodies,
    )


def _delta_case(name: str, story: Story, before: CommitHash, delta: Delta, state: Case) -> Case:
    return {
        "name": name,
        "inputs": {
            "workspace": story.world.workspace.hex(),
            "device": story.world.device.hex(),
            "device_key": story.world.signing_key.public.hex(),
            "before": before.hex(),
        },
        "outputs": {"delta": encode(delta).hex(), "hash": delta.hash.hex(), "state": state},
    }


def frame_vectors() -> list[Case]:
    """Packs and notifications."""
    world = World("frame")
    sealed = [chunks.seal_chunk(world.keys.newest.convergence, world.random_bytes(length)) for length in (1, 100)]
    whole = [(ref.id, data) for ref, data in sealed]
    absent = (ChunkId(world.random_bytes(32)), b"")
    delta = world.random_bytes(40)
    changed = notices.Changed(workspace=world.workspace, since=7, through=8, delta=delta)
    return [
        _pack(world, "pack, empty", []),
        _pack(world, "pack of two", whole),
        _pack(world, "pack in answer, one not held", [whole[0], absent, whole[1]]),
        _notice("subscribe", notices.Subscribe(cursors=((world.workspace, 7),)), [1, [[world.workspace.hex(), 7]]]),
        _notice("changed, with delta", changed, [2, world.workspace.hex(), 7, 8, delta.hex()]),
        _notice(
            "changed, without",
            notices.Changed(workspace=world.workspace, since=7, through=9),
            [2, world.workspace.hex(), 7, 9, None],
        ),
        _notice("catch up", notices.CatchUp(), [3]),
        _notice("members", notices.Members(workspace=world.workspace), [4, world.workspace.hex()]),
    ]


def _pack(world: World, name: str, items: list[tuple[ChunkId, bytes]]) -> Case:
    rows = [{"id": id.hex(), "sealed": data.hex()} for id, data in items]
    return {
        "name": name,
        "inputs": {"workspace": world.workspace.hex(), "chunks": rows},
        "outputs": {"pack": packs.build_pack(world.workspace, items).hex()},
    }


def _notice(name: str, notice: notices.Notice, fields: list[Any]) -> Case:
    return {"name": name, "inputs": {"fields": fields}, "outputs": {"notice": notices.encode_notice(notice).hex()}}


def lan_vectors() -> list[Case]:
    """A LAN connection: tags, handshake, and frames from dialler to listener in the order in which they are sent."""
    world = World("lan")
    preface = lan.make_preface(world.exchange_key.public, world.random_bytes)
    handshake, keys = _handshake(world, preface)
    return [
        _preface(world, preface),
        _beacon(world),
        handshake,
        *_controls(world, keys),
        *_records(world, keys),
    ]


def _preface(world: World, preface: bytes) -> Case:
    return {
        "name": "preface",
        "inputs": {"kind": "preface", "exchange_key": world.exchange_key.public.hex(), "nonce": preface[1:17].hex()},
        "outputs": {"preface": preface.hex()},
    }


def _beacon(world: World) -> Case:
    instance, hour = world.random_bytes(16).hex(), lan.hour_of(CLOCK_MS * 10**6)
    tag = lan.beacon_tag(world.exchange_key.public, instance, hour)
    return {
        "name": "tag of an advertisement",
        "inputs": {
            "kind": "beacon",
            "exchange_key": world.exchange_key.public.hex(),
            "instance": instance.encode().hex(),
            "hour": hour,
        },
        "outputs": {"tag": tag.hex()},
    }


def _handshake(world: World, preface: bytes) -> tuple[Case, lan.Keys]:
    """The world's device listens; the keys are the dialler's."""
    static, first, second = ExchangeKey(world.random_bytes(32)), world.random_bytes(32), world.random_bytes(32)
    dialler = lan.Dialler(static, world.exchange_key.public, preface, lambda _count: first)
    answerer = lan.Answerer(world.exchange_key, preface, lambda _count: second)
    message_1 = dialler.first()
    answerer.take(message_1)
    message_2, _ = answerer.answer()
    keys = dialler.finish(message_2)
    case = {
        "name": "handshake",
        "inputs": {
            "kind": "handshake",
            "preface": preface.hex(),
            "listener_private": world.exchange_key.private.hex(),
            "listener_ephemeral_private": second.hex(),
            "dialler_private": static.private.hex(),
            "dialler_ephemeral_private": first.hex(),
        },
        "outputs": {
            "message_1": message_1.hex(),
            "message_2": message_2.hex(),
            "dialler_sends_with": keys.send.hex(),
            "listener_sends_with": keys.receive.hex(),
        },
    }
    return case, keys


def _controls(world: World, keys: lan.Keys) -> list[Case]:
    one, two = (VersionId(world.random_bytes(16)) for _ in range(2))
    home, versions, hexed = world.workspace, (one, two), [one.hex(), two.hex()]
    said: list[tuple[Control, list[Any]]] = [
        (Hello(lowest=1, highest=1), [1, 1, 1]),
        (Ask(workspace=home, versions=versions), [2, home.hex(), hexed]),
        (Holding(workspace=home, held=(one,), absent=(two,)), [3, home.hex(), [one.hex()], [two.hex()]]),
        (Holding(workspace=home, absent=versions), [3, home.hex(), None, hexed]),
        (Holding(workspace=home, shares=((two, b"\x05"),)), [3, home.hex(), None, None, [[two.hex(), b"\x05".hex()]]]),
        (
            Get(request=7, workspace=home, parts=((one, 0, 300), (two, 1 << 20, 1))),
            [4, 7, home.hex(), [[one.hex(), 0, 300], [two.hex(), 1 << 20, 1]]],
        ),
        (Done(workspace=home, versions=versions), [5, home.hex(), hexed]),
        (Ping(number=1), [6, 1]),
        (Pong(number=(1 << 32) - 1), [7, (1 << 32) - 1]),
        (Bye(reason="an hour is over"), [8, b"an hour is over".hex()]),
        (
            Offer(
                workspace=home, version=one, parent=ROOT, size=70_000, first=3, chunks=((b"i" * 32, b"k" * 32, 9, 2),)
            ),
            [9, home.hex(), one.hex(), ROOT.hex(), 70_000, 3, [[(b"i" * 32).hex(), (b"k" * 32).hex(), 9, 2]]],
        ),
    ]
    sender = ControlSender(keys.send)
    return [
        {
            "name": f"control {at}: {type(message).__name__.lower()}",
            "inputs": {
                "kind": "control",
                "key": keys.send.hex(),
                "counter": at,
                "fields": fields,
            },
            "outputs": {"frame": sender.frame(message).hex()},
        }
        for at, (message, fields) in enumerate(said)
    ]


def _records(world: World, keys: lan.Keys) -> list[Case]:
    sealed = [chunks.seal_chunk(world.keys.newest.convergence, world.random_bytes(size))[1] for size in (1, 100)]
    sender = RecordSender(keys.send)
    answers = [("two chunks", 7, sealed), ("one not held", 8, [sealed[0], b"", sealed[1]]), ("nothing", 9, [])]
    return [
        {
            "name": f"record {at}: {name}",
            "inputs": {
                "kind": "record",
                "key": keys.send.hex(),
                "counter": at,
                "request": request,
                "chunks": [chunk.hex() for chunk in held],
            },
            "outputs": {"frame": sender.seal(sender.reserve(), request, held).hex()},
        }
        for at, (name, request, held) in enumerate(answers)
    ]


def login_vectors() -> list[Case]:
    """Passwords (equal in NFC and NFD), a wrapped identity key, a recovery key and the signature of a renewal."""
    world = World("login")
    cost = KdfParameters()
    return [
        _password(world, cost, "Ada@Example.ORG", "correct horse"),
        _password(world, cost, " stra\u00dfe@example.org ", "pa\u0301ssword"),
        _recovery(world),
        _wrapped(world, cost),
        _renewal(world),
    ]


def _password(world: World, cost: KdfParameters, email: str, password: str) -> Case:
    salt_part = world.random_bytes(login.SALT_PART_LENGTH)
    secrets = login.secrets_from_password(password, email, salt_part, cost)
    return {
        "name": f"password of {email.strip()}",
        "inputs": {
            "kind": "password",
            "email": email,
            "password": password,
            "salt_part": salt_part.hex(),
            "passes": cost.passes,
            "memory": cost.memory,
        },
        "outputs": {
            "auth": secrets.auth.hex(),
            "wrapping": secrets.wrapping.hex(),
        },
    }


def _recovery(world: World) -> Case:
    recovery = world.random_bytes(login.RECOVERY_LENGTH)
    secrets = login.secrets_from_recovery_key(recovery)
    return {
        "name": "recovery key",
        "inputs": {"kind": "recovery", "recovery": recovery.hex()},
        "outputs": {
            "typed": login.format_recovery_key(recovery),
            "auth": secrets.auth.hex(),
            "wrapping": secrets.wrapping.hex(),
        },
    }


def _wrapped(world: World, cost: KdfParameters) -> Case:
    key, purpose = world.random_bytes(aead.KEY_LENGTH), "identity by password"
    tie = Wrapping(world.user, purpose, 1, cost)
    return {
        "name": "wrapped identity key",
        "inputs": {
            "kind": "wrapped",
            "key": key.hex(),
            "owner": world.user.hex(),
            "purpose": purpose,
            "generation": 1,
            "passes": cost.passes,
            "memory": cost.memory,
            "secret": world.identity.seed.hex(),
        },
        "outputs": {"wrapped": login.wrap(key, tie, world.identity.seed, world.random_bytes).hex()},
    }


def _renewal(world: World) -> Case:
    nonce = world.random_bytes(32)
    signature = world.signing_key.sign("session", nonce)
    request = api.RenewRequest(device=world.device, nonce=nonce, signature=signature)
    return {
        "name": "renewal of a token",
        "inputs": {
            "kind": "renewal",
            "device": world.device.hex(),
            "signing_seed": world.signing_key.seed.hex(),
            "nonce": nonce.hex(),
        },
        "outputs": {"request": encode(request).hex()},
    }


MAKERS: dict[str, Callable[[], list[Case]]] = {
    "approval": approval_vectors,
    "certificate": certificate_vectors,
    "chunk": chunk_vectors,
    "close": close_vectors,
    "commit": commit_vectors,
    "delta": delta_vectors,
    "frame": frame_vectors,
    "grant": grant_vectors,
    "lan": lan_vectors,
    "login": login_vectors,
    "manifest": manifest_vectors,
    "name": name_vectors,
    "run": run_vectors,
}


def render(name: str) -> str:
    """The text of one file."""
    maker = MAKERS[name]
    document = {"format": 1, "about": (maker.__doc__ or "").strip(), "cases": maker()}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all files."""
    for name in MAKERS:
        (FOLDER / f"{name}.json").write_text(render(name), encoding="utf-8")


if __name__ == "__main__":
    main()
