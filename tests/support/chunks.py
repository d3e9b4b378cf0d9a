"""Chunks in tests: opened with their ids checked, made again, or sealed against the rules."""

from protocol import aead
from protocol.chunks import ChunkRef, body_room, chunk_id, open_in_place, reseal
from protocol.errors import Malformed
from protocol.hashing import digest


def open_chunk(ref: ChunkRef, sealed: bytes | memoryview) -> bytes:
    """The body. `Malformed` also when the bytes aren't `ref.id`'s."""
    if chunk_id(sealed) != ref.id:
        raise Malformed("a chunk does not match its id")
    return bytes(open_in_place(ref, memoryview(bytearray(sealed))))


def resealed(ref: ChunkRef, body: bytes) -> bytes | None:
    """What `reseal` makes of a file's present bytes."""
    sealed = bytearray(ref.sealed_length)
    room = body_room(ref, memoryview(sealed))
    room[:] = body
    return bytes(sealed) if reseal(ref, room, memoryview(sealed)) else None


def sealed_as_is(payload: bytes, length: int, saved: int = 0) -> tuple[ChunkRef, bytes]:
    """What an author could seal who keeps to no rule: a payload, and lengths that say anything."""
    key = digest(payload)
    sealed = aead.seal(key, aead.ZERO_NONCE, payload, b"")
    return ChunkRef(chunk_id(sealed), key, length, saved), sealed
