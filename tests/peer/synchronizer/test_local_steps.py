"""Steps that change the disk, when the disk is not as LOCAL says, or refuses half of one."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.steps import MoveLocal, RemoveLocal
from peer.trees import Remote, Synced
from protocol.commits import DIRECTORY
from protocol.identifiers import ROOT, NodeId, PlaceMark
from tests.peer.folders import SyncFolder, sync_folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


async def test_what_was_believed_to_be_in_a_removed_directory_is_gone_with_it(folder: SyncFolder) -> None:
    """Found by the simulation: nobody had told of a file's going, so it stayed in LOCAL, in no folder."""
    folder.hand.mkdir("d")
    folder.hand.write("d/f", b"content")
    await folder.indexer.scan_everything()
    node, inside = folder.node("d"), folder.node("d/f")
    for each, name, parent in ((node, "d", ROOT), (inside, "f", node)):
        folder.store.put_synced(Synced(each, parent, name, DIRECTORY, PlaceMark(bytes(16)), None, None))
    folder.hand.remove("d/f")
    assert await LocalSteps(folder.context).carry_out(RemoveLocal(node))
    assert folder.hand.names() == []
    assert folder.store.local(inside) is None


async def test_a_move_that_was_made_and_not_fsynced_is_looked_for(folder: SyncFolder) -> None:
    """Found by the simulation: LOCAL kept the old place, and everything in the folder counted as deleted."""
    folder.hand.mkdir("d")
    folder.hand.mkdir("e")
    await folder.indexer.scan_everything()
    node, goal = folder.node("d"), folder.node("e")
    folder.store.put_remote(Remote(node, goal, "d", DIRECTORY, PlaceMark(bytes(16)), None, None, None))

    def before(method: str, _: tuple[Any, ...]) -> None:
        if method == "fsync":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    folder.simulated.before_call = before
    assert not await LocalSteps(folder.context).carry_out(MoveLocal(node))
    assert folder.context.to_look_at == {(), ("e",)}
    await folder.indexer.scan(folder.context.to_look_at)
    assert folder.store.path(NodeId(node)) == ("e", "d")


async def test_news_under_the_old_path_of_a_moved_folder_are_followed(folder: SyncFolder) -> None:
    """Found by the simulation: an edit just before the move was not seen until the next look at everything."""
    folder.hand.mkdir("d")
    folder.hand.mkdir("d/e")
    await folder.indexer.scan_everything()
    for old, new in (("d", "x"), ("x", "y")):
        node = folder.node(old)
        folder.store.put_remote(Remote(node, ROOT, new, DIRECTORY, PlaceMark(bytes(16)), None, None, None))
        assert await LocalSteps(folder.context).carry_out(MoveLocal(node))
    followed = folder.context.followed({("d", "e"), ("dd",)})
    assert followed == {("d", "e"), ("x", "e"), ("y", "e"), ("dd",)}
