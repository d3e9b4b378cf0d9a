"""Sealing a chunk, and finding it again (design §5).

    payload = codec byte ‖ body                   codec 0: stored, the only one of format 1
    key     = BLAKE3-keyed(convergence key, suite byte ‖ payload)
    sealed  = 01 ‖ AEGIS-256(key, nonce 0, payload)
    id      = BLAKE3(sealed)

The key is a function of exactly the bytes it seals, so it never seals two messages. Anyone can verify sealed bytes
against an id; only who holds the key can open them.
"""

from typing import NamedTuple

from protocol import aead
from protocol.errors import Malformed, TooLarge
from protocol.hashing import digest, keyed
from protocol.identifiers import MAX_CHUNK, ChunkId

SUITE = b"\x01"
STORED = b"\x00"
OVERHEAD = len(STORED) + aead.OVERHEAD
"""How much longer a sealed chunk is than its body (34 bytes)."""
MAX_SEALED = MAX_CHUNK + OVERHEAD


class ChunkRef(NamedTuple):
    """One chunk in a version's list: `length` is that of the body in clear, in bytes."""

    id: ChunkId
    key: bytes
    length: int


def chunk_id(sealed: bytes | memoryview) -> ChunkId:
    """The content address of sealed bytes."""
    return ChunkId(digest(sealed))


def body_room(sealed: memoryview) -> memoryview:
    """Where a body must be put for one of the two functions below to seal it in `sealed`, which is OVERHEAD longer."""
    start = len(aead.FORMAT)
    sealed[start : start + 1] = STORED
    return sealed[start + 1 : -aead.TAG_LENGTH]


def seal_in_place(convergence: bytes, sealed: memoryview) -> ChunkRef:
    """Seal up to MAX_CHUNK bytes of a file where `body_room` says."""
    if len(sealed) > MAX_SEALED:
        raise TooLarge(f"a chunk of {len(sealed) - OVERHEAD} bytes")
    key = keyed(convergence, SUITE, sealed[len(aead.FORMAT) : -aead.TAG_LENGTH])
    aead.seal_in_place(key, aead.ZERO_NONCE, sealed)
    return ChunkRef(chunk_id(sealed), key, len(sealed) - OVERHEAD)


def reseal_in_place(ref: ChunkRef, sealed: memoryview) -> bool:
    """Seal a file's present bytes where `body_room` says; whether they are still the chunk `ref`."""
    aead.seal_in_place(ref.key, aead.ZERO_NONCE, sealed)
    return chunk_id(sealed) == ref.id


def open_in_place(ref: ChunkRef, sealed: memoryview) -> memoryview:
    """The body of bytes that are known to be `ref.id`'s, in their place. `Malformed` when it isn't `ref.length` long,
    `CannotOpen` for a wrong key."""
    payload = aead.unseal_in_place(ref.key, aead.ZERO_NONCE, sealed)
    if payload[:1] != STORED:
        raise Malformed(f"chunk codec {payload[:1].hex() or 'missing'} is not known")
    if len(payload) - 1 != ref.length:
        raise Malformed("a chunk's length differs from its list")
    return payload[1:]


def seal_chunk(convergence: bytes, body: bytes) -> tuple[ChunkRef, bytes]:
    """The reference to a body of up to MAX_CHUNK bytes, and the sealed bytes."""
    sealed = bytearray(len(body) + OVERHEAD)
    body_room(memoryview(sealed))[:] = body
    return seal_in_place(convergence, memoryview(sealed)), bytes(sealed)
