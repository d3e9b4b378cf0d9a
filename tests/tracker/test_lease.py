"""Leases: one device uploads what a version lacks, until it goes quiet for a minute; a pack is taken from anybody."""

import dataclasses

import pytest
import trio
from sqlalchemy import select

from protocol import api
from protocol.api import VIEWER, LeaseReply, LeaseRequest, WithdrawRequest
from protocol.errors import Code, Refused
from protocol.identifiers import DeviceId, UserId, VersionId
from protocol.system import real_machine
from storage.memory import MemoryStorage
from tests.support.databases import Databases
from tests.support.tracker import Author, Device, Sealed, author_of, client_in, new_account, version_of
from tests.tracker.workshop import Workshop
from tracker.assembly import build
from tracker.database import Database
from tracker.metadata.commit import commit, prepare
from tracker.metadata.lease import LEASE_MS, lease
from tracker.metadata.withdraw import withdraw
from tracker.migrating import migrate
from tracker.schema import versions
from tracker.services import Services

STRANGER = VersionId(b"?" * 16)


async def announce(shop: Workshop, name: str = "a", size: int = 3000) -> Sealed:
    """Commit a file whose chunks the tracker does not have."""
    node = shop.author.new_node()
    sealed = shop.author.seal(node, shop.account.random_bytes(size), 1000)
    await shop.commit(shop.author.create(name, content=sealed, node=node), runs=sealed.runs)
    return sealed


async def ask(shop: Workshop, device: Device, *named: Sealed | VersionId) -> LeaseReply:
    ids = tuple(each.content.version if isinstance(each, Sealed) else each for each in named)
    request = LeaseRequest(workspace=shop.author.workspace, versions=ids)
    return await shop.database.transact(lease, device.account.user, device.id, request, shop.now_ms)


async def upload_of(shop: Workshop, sealed: Sealed) -> tuple[DeviceId | None, int | None, int | None]:
    """Who uploads a version, since when, and when it last progressed."""
    query = select(versions.c.uploader, versions.c.leased_ms, versions.c.progress_ms).where(
        versions.c.version == sealed.content.version
    )
    return await shop.database.read(lambda connection: tuple(connection.execute(query).one()))


def part(sealed: Sealed, at: int) -> Sealed:
    return dataclasses.replace(sealed, chunks=sealed.chunks[at : at + 1])


@pytest.fixture
async def other(shop: Workshop) -> Device:
    """A second device of the same user."""
    return (await shop.add_device()).device


async def test_the_author_has_the_lease_from_the_commit_on(shop: Workshop, other: Device) -> None:
    sealed = await announce(shop)
    assert await upload_of(shop, sealed) == (shop.author.device.id, shop.now_ms, shop.now_ms)
    assert await ask(shop, other, sealed) == LeaseReply()
    reply = await ask(shop, shop.author.device, sealed)
    assert (reply.granted, reply.settled) == ((sealed.content.version,), ())
    assert set(reply.missing) == {chunk for chunk, _ in sealed.chunks}
    await shop.check()


async def test_a_lease_lapses_after_exactly_a_minute(shop: Workshop, other: Device) -> None:
    sealed = await announce(shop)
    shop.clock.advance(LEASE_MS / 1000 - 0.001)
    assert (await ask(shop, other, sealed)).granted == ()
    shop.clock.advance(0.001)
    assert (await ask(shop, other, sealed)).granted == (sealed.content.version,)
    assert await ask(shop, shop.author.device, sealed) == LeaseReply()
    shop.clock.advance(LEASE_MS / 1000)
    assert (await ask(shop, shop.author.device, sealed)).granted == (sealed.content.version,)


async def test_who_has_the_lease_keeps_it_by_asking_and_that_is_no_progress(shop: Workshop, other: Device) -> None:
    sealed, begin = await announce(shop), shop.now_ms
    for _ in range(3):
        shop.clock.advance(50)
        assert (await ask(shop, shop.author.device, sealed)).granted == (sealed.content.version,)
        assert (await ask(shop, other, sealed)).granted == ()
    assert await upload_of(shop, sealed) == (shop.author.device.id, begin + 150_000, begin)


async def test_a_clock_set_back_ends_a_lease(shop: Workshop, other: Device) -> None:
    sealed = await announce(shop)
    shop.clock.advance(-1)
    assert (await ask(shop, other, sealed)).granted == (sealed.content.version,)


async def test_a_pack_renews_the_lease_of_what_it_brought_something_for(shop: Workshop, other: Device) -> None:
    one, two = await announce(shop, "a"), await announce(shop, "b")
    begin = shop.now_ms
    shop.clock.advance(50)
    await shop.store(part(one, 0))
    assert await upload_of(shop, one) == (shop.author.device.id, begin + 50_000, begin + 50_000)
    assert await upload_of(shop, two) == (shop.author.device.id, begin, begin)
    shop.clock.advance(50)
    assert (await ask(shop, other, one, two)).granted == (two.content.version,)


async def test_a_pack_of_another_device_is_taken_and_takes_the_lease(shop: Workshop, other: Device) -> None:
    sealed = await announce(shop)
    assert (await shop.store(part(sealed, 1), device=other)).stored == 1
    assert (await upload_of(shop, sealed))[0] == other.id
    assert await ask(shop, shop.author.device, sealed) == LeaseReply()
    reply = await ask(shop, other, sealed)
    assert set(reply.missing) == {sealed.chunks[0][0], sealed.chunks[2][0]}


async def test_a_pack_of_held_chunks_renews_nothing(shop: Workshop) -> None:
    sealed = await announce(shop)
    await shop.store(part(sealed, 0))
    before = await upload_of(shop, sealed)
    shop.clock.advance(10)
    await shop.store(part(sealed, 0))
    assert await upload_of(shop, sealed) == before


async def test_one_chunk_renews_every_version_that_waits_for_it(shop: Workshop, other: Device) -> None:
    first = await announce(shop, "a")
    node = shop.author.new_node()
    second = dataclasses.replace(shop.author.seal(node, b""), content=first.content)
    twin = dataclasses.replace(first.content, version=VersionId(shop.account.random_bytes(16)))
    await shop.commit(shop.author.create("b", content=dataclasses.replace(second, content=twin), node=node))
    await shop.store(part(first, 0), device=other)
    reply = await ask(shop, other, first, twin.version)
    assert reply.granted == (first.content.version, twin.version)
    assert len(reply.missing) == 2, "each chunk is named once"


async def test_durable_withdrawn_and_unknown_versions_are_settled(shop: Workshop) -> None:
    durable, withdrawn, waiting = await announce(shop, "a"), await announce(shop, "b"), await announce(shop, "c")
    await shop.store(durable)
    request = WithdrawRequest(workspace=shop.author.workspace, versions=(withdrawn.content.version,))
    await shop.database.transact(withdraw, shop.account.user, shop.author.device.id, request, shop.now_ms)
    reply = await ask(shop, shop.author.device, waiting, STRANGER, withdrawn, durable, durable)
    assert reply.granted == (waiting.content.version,)
    assert reply.settled == (STRANGER, withdrawn.content.version, durable.content.version)
    for sealed in (durable, withdrawn):
        assert await upload_of(shop, sealed) == (None, None, None)
    await shop.check()


async def test_an_overtaken_version_is_leased_too(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, shop.account.random_bytes(3000), 1000)
    create = shop.author.create("a", content=sealed, node=node)
    await shop.commit(create, runs=sealed.runs)
    await shop.commit(shop.author.write(node, version_of(create)))
    assert (await ask(shop, shop.author.device, sealed)).granted == (version_of(create),)


async def test_who_may_not_write_gets_no_lease(shop: Workshop) -> None:
    sealed = await announce(shop)
    shop.clock.advance(100)
    stranger, viewer = await shop.sign_up("bob@example.org"), await shop.sign_up("cyd@example.org")
    await shop.add_member(viewer.user, VIEWER)
    for device, code in ((stranger.first, Code.NOT_FOUND), (viewer.first, Code.FORBIDDEN)):
        with pytest.raises(Refused) as caught:
            await ask(shop, device, sealed)
        assert caught.value.code is code
    assert (await upload_of(shop, sealed))[0] == shop.author.device.id


async def test_a_lease_outlasts_the_trackers_process(shop: Workshop, other: Device) -> None:
    sealed = await announce(shop)
    again = await build(shop.tracker.services.machine, shop.database, shop.blocks.storage)
    async with client_in(again) as client:
        request = LeaseRequest(workspace=shop.author.workspace, versions=(sealed.content.version,))
        for device, granted in ((other, ()), (shop.author.device, (sealed.content.version,))):
            client.token = (await again.services.sessions.renew(_renewal(again.services, device))).token
            assert (await client.call(api.LEASE, request)).granted == granted


def _renewal(services: Services, device: Device) -> api.RenewRequest:
    nonce = services.sessions.challenge(device.id).nonce
    return api.RenewRequest(device=device.id, nonce=nonce, signature=device.signing.sign("session", nonce))


async def test_of_many_that_ask_at_once_exactly_one_gets_it(databases: Databases) -> None:
    """On connections of their own, as from two processes."""
    machine, url = real_machine(), databases.new_url()
    async with databases.opened(machine, url) as database, databases.opened(machine, url) as other:
        await database.transact(migrate)
        await _ask_at_once(database, other)


async def _ask_at_once(database: Database, other: Database) -> None:
    tracker = await build(real_machine(), database, MemoryStorage())
    account = new_account()
    await tracker.services.accounts.sign_up(account.signup())
    author = author_of(account.first)
    sealed = [await _announced(database, author, f"{number}") for number in range(5)]
    request = LeaseRequest(workspace=author.workspace, versions=tuple(each.content.version for each in sealed))
    granted: dict[DeviceId, tuple[VersionId, ...]] = {}

    async def want(database: Database, user: UserId, device: DeviceId) -> None:
        granted[device] = (await database.transact(lease, user, device, request, LEASE_MS)).granted

    async with trio.open_nursery() as nursery:
        for number in range(10):
            device = DeviceId(bytes([number]) * 16)
            nursery.start_soon(want, (database, other)[number % 2], account.user, device)
    assert sorted(map(len, granted.values())) == [0] * 9 + [5]


async def _announced(database: Database, author: Author, name: str) -> Sealed:
    node = author.new_node()
    sealed = author.seal(node, author.random_bytes(3000), 1000)
    sent = author.commit(author.create(name, content=sealed, node=node), runs=sealed.runs)
    device = author.device
    await database.transact(commit, prepare(sent, device.account.user, device.id, device.signing.public), 0)
    return sealed
