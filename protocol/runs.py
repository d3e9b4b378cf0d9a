"""Runs: a version's chunk list, cut where its content says, so that a small edit sends a small part of it.

A file of 1,000 MiB has some 2,000 chunks, and 68 bytes of list a chunk would make every edit cost 140 KB. So the
list is cut into runs of about 28 chunks at content-defined places, each a content-addressed object of its own: a
version names its runs, a commit carries only those the tracker does not have yet (decision 0002).

    body    = 01 ‖ CBOR {1: list, 2: sealed keys}
    list    = (chunk id: 32 bytes ‖ sealed length: u32 big-endian) for each chunk        read by the tracker
    keys    = the chunks' keys, 32 bytes each                                            read by members
    run key = BLAKE3-keyed(run convergence key, suite byte ‖ list ‖ keys)
    sealed keys = 01 ‖ AEGIS-256(run key, nonce 0, keys, associated data: list)
    run id  = BLAKE3(body)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from protocol import aead, chunks
from protocol.chunks import ChunkRef
from protocol.codec import blob, decode, encode, message, wire
from protocol.errors import Malformed
from protocol.hashing import digest, keyed
from protocol.identifiers import HASH_LENGTH, ChunkId, RunId

FORMAT = b"\x01"
MIN_CHUNKS, MAX_CHUNKS = 20, 64
CUT_MASK = 0x07
"""A run ends after a chunk whose id's first byte has these bits clear: one in 8."""
ENTRY_LENGTH = HASH_LENGTH + 4
MAX_RUN_BYTES = 1 + 16 + MAX_CHUNKS * (ENTRY_LENGTH + HASH_LENGTH) + aead.OVERHEAD
MAX_RUNS = 1 << 13
"""Runs of one version: more than a file of 1 GiB in the smallest chunks can have."""


@message
class _RunBody:
    chunks: bytes = wire(1, blob(MAX_CHUNKS * ENTRY_LENGTH))
    keys: bytes = wire(2, blob(MAX_CHUNKS * HASH_LENGTH + aead.OVERHEAD))


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
    listed = b"".join(ref.id + (ref.length + chunks.OVERHEAD).to_bytes(4, "big") for ref in refs)
    keys = b"".join(ref.key for ref in refs)
    key = keyed(run_convergence, chunks.SUITE, listed, keys)
    body = FORMAT + encode(_RunBody(chunks=listed, keys=aead.seal(key, aead.ZERO_NONCE, keys, listed)))
    return SealedRun(run_id(body), key, body)


def _parse(body: bytes) -> _RunBody:
    if body[:1] != FORMAT:
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
    """The references with their keys. `CannotOpen` when the key from the manifest is not this run's."""
    parsed = _parse(body)
    keys = aead.unseal(key, aead.ZERO_NONCE, parsed.keys, parsed.chunks)
    listed = _listed(parsed.chunks)
    if len(keys) != len(listed) * HASH_LENGTH:
        raise Malformed("a run's list and keys disagree")
    return [
        ChunkRef(item.id, keys[at * HASH_LENGTH : (at + 1) * HASH_LENGTH], item.length - chunks.OVERHEAD)
        for at, item in enumerate(listed)
    ]
