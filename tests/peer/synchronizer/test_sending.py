"""What the tracker refuses."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import trio

from peer.remote import Cursor, RemoteTree
from peer.synchronizer.reading import Reading
from peer.synchronizer.sending import UNEXPLAINED, Sending
from peer.synchronizer.steps import SendCreate, SendWrite
from peer.tracker_client import DeviceClient
from peer.trees import Remote
from protocol.api import CommitRefusal, FailedOperation
from protocol.codec import encode
from protocol.commits import FILE
from protocol.errors import Code, Refused
from protocol.identifiers import ROOT, CommitHash, PlaceMark, VersionId
from protocol.signing import SigningKey
from tests.peer.folders import SyncFolder, sync_folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


class Refusing:
    """A tracker, and a REMOTE, that know of a name which REMOTE doesn't show."""

    histories = 0

    async def call(self, *_: object) -> None:
        await trio.lowlevel.checkpoint()
        detail = CommitRefusal(operations=(FailedOperation(index=0, reason="name-taken"),))
        raise Refused(Code.COMMIT, "refused", encode(detail))

    def cursor(self) -> Cursor:
        return Cursor(None, 0, CommitHash(bytes(32)))


async def test_a_refusal_that_remote_does_not_explain_is_not_asked_for_without_end(folder: SyncFolder) -> None:
    tracker = Refusing()
    sending = Sending(
        folder.context,
        cast(DeviceClient, tracker),
        cast(RemoteTree, tracker),
        SigningKey(bytes(32)),
        trio.lowlevel.checkpoint,
    )
    folder.hand.mkdir("d")
    await folder.indexer.scan_everything()
    node = folder.node("d")
    for _ in range(UNEXPLAINED):
        assert node not in folder.context.postponed
        assert await sending.send([SendCreate(node)], {}) == (False, True)
    assert node in folder.context.postponed
    assert folder.problems() == {"d": "the tracker refuses it: name-taken"}
    assert sending.unanswered() == set()


async def test_a_link_that_has_changed_is_looked_at_again(folder: SyncFolder) -> None:
    """Its new text may be one that can't be sent at all."""
    tracker = Refusing()
    sending = Sending(
        folder.context,
        cast(DeviceClient, tracker),
        cast(RemoteTree, tracker),
        SigningKey(bytes(32)),
        trio.lowlevel.checkpoint,
    )
    folder.hand.link_to("here", "link")
    await folder.indexer.scan_everything()
    node = folder.node("link")
    folder.hand.remove("link")
    folder.hand.link_to("\udcff", "link")
    assert await sending.send([SendCreate(node)], {}) == (False, False)
    assert folder.context.to_look_at == {()}


async def test_who_passes_over_a_head_does_so_on_the_durable_head_of_the_plan(folder: SyncFolder) -> None:
    """The head turned durable after the plan was made. A write on it would take away what nobody here has merged."""
    tracker = Refusing()
    sending = Sending(
        folder.context,
        cast(DeviceClient, tracker),
        cast(RemoteTree, tracker),
        SigningKey(bytes(32)),
        trio.lowlevel.checkpoint,
    )
    folder.hand.write("f", b"ours")
    await folder.indexer.scan_everything()
    node, old, new = folder.node("f"), VersionId(b"o" * 16), VersionId(b"n" * 16)
    planned = Remote(node, ROOT, "f", FILE, PlaceMark(b"p" * 16), new, None, old)
    step = SendWrite(node, skip=True)
    folder.context.quiet.read(node, trio.current_time())
    await Reading(folder.context).read([node])
    folder.store.put_remote(planned._replace(durable=new))
    assert await sending.send([step], {node: planned}) == (False, False)
    folder.store.put_remote(planned)
    assert await sending.send([step], {node: planned}) == (False, True)  # it was sent, and refused
