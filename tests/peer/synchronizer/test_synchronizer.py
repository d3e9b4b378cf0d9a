"""The synchronizer comes back to what it had to leave, by itself."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from peer.ports import FolderEvents
from peer.synchronizer.context import POSTPONED
from peer.synchronizer.downloads import Downloads
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.reading import Reading
from peer.synchronizer.sending import Sending
from peer.synchronizer.synchronizer import Synchronizer
from peer.tracker_client import DeviceClient
from peer.trees import Remote
from peer.version_store import Version
from peer.watcher import Watcher
from protocol.commits import DIRECTORY, FILE
from protocol.identifiers import ROOT, DeviceId, NodeId, PlaceMark, VersionId
from protocol.manifests import Manifest
from tests.peer.folders import SyncFolder, sync_folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


def offline(folder: SyncFolder) -> Synchronizer:
    """One that knows REMOTE but can't reach the tracker."""
    context, steps = folder.context, LocalSteps(folder.context)
    synchronizer = Synchronizer(
        context=context,
        indexer=folder.indexer,
        watcher=Watcher(context, cast(FolderEvents, None)),
        reading=Reading(context),
        local_steps=steps,
        downloads=Downloads(context, cast(DeviceClient, None), steps),
        sending=cast(Sending, None),
    )
    synchronizer.progress.ready = True
    return synchronizer


def directory_there(folder: SyncFolder, name: str) -> None:
    node, mark = NodeId(name.encode().ljust(16, b"\0")), PlaceMark(bytes(16))
    folder.store.put_remote(Remote(node, ROOT, name, DIRECTORY, mark, None, None, None))


async def test_a_step_that_the_disk_refused_is_tried_again_though_nothing_happens(
    folder: SyncFolder, autojump_clock: MockClock
) -> None:
    refused = True

    def before(method: str, _: tuple[Any, ...]) -> None:
        if method == "make_directory" and refused:
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    folder.simulated.before_call = before
    directory_there(folder, "d")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(offline(folder).run)
        await trio.sleep(1)
        assert folder.problems() == {"d": "permission denied"}
        refused = False
        await trio.sleep(POSTPONED)
        assert folder.hand.names() == ["d"]
        assert folder.problems() == {}
        nursery.cancel_scope.cancel()


def file_there(folder: SyncFolder, name: str, data: bytes) -> None:
    node, mark = NodeId(b"there".ljust(16, b"\0")), PlaceMark(bytes(16))
    version = VersionId(b"version".ljust(16, b"\0"))
    manifest = Manifest(size=len(data), mtime_ns=1, inline=data)
    folder.context.versions.put(Version(version, node, DeviceId(bytes(16)), manifest, ()))
    folder.store.put_remote(Remote(node, ROOT, name, FILE, mark, version, None, version))


async def test_a_name_that_cannot_be_cleared_stays_known_by_the_name_it_has(
    folder: SyncFolder, autojump_clock: MockClock
) -> None:
    refused, tries = True, 0

    def before(method: str, _: tuple[Any, ...]) -> None:
        nonlocal tries
        if method == "rename" and refused:
            tries += 1
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    folder.hand.write("f", b"mine")
    folder.simulated.before_call = before
    file_there(folder, "f", b"theirs")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(offline(folder).run)
        await trio.sleep(10 * POSTPONED)
        assert folder.paths() == {"f"}
        assert 5 < tries < 20
        assert set(folder.problems().values()) == {"permission denied"}
        refused = False
        await trio.sleep(POSTPONED)
        assert folder.hand.names() == ["f (conflicted copy, laptop, 2023-11-14)"]
        assert folder.paths() == set(folder.hand.names())
        nursery.cancel_scope.cancel()
