"""What this device holds whole, and its sealed chunks, made again from the files as they are.

There is no second copy of anything: a chunk is read from the synced file, or from what Shoal has moved out of the way
and keeps because the cloud doesn't have it, and sealed with the key that its manifest names. Where the file has changed
meanwhile that gives other bytes, and the chunk is not held any more. Nor is what another version of zstd compressed in
another way.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from peer.ports import Descriptor, Disk
from peer.root import OUTGOING, Folder, Names, SyncRoot, open_folder
from peer.tree_store import TreeStore
from protocol.chunks import ChunkRef, body_room, reseal
from protocol.identifiers import NodeId, VersionId
from protocol.names import RESERVED

_HERE = """SELECT v.version, l.parent, l.name FROM versions v CROSS JOIN local l
    ON l.workspace = v.workspace AND l.node = v.node AND l.digest = v.digest AND NOT l.gone
    WHERE v.workspace = ? AND v.version IN (??)"""
_KEPT = "SELECT version, name FROM outgoing WHERE workspace = ? AND version IN (??)"


@dataclass(frozen=True, slots=True)
class Place:
    """A file below the root: its folder, and its name in there."""

    parent: Names
    name: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A chunk, and where its bytes should be: at `offset` of a file, or nowhere."""

    ref: ChunkRef
    place: Place | None
    offset: int


class Holdings:
    """Looks up and reads what is held."""

    def __init__(self, store: TreeStore, disk: Disk, root: SyncRoot) -> None:
        """Of one workspace in one folder."""
        self._store = store
        self._disk = disk
        self._root = root

    def places(self, versions: Iterable[VersionId]) -> dict[VersionId, Place]:
        """Where those of `versions` are that are here whole, as far as the database knows."""
        database, workspace = self._store.database, self._store.workspace
        wanted = list(dict.fromkeys(versions))
        found = {
            version: Place((RESERVED, OUTGOING), name) for version, name in database.rows_in(_KEPT, workspace, wanted)
        }
        parents: dict[NodeId, Names | None] = {}
        for version, parent, name in database.rows_in(_HERE, workspace, wanted):
            if parent not in parents:
                parents[parent] = self._store.path(parent)
            path = parents[parent]
            if path is not None:
                found[version] = Place(path, name)
        return found

    @contextmanager
    def reading(self) -> Iterator["Reader"]:
        """Read chunks, in one thread; `WrongRoot` when the folder isn't there."""
        with open_folder(self._disk, self._root) as folder:
            reader = Reader(folder)
            try:
                yield reader
            finally:
                reader.close()

    def read(self, chunks: Sequence[Stored]) -> tuple[list[bytearray | None], set[Place]]:
        """The sealed bytes of these, None for those that are not held, and the files that didn't
        give what they should. Runs in a thread; raises `WrongRoot`."""
        out: list[bytearray | None] = []
        with self.reading() as reader:
            for chunk in chunks:
                sealed = bytearray(chunk.ref.sealed_length)
                out.append(sealed if reader.seal(chunk, memoryview(sealed)) else None)
            return out, reader.wrong


class Reader:
    """Keeps the file open that was read last: chunks of one file come together."""

    def __init__(self, folder: Folder) -> None:
        """Made by `Holdings.reading`."""
        self.wrong: set[Place] = set()
        """Files that were read, and didn't give the chunks that they should: they have other bytes, or these were
        compressed otherwise."""
        self.unread: set[Place] = set()
        """Files that aren't there, or are too short."""
        self._folder = folder
        self._place: Place | None = None
        self._descriptor: Descriptor | None = None

    def seal(self, chunk: Stored, sealed: memoryview) -> bool:
        """Make the sealed bytes of a chunk in `sealed`, which is as long as they are. False when it isn't held."""
        if chunk.place is None:
            return False
        room = body_room(chunk.ref, sealed)
        if not self._read(chunk.place, room, chunk.offset):
            self.unread.add(chunk.place)
            return False
        if reseal(chunk.ref, room, sealed):
            return True
        self.wrong.add(chunk.place)
        return False

    def _read(self, place: Place, room: memoryview, offset: int) -> bool:
        try:
            return self._folder.disk.read_into(self._open(place), room, offset) == len(room)
        except OSError:
            return False

    def _open(self, place: Place) -> Descriptor:
        if self._descriptor is None or place != self._place:
            self.close()
            self._folder.trim()
            self._descriptor = self._folder.disk.open_file(self._folder.directory(place.parent), place.name)
            self._place = place
        return self._descriptor

    def close(self) -> None:
        """Close what is open."""
        if self._descriptor is not None:
            self._folder.disk.close(self._descriptor)
        self._descriptor = self._place = None
