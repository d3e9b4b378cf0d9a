"""Writes made on the durable head pass over a head that has been stalled for a day, and take nothing else along."""

import dataclasses

import pytest
from sqlalchemy import select

from protocol import api
from protocol.api import CommitReply, WithdrawRequest
from protocol.commits import Commit, Create, Operation, Write, chain, commit_digest, operation_hash, signed_bytes
from protocol.deltas import Delta, decode_delta, record_digest
from protocol.errors import Code, Refused
from protocol.identifiers import GIB, NodeId, VersionId
from protocol.notices import Changed
from tests.support.tracker import Author, Device, Sealed, author_of, client_in, version_of
from tests.tracker.folding import Follower
from tests.tracker.reading import Reader
from tests.tracker.workshop import Workshop
from tracker.assembly import Tracker
from tracker.metadata.rules import Node, passed_over
from tracker.metadata.withdraw import STALLED_MS, withdraw
from tracker.schema import ANNOUNCED, WITHDRAWN, versions

DAY = STALLED_MS / 1000
MOMENT = 0.001


@dataclasses.dataclass
class Stalled:
    """A file with a durable version, and a head on top of it that its author does not upload."""

    create: Create
    head: Sealed

    @property
    def node(self) -> NodeId:
        return self.create.node

    @property
    def durable(self) -> VersionId:
        return version_of(self.create)


async def stall(shop: Workshop, name: str = "a") -> Stalled:
    create = shop.author.create(name)
    await shop.commit(create)
    head = shop.author.seal(create.node, shop.account.random_bytes(3000), 1000)
    await shop.commit(shop.author.write(create.node, version_of(create), head), runs=head.runs)
    return Stalled(create, head)


@pytest.fixture
async def stalled(shop: Workshop) -> Stalled:
    """Since exactly a day."""
    made = await stall(shop)
    shop.clock.advance(DAY)
    return made


async def state_of(shop: Workshop, version: VersionId) -> int:
    query = select(versions.c.state).where(versions.c.version == version)
    return await shop.database.read(lambda connection: int(connection.execute(query).scalar_one()))


# What passes over, and when ------------------------------------------------------------------------------------------


async def test_a_head_is_passed_over_after_exactly_a_day(shop: Workshop) -> None:
    stalled = await stall(shop)
    write = shop.author.write(stalled.node, stalled.durable)
    shop.clock.advance(DAY - MOMENT)
    assert await shop.reasons(write) == {0: "stale-content"}
    shop.clock.advance(MOMENT)
    await shop.commit(write)
    node = await shop.node(stalled.node)
    assert (node.version, node.durable_version) == (version_of(write), version_of(write))
    assert await state_of(shop, stalled.head.content.version) == WITHDRAWN
    with pytest.raises(Refused):  # nobody waits for it any more
        await shop.store(stalled.head)
    await shop.check()


async def test_a_pack_is_progress(shop: Workshop) -> None:
    stalled = await stall(shop)
    shop.clock.advance(DAY - 1)
    await shop.store(dataclasses.replace(stalled.head, chunks=stalled.head.chunks[:1]))
    shop.clock.advance(DAY - 1)
    write = shop.author.write(stalled.node, stalled.durable)
    assert await shop.reasons(write) == {0: "stale-content"}
    shop.clock.advance(1)
    await shop.commit(write)


async def test_the_record_comes_first_in_a_revision_of_its_own(shop: Workshop, stalled: Stalled) -> None:
    before = await shop.delta()
    write = shop.author.write(stalled.node, stalled.durable)
    sent = shop.author.commit(write)
    reply = await shop.send(sent)
    assert (reply.since, reply.revision) == (before.through + 1, before.through + 2)
    delta = await shop.delta(before)
    record, commit = delta.entries
    assert record.record is not None
    assert record.record.withdrawn == ((stalled.node, stalled.head.content.version, stalled.durable),)
    assert commit.commit is not None
    assert (record.time_ms, commit.time_ms) == (shop.now_ms, shop.now_ms)
    between = chain(before.hash, before.through + 1, record_digest(record.record))
    assert chain(between, reply.revision, _digest(sent, shop.author.device)) == reply.hash == delta.hash


def _digest(sent: Commit, device: Device) -> bytes:
    hashes = [operation_hash(operation) for operation in sent.operations]
    signed = signed_bytes(sent.workspace, device.id, sent.epoch, sent.id, sent.seen, hashes)
    return commit_digest(signed, sent.signature)


async def test_several_heads_give_way_in_one_record(shop: Workshop) -> None:
    one, two, fresh = await stall(shop, "a"), await stall(shop, "b"), shop.author.create("c")
    shop.clock.advance(DAY)
    seen = await shop.delta()
    moved = shop.author.move(two.node, two.create.place.mark, "d")
    writes = [shop.author.write(each.node, each.durable) for each in (one, two)]
    await shop.commit(moved, *writes, fresh)
    record = (await shop.delta(seen)).entries[0].record
    assert record is not None
    assert [row[0] for row in record.withdrawn] == [one.node, two.node]
    await shop.check()


async def test_a_write_on_the_head_itself_passes_nothing_over(shop: Workshop, stalled: Stalled) -> None:
    reply = await shop.commit(shop.author.write(stalled.node, stalled.head.content.version))
    assert reply.since == reply.revision - 1
    assert await state_of(shop, stalled.head.content.version) == ANNOUNCED


async def test_a_write_on_any_other_version_is_stale(shop: Workshop, stalled: Stalled) -> None:
    stranger = version_of(shop.author.create("x"))
    assert await shop.reasons(shop.author.write(stalled.node, stranger)) == {0: "stale-content"}


async def test_without_a_durable_head_nothing_is_passed_over(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, shop.account.random_bytes(3000), 1000)
    await shop.commit(shop.author.create("a", content=sealed, node=node), runs=sealed.runs)
    shop.clock.advance(DAY)
    stranger = version_of(shop.author.create("x"))
    assert await shop.reasons(shop.author.write(node, stranger)) == {0: "stale-content"}


async def test_a_delete_passes_nothing_over(shop: Workshop, stalled: Stalled) -> None:
    """Edit beats delete: what the skipped author wrote would be gone for everybody."""
    mark = stalled.create.place.mark
    assert await shop.reasons(shop.author.delete(stalled.node, mark, stalled.durable)) == {0: "stale-content"}
    await shop.commit(shop.author.delete(stalled.node, mark, stalled.head.content.version))


async def test_a_new_announced_head_takes_the_place_of_the_stalled_one(shop: Workshop, stalled: Stalled) -> None:
    sealed = shop.author.seal(stalled.node, shop.account.random_bytes(5000), 1000)
    write = shop.author.write(stalled.node, stalled.durable, sealed)
    reply = await shop.commit(write, runs=sealed.runs)
    assert reply.announced == (version_of(write),)
    node = await shop.node(stalled.node)
    assert (node.version, node.durable_version) == (version_of(write), stalled.durable)
    await shop.store(sealed)
    assert (await shop.node(stalled.node)).durable_version == version_of(write)
    await shop.check()


async def test_chunks_that_both_wait_for_stay_awaited(shop: Workshop, stalled: Stalled) -> None:
    again = dataclasses.replace(stalled.head.content, version=VersionId(shop.account.random_bytes(16)))
    write = Write(node=stalled.node, base=stalled.durable, content=again)
    reply = await shop.commit(write)
    assert set(reply.missing) == {chunk for chunk, _ in stalled.head.chunks}
    assert list((await shop.store(stalled.head)).durable) == [again.version]
    await shop.check()


# Quota ---------------------------------------------------------------------------------------------------------------


async def test_the_room_of_what_gives_way_counts(shop: Workshop, stalled: Stalled) -> None:
    node = await shop.node(stalled.node)
    write = shop.author.write(stalled.node, stalled.durable, shop.author.seal(stalled.node, bytes(900)))
    head, more = node.size, len(write.content.manifest) - node.durable_size
    assert more > 0
    await shop.set_used(GIB - more + head + 1)
    assert await shop.reasons(write) == {0: "quota"}
    await shop.set_used(GIB - more + head)
    await shop.commit(write)
    assert await shop.used() == GIB


# Refusals ------------------------------------------------------------------------------------------------------------


async def test_a_commit_that_is_refused_for_something_else_withdraws_nothing(shop: Workshop, stalled: Stalled) -> None:
    used, seen = await shop.used(), await shop.delta()
    write = shop.author.write(stalled.node, stalled.durable)
    taken = shop.author.create("a")
    assert await shop.reasons(write, taken) == {1: "name-taken"}
    assert await shop.used() == used
    assert (await shop.node(stalled.node)).version == stalled.head.content.version
    assert await state_of(shop, stalled.head.content.version) == ANNOUNCED
    assert (await shop.delta(seen)).entries == ()
    await shop.check()
    await shop.commit(write)


async def test_a_refusal_tells_the_present_head(shop: Workshop, stalled: Stalled) -> None:
    write = shop.author.write(stalled.node, stalled.durable)
    await shop.set_used(2 * GIB)
    used = dataclasses.replace(write, content=shop.author.seal(stalled.node, bytes(1000)).content)
    (failed,) = (await shop.refusal(used)).operations
    assert failed.reason == "quota"
    assert failed.state is not None
    assert failed.state.version == stalled.head.content.version


async def test_a_retry_gets_the_first_answer(shop: Workshop, stalled: Stalled) -> None:
    sent = shop.author.commit(shop.author.write(stalled.node, stalled.durable))
    first = await shop.send(sent)
    await shop.commit(shop.author.create("b"))
    assert await shop.send(sent) == first


# What devices make of it ---------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Desk:
    """The tracker's app, and what its subscribers are told."""

    shop: Workshop
    tracker: Tracker

    async def commit(self, author: Author, *operations: Operation) -> tuple[Commit, CommitReply, list[Delta | None]]:
        """Commit over the app; the answer, and the deltas that came with the notices to other devices."""
        sent = author.commit(*operations)
        hub, device = self.tracker.services.hub, author.device
        sessions = self.tracker.services.sessions
        async with client_in(self.tracker) as client:
            nonce = sessions.challenge(device.id).nonce
            renewal = api.RenewRequest(device=device.id, nonce=nonce, signature=device.signing.sign("session", nonce))
            client.token = (await client.call(api.RENEW, renewal)).token
            with hub.subscribed(self.shop.author.device.id, [author.workspace]) as mailbox:
                reply = await client.call(api.COMMIT, sent)
                told: list[Delta | None] = []
                through = 0
                while through < reply.revision:
                    notice = await mailbox.take()
                    assert isinstance(notice, Changed)
                    through = notice.through
                    told.append(None if notice.delta is None else decode_delta(notice.delta))
        return sent, reply, told


@pytest.fixture
async def second(shop: Workshop) -> Author:
    """Another device, which writes on the durable head while the first one is away."""
    return await shop.add_device()


async def test_notices_tell_the_record_then_the_commit_chained(
    shop: Workshop, stalled: Stalled, second: Author
) -> None:
    before = await shop.delta()
    write = second.write(stalled.node, stalled.durable)
    _, reply, told = await Desk(shop, shop.tracker).commit(second, write)
    record, commit = told
    assert record is not None
    assert commit is not None
    assert (record.since, record.through) == (before.through, before.through + 1)
    assert (commit.since, commit.through, commit.hash) == (record.through, reply.revision, reply.hash)
    reader = Reader(shop)
    await reader.pull()
    assert reader.remote.cursor().hash == reply.hash


async def test_the_committing_device_ends_with_the_right_chain(
    shop: Workshop, stalled: Stalled, second: Author
) -> None:
    reader = Reader(shop, second.device)
    await reader.pull()
    reader.agree(stalled.node, stalled.durable)
    cursor = reader.remote.cursor()
    write = second.write(stalled.node, stalled.durable)
    sent, reply, (record, _) = await Desk(shop, shop.tracker).commit(second, write)
    reader.accept(sent, reply)
    assert reply.since > cursor.revision, "so it knows that something lies between"
    assert reader.remote.cursor() == cursor
    assert record is not None
    assert reader.remote.is_stale(record), "and takes no notice that ends before its own commit"
    (page,) = await reader.pull()
    assert len(page.entries) == 2
    assert (reader.remote.cursor().revision, reader.remote.cursor().hash) == (reply.revision, reply.hash)
    remote, synced = reader.node(stalled.node), reader.synced(stalled.node)
    assert remote is not None
    assert synced is not None
    assert remote.version == remote.durable == synced.version == version_of(write)
    assert (await reader.pull())[0].entries == ()


async def test_the_committing_device_may_hear_of_the_record_before_its_answer(
    shop: Workshop, stalled: Stalled, second: Author
) -> None:
    reader = Reader(shop, second.device)
    await reader.pull()
    sent, reply, (record, _) = await Desk(shop, shop.tracker).commit(
        second, second.write(stalled.node, stalled.durable)
    )
    assert record is not None
    reader.take(record)
    reader.accept(sent, reply)
    assert (reader.remote.cursor().revision, reader.remote.cursor().hash) == (reply.revision, reply.hash)
    assert (await reader.pull())[0].entries == ()


@pytest.mark.parametrize("way", ["notices", "delta", "delta, overtaken", "delta, deleted since"])
async def test_the_skipped_author_sees_its_version_withdrawn(
    shop: Workshop, stalled: Stalled, second: Author, way: str
) -> None:
    """What it has is an edit of its own made on the durable head, so it keeps it beside whatever came."""
    reader = Reader(shop)
    await reader.pull()
    reader.agree(stalled.node)
    write = second.write(stalled.node, stalled.durable)
    _, reply, told = await Desk(shop, shop.tracker).commit(second, write)
    head: VersionId | None = version_of(write)
    if way == "delta, overtaken":
        newest = second.write(stalled.node, version_of(write))
        await shop.send(second.commit(newest), second.device)
        head = version_of(newest)
    if way == "delta, deleted since":
        delete = second.delete(stalled.node, stalled.create.place.mark, version_of(write))
        await shop.send(second.commit(delete), second.device)
        head = None
    if way == "notices":
        for delta in told:
            assert delta is not None
            reader.take(delta)
        assert reader.remote.cursor().hash == reply.hash
    else:
        await reader.pull()
    remote, synced = reader.node(stalled.node), reader.synced(stalled.node)
    assert (None if remote is None else remote.version) == head
    assert synced is not None
    assert synced.version == stalled.durable


async def test_followers_from_any_cursor_agree(shop: Workshop, stalled: Stalled) -> None:
    seen = [await shop.delta()]
    write = shop.author.write(stalled.node, stalled.durable)
    await shop.commit(write)
    seen.append(await shop.delta(seen[0]))
    for deltas in ([await shop.delta()], seen):
        follower = Follower(shop.author.device.signing.public)
        for delta in deltas:
            follower.fold(delta)
        known = follower.nodes[stalled.node]
        assert (known.head, known.durable) == (version_of(write), version_of(write))


# The rules by themselves ---------------------------------------------------------------------------------------------


async def test_only_the_first_write_to_a_living_node_decides(shop: Workshop, stalled: Stalled) -> None:
    node = await shop.node(stalled.node)
    author, head = shop.author, stalled.head.content.version
    on_durable, on_head = author.write(node.node, stalled.durable), author.write(node.node, head)
    known = {node.node: node}
    assert passed_over([on_durable], known) == {node.node: head}
    assert passed_over([on_durable, on_head], known) == {node.node: head}
    assert passed_over([on_head, on_durable], known) == {}
    assert passed_over([on_durable], {}) == {}
    for changes in ({"deleted": True}, {"durable_version": head}, {"version": stalled.durable}):
        changed: Node = node._replace(**changes)
        assert passed_over([on_durable], {node.node: changed}) == {}
    delete = author.delete(node.node, node.place, stalled.durable)
    assert passed_over([delete, author.move(node.node, node.place, "b")], known) == {}


async def test_a_deleted_node_is_no_ground_to_write_on(shop: Workshop, stalled: Stalled) -> None:
    delete = shop.author.delete(stalled.node, stalled.create.place.mark, stalled.head.content.version)
    await shop.commit(delete)
    assert await shop.reasons(shop.author.write(stalled.node, stalled.durable)) == {0: "deleted"}
    assert await state_of(shop, stalled.head.content.version) == ANNOUNCED


async def test_a_head_withdrawn_before_needs_no_record(shop: Workshop, stalled: Stalled) -> None:
    request = WithdrawRequest(workspace=shop.author.workspace, versions=(stalled.head.content.version,))
    await shop.database.transact(withdraw, shop.account.user, shop.author.device.id, request, shop.now_ms)
    reply = await shop.commit(shop.author.write(stalled.node, stalled.durable))
    assert reply.since == reply.revision - 1


async def test_who_may_not_write_passes_nothing_over(shop: Workshop, stalled: Stalled) -> None:
    stranger = await shop.sign_up("bob@example.org")
    author = author_of(stranger.first, shop.account.keys)
    with pytest.raises(Refused) as caught:
        await shop.send(author.commit(author.write(stalled.node, stalled.durable)), stranger.first)
    assert caught.value.code is Code.NOT_FOUND
    assert await state_of(shop, stalled.head.content.version) == ANNOUNCED
