"""Where in a file its chunks belong."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from protocol.chunks import ChunkRef


class Piece(NamedTuple):
    """A chunk of a file: where in the file, in bytes, and its number in the version's list."""

    ref: ChunkRef
    offset: int
    number: int


def pieces_of(refs: Iterable[ChunkRef]) -> Iterator[Piece]:
    """The chunks of a file, in order."""
    offset = 0
    for number, ref in enumerate(refs):
        yield Piece(ref, offset, number)
        offset += ref.length
