"""Where in a file its chunks belong."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar

from protocol.chunks import ChunkRef


class _HasRef(Protocol):
    @property
    def ref(self) -> ChunkRef: ...


T = TypeVar("T", bound=_HasRef)


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


def within(most: int, chunks: Iterable[T]) -> Iterator[list[T]]:
    """Cut into stretches that weigh at most so many bytes; a single chunk may weigh more."""
    stretch, room = list[T](), most
    for chunk in chunks:
        if stretch and chunk.ref.weight > room:
            yield stretch
            stretch, room = [], most
        stretch.append(chunk)
        room -= chunk.ref.weight
    if stretch:
        yield stretch
