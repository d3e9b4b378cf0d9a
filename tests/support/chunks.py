"""Opening a chunk whose bytes may be anybody's, as a whole and in a copy."""

from protocol.chunks import ChunkRef, chunk_id, open_in_place
from protocol.errors import Malformed


def open_chunk(ref: ChunkRef, sealed: bytes | memoryview) -> bytes:
    """The body. `Malformed` also when the bytes aren't `ref.id`'s."""
    if chunk_id(sealed) != ref.id:
        raise Malformed("a chunk does not match its id")
    return bytes(open_in_place(ref, memoryview(bytearray(sealed))))
