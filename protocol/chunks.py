"""Sealing a chunk, and finding it again (design §5).

    payload = codec byte ‖ body                   codec 0: stored, the only one of format 1
    key     = BLAKE3-keyed(convergence key, suite byte ‖ payload)
    sealed  = 01 ‖ AEGIS-256(key, nonce 0, payload)
    id      = BLAKE3(sealed)

The key is a function of exactly the bytes it seals, so it never seals two messages. Anyone can verify sealed bytes
against an id; only who holds the key can open them.
"""

from dataclasses import dataclass

from protocol import aead
from protocol.errors import Malformed, TooLarge
from protocol.hashing import digest, keyed
from protocol.identifiers import MAX_CHUNK, ChunkId

SUITE = b"\x01"
STORED = b"\x00"
OVERHEAD = len(STORED) + aead.OVERHEAD
"""How much longer a sealed chunk is than its body (34 bytes)."""
MAX_SEALED = MAX_CHUNK + OVERHEAD


@dataclass(frozen=True, slots=True)
class ChunkRef:
    """One chunk in a version's list: `length` is that of the body in clear, in bytes."""

    id: ChunkId
    key: bytes
    length: int


def chunk_id(sealed: bytes | memoryview) -> ChunkId:
    """The content address of sealed bytes."""
    return ChunkId(digest(sealed))


def seal_chunk(convergence: bytes, body: bytes) -> tuple[ChunkRef, bytes]:
    """Seal up to MAX_CHUNK bytes of a file; returns the reference and the sealed bytes."""
    if len(body) > MAX_CHUNK:
        raise TooLarge(f"a chunk of {len(body)} bytes")
    payload = STORED + body
    key = keyed(convergence, SUITE, payload)
    sealed = aead.seal(key, aead.ZERO_NONCE, payload, b"")
    return ChunkRef(chunk_id(sealed), key, len(body)), sealed


def reseal_chunk(ref: ChunkRef, body: bytes) -> bytes | None:
    """The sealed bytes of `ref` made again from a file's present bytes; None when they are no longer that chunk."""
    sealed = aead.seal(ref.key, aead.ZERO_NONCE, STORED + body, b"")
    return sealed if chunk_id(sealed) == ref.id else None


def open_chunk(ref: ChunkRef, sealed: bytes | memoryview) -> bytes:
    """The body. `Malformed` when the bytes aren't `ref.id`'s or not `ref.length` long, `CannotOpen` for a wrong key."""
    if chunk_id(sealed) != ref.id:
        raise Malformed("a chunk does not match its id")
    return open_verified(ref, sealed)


def open_verified(ref: ChunkRef, sealed: bytes | memoryview) -> bytes:
    """The body of bytes that are known to be `ref.id`'s."""
    payload = aead.unseal(ref.key, aead.ZERO_NONCE, sealed, b"")
    if payload[:1] != STORED:
        raise Malformed(f"chunk codec {payload[:1].hex() or 'missing'} is not known")
    if len(payload) - 1 != ref.length:
        raise Malformed("a chunk's length differs from its list")
    return payload[1:]
