"""REMOTE is brought up to date from whatever a tracker answers, without ending the daemon or asking without end."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
import trio

from peer.remote import own_entry
from peer.synchronizer.context import Context
from peer.synchronizer.pulling import Pulling
from peer.tracker_client import DeviceClient
from protocol.api import DeltaRequest
from protocol.commits import Write
from protocol.deltas import Delta
from protocol.errors import Code, Malformed, Refused
from protocol.identifiers import NodeId, VersionId
from tests.peer.test_remote import OWN, Desk, entry


@dataclass
class Answers:
    """A tracker that gives these answers, the last one again and again, and stops one who asks too often."""

    deltas: list[Delta | Refused]
    asked: list[DeltaRequest] = field(default_factory=list)

    async def call(self, _: object, request: DeltaRequest) -> Delta:
        await trio.lowlevel.checkpoint()
        self.asked.append(request)
        assert len(self.asked) < 20, "it asks without end"
        delta = self.deltas[min(len(self.asked), len(self.deltas)) - 1]
        if isinstance(delta, Refused):
            raise delta
        return replace(delta, since=request.revision)


@dataclass
class Shared:
    """As much of a context as pulling needs."""

    desk: Desk

    def __getattr__(self, name: str) -> Any:
        found = {"device": OWN, "keys": self.desk.keys, "store": self.desk.store, "versions": self.desk.versions}
        return found.get(name) or trio.Event()


async def nobody_new() -> None:
    await trio.lowlevel.checkpoint()


def pulling(desk: Desk, answers: Answers) -> Pulling:
    context, client = cast(Context, Shared(desk)), cast(DeviceClient, answers)
    return Pulling(context, client, desk.remote, lambda: desk.signers, nobody_new)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def of_nobody(desk: Desk) -> Write:
    """A change of a node that nobody made."""
    node = NodeId(desk.random(16))
    return Write(node=node, base=VersionId(bytes(16)), content=desk.content(node, b"x"))


async def test_a_notice_about_an_unknown_node_asks_for_more(desk: Desk) -> None:
    desk.take(entry(desk.commit(desk.file("letter.txt")), 1))
    notice = desk.delta(entry(desk.commit(of_nobody(desk)), 2))
    assert not await pulling(desk, Answers([])).take(notice)
    assert desk.remote.cursor().revision == 1


async def test_a_snapshot_that_does_not_fit_together_is_nonsense(desk: Desk) -> None:
    answers = Answers([desk.delta(entry(desk.commit(of_nobody(desk)), 1))])
    with pytest.raises(Malformed, match="doesn't fit together"):
        await pulling(desk, answers).pull()


async def test_a_tracker_that_has_more_and_never_sends_it_is_not_asked_without_end(desk: Desk) -> None:
    desk.take(entry(desk.commit(desk.file("letter.txt")), 1))
    with pytest.raises(Malformed, match="doesn't send it"):
        await pulling(desk, Answers([replace(desk.delta(since=1), head=2)])).pull()


async def test_a_tracker_that_was_set_back_is_merged_with_and_not_asked_without_end(desk: Desk) -> None:
    first = desk.commit(desk.file("first"))
    desk.take(entry(first, 1))
    before, own = desk.delta(since=1), desk.commit(desk.file("mine"), device=OWN)
    fold = desk.remote.accept(own, own_entry(own, OWN, 2, 1000), OWN)
    desk.remote.show_own(fold, desk.delta(own_entry(own, OWN, 2, 1000)), desk.remote.cursor())
    assert desk.names() == {"first", "mine"}
    snapshot = desk.delta(entry(first, 1), since=0)
    answers = Answers([replace(before, hash=desk.remote.cursor().hash), snapshot])
    puller = pulling(desk, answers)
    await puller.pull()
    assert desk.names() == {"first"}
    asked = len(answers.asked)
    answers.deltas = [desk.delta()]
    await puller.pull()
    assert len(answers.asked) == asked + 1


def behind_its_own_commit(desk: Desk) -> None:
    """Others' commits lie between what this device has heard of, revision 1, and one of its own, which it shows."""
    commit = desk.commit(desk.file("mine"), device=OWN)
    delta = replace(desk.delta(own_entry(commit, OWN, 3, 1000)), since=2)
    desk.remote.show_own(desk.remote.accept(commit, delta.entries[0], OWN), delta, desk.remote.cursor())


async def test_a_commit_that_a_tracker_lost_when_it_was_set_back_is_missed_though_it_has_more_by_now(
    desk: Desk,
) -> None:
    """It stayed in REMOTE for ever: all that the tracker had ordered since went on from what it had before."""
    first = entry(desk.commit(desk.file("first")), 1)
    desk.take(first)
    behind_its_own_commit(desk)
    others = [entry(desk.commit(desk.file(f"{revision}")), revision) for revision in (2, 3, 4)]
    unknown = Refused(Code.CURSOR_UNKNOWN, "the cursor is not of this tracker's history")
    answers = Answers([desk.delta(*others), unknown, desk.delta(first, *others, since=0)])
    assert not await pulling(desk, answers).take(desk.delta(*others))
    await pulling(desk, answers).pull()
    assert desk.names() == {"first", "2", "3", "4"}
    assert [request.revision for request in answers.asked] == [1, 3, 0]


async def test_a_commit_that_was_overtaken_is_not_lost(desk: Desk) -> None:
    desk.take(entry(desk.commit(desk.file("first")), 1))
    behind_its_own_commit(desk)
    others = [entry(desk.commit(desk.file(f"{revision}")), revision) for revision in (2, 4)]
    answers = Answers([desk.delta(*others), desk.delta(since=3)])
    await pulling(desk, answers).pull()
    assert desk.names() == {"first", "mine", "2", "4"}
    assert [request.revision for request in answers.asked] == [1, 3]
