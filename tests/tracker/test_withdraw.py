"""Withdrawal: by the author, and by the tracker of what nobody has uploaded for a week; what is left of a node then."""

import dataclasses
import logging
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import trio
from sqlalchemy import Connection, event, select, update
from trio.testing import MockClock

from protocol import api
from protocol.api import LeaseRequest, WithdrawRequest
from protocol.commits import Create
from protocol.deltas import decode_delta
from protocol.errors import Code, Refused
from protocol.identifiers import DeviceId, NodeId, VersionId
from protocol.notices import Changed
from protocol.system import real_machine
from tests.support.databases import Databases
from tests.support.tracker import Author, Sealed, author_of, client_in, client_of, new_account, running_tracker
from tests.support.tracker import version_of as version
from tests.tracker.folding import Follower
from tests.tracker.reading import Reader
from tests.tracker.websockets import connect, receive, subscribe
from tests.tracker.workshop import Workshop
from tracker import upkeep
from tracker.checking import check_tracker
from tracker.metadata import withdraw as withdrawing
from tracker.metadata.lease import lease
from tracker.metadata.withdraw import AT_ONCE, FORSAKEN_MS, Withdrawn, withdraw, withdraw_stalled
from tracker.schema import IS_ANNOUNCED, nodes, versions
from tracker.upkeep import ROUND_S, withdraw_forsaken

WEEK = FORSAKEN_MS / 1000
MOMENT = 0.001


async def announce(shop: Workshop, name: str, author: Author | None = None) -> tuple[Create, Sealed]:
    """A new file whose chunks the tracker does not have."""
    author = author or shop.author
    node = author.new_node()
    sealed = author.seal(node, author.random_bytes(3000), 1000)
    create = author.create(name, content=sealed, node=node)
    await shop.send(author.commit(create, runs=sealed.runs), author.device)
    return create, sealed


async def announce_on_top(shop: Workshop, name: str) -> tuple[Create, Sealed]:
    """A durable file with an announced head."""
    create = shop.author.create(name)
    await shop.commit(create)
    return create, await write(shop, create.node, version(create))


async def write(shop: Workshop, node: NodeId, base: VersionId) -> Sealed:
    sealed = shop.author.seal(node, shop.account.random_bytes(3000), 1000)
    await shop.commit(shop.author.write(node, base, sealed), runs=sealed.runs)
    return sealed


async def withdraw_own(shop: Workshop, *sealed: Sealed) -> None:
    named = tuple(each.content.version for each in sealed)
    request = WithdrawRequest(workspace=shop.author.workspace, versions=named)
    await shop.database.transact(withdraw, shop.account.user, shop.author.device.id, request, shop.now_ms)


async def forsake(shop: Workshop, at_once: int = AT_ONCE) -> Withdrawn | None:
    return await shop.database.transact(withdraw_stalled, shop.now_ms, at_once=at_once)


async def announced(shop: Workshop) -> set[VersionId]:
    query = select(versions.c.version).where(IS_ANNOUNCED)
    return await shop.database.read(lambda connection: set(map(VersionId, connection.scalars(query))))


# By the author -------------------------------------------------------------------------------------------------------


async def test_withdrawing_falls_back_to_the_durable_head_and_frees_quota(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    used = await shop.used()
    sealed = await write(shop, create.node, version(create))
    await shop.store(dataclasses.replace(sealed, chunks=sealed.chunks[:1]))
    assert await shop.used() > used + 3000
    await withdraw_own(shop, sealed)
    node = await shop.node(create.node)
    assert (node.version, node.durable_version, node.deleted) == (version(create), version(create), False)
    assert await shop.used() == used
    with pytest.raises(Refused):  # nothing waits for the rest any more
        await shop.store(sealed)
    await withdraw_own(shop, sealed)
    await shop.check()


async def test_a_commit_that_is_sent_again_is_told_what_was_withdrawn(shop: Workshop) -> None:
    """As the record has it, whatever came after that; what was overtaken when it was withdrawn, no record names."""
    old, new, overtaken = (shop.author.create(name) for name in ("old", "new", "overtaken"))
    await shop.commit(old, overtaken)
    sealed = {
        create: shop.author.seal(create.node, shop.account.random_bytes(3000), 1000) for create in (old, new, overtaken)
    }
    commit = shop.author.commit(
        shop.author.write(old.node, version(old), sealed[old]),
        shop.author.create("new", content=sealed[new], node=new.node),
        shop.author.write(overtaken.node, version(overtaken), sealed[overtaken]),
        runs=tuple(chain.from_iterable(each.runs for each in sealed.values())),
    )
    reply = await shop.send(commit)
    assert reply.withdrawn == ()
    await write(shop, overtaken.node, sealed[overtaken].content.version)
    await withdraw_own(shop, *sealed.values())
    await write(shop, old.node, version(old))
    again = await shop.send(commit)
    assert again.revision == reply.revision
    assert (again.announced, again.missing) == ((), ())
    expected = {(old.node, sealed[old].content.version, version(old)), (new.node, sealed[new].content.version, None)}
    assert set(again.withdrawn) == expected


async def test_only_the_author_withdraws(shop: Workshop) -> None:
    _, sealed = await announce(shop, "a")
    other = shop.account.new_device()
    request = WithdrawRequest(workspace=shop.author.workspace, versions=(sealed.content.version,))
    with pytest.raises(Refused) as caught:
        await shop.database.transact(withdraw, shop.account.user, other.id, request, 1000)
    assert caught.value.code is Code.FORBIDDEN


# By the tracker ------------------------------------------------------------------------------------------------------


async def test_what_nobody_uploads_for_exactly_a_week_is_withdrawn(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    used = await shop.used()
    sealed = await write(shop, create.node, version(create))
    revision = await shop.head()
    shop.clock.advance(WEEK - MOMENT)
    assert await forsake(shop) is None
    assert await announced(shop) == {sealed.content.version}
    shop.clock.advance(MOMENT)
    done = await forsake(shop)
    assert done is not None
    assert (done.workspace, done.versions) == (shop.author.workspace, 1)
    assert done.record is not None
    assert (done.record.since.revision, done.record.head.revision) == (revision, revision + 1)
    assert done.record.record.withdrawn == ((create.node, sealed.content.version, version(create)),)
    assert await shop.used() == used
    assert await announced(shop) == set()
    assert await forsake(shop) is None
    await shop.check()


async def test_a_pack_is_progress_and_asking_for_the_lease_is_none(shop: Workshop) -> None:
    _, progressing = await announce(shop, "a")
    _, idle = await announce(shop, "b")
    shop.clock.advance(WEEK - 1)
    await shop.store(dataclasses.replace(progressing, chunks=progressing.chunks[:1]))
    request = LeaseRequest(workspace=shop.author.workspace, versions=(idle.content.version,))
    await shop.database.transact(lease, shop.account.user, shop.author.device.id, request, shop.now_ms)
    shop.clock.advance(1)
    await forsake(shop)
    assert await announced(shop) == {progressing.content.version}
    shop.clock.advance(WEEK - 1)
    await forsake(shop)
    assert await announced(shop) == set()
    await shop.check()


async def test_an_overtaken_version_goes_quietly(shop: Workshop) -> None:
    create, first = await announce(shop, "a")
    await shop.commit(shop.author.write(create.node, version(create)))
    revision, used = await shop.head(), await shop.used()
    shop.clock.advance(WEEK)
    assert await forsake(shop) == Withdrawn(shop.author.workspace, 1, None)
    assert (await shop.head(), await shop.used(), await announced(shop)) == (revision, used, set())
    assert not (await shop.node(create.node)).deleted
    with pytest.raises(Refused):
        await shop.store(first)
    await shop.check()


async def test_some_at_a_time_workspace_by_workspace_the_oldest_first(shop: Workshop) -> None:
    made = []
    for number in range(5):
        made.append((await announce(shop, f"{number}"))[1].content.version)
        shop.clock.advance(1)
    other = author_of((await shop.sign_up("bob@example.org")).first)
    await announce(shop, "theirs", other)
    shop.clock.advance(WEEK)
    taken: dict[bytes, list[int]] = {}
    left = []
    while (done := await forsake(shop, at_once=2)) is not None:
        taken.setdefault(done.workspace, []).append(done.versions)
        if done.workspace == shop.author.workspace:
            left.append(await announced(shop) & set(made))
    assert taken == {shop.author.workspace: [2, 2, 1], other.workspace: [1]}
    assert left == [set(made[2:]), set(made[4:]), set()]
    await shop.check()


async def test_one_transaction_takes_only_so_many_chunks(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(withdrawing, "CHUNKS_AT_ONCE", 5)
    for name in "abcde":
        await announce(shop, name)  # three chunks each
    shop.clock.advance(WEEK)
    taken = []
    while (done := await forsake(shop)) is not None:
        taken.append(done.versions)
    assert taken == [2, 2, 1]


async def test_the_search_reads_the_announced_versions_only(sqlite_shop: Workshop) -> None:
    def plans(connection: Connection) -> list[str]:
        searches: list[tuple[str, Any]] = []

        @event.listens_for(connection, "before_cursor_execute")
        def note(_: object, __: object, statement: str, parameters: Any, *rest: object) -> None:
            if statement.startswith("SELECT versions."):
                searches.append((statement, parameters))

        withdraw_stalled(connection, shop.now_ms)
        event.remove(connection, "before_cursor_execute", note)
        explain = [(f"EXPLAIN QUERY PLAN {statement}", parameters) for statement, parameters in searches]
        return [connection.exec_driver_sql(*each).all()[0].detail for each in explain]

    shop = sqlite_shop
    await announce(shop, "a")
    shop.clock.advance(WEEK)
    found = await shop.database.transact(plans)
    assert len(found) == 2
    assert all("ix_versions_announced" in plan for plan in found), found


# A node without a durable version ------------------------------------------------------------------------------------


async def test_a_node_whose_only_version_is_withdrawn_is_deleted(shop: Workshop) -> None:
    create, sealed = await announce(shop, "a")
    shop.clock.advance(WEEK)
    done = await forsake(shop)
    assert done is not None
    assert done.record is not None
    assert done.record.record.withdrawn == ((create.node, sealed.content.version, None),)
    node = await shop.node(create.node)
    assert (node.deleted, node.version, node.durable_version, node.charge) == (True, None, None, 0)
    assert await shop.used() == 0
    await shop.check()


async def test_its_name_is_free_and_the_directory_it_was_in_is_empty(shop: Workshop) -> None:
    directory = shop.author.create_directory("d")
    await shop.commit(directory)
    node = shop.author.new_node()
    sealed = shop.author.seal(node, shop.account.random_bytes(3000), 1000)
    await shop.commit(shop.author.create("a", directory.node, content=sealed, node=node), runs=sealed.runs)
    delete = shop.author.delete(directory.node, directory.place.mark)
    assert await shop.reasons(delete) == {0: "not-empty"}
    shop.clock.advance(WEEK)
    await forsake(shop)
    again = shop.author.create("a", directory.node)
    await shop.commit(again)
    assert await shop.reasons(delete) == {0: "not-empty"}
    await shop.commit(shop.author.delete(again.node, again.place.mark, version(again)))
    await shop.commit(delete)
    await shop.check()


async def test_nothing_can_be_done_to_it_any_more(shop: Workshop) -> None:
    create, sealed = await announce(shop, "a")
    await withdraw_own(shop, sealed)
    mark, author = create.place.mark, shop.author
    assert await shop.reasons(
        author.write(create.node, version(create)),
        author.move(create.node, mark, "b"),
        author.delete(create.node, mark),
        author.delete(create.node, mark, version(create)),
        author.restore(create.node, mark, "a", None),
        author.restore(create.node, mark, "a", version(create)),
    ) == dict.fromkeys(range(6), "deleted")
    refusal = await shop.refusal(author.create("b", node=create.node))
    assert [each.reason for each in refusal.operations] == ["node-exists"]
    state = refusal.operations[0].state
    assert state is not None
    assert (state.deleted, state.version) == (True, None)


async def test_a_deleted_node_whose_only_version_is_withdrawn_stays_deleted_for_good(shop: Workshop) -> None:
    create, _ = await announce(shop, "a")
    delete = shop.author.delete(create.node, create.place.mark, version(create))
    await shop.commit(delete)
    shop.clock.advance(WEEK)
    await forsake(shop)
    for content_base in (None, version(create)):
        restore = shop.author.restore(create.node, delete.mark, "a", content_base)
        assert await shop.reasons(restore) == {0: "deleted"}
    await shop.check()


async def test_no_delta_and_no_snapshot_lists_it_as_living(shop: Workshop) -> None:
    """To cursors from before its creation, before its withdrawal and after; moved or not; its name taken or not."""
    cursors = [await shop.delta()]
    readers = [Reader(shop)]
    await readers[0].pull()
    still, _ = await announce(shop, "still")
    moved, _ = await announce(shop, "moved")
    kept = shop.author.create("kept")
    await shop.commit(shop.author.move(moved.node, moved.place.mark, "moved away"), kept)
    cursors.append(await shop.delta(cursors[0]))
    readers.append(Reader(shop))
    await readers[1].pull()
    for node in (still.node, moved.node, kept.node):
        readers[1].agree(node)
    shop.clock.advance(WEEK)
    await forsake(shop)
    cursors.append(await shop.delta(cursors[1]))
    taker = shop.author.create("still")
    await shop.commit(taker)
    for seen in (*cursors, None):
        follower = Follower(shop.author.device.signing.public)
        for delta in (*cursors[: cursors.index(seen) + 1], await shop.delta(seen)) if seen else (await shop.delta(),):
            follower.fold(delta)
        assert {id for id, known in follower.nodes.items() if not known.deleted} == {kept.node, taker.node}
    for reader in (*readers, Reader(shop)):
        await reader.pull()
        assert reader.nodes().keys() == {kept.node, taker.node}
    assert readers[1].synced(still.node) is readers[1].synced(moved.node) is None, "who has it sends it as a new file"
    assert readers[1].synced(kept.node) is not None
    await shop.check()


async def test_check_tells_a_file_that_lives_without_content(shop: Workshop) -> None:
    create, sealed = await announce(shop, "a")
    await withdraw_own(shop, sealed)
    await shop.database.transact(lambda connection: connection.execute(update(nodes).values(deleted=False)))
    services = shop.tracker.services
    report = await check_tracker(services.machine, services.database, shop.blocks.storage, quick=True)
    at = f"workspace {shop.author.workspace.hex()}, node {create.node.hex()}"
    assert report.problems == [
        f"{at}: it is not what its history leads to",
        f"{at}: it lives without any content",
    ]


# What readers see of records -----------------------------------------------------------------------------------------


async def test_a_withdrawal_is_told_also_when_something_was_written_since(shop: Workshop) -> None:
    """Or a device that has the withdrawn content would take the newer version for one made on its own."""
    create, sealed = await announce_on_top(shop, "a")
    reader = Reader(shop)
    await reader.pull()
    reader.agree(create.node)
    await withdraw_own(shop, sealed)
    newer = shop.author.write(create.node, version(create))
    await shop.commit(newer)
    await reader.pull()
    remote, synced = reader.node(create.node), reader.synced(create.node)
    assert remote is not None
    assert synced is not None
    assert (remote.version, synced.version) == (newer.content.version, version(create))


async def test_a_device_whose_cursor_is_still_at_the_start_is_told_too(shop: Workshop) -> None:
    """It asks from revision 0 and takes no snapshot: it knows its own commits, behind those of others."""
    reader = Reader(shop)
    await reader.pull()
    other = await shop.add_device()
    await shop.send(other.commit(other.create("theirs")), other.device)
    create, author = shop.author.create("a"), shop.author
    sent = author.commit(create)
    reader.accept(sent, await shop.send(sent))
    sealed = author.seal(create.node, shop.account.random_bytes(3000), 1000)
    sent = author.commit(author.write(create.node, version(create), sealed), runs=sealed.runs)
    reader.accept(sent, await shop.send(sent))
    reader.agree(create.node)
    assert reader.remote.cursor().revision == 0
    await withdraw_own(shop, sealed)
    await shop.commit(author.write(create.node, version(create)))
    await reader.pull()
    synced = reader.synced(create.node)
    assert synced is not None
    assert synced.version == version(create)


async def test_a_record_that_holds_in_part_travels_whole_so_that_the_chain_can_be_verified(shop: Workshop) -> None:
    one, first = await announce_on_top(shop, "a")
    two, second = await announce_on_top(shop, "b")
    reader = Reader(shop)
    await reader.pull()
    await shop.store(first, second)
    await shop.commit(shop.author.write(one.node, first.content.version))
    (page,) = await reader.pull()
    assert len(page.entries) == page.through - page.since == 2
    record = page.entries[0].record
    assert record is not None
    assert {row[0] for row in record.durable} == {one.node, two.node}
    known = reader.node(two.node)
    assert known is not None
    assert known.durable == second.content.version


@pytest.mark.parametrize("happening", ["durable", "withdrawn"])
async def test_a_record_about_a_node_deleted_before_changes_nothing(shop: Workshop, happening: str) -> None:
    create, sealed = await announce_on_top(shop, "a")
    await shop.commit(shop.author.delete(create.node, create.place.mark, sealed.content.version))
    reader = Reader(shop)
    await reader.pull()
    await (shop.store(sealed) if happening == "durable" else withdraw_own(shop, sealed))
    await reader.pull()
    assert reader.nodes() == {}
    await shop.check()


# The upkeep ----------------------------------------------------------------------------------------------------------


async def test_subscribers_are_told_of_what_was_withdrawn(shop: Workshop) -> None:
    create, sealed = await announce_on_top(shop, "a")
    reader = Reader(shop)
    await reader.pull()
    hub, revision = shop.tracker.services.hub, await shop.head()
    shop.clock.advance(WEEK)
    with hub.subscribed(shop.author.device.id, [shop.author.workspace]) as mailbox:
        await withdraw_forsaken(shop.tracker.services)
        notice = await mailbox.take()
    assert isinstance(notice, Changed)
    assert (notice.since, notice.through) == (revision, revision + 1)
    reader.take(decode_delta(notice.delta or b""))
    assert reader.remote.cursor().hash == (await shop.delta()).hash
    remote = reader.node(create.node)
    assert remote is not None
    assert remote.version == version(create) != sealed.content.version


async def test_a_round_at_once_and_one_every_ten_minutes(sqlite_shop: Workshop, autojump_clock: MockClock) -> None:
    shop = sqlite_shop  # such a clock doesn't wait for a thread
    begin, hub = trio.current_time(), shop.tracker.services.hub
    first, _ = await announce(shop, "a")
    shop.clock.advance(WEEK)
    with hub.subscribed(DeviceId(bytes(16)), [shop.author.workspace]) as mailbox:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shop.tracker.look_after)
            await mailbox.take()
            assert trio.current_time() - begin < 1
            assert (await shop.node(first.node)).deleted
            second, _ = await announce(shop, "b")
            shop.clock.advance(WEEK)
            await mailbox.take()
            assert ROUND_S <= trio.current_time() - begin < ROUND_S + 1
            assert (await shop.node(second.node)).deleted
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("failure", "level"),
    [(Refused(Code.UNAVAILABLE, "the disk is full"), logging.WARNING), (ZeroDivisionError("a defect"), logging.ERROR)],
    ids=["database", "defect"],
)
async def test_what_fails_in_one_round_is_done_in_the_next(
    shop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    autojump_clock: MockClock,
    failure: Exception,
    level: int,
) -> None:
    failures = [failure]

    def failing(connection: Connection, time_ms: int) -> Withdrawn | None:
        if failures:
            raise failures.pop()
        return withdraw_stalled(connection, time_ms)

    monkeypatch.setattr(upkeep, "withdraw_stalled", failing)
    await announce(shop, "a")
    shop.clock.advance(WEEK)
    hub = shop.tracker.services.hub
    with hub.subscribed(DeviceId(bytes(16)), [shop.author.workspace]) as mailbox:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shop.tracker.look_after)
            await mailbox.take()
            nursery.cancel_scope.cancel()
    assert await announced(shop) == set()
    assert [each.levelno for each in caplog.records if each.name == "shoal.tracker.upkeep"] == [level]


async def test_withdrawing_over_the_app_is_told_as_it_was_recorded(shop: Workshop) -> None:
    _, sealed = await announce_on_top(shop, "a")
    seen, hub = await shop.delta(), shop.tracker.services.hub
    async with client_in(shop.tracker) as client:
        nonce = shop.tracker.services.sessions.challenge(shop.author.device.id).nonce
        signature = shop.author.device.signing.sign("session", nonce)
        renewal = api.RenewRequest(device=shop.author.device.id, nonce=nonce, signature=signature)
        client.token = (await client.call(api.RENEW, renewal)).token
        with hub.subscribed(shop.author.device.id, [shop.author.workspace]) as mailbox:
            request = WithdrawRequest(workspace=shop.author.workspace, versions=(sealed.content.version,))
            await client.call(api.WITHDRAW, request)
            notice = await mailbox.take()
    assert isinstance(notice, Changed)
    told, asked = decode_delta(notice.delta or b""), await shop.delta(seen)
    assert (told.entries, told.hash, told.through) == (asked.entries, asked.hash, asked.through)


@pytest.mark.slow
async def test_a_real_tracker_withdraws_at_its_start(databases: Databases, any_database: str, tmp_path: Path) -> None:
    account, data = new_account(), tmp_path / "data"
    author = author_of(account.first)
    node = author.new_node()
    sealed = author.seal(node, bytes(5000), 2000)
    with running_tracker(data) as running:
        async with client_of(running.url) as client:
            await client.sign_up(account)
            create = author.create("a", content=sealed, node=node)
            await client.call(api.COMMIT, author.commit(create, runs=sealed.runs))
            token = client.token
    a_week_passes = update(versions).values(progress_ms=versions.c.progress_ms - FORSAKEN_MS)
    async with databases.opened(real_machine(), any_database) as database:
        await database.transact(lambda connection: connection.execute(a_week_passes))
    with running_tracker(data) as running:
        async with client_of(running.url) as client:
            client.token = token
            async with connect(running.url, client) as websocket:
                await subscribe(websocket, (author.workspace, 1))
                notice = await receive(websocket)
                assert isinstance(notice, Changed)
                assert (notice.since, notice.through) == (1, 2)
            request = LeaseRequest(workspace=author.workspace, versions=(sealed.content.version,))
            assert (await client.call(api.LEASE, request)).settled == request.versions
        assert running.stop() == 0
    assert running.log.read_text() == ""
