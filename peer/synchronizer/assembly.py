"""A file that is put together from pieces, and hashed while they come.

What counts is the file as it lies on the disk: each piece is read back once all before it are there, while it is still
in the kernel's cache. So little is left to hash when the last one has come.
"""

from collections.abc import Sequence
from threading import Lock

from blake3 import blake3

from peer.chunker import WINDOW
from peer.ports import Descriptor, Disk
from peer.synchronizer.pieces import Piece


class Assembly:
    """How far one file has come. Any thread may write."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        """The file consists of these, in order."""
        self._pieces = pieces
        self._written: set[int] = set()
        self._hasher = blake3()
        self._hashed = 0  # pieces,
        self._offset = 0  # and bytes
        self._lock = Lock()  # a file system lets one write at a time as well, and threads spin while they wait

    def write(self, disk: Disk, descriptor: Descriptor, piece: Piece, body: bytes | memoryview) -> None:
        """Write one piece. A piece may come twice."""
        with self._lock:
            disk.write_at(descriptor, body, piece.offset)
            self._written.add(piece.number)
            while self._hashed in self._written:
                self._hash(disk.read_at(descriptor, self._pieces[self._hashed].ref.length, self._offset))
                self._hashed += 1

    def digest(self, disk: Disk, descriptor: Descriptor) -> bytes:
        """BLAKE3 of the whole file; what hasn't been read back is read now."""
        with self._lock:
            while data := disk.read_at(descriptor, WINDOW, self._offset):
                self._hash(data)
            return self._hasher.digest()

    def _hash(self, data: bytes) -> None:
        self._hasher.update(data)
        self._offset += len(data)
