"""Runs: a version's chunk list, cut where its content says, so that a small edit sends a small part of it.

A file of 1,000 MiB has some 2,000 chunks, and 68 bytes of list a chunk would make every edit cost 140 KB. So the
list is cut into runs of about 28 chunks at content-defined places, each a content-addressed object of its own: a
version names its runs, a commit carries only those the tracker does not have yet (decision 0002).

    body    = format ‖ CBOR {1: list, 2: sealed keys}
    list    = (chunk id: 32 bytes ‖ sealed length: u32 big-endian) for each chunk        read by the tracker
    keys    = the chunks' keys, 32 bytes each                                            read by members
              in format 2 each followed by the length in clear: u32 big-endian
    run key = BLAKE3-keyed(run convergence key, format ‖ list ‖ keys)
    sealed keys = 01 ‖ AEGIS-256(run key, nonce 0, keys, associated data: list)
    run id  = BLAKE3(body)

Format 1 is for runs of which no chunk is compressed: the sealed lengths tell the others.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from protocol import aead, chunks
from protocol.chunks import ChunkRef
from protocol.codec import blob, decode, encode, message, wire
from protocol.errors import Malformed
from protocol.hashing import digest, keyed
from protocol.identifiers import HASH_LENGTH, MAX_CHUNK, ChunkId, RunId

STORED_ONLY, FORMAT = b"\x01", b"\x02"
"""Format 1, and the one with lengths in clear."""
MIN_CHUNKS, MAX_CHUNKS = 20, 64
CUT_MASK = 0x07
"""A run ends after a chunk whose id's first byte has these bits clear: one in 8."""
ENTRY_LENGTH = HASH_LENGTH + 4
KEY_LENGTHS = {STORED_ONLY: HASH_LENGTH, FORMAT: HASH_LENGTH + 4}
"""Bytes for each chunk in what members read, by format."""
MAX_RUN_BYTES = 1 + 16 + MAX_CHUNKS * (ENTRY_LENGTH + KEY_LENGTHS[FORMAT]) + aead.OVERHEAD
MAX_RUNS = 1 << 13
"""Runs of one version: more than a file of 1 GiB in the smallest chunks can have."""


@message
class _RunBody:
    chunks: bytes = wire(1, blob(MAX_CHUNKS * ENTRY_LENGTH))
    keys: bytes = wire(2, blob(MAX_CHUNKS * KEY_LENGTHS[FORMAT] + aead.OVERHEAD))


@dataclass(frozen=True, slots=True)
class Listed:
    """One chunk as the tracker sees it: `length` is that of the sealed bytes."""

    id: ChunkId
    length: int


@dataclass(frozen=True, slots=True)
class SealedRun:
    """A run ready to send: `key` goes into the manifest, `id` into the operation, `body` into the commit."""

    id: RunId
    key: bytes
    body: bytes


def cut_runs(refs: Iterable[ChunkRef]) -> Iterator[list[ChunkRef]]:
    """Cut a chunk list into runs; an insertion moves only the cuts beside it."""
    run: list[ChunkRef] = []
    for ref in refs:
        run.append(ref)
        if len(run) >= MAX_CHUNKS or (len(run) >= MIN_CHUNKS and not ref.id[0] & CUT_MASK):
            yield run
            run = []
    if run:
        yield run


def run_id(body: bytes) -> RunId:
    """The content address of a run's body."""
    return RunId(digest(body))


def seal_run(run_convergence: bytes, refs: Sequence[ChunkRef]) -> SealedRun:
    """Seal 1 to MAX_CHUNKS references."""
    format_ = FORMAT if any(ref.saved for ref in refs) else STORED_ONLY
    listed = b"".join(ref.id + ref.sealed_length.to_bytes(4, "big") for ref in refs)
    if format_ == FORMAT:
        keys = b"".join(ref.key + ref.length.to_bytes(4, "big") for ref in refs)
    else:
        keys = b"".join(ref.key for ref in refs)
    key = keyed(run_convergence, format_, listed, keys)
    body = format_ + encode(_RunBody(chunks=listed, keys=aead.seal(key, aead.ZERO_NONCE, keys, listed)))
    return SealedRun(run_id(body), key, body)


def _parse(body: bytes) -> _RunBody:
    if body[:1] not in KEY_LENGTHS:
        raise Malformed("a run of an unknown format")
    parsed = decode(_RunBody, body[1:], MAX_RUN_BYTES)
    if not parsed.chunks or len(parsed.chunks) % ENTRY_LENGTH:
        raise Malformed("a run's list is not whole")
    return parsed


def list_run(body: bytes) -> list[Listed]:
    """What the tracker may know of a run. `Malformed` when a length is impossible."""
    return _listed(_parse(body).chunks)


def _listed(listed: bytes) -> list[Listed]:
    out = []
    for start in range(0, len(listed), ENTRY_LENGTH):
        length = int.from_bytes(listed[start + HASH_LENGTH : start + ENTRY_LENGTH], "big")
        if not chunks.OVERHEAD < length <= chunks.MAX_SEALED:
            raise Malformed(f"a chunk of {length} sealed bytes")
        out.append(Listed(ChunkId(listed[start : start + HASH_LENGTH]), length))
    return out


def open_run(key: bytes, body: bytes) -> list[ChunkRef]:
    """The references with their keys. `CannotOpen` when the key from the manifest is not this run's, `Malformed` when a
    chunk would be larger in clear than one may be, or has grown by being compressed."""
    parsed, step = _parse(body), KEY_LENGTHS[body[:1]]
    keys = aead.unseal(key, aead.ZERO_NONCE, parsed.keys, parsed.chunks)
    listed = _listed(parsed.chunks)
    if len(keys) != len(listed) * step:
        raise Malformed("a run's list and keys disagree")
    return [_ref(item, keys[at * step : (at + 1) * step]) for at, item in enumerate(listed)]


def _ref(item: Listed, key: bytes) -> ChunkRef:
    content = item.length - chunks.OVERHEAD
    if len(key) == HASH_LENGTH:
        return ChunkRef(item.id, key, content)
    length = int.from_bytes(key[HASH_LENGTH:], "big")
    if not content <= length <= MAX_CHUNK:
        raise Malformed(f"a chunk of {length} bytes that has {content} compressed")
    return ChunkRef(item.id, key[:HASH_LENGTH], length, length - content)
