"""What the tracker tells of the past: signed operations, what was durable, in pages, to members only."""

import dataclasses

import pytest

from protocol.api import VIEWER, WithdrawRequest
from protocol.commits import Create, Operation, decode_operation
from protocol.deltas import item_hash, verify_signed_commit
from protocol.errors import Code, Refused
from protocol.history import ChangedRequest, DeletedRequest, HistoryReply, HistoryRequest
from protocol.identifiers import HASH_LENGTH, ROOT, NameToken, NodeId
from tests.support.tracker import author_of, version_of
from tests.tracker.workshop import Workshop
from tracker.metadata import history as reading
from tracker.metadata.history import read_changed, read_deleted, read_history
from tracker.metadata.withdraw import withdraw

MINUTE = 60.0


async def history(shop: Workshop, *nodes: NodeId, after: int = 0) -> HistoryReply:
    request = HistoryRequest(workspace=shop.author.workspace, nodes=nodes, after=after)
    return await shop.database.read(read_history, shop.account.user, request, shop.now_ms)


async def deleted(shop: Workshop, *parents: NodeId, after: NodeId | None = None, **more: object) -> HistoryReply:
    request = DeletedRequest(workspace=shop.author.workspace, parents=parents, after=after, **more)  # type: ignore[arg-type]
    return await shop.database.read(read_deleted, shop.account.user, request, shop.now_ms)


async def changed(shop: Workshop, **since: int) -> HistoryReply:
    request = ChangedRequest(workspace=shop.author.workspace, **since)  # type: ignore[arg-type]
    return await shop.database.read(read_changed, shop.account.user, request, shop.now_ms)


def told(shop: Workshop, reply: HistoryReply) -> list[Operation]:
    """The whole operations of an answer; every signature in it holds."""
    found = []
    for entry in reply.entries:
        assert entry.commit is not None
        verify_signed_commit(shop.author.workspace, entry.commit, shop.author.device.signing.public)
        found += [decode_operation(item) for item in entry.commit.items if len(item) != HASH_LENGTH]
    return found


async def test_all_that_happened_to_a_node(shop: Workshop) -> None:
    create, other = shop.author.create("a"), shop.author.create("other")
    await shop.commit(other, create)
    shop.clock.advance(MINUTE)
    write = shop.author.write(create.node, version_of(create))
    move = shop.author.move(create.node, create.place.mark, "b")
    await shop.commit(write, move)
    delete = shop.author.delete(create.node, move.place.mark, version_of(write))
    await shop.commit(delete)
    reply = await history(shop, create.node)
    assert told(shop, reply) == [create, write, move, delete]
    assert [entry.revision for entry in reply.entries] == [1, 2, 3]
    assert reply.entries[1].time_ms == reply.entries[0].time_ms + MINUTE * 1000 == reply.now_ms
    assert (reply.head, reply.revision, reply.more) == (3, 3, False)
    assert set(reply.durable) == {version_of(create), version_of(write)}
    (node,) = reply.nodes
    assert (node.place, node.version, node.deleted) == (delete.mark, version_of(write), True)
    assert told(shop, await history(shop, create.node, after=2)) == [delete]
    assert told(shop, await history(shop, create.node, other.node)) == [other, create, write, move, delete]


async def test_history_comes_in_pages_of_whole_commits(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "ROWS", 4)
    create = shop.author.create("a")
    await shop.commit(create)
    made: list[Operation] = [create]
    version, mark = version_of(create), create.place.mark
    for number in range(7):
        write = shop.author.write(create.node, version)
        move = shop.author.move(create.node, mark, f"{number}")
        await shop.commit(write, move)
        version, mark = version_of(write), move.place.mark
        made += [write, move]
    for limit in (1, 1 << 20):
        monkeypatch.setattr(reading, "PAGE_BYTES", limit)
        found: list[Operation] = []
        pages, after = 0, 0
        while True:
            page = await history(shop, create.node, after=after)
            found += told(shop, page)
            pages += 1
            if not page.more:
                break
            after = page.entries[-1].revision
        assert found == made
        assert pages > 3


async def test_only_what_is_durable_is_offered(shop: Workshop) -> None:
    """Neither what is announced nor what was withdrawn; what is durable of an older version is told instead."""
    create = shop.author.create("a")
    await shop.commit(create)
    sealed = shop.author.seal(create.node, b"x" * 3000, 1000)
    write = shop.author.write(create.node, version_of(create), sealed)
    head = (await shop.commit(write, runs=sealed.runs)).revision
    gone = shop.author.delete(create.node, create.place.mark, version_of(write))
    await shop.commit(gone)
    assert (await history(shop, create.node)).durable == (version_of(create),)
    reply = await changed(shop, revision=head)
    assert (told(shop, reply), reply.durable) == ([create], (version_of(create),))
    assert (await deleted(shop, ROOT)).durable == (version_of(create),)
    await shop.store(sealed)
    reply = await changed(shop, revision=head)
    assert (told(shop, reply), reply.durable) == ([create, write], (version_of(write),))


async def test_a_withdrawn_file_was_never_there(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, b"x" * 3000, 1000)
    create = shop.author.create("a", content=sealed, node=node)
    await shop.commit(create, runs=sealed.runs)
    request = WithdrawRequest(workspace=shop.author.workspace, versions=(version_of(create),))
    await shop.database.transact(withdraw, shop.account.user, shop.author.device.id, request, shop.now_ms)
    assert (await history(shop, node)).durable == ()
    reply = await deleted(shop, ROOT)
    assert (told(shop, reply), reply.durable) == ([create], ())


async def test_what_was_deleted_in_a_folder(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shop.author.create_directory("d")
    inside = [shop.author.create(f"{number}", folder.node) for number in range(5)]
    outside = shop.author.create("0")
    await shop.commit(folder, outside, *inside)
    move = shop.author.move(inside[0].node, inside[0].place.mark, "z", folder.node)
    await shop.commit(move)
    marks = [move.place.mark, *(each.place.mark for each in inside[1:])]
    gone = [
        shop.author.delete(each.node, mark, version_of(each)) for each, mark in zip(inside[:4], marks, strict=False)
    ]
    await shop.commit(*gone, shop.author.delete(outside.node, outside.place.mark, version_of(outside)))
    reply = await deleted(shop, folder.node)
    assert {node.node for node in reply.nodes} == {each.node for each in inside[:4]}
    assert {type(operation).__name__ for operation in told(shop, reply)} == {"Create", "Move", "Delete"}
    assert set(told(shop, reply)) == {*inside[:4], move, *gone}, "the create of what was moved has its content"
    (named,) = (await deleted(shop, folder.node, tokens=(move.place.token,))).nodes
    assert named.node == inside[0].node
    assert not (await deleted(shop, folder.node, tokens=(inside[4].place.token,))).nodes
    assert len((await deleted(shop, folder.node, ROOT)).nodes) == 5
    monkeypatch.setattr(reading, "MAX_NODES", 1)
    found, parents, after = list[NodeId](), [folder.node, ROOT], None
    while True:
        page = await deleted(shop, *parents, after=after)
        found += [node.node for node in page.nodes]
        if not page.more:
            break
        after = found[-1]
        parents = parents[parents.index(page.nodes[-1].parent) :]
    assert found == [*sorted(each.node for each in inside[:4]), outside.node]


async def test_what_was_moved_from_a_name(shop: Workshop) -> None:
    folder, stays = shop.author.create_directory("d"), shop.author.create("a")
    files = [shop.author.create("a", folder.node), shop.author.create("b", folder.node)]
    await shop.commit(folder, stays, *files)
    moves = [shop.author.move(each.node, each.place.mark, f"{number}") for number, each in enumerate(files)]
    await shop.commit(*moves)
    again = shop.author.create("a", folder.node)
    gone = shop.author.delete(files[1].node, moves[1].place.mark, version_of(files[1]))
    await shop.commit(again, gone)

    async def moved(*tokens: NameToken) -> dict[NodeId, bool]:
        reply = await deleted(shop, folder.node, tokens=tokens, moved=True)
        assert (reply.entries, reply.more) == ((), False)
        return {node.node: node.deleted for node in reply.nodes}

    assert await moved(files[0].place.token) == {files[0].node: False}
    assert await moved(files[1].place.token) == {files[1].node: True}
    assert await moved(moves[0].place.token) == {}
    back = shop.author.move(files[0].node, moves[0].place.mark, "a2", folder.node)
    await shop.commit(back)
    assert set(await moved(back.place.token, files[1].place.token)) == {files[1].node}
    with pytest.raises(Refused, match="by the names"):
        await moved()


async def test_what_has_changed_since(shop: Workshop) -> None:
    kept, edited, gone, moved = (shop.author.create(name) for name in ("kept", "edited", "gone", "moved"))
    await shop.commit(kept, edited, gone, moved)
    then = shop.now_ms
    shop.clock.advance(MINUTE)
    new = shop.author.create("new")
    write = shop.author.write(edited.node, version_of(edited))
    move = shop.author.move(moved.node, moved.place.mark, "elsewhere")
    await shop.commit(new, write, move, shop.author.delete(gone.node, gone.place.mark, version_of(gone)))
    expected = {edited.node, gone.node, moved.node, new.node}
    asked = ({"revision": 1}, {"time_ms": then}, {"time_ms": then + 30_000}, {"ago_ms": 30_000}, {"ago_ms": 60_000})
    for since in asked:
        reply = await changed(shop, **since)
        assert (reply.revision, reply.time_ms, reply.head) == (1, then, 2)
        assert {node.node for node in reply.nodes} == expected
        assert set(told(shop, reply)) == {edited, gone, moved}
    assert not (await changed(shop, ago_ms=0)).nodes
    everything = await changed(shop, time_ms=then - 1)
    assert (everything.revision, everything.time_ms, len(everything.nodes)) == (0, 0, 5)
    assert told(shop, everything) == []


async def test_an_entry_is_told_once_over_all_pages(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is known already only the operations come; each is what the commit's hashes say."""
    files = [shop.author.create(f"{number}") for number in range(9)]
    await shop.commit(*files)
    await shop.commit(*(shop.author.delete(each.node, each.place.mark, version_of(each)) for each in files))
    whole = set(told(shop, await changed(shop, revision=1)))
    monkeypatch.setattr(reading, "MAX_NODES", 2)
    hashes: dict[int, list[bytes]] = {}
    found, request = set[Operation](), ChangedRequest(workspace=shop.author.workspace, revision=1)
    page, pages = None, 0
    while page is None or page.more:
        page = await shop.database.read(read_changed, shop.account.user, request, shop.now_ms)
        pages += 1
        assert len(page.entries) == (1 if pages == 1 else 0)
        found |= set(told(shop, page))
        for entry in page.entries:
            assert entry.commit is not None
            hashes[entry.revision] = [item_hash(item) for item in entry.commit.items]
        for revision, position, operation in page.operations:
            assert item_hash(operation) == hashes[revision][position]
            found.add(decode_operation(operation))
        request = dataclasses.replace(request, after=page.nodes[-1].node, known=tuple(hashes))
    assert found == whole == set(files)
    assert pages == 5


async def test_times_that_cant_be(shop: Workshop) -> None:
    await shop.commit(shop.author.create("a"))
    for wrong in ({"time_ms": shop.now_ms + 1}, {"revision": 2}, {}, {"revision": 1, "ago_ms": 1}):
        with pytest.raises(Refused):
            await changed(shop, **wrong)
    assert (await changed(shop, ago_ms=1 << 60)).revision == 0


async def test_a_clock_that_was_set_back_still_finds_a_revision(shop: Workshop) -> None:
    times = []
    for number, step in enumerate((0, 60, -30, 60, 60)):
        shop.clock.advance(step)
        await shop.commit(shop.author.create(f"{number}"))
        times.append(shop.now_ms)
    assert (await changed(shop, time_ms=times[0])).revision >= 1
    assert (await changed(shop, time_ms=times[-1])).revision == 5


async def test_members_read_and_nobody_else(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    bob = await shop.sign_up("bob@example.org")
    request = HistoryRequest(workspace=shop.author.workspace, nodes=(create.node,))
    with pytest.raises(Refused) as refused:
        await shop.database.read(read_history, bob.user, request, shop.now_ms)
    assert refused.value.code is Code.NOT_FOUND
    await shop.add_member(bob.user, VIEWER)
    reply = await shop.database.read(read_history, bob.user, request, shop.now_ms)
    assert told(shop, reply) == [create]
    viewer = author_of(bob.first, shop.account.keys)
    with pytest.raises(Refused) as refused:
        await shop.send(viewer.commit(viewer.create("b")), bob.first)
    assert refused.value.code is Code.FORBIDDEN


async def test_another_workspaces_nodes_are_not_told(shop: Workshop) -> None:
    await shop.commit(shop.author.create("a"))
    bob = await shop.sign_up("bob@example.org")
    theirs = author_of(bob.first)
    create: Create = theirs.create("b")
    await shop.send(theirs.commit(create), bob.first)
    reply = await history(shop, create.node)
    assert (reply.entries, reply.nodes) == ((), ())
