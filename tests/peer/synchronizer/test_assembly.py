"""A file is hashed while its pieces come, in whatever order that is."""

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path
from random import Random

import pytest

from peer.synchronizer import assembly
from peer.synchronizer.assembly import Assembly
from peer.synchronizer.pieces import Piece
from protocol.chunks import ChunkRef
from protocol.hashing import digest
from protocol.identifiers import ChunkId
from tests.peer.folders import SyncFolder, sync_folder

BODIES = [Random(number).randbytes(10 + number) for number in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("linux", tmp_path) as opened:
        yield opened


def pieces() -> list[Piece]:
    made, offset = list[Piece](), 0
    for number, body in enumerate(BODIES):
        made.append(Piece(ChunkRef(ChunkId(digest(body)), bytes(32), len(body)), offset, number))
        offset += len(body)
    return made


def assembled(folder: SyncFolder, order: Sequence[int], name: str) -> bytes:
    """The hash when the pieces have come in this order."""
    disk = folder.disk
    top = disk.open_root(folder.context.root.path)
    descriptor = disk.create_file(top, name, 0o600)
    made = Assembly(pieces())
    for number in order:
        made.write(disk, descriptor, pieces()[number], memoryview(BODIES[number]))
    found = made.digest(disk, descriptor)
    disk.close(descriptor)
    disk.close(top)
    return found


def test_pieces_in_every_order(folder: SyncFolder) -> None:
    for order in permutations(range(4)):
        name = "".join(map(str, order))
        assert assembled(folder, order, name) == digest(b"".join(BODIES))
        assert folder.hand.read(name) == b"".join(BODIES)


def test_a_piece_that_comes_twice(folder: SyncFolder) -> None:
    assert assembled(folder, [0, 0, 2, 1, 2, 3, 1], "f") == digest(b"".join(BODIES))


def test_a_large_file_is_fsynced_from_time_to_time(folder: SyncFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(assembly, "SYNC_BYTES", 20)
    monkeypatch.setattr(type(folder.disk), "fsync", lambda _, descriptor: synced.append(descriptor))
    assembled(folder, [0, 1, 2, 3], "f")
    assert len(synced) == 2
