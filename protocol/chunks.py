"""Sealing a chunk, and finding it again (design §5).

    payload = codec byte ‖ content              codec 0: the body as it is; 1: its zstd frame, which is shorter
    key     = BLAKE3-keyed(convergence key, suite byte ‖ payload)
    sealed  = 01 ‖ AEGIS-256(key, nonce 0, payload)
    id      = BLAKE3(sealed)

The key is a function of exactly the bytes it seals, so it never seals two messages. Anyone can verify sealed bytes
against an id; only who holds the key can open them. The two lengths in a list tell the codec.
"""

from typing import NamedTuple

from protocol import aead
from protocol.compression import compress, compress_if_worth, decompress
from protocol.errors import Malformed, TooLarge
from protocol.hashing import digest, keyed
from protocol.identifiers import MAX_CHUNK, ChunkId

SUITE = b"\x01"
STORED, COMPRESSED = b"\x00", b"\x01"
OVERHEAD = len(STORED) + aead.OVERHEAD
"""How much longer a sealed chunk is than what its codec made of the body (34 bytes)."""
MAX_SEALED = MAX_CHUNK + OVERHEAD
_START, _END = len(aead.FORMAT) + len(STORED), aead.TAG_LENGTH
"""Bytes of a sealed chunk before and behind its content."""
CLEAR_WEIGHT = 8
"""So many bytes in clear are as much work as one of a sealed chunk that has to travel."""


class ChunkRef(NamedTuple):
    """One chunk in a version's list: `length` is that of the body in clear, in bytes, and `saved` by how much
    compression has made it shorter; 0: it is stored as it is."""

    id: ChunkId
    key: bytes
    length: int
    saved: int = 0

    @property
    def sealed_length(self) -> int:
        """Bytes of the sealed chunk."""
        return self.length - self.saved + OVERHEAD

    @property
    def weight(self) -> int:
        """What it counts where requests and packs are bounded: a few bytes that become many aren't as good as free."""
        return max(self.sealed_length, self.length // CLEAR_WEIGHT)


def chunk_id(sealed: bytes | memoryview) -> ChunkId:
    """The content address of sealed bytes."""
    return ChunkId(digest(sealed))


def seal_into(convergence: bytes, body: memoryview, room: memoryview) -> ChunkRef:
    """Seal up to MAX_CHUNK bytes of a file, compressed where it pays. The sealed chunk takes the first `sealed_length`
    bytes of `room`, which has OVERHEAD more than the body."""
    if len(body) > MAX_CHUNK:
        raise TooLarge(f"a chunk of {len(body)} bytes")
    frame = compress_if_worth(body)
    sealed = _payload_in(room, STORED, body) if frame is None else _payload_in(room, COMPRESSED, frame)
    key = keyed(convergence, SUITE, sealed[len(aead.FORMAT) : -_END])
    aead.seal_in_place(key, aead.ZERO_NONCE, sealed)
    return ChunkRef(chunk_id(sealed), key, len(body), 0 if frame is None else len(body) - len(frame))


def _payload_in(room: memoryview, codec: bytes, content: bytes | memoryview) -> memoryview:
    """The part of `room` that is to be sealed in place."""
    sealed = room[: len(content) + OVERHEAD]
    sealed[_START - 1 : _START] = codec
    sealed[_START:-_END] = content
    return sealed


def body_room(ref: ChunkRef, sealed: memoryview) -> memoryview:
    """Where to put the body to seal it again in `sealed`, which is as long as the chunk: there, if it is stored."""
    return memoryview(bytearray(ref.length)) if ref.saved else sealed[_START:-_END]


def reseal(ref: ChunkRef, body: memoryview, sealed: memoryview) -> bool:
    """Seal a file's present bytes, which are where `body_room` says; whether they are still the chunk `ref`. Compressed
    by another version of zstd the right bytes may be another chunk."""
    if ref.saved:
        frame = compress(body)
        if len(frame) + OVERHEAD != len(sealed):
            return False
        _payload_in(sealed, COMPRESSED, frame)
    else:
        sealed[_START - 1 : _START] = STORED
    aead.seal_in_place(ref.key, aead.ZERO_NONCE, sealed)
    return chunk_id(sealed) == ref.id


def open_in_place(ref: ChunkRef, sealed: memoryview) -> memoryview:
    """The body of bytes that are known to be `ref.id`'s: in their place, if it is stored. `Malformed` when they or the
    body aren't as long as the list says or another codec is used, `CannotOpen` for a wrong key."""
    payload = aead.unseal_in_place(ref.key, aead.ZERO_NONCE, sealed)
    codec, content = bytes(payload[:1]), payload[1:]
    if codec not in (STORED, COMPRESSED):
        raise Malformed(f"chunk codec {codec.hex() or 'missing'} is not known")
    if len(sealed) != ref.sealed_length or (codec == COMPRESSED) != (ref.saved > 0):
        raise Malformed("a chunk's length differs from its list")
    return memoryview(decompress(content, ref.length)) if ref.saved else content


def seal_chunk(convergence: bytes, body: bytes) -> tuple[ChunkRef, bytes]:
    """The reference to a body of up to MAX_CHUNK bytes, and the sealed bytes."""
    room = memoryview(bytearray(len(body) + OVERHEAD))
    ref = seal_into(convergence, memoryview(body), room)
    return ref, bytes(room[: ref.sealed_length])
