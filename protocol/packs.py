"""Packs: many sealed chunks in one body, up and down.

    01 ‖ workspace: 16 bytes ‖ count: u32 ‖ count × (chunk id: 32 bytes ‖ length: u32) ‖ the sealed chunks, in that
    order

All numbers are big-endian. In an answer, length 0 says that the chunk is not held. The index comes first, so that
sizes are checked before a byte of a chunk is kept, and a stored pack can be understood without any database.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from protocol import chunks
from protocol.errors import Malformed, TooLarge
from protocol.identifiers import (
    HASH_LENGTH,
    ID_LENGTH,
    MAX_PACK_BYTES,
    MAX_REQUEST_CHUNKS,
    ChunkId,
    WorkspaceId,
)

FORMAT = b"\x01"
HEADER_LENGTH = 1 + ID_LENGTH + 4
ENTRY_LENGTH = HASH_LENGTH + 4


@dataclass(frozen=True, slots=True)
class Packed:
    """One chunk's place in a pack: `offset` from the pack's first byte; `length` 0 when it is not held."""

    id: ChunkId
    offset: int
    length: int


def build_pack(workspace: WorkspaceId, sealed: Iterable[tuple[ChunkId, bytes | bytearray]]) -> bytes:
    """The body of a pack; an empty `bytes` stands for a chunk that is not held."""
    items = list(sealed)
    index = b"".join(chunk + len(data).to_bytes(4, "big") for chunk, data in items)
    head = FORMAT + workspace + len(items).to_bytes(4, "big")
    return b"".join((head, index, *(data for _, data in items)))


def pack_length(lengths: Iterable[int]) -> int:
    """How long a pack of chunks of these sealed lengths is, in bytes."""
    return HEADER_LENGTH + sum(ENTRY_LENGTH + length for length in lengths)


def read_index(body: bytes, workspace: WorkspaceId, limit: int = MAX_PACK_BYTES) -> list[Packed]:
    """The index of a whole pack, held against the body's length; ids are not verified here."""
    if len(body) > limit:
        raise TooLarge(f"a pack of {len(body)} bytes, at most {limit} allowed")
    if len(body) < HEADER_LENGTH or body[:1] != FORMAT:
        raise Malformed("a pack of an unknown format")
    if body[1 : 1 + ID_LENGTH] != workspace:
        raise Malformed("a pack for another workspace")
    count = int.from_bytes(body[1 + ID_LENGTH : HEADER_LENGTH], "big")
    if count > MAX_REQUEST_CHUNKS:
        raise TooLarge(f"a pack of {count} chunks, at most {MAX_REQUEST_CHUNKS} allowed")
    offset = HEADER_LENGTH + count * ENTRY_LENGTH
    if offset > len(body):
        raise Malformed("a pack's index is cut off")
    entries = list(_entries(body, count, offset))
    if entries and entries[-1].offset + entries[-1].length != len(body):
        raise Malformed("a pack's length differs from its index")
    if not entries and offset != len(body):
        raise Malformed("bytes after an empty pack")
    return entries


def _entries(body: bytes, count: int, offset: int) -> Iterator[Packed]:
    for at in range(HEADER_LENGTH, HEADER_LENGTH + count * ENTRY_LENGTH, ENTRY_LENGTH):
        chunk = ChunkId(body[at : at + HASH_LENGTH])
        length = int.from_bytes(body[at + HASH_LENGTH : at + ENTRY_LENGTH], "big")
        if length and not chunks.OVERHEAD < length <= chunks.MAX_SEALED:
            raise Malformed(f"a chunk of {length} sealed bytes")
        yield Packed(chunk, offset, length)
        offset += length


def workspace_of(body: bytes) -> WorkspaceId:
    """The workspace that a pack says it is for."""
    if len(body) < HEADER_LENGTH:
        raise Malformed("a pack is cut off")
    return WorkspaceId(body[1 : 1 + ID_LENGTH])
