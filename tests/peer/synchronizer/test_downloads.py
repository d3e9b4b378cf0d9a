"""What happens here while a file is on its way into place."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from peer.synchronizer.downloads import Downloads
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.prefetching import Prefetching
from peer.synchronizer.recovery import recover_placed, waiting_for_a_look
from peer.synchronizer.replacing import Changed
from peer.synchronizer.steps import Fetch
from peer.tracker_client import DeviceClient
from peer.trees import Remote
from peer.version_store import Version
from protocol.commits import FILE
from protocol.identifiers import ROOT, DeviceId, NodeId, PlaceMark, VersionId
from protocol.manifests import Manifest
from tests.peer.folders import SyncFolder, sync_folder
from tests.simulation.inodes import failure

NODE, VERSION = NodeId(b"node".ljust(16, b"\0")), VersionId(b"version".ljust(16, b"\0"))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


def downloads(folder: SyncFolder) -> Downloads:
    return Downloads(folder.context, cast(DeviceClient, None), LocalSteps(folder.context), Prefetching(folder.context))


def file_there(folder: SyncFolder, name: str, parent: NodeId = ROOT) -> Fetch:
    """The tracker has a small file, which needs no chunk."""
    manifest = Manifest(size=6, mtime_ns=1, inline=b"theirs")
    folder.context.versions.put(Version(VERSION, NODE, DeviceId(bytes(16)), manifest, ()))
    folder.store.put_remote(Remote(NODE, parent, name, FILE, PlaceMark(bytes(16)), VERSION, None, VERSION))
    return Fetch(NODE, VERSION)


async def test_a_name_that_came_and_went_meanwhile_never_has_two_nodes(folder: SyncFolder) -> None:
    """Of two, the next look would see only one; the other would stay for ever."""
    fetching = downloads(folder)
    (group,) = await fetching.groups([file_there(folder, "f")])
    folder.hand.write("f", b"mine")
    await folder.indexer.scan_everything()
    folder.hand.remove("f")
    await fetching.carry_out(group)
    assert isinstance(group[0].failure, Changed)
    assert folder.context.to_look_at == {()}
    await folder.indexer.scan_everything()
    assert folder.paths() == set()
    (group,) = await fetching.groups([Fetch(NODE, VERSION)])
    await fetching.carry_out(group)
    assert folder.hand.read("f") == b"theirs"
    assert folder.paths() == {"f"}


async def test_a_folder_that_becomes_a_new_node_meanwhile_keeps_what_is_put_into_it(folder: SyncFolder) -> None:
    folder.hand.mkdir("d")
    await folder.indexer.scan_everything()
    directory, fetching = folder.node("d"), downloads(folder)
    (group,) = await fetching.groups([file_there(folder, "f", directory)])

    def before(method: str, _: tuple[Any, ...]) -> None:
        if method == "rename" and folder.store.local(directory) is not None:
            folder.context.renew(directory)

    folder.simulated.before_call = before
    await fetching.carry_out(group)
    assert folder.node("d") != directory
    assert folder.node("d/f") == NODE
    assert folder.paths() == {"d", "d/f"}


@pytest.mark.parametrize("failing", ["stat", "fsync"])
async def test_what_is_in_place_when_the_disk_fails_is_agreed_on_once_it_is_seen(
    folder: SyncFolder, failing: str
) -> None:
    """It counted as new, and was sent as something new if the tracker's was deleted before it was tried again."""
    fetching, renamed = downloads(folder), list[str]()
    (group,) = await fetching.groups([file_there(folder, "f")])

    def before(method: str, _: tuple[Any, ...]) -> None:
        if method == failing and renamed:
            raise failure(5)
        renamed.extend([method] if method == "rename" else [])

    folder.simulated.before_call = before
    await fetching.carry_out(group)
    folder.simulated.before_call = None
    assert folder.hand.read("f") == b"theirs"
    assert folder.paths() == set()
    await folder.indexer.scan_everything()
    assert recover_placed(folder.store, (), ()) == {NODE}
    folder.now_read()
    # While more is to be looked at nothing is settled. It was sent as something new then, and what had been deleted
    # elsewhere came back.
    assert waiting_for_a_look(folder.store, ()) == {NODE, folder.node("f")}
    assert recover_placed(folder.store, (), ()) == set()
    synced = folder.store.synced(NODE)
    assert folder.node("f") == NODE
    assert synced is not None
    assert synced.version == VERSION


async def test_what_could_not_be_tidied_away_is_later(folder: SyncFolder) -> None:
    fetching = downloads(folder)
    (group,) = await fetching.groups([file_there(folder, "f")])

    def before(method: str, _: tuple[Any, ...]) -> None:
        if method in ("rename", "unlink"):
            raise failure(5)

    folder.simulated.before_call = before
    await fetching.carry_out(group)
    folder.simulated.before_call = None
    assert folder.hand.names(".shoal/temp") == [VERSION.hex()]
    await fetching.tidy()
    assert folder.hand.names(".shoal/temp") == []


async def test_what_never_came_into_place_is_forgotten(folder: SyncFolder) -> None:
    fetching = downloads(folder)
    (group,) = await fetching.groups([file_there(folder, "f")])

    def before(method: str, _: tuple[Any, ...]) -> None:
        if method == "rename":
            raise failure(5)

    folder.simulated.before_call = before
    await fetching.carry_out(group)
    folder.simulated.before_call = None
    assert recover_placed(folder.store, (), ()) == set()
    assert folder.store.placing() == []
    assert folder.store.synced(NODE) is None
