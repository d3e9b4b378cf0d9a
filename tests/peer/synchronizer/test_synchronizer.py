"""The synchronizer comes back to what it had to leave, by itself."""

import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from peer.ports import FolderEvents
from peer.remote import RemoteTree
from peer.synchronizer.context import POSTPONED
from peer.synchronizer.downloads import Downloads
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.prefetching import Prefetching
from peer.synchronizer.reading import Reading
from peer.synchronizer.sending import Sending
from peer.synchronizer.steps import Send
from peer.synchronizer.synchronizer import DELETE_QUIET, Synchronizer
from peer.tracker_client import DeviceClient
from peer.trees import Remote, Synced
from peer.version_store import Version
from peer.watcher import Watcher
from protocol.codec import encode
from protocol.commits import DIRECTORY, FILE, Content, Write, encode_operation, sign_commit
from protocol.errors import Unreachable
from protocol.identifiers import ROOT, CommitHash, CommitId, DeviceId, NodeId, PlaceMark, VersionId
from protocol.manifests import Manifest
from protocol.signing import SigningKey
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
        downloads=Downloads(context, cast(DeviceClient, None), steps, Prefetching(context)),
        sending=Sending(
            context, cast(DeviceClient, None), cast(RemoteTree, None), SigningKey(bytes(32)), trio.lowlevel.checkpoint
        ),
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


THERE = NodeId(b"there".ljust(16, b"\0"))


def file_there(folder: SyncFolder, name: str, data: bytes, node: NodeId = THERE) -> VersionId:
    """The tracker has a file with this content; returns its version."""
    version = VersionId(data.ljust(16, b"\0"))
    manifest = Manifest(size=len(data), mtime_ns=1, inline=data)
    folder.context.versions.put(Version(version, node, DeviceId(bytes(16)), manifest, ()))
    folder.store.put_remote(Remote(node, ROOT, name, FILE, PlaceMark(bytes(16)), version, None, version))
    return version


def write_on_its_way(folder: SyncFolder, node: NodeId, base: VersionId) -> None:
    """A write was sent, and its answer lost."""
    write = Write(node=node, base=base, content=Content(version=VersionId(b"own".ljust(16, b"\0")), manifest=b"sealed"))
    commit = sign_commit(
        workspace=folder.context.keys.workspace,
        device=folder.context.device,
        epoch=1,
        commit=CommitId(bytes(16)),
        seen=CommitHash(bytes(32)),
        operations=(encode_operation(write),),
        runs=(),
        signing_key=SigningKey(bytes(32)),
    )
    folder.store.database.run("INSERT INTO outbox VALUES (?,?,?)", commit.workspace, commit.id, encode(commit))


async def test_a_write_without_an_answer_is_not_taken_for_a_conflict(
    folder: SyncFolder, autojump_clock: MockClock
) -> None:
    """The answer was lost, and another device has gone on from that write before this one hears of it: its REMOTE is
    then a version whose base it doesn't know to be agreed on."""
    folder.hand.write("f", b"mine")
    await folder.indexer.scan_everything()
    node = folder.node("f")
    base = file_there(folder, "f", b"base", node)
    folder.store.put_synced(Synced(node, ROOT, "f", FILE, PlaceMark(bytes(16)), base, None))
    write_on_its_way(folder, node, base)
    file_there(folder, "f", b"made on mine", node)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(offline(folder).run)
        await trio.sleep(100)
        assert folder.hand.names() == ["f"]
        folder.store.database.run("DELETE FROM outbox")  # refused, so it is one after all
        folder.context.wake.set()
        await trio.sleep(100)
        assert folder.hand.names() == ["f (conflicted copy, laptop, 2023-11-14)"]
        nursery.cancel_scope.cancel()


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


class Sent:
    """In place of Sending: notes what would be sent, and `answers` when a test says so."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, list[str], int]] = []
        self.nodes: list[set[NodeId]] = []
        self.answers = trio.Event()
        self.answers.set()
        self.failure: Exception | None = None
        self.refuses = True

    def unanswered(self) -> set[NodeId]:
        return set()

    async def resend(self) -> bool:
        await trio.lowlevel.checkpoint()
        return False

    async def send(self, steps: list[Send], _: object) -> tuple[bool, bool]:
        self.steps.append((trio.current_time(), sorted({type(step).__name__ for step in steps}), len(steps)))
        self.nodes.append({step.node for step in steps})
        await self.answers.wait()
        if self.failure is not None:
            raise self.failure
        return False, self.refuses


async def test_what_needs_a_name_that_a_held_delete_frees_waits_with_all_that_is_in_it(
    folder: SyncFolder, autojump_clock: MockClock
) -> None:
    """Or it is sent without its folder, and refused, again and again."""
    folder.hand.write("d", b"a file")
    await folder.indexer.scan_everything()
    node = folder.node("d")
    base = file_there(folder, "d", b"a file", node)
    folder.store.put_synced(Synced(node, ROOT, "d", FILE, PlaceMark(bytes(16)), base, None))
    folder.hand.remove("d")
    folder.hand.mkdir("d")
    folder.hand.write("d/f", b"new")
    sent, synchronizer = Sent(), offline(folder)
    synchronizer._sending = cast(Sending, sent)
    synchronizer.progress.online = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(synchronizer.run)
        await trio.sleep(DELETE_QUIET - 0.1)
        assert sent.steps == []
        await trio.sleep(1)
        assert {(*kinds, count) for _, kinds, count in sent.steps} == {("SendCreate", "SendDelete", 3)}
        nursery.cancel_scope.cancel()


# Sending beside planning --------------------


@asynccontextmanager
async def at_work(folder: SyncFolder, sent: Sent) -> AsyncIterator[Synchronizer]:
    synchronizer = offline(folder)
    synchronizer._sending = cast(Sending, sent)
    synchronizer.progress.online = True
    async with trio.open_nursery() as nursery:
        nursery.start_soon(synchronizer.run)
        await trio.sleep(1)
        yield synchronizer
        nursery.cancel_scope.cancel()


async def look(folder: SyncFolder) -> None:
    folder.context.look_again(())
    await trio.sleep(1)


async def test_the_next_are_read_while_the_first_are_sent(folder: SyncFolder, autojump_clock: MockClock) -> None:
    folder.hand.write("first", b"1")
    sent = Sent()
    sent.answers = trio.Event()
    async with at_work(folder, sent) as synchronizer:
        first = folder.node("first")
        for name in ("second", "third", "fourth"):
            folder.hand.write(name, name.encode())
            await look(folder)
        second = folder.node("second")
        assert sent.nodes == [{first}]
        assert synchronizer.progress.sending == {first, second}
        sent.answers.set()
        await trio.sleep(1)
        assert sent.nodes[:2] == [{first}, {second}]
        assert set().union(*sent.nodes) == {folder.node(name) for name in folder.paths()}
        assert synchronizer.progress.sending == set()


async def test_what_changed_while_it_was_sent_is_planned_anew(folder: SyncFolder, autojump_clock: MockClock) -> None:
    folder.hand.write("f", b"1")
    sent = Sent()
    sent.answers, sent.refuses = trio.Event(), False
    async with at_work(folder, sent):
        folder.hand.write("f", b"12")
        await look(folder)
        assert len(sent.nodes) == 1
        sent.answers.set()
        await trio.sleep(1)
        assert len(sent.nodes) == 2


async def test_a_failure_of_sending_drops_the_group_that_waits(folder: SyncFolder, autojump_clock: MockClock) -> None:
    folder.hand.write("first", b"1")
    sent = Sent()
    sent.answers, sent.failure = trio.Event(), Unreachable("no answer")
    async with at_work(folder, sent) as synchronizer:
        folder.hand.write("second", b"2")
        await look(folder)
        assert len(synchronizer.progress.sending) == 2
        sent.answers.set()
        await trio.sleep(1)
        assert len(sent.nodes) == 1
        assert not synchronizer.progress.online
        assert synchronizer.lost.is_set()
        sent.failure = None
        synchronizer.connected()
        await trio.sleep(1)
        assert sent.nodes[1:] == [{folder.node("first"), folder.node("second")}]
