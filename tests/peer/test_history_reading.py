"""What a device believes of the past: what a member's device signed, and nothing that goes on without end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from peer.history.reading import Reader
from peer.remote import own_entry
from protocol.commits import Commit, Delete, Move, encode_operation, operation_hash
from protocol.deltas import Entry, Record
from protocol.errors import BadSignature, Malformed
from protocol.history import ChangedRequest, DeletedRequest, HistoryReply, PastNode
from protocol.identifiers import ROOT, NodeId, PlaceMark
from tests.peer.test_remote import OTHER, Desk, Signers


class Tracker:
    """Answers with pages that a test has made."""

    def __init__(self, *pages: HistoryReply | Callable[[Any], HistoryReply]) -> None:
        self.pages = list(pages)
        self.asked: list[Any] = []

    async def call(self, _: object, request: Any) -> HistoryReply:
        self.asked.append(request)
        page = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        return page(request) if callable(page) else page


def reader(desk: Desk, tracker: Tracker, signers: Signers | None = None) -> Reader:
    async def refresh() -> None:
        pass

    return Reader(tracker, desk.remote, lambda: signers or desk.signers, refresh)  # type: ignore[arg-type]


def page(desk: Desk, *commits: Commit, more: bool = False, nodes: tuple[PastNode, ...] = ()) -> HistoryReply:
    entries = tuple(own_entry(commit, OTHER, revision, 1000 * revision) for revision, commit in enumerate(commits, 1))
    hash = desk.remote.cursor().hash
    return HistoryReply(
        revision=1, time_ms=1000, head=9, hash=hash, now_ms=9000, entries=entries, nodes=nodes, more=more
    )


def node(number: int, parent: NodeId = ROOT) -> PastNode:
    return PastNode(node=NodeId(bytes([number]) * 16), kind=1, parent=parent, place=bytes(16), deleted=True)  # type: ignore[arg-type]


async def test_events_are_opened() -> None:
    desk = Desk()
    create = desk.file("a", b"text")
    answer = await reader(desk, Tracker(page(desk, desk.commit(create)))).history([create.node])
    (event,) = answer.events
    assert (event.what, event.device, event.time_ms) == ("created", OTHER, 1000)
    assert event.place is not None
    assert event.place.name == "a"
    assert event.stored is not None
    assert (event.stored.manifest.inline, event.durable) == (b"text", False)


async def test_what_nobody_signed_is_refused() -> None:
    desk = Desk()
    forged = replace(desk.commit(desk.file("a")), signature=bytes(64))
    with pytest.raises(BadSignature):
        await reader(desk, Tracker(page(desk, forged))).history([])
    with pytest.raises(BadSignature):
        await reader(desk, Tracker(page(desk, desk.commit(desk.file("a")))), Signers({})).history([])
    record = replace(page(desk), entries=(Entry(revision=1, time_ms=1, record=Record()),))
    with pytest.raises(Malformed):
        await reader(desk, Tracker(record)).history([])


async def test_what_cant_be_opened_leaves_out_itself_alone() -> None:
    desk = Desk()
    good, bad = desk.file("good"), desk.file("bad")
    moved = replace(bad, place=replace(bad.place, parent=NodeId(b"x" * 16)))  # sealed for another folder
    answer = await reader(desk, Tracker(page(desk, desk.commit(moved, good)))).history([])
    assert [event.node for event in answer.events] == [good.node]


async def test_pages_follow_one_another() -> None:
    desk = Desk()
    one, two = NodeId(b"1" * 16), NodeId(b"2" * 16)
    tracker = Tracker(page(desk, more=True, nodes=(node(5, one), node(7, two))), page(desk, nodes=(node(8, two),)))
    assert await reader(desk, tracker).deleted([one, two]) == []  # without a place there is nothing to tell
    first, second = tracker.asked
    assert isinstance(second, DeletedRequest)
    assert (first.parents, second.parents, second.after) == ((one, two), (two,), bytes([7]) * 16)
    tracker = Tracker(page(desk, more=True, nodes=(node(5),)), page(desk))
    await reader(desk, tracker).changed(ago_ms=5)
    first, second = tracker.asked
    assert isinstance(second, ChangedRequest)
    assert (first.ago_ms, second.revision, second.ago_ms, second.after) == (5, 1, None, bytes([5]) * 16)


async def test_operations_of_entries_that_came_before() -> None:
    desk = Desk()
    create, other, gone = desk.file("a", b"text"), desk.file("b"), desk.file("c")
    commit = desk.commit(create, other)
    hidden = replace(commit, operations=tuple(map(operation_hash, commit.operations)))
    first = page(desk, hidden, more=True, nodes=(node(5),))
    for operations, error in (
        (((1, 0, commit.operations[0]),), None),
        (((1, 1, commit.operations[0]),), BadSignature),  # another's place
        (((1, 7, commit.operations[0]),), BadSignature),
        (((1, 0, encode_operation(gone)),), BadSignature),
        (((2, 0, commit.operations[0]),), Malformed),  # of no entry that was told
    ):
        tracker = Tracker(first, replace(page(desk), operations=operations))
        if error is None:
            answer = await reader(desk, tracker).changed(revision=1)
            assert [(event.node, event.time_ms) for event in answer.events] == [(create.node, 1000)]
            assert tracker.asked[1].known == (1,)
        else:
            with pytest.raises(error):
                await reader(desk, tracker).changed(revision=1)


async def test_what_was_moved_counts_only_if_it_is_signed() -> None:
    """The tracker names nodes; where they were and are is what their operations say."""
    desk = Desk()
    create, other = desk.file("old"), desk.file("other")
    move = Move(node=create.node, kind=create.kind, base=create.place.mark, place=desk.place(create.node, "new"))
    told = page(desk, desk.commit(create, other), desk.commit(move))
    named = page(desk, nodes=(node(1), node(2)))
    (moved,) = await reader(desk, Tracker(named, told)).moved([ROOT], "old")
    assert (moved.place.name, moved.deleted) == ("new", False)
    gone = Delete(node=create.node, base=move.place.mark, mark=PlaceMark(desk.random(16)))
    told = page(desk, desk.commit(create, other), desk.commit(move), desk.commit(gone))
    assert [each.deleted for each in await reader(desk, Tracker(named, told)).moved([ROOT], "old")] == [True]
    assert await reader(desk, Tracker(named, told)).moved([ROOT], "other") == []
    assert await reader(desk, Tracker(page(desk))).moved([ROOT], "old") == []


async def test_an_answer_without_end_is_refused() -> None:
    desk = Desk()
    endless = reader(desk, Tracker(page(desk, more=True)))
    for asked in (endless.history([ROOT]), endless.deleted([ROOT]), endless.changed(revision=1)):
        with pytest.raises(Malformed, match="without end"):
            await asked
