"""The indexer and ignore rules: what LOCAL leaves out, and that nothing of it becomes a delete."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.ignoring import MAX_BYTES
from peer.trees import Remote, Synced
from protocol.commits import DIRECTORY
from protocol.identifiers import ROOT, NodeId, PlaceMark, VersionId
from tests.peer.folders import SyncFolder, sync_folder

MARK = PlaceMark(bytes(16))


@pytest.fixture(params=["linux", "simulated"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


async def filled(folder: SyncFolder) -> SyncFolder:
    for path in ("d", "d/build", "d/build/deep", "build"):
        folder.hand.mkdir(path)
    for path in ("a.log", "d/a.log", "d/f", "d/build/x", "d/build/deep/y", "build/z"):
        folder.hand.write(path, path.encode())
    await folder.indexer.scan_everything()
    folder.now_read()
    return folder


def agree(folder: SyncFolder, *paths: str) -> None:
    """As if these had been synced."""
    for path in paths:
        row = folder.row(path)
        version = None if row.kind == DIRECTORY else VersionId(row.node)
        folder.store.put_remote(Remote(row.node, row.parent, row.name, row.kind, MARK, version, None, version))
        folder.store.put_synced(Synced(row.node, row.parent, row.name, row.kind, MARK, version, None))


ALL = {"a.log", "build", "build/z", "d", "d/a.log", "d/build", "d/build/deep", "d/build/deep/y", "d/build/x", "d/f"}


async def test_what_was_synced_and_is_ignored_now_is_forgotten_here_and_no_delete(folder: SyncFolder) -> None:
    await filled(folder)
    agree(folder, *sorted(ALL))
    nodes = {path: folder.node(path) for path in ALL}
    folder.hand.write(".shoalignore", b"build/\n*.log\n")
    await folder.indexer.scan({()})
    assert folder.paths() == {".shoalignore", "d", "d/f"}
    for path in ALL - {"d", "d/f"}:
        assert folder.store.synced(nodes[path]) is None
        assert folder.store.remote(nodes[path]) is not None
    assert folder.hand.read("d/build/deep/y") == b"d/build/deep/y"


async def test_rules_are_applied_at_once_also_far_below_and_so_is_their_end(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.write(".shoalignore", b"deep\n")
    await folder.indexer.scan({()})
    assert folder.paths() == ALL - {"d/build/deep", "d/build/deep/y"} | {".shoalignore"}
    folder.hand.save(".shoalignore", b"*.log\n")
    await folder.indexer.scan({()})
    assert folder.paths() == ALL - {"a.log", "d/a.log"} | {".shoalignore"}
    folder.hand.remove(".shoalignore")
    await folder.indexer.scan({()})
    assert folder.paths() == ALL


async def test_deeper_rules_override_and_hold_below_only(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.write(".shoalignore", b"*.log\n")
    folder.hand.write("d/.shoalignore", b"!*.log\n/build\n")
    await folder.indexer.scan({(), ("d",)})
    assert folder.paths() == {".shoalignore", "build", "build/z", "d", "d/.shoalignore", "d/a.log", "d/f"}
    await folder.indexer.scan_everything()
    assert folder.paths() == {".shoalignore", "build", "build/z", "d", "d/.shoalignore", "d/a.log", "d/f"}


async def test_rules_move_with_their_folder_and_what_it_holds_is_carried_along(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.write("d/.shoalignore", b"build\n")
    await folder.indexer.scan({("d",)})
    node = folder.node("d")
    folder.hand.move("d", "e")
    await folder.indexer.scan({()})
    assert folder.node("e") == node
    assert folder.paths() == {"a.log", "build", "build/z", "e", "e/.shoalignore", "e/a.log", "e/f"}
    assert folder.hand.read("e/build/x") == b"d/build/x"
    folder.hand.write("e/build/x", b"changed")
    assert await folder.indexer.scan({("e", "build"), ("e", "build", "deep")}) == set()
    assert "e/build" not in folder.paths()


async def test_a_file_moved_out_of_an_ignored_folder_is_new(folder: SyncFolder) -> None:
    await filled(folder)
    agree(folder, "build", "build/z")
    before = folder.node("build/z")
    folder.hand.write(".shoalignore", b"build\n")
    await folder.indexer.scan({()})
    folder.hand.move("build/z", "z")
    await folder.indexer.scan({()})
    assert folder.node("z") != before


async def test_a_synced_file_renamed_to_an_ignored_name_is_gone(folder: SyncFolder) -> None:
    """It left what is followed, as if it had left the folder."""
    await filled(folder)
    agree(folder, "d", "d/f")
    folder.hand.write(".shoalignore", b"*.tmp\n")
    await folder.indexer.scan({()})
    node = folder.node("d/f")
    folder.hand.move("d/f", "d/f.tmp")
    await folder.indexer.scan({("d",)})
    assert folder.store.local(node) is None
    assert folder.store.synced(node) is not None


async def test_rules_that_can_not_be_read_are_as_before(simulated: SyncFolder) -> None:
    await filled(simulated)
    simulated.hand.write("d/.shoalignore", b"build\n")
    await simulated.indexer.scan({("d",)})
    known = simulated.paths()
    for path in ("d/.shoalignore", ".shoalignore"):
        simulated.hand.save(path, b"*\n")

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "open_file" and arguments[1] == ".shoalignore":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    simulated.simulated.before_call = before
    simulated.hand.write("d/new", b"new")
    await simulated.indexer.scan_everything()
    assert simulated.paths() == known | {"d/new", ".shoalignore"}
    reason = "it can't be read: input/output error"
    assert simulated.problems() == {"d/.shoalignore": reason, ".shoalignore": reason}
    simulated.simulated.before_call = None
    await simulated.indexer.scan_everything()
    assert simulated.paths() == {".shoalignore"}
    assert not simulated.problems()


async def test_lines_that_are_no_patterns_are_a_problem_of_the_file(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.write(".shoalignore", b"[\n[\n*.log\n")
    await folder.indexer.scan({()})
    assert folder.problems() == {".shoalignore": "line 1 is no pattern, and 1 more"}
    assert "a.log" not in folder.paths()
    await folder.indexer.scan_everything()
    assert folder.problems() == {".shoalignore": "line 1 is no pattern, and 1 more"}
    folder.hand.save(".shoalignore", b"*.log\n")
    await folder.indexer.scan({()})
    assert not folder.problems()


async def test_a_file_of_rules_that_is_too_large_says_what_to_do(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.write(".shoalignore", b"*.log\n" * (MAX_BYTES // 6 + 1))
    await folder.indexer.scan({()})
    (problem,) = folder.context.problems.all()
    assert problem.reason == "it is larger than 256 KiB, and none of its rules apply"
    assert problem.advice.startswith("make it smaller, or give folders below it one of their own; ")
    assert "a.log" in folder.paths()


async def test_litter_and_pipes_that_are_ignored_are_no_problem(folder: SyncFolder) -> None:
    folder.hand.write(".shoalignore", b"pipe\n")
    folder.hand.mkfifo("pipe")
    folder.hand.write(".f.swp", b"")
    await folder.indexer.scan_everything()
    assert folder.paths() == {".shoalignore"}
    assert not folder.problems()


async def test_the_rules_of_a_folder_that_is_being_removed_hold_on(folder: SyncFolder) -> None:
    """Else all that they ignore would be new, and bring the folder back."""
    await filled(folder)
    folder.hand.write("d/.shoalignore", b"build\n")
    await folder.indexer.scan({("d",)})
    folder.now_read()
    agree(folder, "d", "d/.shoalignore", "d/f", "d/a.log")
    folder.store.replace_remotes([folder.node("d"), folder.node("d/.shoalignore"), folder.node("d/f")], [])
    folder.hand.remove("d/.shoalignore")
    await folder.indexer.scan({("d",)})
    assert "d/build" not in folder.paths()


async def test_what_is_in_a_folder_that_stayed_for_what_is_ignored_brings_it_back(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.write("d/.shoalignore", b"build\nold\n")
    folder.hand.mkdir("d/old")
    folder.hand.mkdir("d/sub")
    await folder.indexer.scan({("d",)})
    for path in ("d", "d/sub"):
        folder.context.renew(folder.node(path), wanted=False)
    folder.hand.remove("d/.shoalignore")
    folder.hand.remove("d/f")
    folder.hand.remove("d/a.log")
    await folder.indexer.scan_everything()
    assert {path for path in folder.paths() if path.startswith("d")} == {"d", "d/sub"}
    assert not folder.row("d").wanted
    folder.hand.write("d/sub/new", b"new")
    await folder.indexer.scan({("d", "sub")})
    assert folder.row("d").wanted
    assert folder.row("d/sub").wanted


async def test_new_rules_have_what_the_tracker_has_planned_anew(folder: SyncFolder) -> None:
    await filled(folder)
    there = Remote(NodeId(b"t" * 16), ROOT, "there.log", 1, MARK, VersionId(bytes(16)), None, VersionId(bytes(16)))
    folder.store.put_remote(there)
    folder.now_read()
    folder.hand.write(".shoalignore", b"*.log\n")
    await folder.indexer.scan({()})
    assert there.node in folder.dirty()
