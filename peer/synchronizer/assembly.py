"""A file that is put together from pieces, and hashed while they come.

A piece that comes before its turn is read back when all before it are there, while it is still in the kernel's cache.
And what has been written is brought to the disk from time to time. So little is left to do when the last one has come.
"""

from collections.abc import Sequence
from threading import Lock

from blake3 import blake3

from peer.chunker import WINDOW
from peer.ports import Descriptor, Disk
from peer.synchronizer.pieces import Piece

SYNC_BYTES = 128 << 20
"""After so many an fsync: the disk works while more comes, and the last fsync waits for no more than these."""


class Assembly:
    """How far one file has come. Any thread may write."""

    def __init__(self, pieces: Sequence[Piece], *, growing: bool = False) -> None:
        """The file consists of these, in order; of more than that if it is `growing`, which may be added to `pieces`
        until `settle`."""
        self._pieces = pieces
        self._growing = growing
        self._written: set[int] = set()
        self._bitmap = bytearray((len(self._pieces) + 7) // 8)  # the same, for others
        self._hasher = blake3()
        self._hashed = 0  # pieces,
        self._offset = 0  # and bytes
        self._unsynced = 0  # bytes
        self._writing = Lock()  # a file system lets one write at a time as well, and threads spin while they wait
        self._hashing = Lock()

    def write(self, disk: Disk, descriptor: Descriptor, piece: Piece, body: bytes | memoryview) -> bool:
        """Write one piece; whether it was the last that was missing. A piece that comes again is left."""
        with self._writing:
            if piece.number in self._written:
                return False
            disk.write_at(descriptor, body, piece.offset)
            self._written.add(piece.number)
            self._bitmap.extend(bytes(max(0, piece.number // 8 + 1 - len(self._bitmap))))
            self._bitmap[piece.number // 8] |= 1 << piece.number % 8
            last = self.complete
            self._unsynced = unsynced = self._unsynced + len(body)
            if unsynced >= SYNC_BYTES:
                self._unsynced = 0
        with self._hashing:
            if piece.number == self._hashed:
                self._hash(body)
                self._hashed += 1
            while self._hashed in self._written:
                self._hash(disk.read_at(descriptor, self._pieces[self._hashed].ref.length, self._offset))
                self._hashed += 1
        if unsynced >= SYNC_BYTES:
            disk.fsync(descriptor)
        return last

    @property
    def bitmap(self) -> bytes:
        """Which pieces are written: bit `n % 8` of byte `n // 8` stands for piece n."""
        return bytes(self._bitmap)

    def has(self, piece: Piece) -> bool:
        """Whether a piece is written."""
        return piece.number in self._written

    def settle(self, pieces: Sequence[Piece]) -> None:
        """These are all there are; those there were until now come first."""
        self._pieces, self._growing = pieces, False

    @property
    def complete(self) -> bool:
        """Whether all pieces are written."""
        return not self._growing and len(self._written) == len(self._pieces)

    def digest(self, disk: Disk, descriptor: Descriptor) -> bytes:
        """BLAKE3 of the whole file; what hasn't been hashed is read now."""
        with self._hashing:
            while data := disk.read_at(descriptor, WINDOW, self._offset):
                self._hash(data)
            return self._hasher.digest()

    def _hash(self, data: bytes | memoryview) -> None:
        self._hasher.update(data)
        self._offset += len(data)
