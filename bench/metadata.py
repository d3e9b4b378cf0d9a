"""How many bytes one change costs, by the real sealing, cutting and encoding (design §10, "traffic per update").

The author sends a commit, reads the reply and uploads a pack of the new chunks. A receiver gets the delta inside the
notification and asks for the chunks; when they are all in the cloud, it is told so by a record. The author gets the
same two notices, that of its own commit without the delta. Headers are estimated: 400 bytes for each HTTP request and
as many for each reply, 10 for each WebSocket frame.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

from blake3 import blake3
from pyfastcdc import FastCDC

from bench.made import MadeFile
from bench.seeded import seeded_bytes
from peer.chunker import cut_parameters
from protocol import api
from protocol.chunks import ChunkRef, seal_chunk
from protocol.codec import encode
from protocol.commits import (
    FILE,
    Commit,
    Content,
    Create,
    Operation,
    Place,
    Write,
    encode_operation,
    first_chain_hash,
    sign_commit,
)
from protocol.deltas import INLINE_DELTA_BYTES, Delta, Entry, Record, SignedCommit
from protocol.identifiers import (
    HASH_LENGTH,
    MAX_INLINE,
    MAX_PACK_BYTES,
    ROOT,
    ChunkId,
    CommitId,
    ContentHash,
    DeviceId,
    NodeId,
    RunId,
    TrackerEpoch,
    VersionId,
    WorkspaceId,
    new_id,
)
from protocol.keys import new_workspace_keys
from protocol.manifests import Manifest, seal_manifest
from protocol.names import seal_name
from protocol.notices import Changed, encode_notice
from protocol.packs import pack_length
from protocol.runs import ENTRY_LENGTH, SealedRun, cut_runs, seal_run
from protocol.signing import SigningKey

HTTP_HEADERS = 400
"""Estimated bytes of headers of one request, and of one reply."""
FRAME_HEADER = 10
"""Bytes of the header of a WebSocket frame from the tracker, at most."""
KIB, MIB = 1 << 10, 1 << 20
REVISION, NOW_MS = 100_000, 1_800_000_000_000
"""Numbers of the length that a workspace in use has."""


@dataclass(frozen=True)
class Sealed:
    """A version ready for a commit, with what is new about it."""

    content: Content
    new_runs: tuple[SealedRun, ...]
    new_chunks: tuple[tuple[ChunkId, int], ...]  # sealed length in bytes
    listed: int  # chunks of the whole version


@dataclass(frozen=True)
class Row:
    """What one change costs, in bytes. `limit` holds for each device's traffic in both directions."""

    name: str
    commit: int
    reply: int
    notice: int  # at a receiver: the inline delta, or a notice and the delta that it asks for
    chunks: int  # sealed bytes of the new chunks alone
    author_metadata: int  # with headers
    author_total: int
    receiver_metadata: int
    receiver_total: int
    whole_list: int  # what the list of all chunks with their keys would be, without runs
    limit: int
    whole: bool = True  # whether the limit is for the total, or for metadata alone

    @property
    def metadata(self) -> int:
        """What the format costs the device that pays more."""
        return max(self.author_metadata, self.receiver_metadata)

    @property
    def total(self) -> int:
        """What the change costs the device that pays more."""
        return max(self.author_total, self.receiver_total)

    @property
    def verdict(self) -> str:
        """RED: the format must change. chunker: the format is well below, the chunks' size is not."""
        if self.metadata > self.limit:
            return "RED"
        return "chunker" if self.whole and self.total > self.limit else "ok"


class Author:
    """A device that commits, and a tracker that always agrees."""

    def __init__(self) -> None:
        """A fresh workspace with one member."""
        self.random_bytes = seeded_bytes("Shoal bench metadata")
        self.workspace = WorkspaceId(new_id(self.random_bytes))
        self.device = DeviceId(new_id(self.random_bytes))
        self.tracker_epoch = TrackerEpoch(new_id(self.random_bytes))
        self.keys = new_workspace_keys(self.workspace, self.random_bytes)
        self.signing_key = SigningKey(self.random_bytes(32))
        self.seen = first_chain_hash(self.workspace)
        self.chunks: set[ChunkId] = set()
        self.runs: set[RunId] = set()

    def seal(self, node: NodeId, made: MadeFile) -> Sealed:
        """Cut, seal and list a file; only chunks and runs never met before count as new."""
        if made.size <= MAX_INLINE:
            return self._content(node, Manifest(size=made.size, mtime_ns=NOW_MS * 10**6, inline=made.read()), ())
        cut = cut_parameters(made.size)
        refs, lengths, whole = self._cut(made, cut)
        runs = tuple(seal_run(self.keys.newest.run, run) for run in cut_runs(refs))
        manifest = Manifest(
            size=made.size,
            mtime_ns=NOW_MS * 10**6,
            content_hash=whole,
            run_keys=tuple(run.key for run in runs),
            cut=cut,
        )
        return self._content(node, manifest, runs, lengths)

    def _cut(self, made: MadeFile, cut: tuple[int, int, int]) -> tuple[list[ChunkRef], dict[ChunkId, int], ContentHash]:
        minimum, average, maximum = cut
        chunker = FastCDC(average, min_size=minimum, max_size=maximum, seed=self.keys.chunker_seed)
        refs, lengths, whole = [], {}, blake3()
        for chunk in chunker.cut_stream(made):
            body = bytes(chunk.data)
            whole.update(body)
            ref, sealed = seal_chunk(self.keys.newest.convergence, body)
            refs.append(ref)
            lengths[ref.id] = len(sealed)
        return refs, lengths, ContentHash(whole.digest())

    def _content(
        self,
        node: NodeId,
        manifest: Manifest,
        runs: tuple[SealedRun, ...],
        lengths: dict[ChunkId, int] | None = None,
    ) -> Sealed:
        ids = tuple(run.id for run in runs)
        sealed = seal_manifest(self.keys.newest, self.workspace, node, manifest, ids, self.random_bytes)
        new_runs = tuple({run.id: run for run in runs if run.id not in self.runs}.values())
        new_chunks = tuple((id, length) for id, length in (lengths or {}).items() if id not in self.chunks)
        self.runs.update(ids)
        self.chunks.update(lengths or {})
        content = Content(version=sealed.version, manifest=sealed.sealed, runs=ids)
        return Sealed(content, new_runs, new_chunks, len(lengths or {}))

    def create(self, name: str, made: MadeFile) -> tuple[Create, Sealed]:
        """A new file in the workspace's root."""
        node = NodeId(new_id(self.random_bytes))
        named = seal_name(self.keys, ROOT, node, name, self.random_bytes)
        sealed = self.seal(node, made)
        place = Place(parent=ROOT, token=named.token, name=named.sealed, mark=named.place)
        return Create(node=node, kind=FILE, place=place, content=sealed.content), sealed

    def write(self, node: NodeId, base: VersionId, made: MadeFile) -> tuple[Write, Sealed]:
        """A new version of a file."""
        sealed = self.seal(node, made)
        return Write(node=node, base=base, content=sealed.content), sealed

    def measure(self, name: str, changes: Sequence[tuple[Operation, Sealed]], limit: int, *, whole: bool = True) -> Row:
        """Everything that travels for one commit of these changes."""
        chunks = [length for _, sealed in changes for _, length in sealed.new_chunks]
        commit, reply = self._commit(changes), self._reply(changes)
        durable = self._notice(self._durable(changes)) if chunks else 0
        down = self._notice(self._delta(commit, changes)) + durable
        up = len(encode(commit)) + len(encode(reply)) + 2 * HTTP_HEADERS + self._plain_notice() + durable
        return Row(
            name=name,
            commit=len(encode(commit)),
            reply=len(encode(reply)),
            notice=down,
            chunks=sum(chunks),
            author_metadata=up,
            author_total=up + _upload(chunks),
            receiver_metadata=down,
            receiver_total=down + self._download(changes),
            whole_list=sum(sealed.listed for _, sealed in changes) * (ENTRY_LENGTH + HASH_LENGTH),
            limit=limit,
            whole=whole,
        )

    def _commit(self, changes: Sequence[tuple[Operation, Sealed]]) -> Commit:
        return sign_commit(
            workspace=self.workspace,
            device=self.device,
            epoch=1,
            commit=CommitId(new_id(self.random_bytes)),
            seen=self.seen,
            operations=tuple(encode_operation(operation) for operation, _ in changes),
            runs=tuple(run.body for _, sealed in changes for run in sealed.new_runs),
            signing_key=self.signing_key,
        )

    def _reply(self, changes: Sequence[tuple[Operation, Sealed]]) -> api.CommitReply:
        return api.CommitReply(
            since=REVISION,
            revision=REVISION + 1,
            hash=self.seen,
            time_ms=NOW_MS,
            announced=_announced(changes),
            missing=tuple(id for _, sealed in changes for id, _ in sealed.new_chunks),
        )

    def _delta(self, commit: Commit, changes: Sequence[tuple[Operation, Sealed]]) -> Delta:
        signed = SignedCommit(
            device=self.device,
            epoch=commit.epoch,
            id=commit.id,
            seen=commit.seen,
            signature=commit.signature,
            items=commit.operations,
        )
        entry = Entry(revision=REVISION + 1, time_ms=NOW_MS, commit=signed)
        return self._page(entry, _announced(changes), commit.runs)

    def _durable(self, changes: Sequence[tuple[Operation, Sealed]]) -> Delta:
        rows = tuple((operation.node, sealed.content.version) for operation, sealed in changes if sealed.new_chunks)
        return self._page(Entry(revision=REVISION + 1, time_ms=NOW_MS, record=Record(durable=rows)), (), ())

    def _page(self, entry: Entry, announced: tuple[VersionId, ...], runs: tuple[bytes, ...]) -> Delta:
        return Delta(
            workspace=self.workspace,
            tracker_epoch=self.tracker_epoch,
            since=entry.revision - 1,
            through=entry.revision,
            head=entry.revision,
            hash=self.seen,
            entries=(entry,),
            announced=announced,
            runs=runs,
        )

    def _notice(self, delta: Delta) -> int:
        """Bytes until a receiver has the delta: inline in the notice, or asked for after it."""
        body = encode(delta)
        inline = body if len(body) <= INLINE_DELTA_BYTES else None
        notice = Changed(workspace=self.workspace, since=delta.since, through=delta.through, delta=inline)
        framed = FRAME_HEADER + len(encode_notice(notice))
        if inline is not None:
            return framed
        request = api.DeltaRequest(
            workspace=self.workspace, revision=delta.since, tracker_epoch=self.tracker_epoch, hash=self.seen
        )
        return framed + len(encode(request)) + len(body) + 2 * HTTP_HEADERS

    def _plain_notice(self) -> int:
        notice = Changed(workspace=self.workspace, since=REVISION, through=REVISION + 1)
        return FRAME_HEADER + len(encode_notice(notice))

    def _download(self, changes: Sequence[tuple[Operation, Sealed]]) -> int:
        """Bytes for fetching the new chunks from the cloud, the requests included."""
        new = [chunk for _, sealed in changes for chunk in sealed.new_chunks]
        total = 0
        for pack in _packs([length for _, length in new]):
            asked = api.ChunksRequest(workspace=self.workspace, chunks=tuple(id for id, _ in new[: len(pack)]))
            total += len(encode(asked)) + pack_length(pack) + 2 * HTTP_HEADERS
        return total


def _announced(changes: Sequence[tuple[Operation, Sealed]]) -> tuple[VersionId, ...]:
    return tuple(sealed.content.version for _, sealed in changes if sealed.new_chunks)


def _packs(lengths: Sequence[int]) -> Iterator[list[int]]:
    pack: list[int] = []
    for length in lengths:
        if pack and pack_length([*pack, length]) > MAX_PACK_BYTES:
            yield pack
            pack = []
        pack.append(length)
    if pack:
        yield pack


def _upload(lengths: Sequence[int]) -> int:
    """Bytes for sending the new chunks as packs, the replies included."""
    reply = len(encode(api.PackReply(stored=len(lengths), durable=(VersionId(bytes(16)),))))
    return sum(pack_length(pack) + reply + 2 * HTTP_HEADERS for pack in _packs(lengths))


# The changes --------------------


def one_small() -> Row:
    """One new file of 1 KB; 4 KB is the lower end of the published 4 to 26 KB."""
    return make_files("one 1 KB file", 1, 4_000)


def hundred_small() -> Row:
    """A hundred new files of 1 KB in one commit."""
    return make_files("100 × 1 KB files", 100, 132_000)


def edit_in_1_mb() -> Row:
    """One byte in the middle of 1 MB."""
    return change_file("1-byte edit in 1 MB", 10**6, MadeFile(10**6, flipped=10**6 // 2), 50_000)


def edit_in_1000_mib() -> Row:
    """One byte in the middle of 1,000 MiB. Its chunks are larger than 50 KB, so the limit is for the metadata."""
    size = 1000 * MIB
    return change_file("1-byte edit in 1,000 MiB", size, MadeFile(size, flipped=size // 2), 50_000, whole=False)


def insert_in_1000_mib() -> Row:
    """One byte inserted at the front of 1,000 MiB."""
    size = 1000 * MIB
    return change_file("1 byte before 1,000 MiB", size, MadeFile(size, front=b"x"), 2 * MIB)


def append_1_kib() -> Row:
    """1 KiB after 10 MB, at 6.4 bytes a byte."""
    return _append("1 KiB after 10 MB", KIB)


def append_64_kib() -> Row:
    """64 KiB after 10 MB, at 6.4 bytes a byte."""
    return _append("64 KiB after 10 MB", 64 * KIB)


Change: TypeAlias = Callable[[], Row]
SMALL_CHANGES: tuple[Change, ...] = (one_small, hundred_small, edit_in_1_mb, append_1_kib, append_64_kib)
LARGE_CHANGES: tuple[Change, ...] = (edit_in_1000_mib, insert_in_1000_mib)


def make_files(name: str, count: int, limit: int) -> Row:
    """`count` new files of 1 KiB in one commit."""
    author = Author()
    front = author.random_bytes
    changes = [author.create(f"file-{at:03}.txt", MadeFile(0, front=front(KIB))) for at in range(count)]
    return author.measure(name, changes, limit)


def change_file(name: str, size: int, changed: MadeFile, limit: int, *, whole: bool = True) -> Row:
    """A new version of a file that had `size` bytes."""
    author = Author()
    created, before = author.create("file.bin", MadeFile(size))
    change = author.write(created.node, before.content.version, changed)
    return author.measure(name, [change], limit, whole=whole)


def _append(name: str, count: int) -> Row:
    end = seeded_bytes("Shoal bench append")(count)
    return change_file(name, 10**7, MadeFile(10**7, end=end), count * 64 // 10)


def measure_all() -> list[Row]:
    """Every change, one after the other."""
    return [change() for change in (*SMALL_CHANGES, *LARGE_CHANGES)]


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    """Rows as plain values, with what follows from them."""
    return [{**asdict(row), "metadata": row.metadata, "total": row.total, "verdict": row.verdict} for row in rows]
