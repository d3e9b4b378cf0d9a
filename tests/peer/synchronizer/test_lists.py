"""Which chunk lists are kept opened."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.synchronizer.lists import MOST_CHUNKS, ChunkLists
from peer.version_store import Version
from protocol.chunks import ChunkRef
from protocol.identifiers import ChunkId, ContentHash, DeviceId, NodeId, RunId, VersionId
from protocol.manifests import Manifest
from protocol.runs import cut_runs, seal_run
from tests.peer.folders import SyncFolder, sync_folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


def refs(*lengths: int) -> list[ChunkRef]:
    return [ChunkRef(ChunkId(bytes(32)), bytes(32), length) for length in lengths]


def version(number: int) -> VersionId:
    return VersionId(number.to_bytes(16, "big"))


def test_a_list_says_where_each_chunk_begins(folder: SyncFolder) -> None:
    lists = ChunkLists(folder.context.versions)
    lists.put(version(1), refs(5, 7, 9))
    found = lists.get_many([version(1), version(2)])
    assert found.keys() == {version(1)}
    assert found[version(1)].offsets == [0, 5, 12, 21]


def test_what_was_used_longest_ago_is_let_go(folder: SyncFolder) -> None:
    lists = ChunkLists(folder.context.versions)
    half = refs(*[1] * (MOST_CHUNKS // 2))
    for number in (1, 2):
        lists.put(version(number), half)
    lists.get_many([version(1)])
    lists.put(version(3), half)
    assert lists.get_many(map(version, (1, 2, 3))).keys() == {version(1), version(3)}
    lists.put(version(4), half * 3)  # more than fit: the newest stays
    assert lists.get_many(map(version, (1, 2, 3, 4))).keys() == {version(4)}


def test_what_is_not_here_is_opened(folder: SyncFolder) -> None:
    versions, listed = folder.context.versions, refs(5, 7)
    runs = [seal_run(folder.context.keys.newest.run, run) for run in cut_runs(listed)]
    manifest = Manifest(
        size=12, mtime_ns=1, content_hash=ContentHash(bytes(32)), run_keys=tuple(run.key for run in runs)
    )
    ids = tuple(run.id for run in runs)
    versions.put(Version(version(1), NodeId(bytes(16)), DeviceId(bytes(16)), manifest, ids))
    versions.put(Version(version(2), NodeId(bytes(16)), DeviceId(bytes(16)), manifest, (RunId(b"\1" * 32),)))
    versions.put_runs((run.id, run.body) for run in runs)
    found = ChunkLists(versions).get_many([version(1), version(2)])
    assert {each: list(chunks.refs) for each, chunks in found.items()} == {version(1): listed}
