"""Operations are made on what was planned on, not on what others have done since (laws 1 and 11)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from peer.remote import RemoteTree
from peer.synchronizer.loading import load_slice
from peer.synchronizer.planner import plan
from peer.synchronizer.reading import Reading
from peer.synchronizer.sending import Sending
from peer.synchronizer.steps import Send, SendCreate, SendDelete, SendMove, SendWrite
from peer.tracker_client import DeviceClient
from peer.trees import Remote
from peer.version_store import Version
from protocol.api import CommitRefusal, FailedOperation, NodeState
from protocol.codec import encode
from protocol.commits import FILE, Delete, Move, Write, decode_operation
from protocol.errors import Code, Refused
from protocol.identifiers import ROOT, DeviceId, NameToken, NodeId, PlaceMark, VersionId
from protocol.manifests import Manifest
from protocol.signing import SigningKey
from tests.peer.folders import SyncFolder, sync_folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


def sending(folder: SyncFolder) -> Sending:
    """Making operations needs no tracker."""
    context = folder.context
    remote = RemoteTree(
        database=context.store.database,
        store=context.store,
        versions=context.versions,
        problems=context.problems,
        keys=context.keys,
    )
    return Sending(context, cast(DeviceClient, None), remote, SigningKey(bytes(32)))


async def agreed_file(folder: SyncFolder) -> NodeId:
    folder.hand.write("f", b"as agreed")
    await folder.indexer.scan_everything()
    await Reading(folder.context).read([folder.node("f")])
    node = folder.node("f")
    if folder.row("f").content is None:
        folder.context.quiet.read(node)
        await Reading(folder.context).read([node])
    theirs(folder, node, 1, b"as agreed")
    folder.store.agree(node)
    return node


def theirs(folder: SyncFolder, node: NodeId, number: int, content: bytes) -> Remote:
    """What the tracker says of f from now on."""
    version = VersionId(bytes([number]) * 16)
    local = folder.store.local(node)
    mtime_ns = 1 if local is None else local.print.mtime_ns
    manifest = Manifest(size=len(content), mtime_ns=mtime_ns, inline=content)
    folder.context.versions.put(Version(version, node, DeviceId(bytes(16)), manifest, ()))
    row = Remote(node, ROOT, "f", FILE, PlaceMark(bytes([number]) * 16), version, None, version)
    folder.store.put_remote(row)
    return row


async def edit(folder: SyncFolder, node: NodeId) -> None:
    folder.hand.write("f", b"an edit made here")
    await folder.indexer.scan_everything()
    folder.context.quiet.read(node)
    await Reading(folder.context).read([node])


async def rename(folder: SyncFolder, node: NodeId) -> None:
    folder.hand.move("f", "g")
    await folder.indexer.scan_everything()


async def remove(folder: SyncFolder, node: NodeId) -> None:
    folder.hand.remove("f")
    await folder.indexer.scan_everything()


CHANGES: list[tuple[Callable[..., object], type[Send], type]] = [
    (edit, SendWrite, Write),
    (rename, SendMove, Move),
    (remove, SendDelete, Delete),
]


@pytest.mark.parametrize(("change", "step", "operation"), CHANGES)
@pytest.mark.parametrize("overtaken", ["", "content", "place", "deleted", "durable"])
async def test_a_step_that_others_have_overtaken_is_not_sent(
    folder: SyncFolder, change: Callable[..., object], step: type[Send], operation: type, overtaken: str
) -> None:
    """A write that names the newest version as its base, but was made on the one before, would undo it unseen."""
    node = await agreed_file(folder)
    await change(folder, node)  # type: ignore[misc]
    view = load_slice(folder.store, [node])
    (planned,) = plan(view)
    if step is SendMove and not isinstance(planned, SendMove):
        planned = SendMove(node)
    assert isinstance(planned, step)
    before = view.remote[node]
    if overtaken == "content":
        theirs(folder, node, 2, b"what another device wrote")
    elif overtaken == "place":
        folder.store.put_remote(replace(before, name="elsewhere", place=PlaceMark(b"p" * 16)))
    elif overtaken == "deleted":
        folder.store.drop_remote(node)
    elif overtaken == "durable":
        folder.store.put_remote(replace(before, durable=None))
    drafts = list(sending(folder)._drafts([planned], view.remote))
    if overtaken in ("", "durable"):
        (made,) = (decode_operation(data) for draft in drafts for data in draft.operations)
        assert isinstance(made, operation)
    else:
        assert drafts == []


async def test_a_create_that_has_arrived_already_is_not_sent_again(folder: SyncFolder) -> None:
    folder.hand.write("f", b"new")
    await folder.indexer.scan_everything()
    node = folder.node("f")
    folder.context.quiet.read(node)
    await Reading(folder.context).read([node])
    view = load_slice(folder.store, [node])
    assert plan(view) == [SendCreate(node)]
    assert len(list(sending(folder)._drafts([SendCreate(node)], view.remote))) == 1
    theirs(folder, node, 1, b"new")
    assert list(sending(folder)._drafts([SendCreate(node)], view.remote)) == []


@pytest.mark.parametrize("deleted", [True, False])
async def test_a_node_that_was_deleted_at_the_tracker_goes_on_as_a_new_one(folder: SyncFolder, deleted: bool) -> None:
    """An id doesn't return; but who only missed the answer to its own create must not make a second node."""
    folder.hand.mkdir("d")
    folder.hand.write("d/f", b"inside")
    await folder.indexer.scan_everything()
    node, inside = folder.node("d"), folder.node("d/f")
    part = sending(folder)
    (draft,) = part._drafts([SendCreate(node)], {})
    state = NodeState(parent=ROOT, token=NameToken(bytes(16)), place=PlaceMark(bytes(16)), deleted=deleted)
    failed = FailedOperation(index=0, reason="node-exists", state=state)
    refusal = Refused(Code.COMMIT, "refused", encode(CommitRefusal(operations=(failed,))))
    assert part._settle_refusal(part._store(draft), draft, refusal) == {0}
    assert (folder.node("d") != node) == deleted
    assert folder.node("d/f") == inside
    assert folder.store.database.rows("SELECT * FROM outbox") == []
