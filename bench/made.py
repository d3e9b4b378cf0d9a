"""Files of incompressible bytes that are the same in every run."""

from collections.abc import Iterator

from blake3 import blake3

BLOCK = 1 << 20


class MadeFile:
    """`size` incompressible bytes, made as they are read, so that 1,000 MiB need no memory.

    The byte at offset `flipped` differs; `front` comes before and `end` after everything.
    """

    def __init__(self, size: int, *, flipped: int | None = None, front: bytes = b"", end: bytes = b"") -> None:
        """Nothing is made yet."""
        self.size = len(front) + size + len(end)
        self._body, self._flipped = size, flipped
        self._parts = self._blocks(front, end)
        self._left = memoryview(b"")

    def _blocks(self, front: bytes, end: bytes) -> Iterator[bytes]:
        yield front
        for start in range(0, self._body, BLOCK):
            block = blake3(start.to_bytes(8, "big")).digest(length=min(BLOCK, self._body - start))
            if self._flipped is not None and start <= self._flipped < start + len(block):
                at = self._flipped - start
                block = block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]
            yield block
        yield end

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill `buffer`; less only at the end."""
        done = 0
        while done < len(buffer):
            if not self._left:
                part = next(self._parts, None)
                if part is None:
                    break
                self._left = memoryview(part)
            count = min(len(buffer) - done, len(self._left))
            buffer[done : done + count] = self._left[:count]
            self._left = self._left[count:]
            done += count
        return done

    def read(self) -> bytes:
        """All of it, for small ones."""
        data = bytearray(self.size)
        self.readinto(memoryview(data))
        return bytes(data)
