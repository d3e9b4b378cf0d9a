"""The block service: only announced chunks, each verified, durable before they are recorded, safe to repeat."""

import dataclasses

import pytest
from sqlalchemy import select, update

from protocol.api import VIEWER, ChunksRequest, LeaseRequest, RunsRequest
from protocol.chunks import MAX_SEALED, chunk_id
from protocol.errors import Code, Malformed, Refused, TooLarge
from protocol.hashing import digest
from protocol.identifiers import MAX_PACK_BYTES, ChunkId, RunId
from protocol.packs import build_pack, pack_length, read_index
from storage.errors import StorageDown
from storage.memory import MemoryStorage
from tests.support.tracker import Author, Sealed, version_of
from tests.tracker.workshop import Workshop
from tracker.blocks import Held, coalesce
from tracker.metadata.lease import lease
from tracker.metadata.runs import read_runs
from tracker.schema import chunks


async def announce(shop: Workshop, name: str, data: bytes, chunk_size: int = 1000) -> Sealed:
    """Commit a file whose chunks the tracker does not have."""
    node = shop.author.new_node()
    sealed = shop.author.seal(node, data, chunk_size)
    await shop.commit(shop.author.create(name, content=sealed, node=node), runs=sealed.runs)
    return sealed


def objects_in(shop: Workshop) -> dict[str, bytes]:
    storage = shop.blocks.storage
    assert isinstance(storage, MemoryStorage)
    return storage.objects


async def fetch(shop: Workshop, *wanted: ChunkId) -> dict[ChunkId, bytes]:
    body = await shop.blocks.fetch(shop.account.user, ChunksRequest(workspace=shop.author.workspace, chunks=wanted))
    return {item.id: body[item.offset : item.offset + item.length] for item in read_index(body, shop.author.workspace)}


async def missing(shop: Workshop, sealed: Sealed) -> set[ChunkId]:
    request = LeaseRequest(workspace=shop.author.workspace, versions=(sealed.content.version,))
    device = shop.author.device.id
    return set((await shop.database.transact(lease, shop.account.user, device, request, 1000)).missing)


# Up ------------------------------------------------------------------------------------------------------------------


async def test_the_last_chunk_makes_a_version_durable(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(5000))
    first, rest = sealed.chunks[:2], sealed.chunks[2:]
    done = await shop.store(dataclasses.replace(sealed, chunks=first))
    assert (done.stored, list(done.durable)) == (2, [])
    assert await missing(shop, sealed) == {chunk for chunk, _ in rest}
    done = await shop.store(dataclasses.replace(sealed, chunks=rest))
    assert (done.stored, list(done.durable)) == (3, [sealed.content.version])
    assert await missing(shop, sealed) == set()
    await shop.check()


async def test_one_pack_makes_many_versions_durable_in_one_revision(shop: Workshop) -> None:
    data = shop.account.random_bytes(3000)
    same = [await announce(shop, name, data) for name in "abc"]
    done = await shop.store(same[0])
    assert list(done.durable) == [sealed.content.version for sealed in same]
    assert await shop.head() == 4
    await shop.check()


async def test_a_version_of_held_chunks_is_durable_at_once(shop: Workshop) -> None:
    data = shop.account.random_bytes(3000)
    await shop.store(await announce(shop, "a", data))
    node = shop.author.new_node()
    sealed = shop.author.seal(node, data, 1000)
    reply = await shop.commit(shop.author.create("b", content=sealed, node=node))
    assert (reply.announced, reply.missing) == ((), ())
    assert (await shop.node(node)).durable_version == sealed.content.version
    await shop.check()


async def test_a_chunk_that_a_version_lists_twice_is_awaited_and_stored_once(shop: Workshop) -> None:
    sealed = await announce(shop, "a", bytes(3000))
    once = dataclasses.replace(sealed, chunks=sealed.chunks[:1])
    assert list((await shop.store(once)).durable) == [sealed.content.version]
    await shop.check()


async def test_storing_again_changes_nothing(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(3000))
    await shop.store(sealed)
    head, kept = await shop.head(), dict(objects_in(shop))
    again = await shop.store(sealed)
    assert (again.stored, again.durable, again.records) == (0, (), ())
    assert (await shop.head(), objects_in(shop)) == (head, kept)


async def test_chunks_nobody_announced_are_refused(shop: Workshop) -> None:
    stranger = shop.author.seal(shop.author.new_node(), shop.account.random_bytes(3000), 1000)
    known = await announce(shop, "a", shop.account.random_bytes(1500))
    for pack in (shop.author.pack(stranger), shop.author.pack(known, stranger)):
        with pytest.raises(Refused) as caught:
            await shop.blocks.store(shop.account.user, shop.author.device.id, pack)
        assert caught.value.code is Code.NOT_ANNOUNCED
    assert objects_in(shop) == {}


async def test_another_length_than_announced_is_refused(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(1500), 2000)
    chunk, data = sealed.chunks[0]
    with pytest.raises(Refused) as caught:
        await shop.store(dataclasses.replace(sealed, chunks=((chunk, data[:-1]),)))
    assert caught.value.code is Code.NOT_ANNOUNCED


async def test_bytes_that_are_not_what_their_id_says_are_refused(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(3000))
    chunk, data = sealed.chunks[1]
    wrong = (sealed.chunks[0], (chunk, data[:-1] + bytes([data[-1] ^ 1])), sealed.chunks[2])
    with pytest.raises(Refused) as caught:
        await shop.store(dataclasses.replace(sealed, chunks=wrong))
    assert caught.value.code is Code.WRONG_ID
    assert objects_in(shop) == {}


async def test_wrong_bytes_under_the_id_of_a_held_chunk_are_refused_too(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(1500))
    await shop.store(sealed)
    forged = tuple((chunk, bytes(len(data))) for chunk, data in sealed.chunks)
    with pytest.raises(Refused) as caught:
        await shop.store(dataclasses.replace(sealed, chunks=forged))
    assert caught.value.code is Code.WRONG_ID


async def test_malformed_packs(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(3000))
    good = shop.author.pack(sealed)
    empty_chunk = build_pack(shop.author.workspace, [(sealed.chunks[0][0], b"")])
    for body in (b"", good[:30], good[:-1], good + b"x", b"\x02" + good[1:], empty_chunk):
        with pytest.raises(Malformed):
            await shop.blocks.store(shop.account.user, shop.author.device.id, body)
    with pytest.raises(TooLarge):
        await shop.blocks.store(shop.account.user, shop.author.device.id, good + bytes(MAX_PACK_BYTES))


async def test_foreign_and_viewing_users_may_not_upload(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(3000))
    stranger, viewer = await shop.sign_up("bob@example.org"), await shop.sign_up("cyd@example.org")
    await shop.add_member(viewer.user, VIEWER)
    for user, code in ((stranger.user, Code.NOT_FOUND), (viewer.user, Code.FORBIDDEN)):
        with pytest.raises(Refused) as caught:
            await shop.blocks.store(user, shop.author.device.id, shop.author.pack(sealed))
        assert caught.value.code is code


async def test_chunks_are_known_per_workspace(shop: Workshop) -> None:
    """A hash is no capability: what another workspace holds is neither given nor counted as held here."""
    sealed = await announce(shop, "a", shop.account.random_bytes(3000))
    await shop.store(sealed)
    other = await shop.sign_up("bob@example.org")
    author = Author(other.first, other.keys, other.random_bytes)
    wanted = tuple(chunk for chunk, _ in sealed.chunks)
    body = await shop.blocks.fetch(other.user, ChunksRequest(workspace=author.workspace, chunks=wanted))
    assert [item.length for item in read_index(body, author.workspace)] == [0, 0, 0]
    with pytest.raises(Refused) as caught:
        await shop.blocks.fetch(other.user, ChunksRequest(workspace=shop.author.workspace, chunks=wanted))
    assert caught.value.code is Code.NOT_FOUND
    node = author.new_node()
    content = dataclasses.replace(author.seal(node, b""), content=sealed.content)
    reply = await shop.send(
        author.commit(author.create("a", content=content, node=node), runs=sealed.runs), other.first
    )
    assert set(reply.missing) == set(wanted)


# Faults --------------------------------------------------------------------------------------------------------------


class Dying(MemoryStorage):
    """Stores, then fails as if the process had died before it could record anything."""

    async def put(self, key: str, data: bytes) -> None:
        await super().put(key, data)
        raise StorageDown("the machine died")


async def test_a_crash_between_storing_and_recording_leaves_an_orphan_and_a_retry_heals(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(3000))
    working = shop.blocks.storage
    dying = Dying()
    shop.blocks.storage = dying
    with pytest.raises(StorageDown):
        await shop.store(sealed)
    assert len(await missing(shop, sealed)) == 3
    assert isinstance(working, MemoryStorage)
    working.objects.update(dying.objects)
    shop.blocks.storage = working
    await shop.check()  # the orphan is no damage
    assert list((await shop.store(sealed)).durable) == [sealed.content.version]
    assert objects_in(shop) == dying.objects
    await shop.check()


async def test_damaged_and_lost_chunks_count_as_not_held(shop: Workshop) -> None:
    one = await announce(shop, "a", shop.account.random_bytes(3000))
    two = await announce(shop, "b", shop.account.random_bytes(900), 2000)
    three = await announce(shop, "c", shop.account.random_bytes(1500), 2000)
    for sealed in (one, three):
        await shop.store(sealed)
    (first, _), (second, _), (third, _) = one.chunks
    key = next(key for key, body in objects_in(shop).items() if one.chunks[0][1] in body)
    body = bytearray(objects_in(shop)[key])
    body[-1] ^= 1
    objects_in(shop)[key] = bytes(body)
    lost = next(other for other in objects_in(shop) if other != key)
    del objects_in(shop)[lost]
    found = await fetch(shop, first, third, second, three.chunks[0][0])
    assert {chunk: bool(data) for chunk, data in found.items()} == {
        first: True,
        third: False,
        second: True,
        three.chunks[0][0]: False,
    }
    assert two.chunks == ()  # short content has none


# Down ----------------------------------------------------------------------------------------------------------------


async def test_what_was_stored_is_given_in_the_order_asked(shop: Workshop) -> None:
    one = await announce(shop, "a", shop.account.random_bytes(3000))
    two = await announce(shop, "b", shop.account.random_bytes(3000))
    await shop.store(one, two)
    wanted = [chunk for chunk, _ in (*two.chunks, *one.chunks)]
    unknown = ChunkId(digest(b"unknown"))
    found = await fetch(shop, *wanted[:3], unknown, *wanted[3:], wanted[0])
    assert list(found) == [*wanted[:3], unknown, *wanted[3:]]
    assert found.pop(unknown) == b""
    assert all(chunk_id(data) == chunk for chunk, data in found.items())


async def test_an_answer_is_cut_off_at_the_size_of_a_pack(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(7 << 20), 1 << 20)
    for chunk in sealed.chunks:
        await shop.store(dataclasses.replace(sealed, chunks=(chunk,)))
    found = await fetch(shop, *(chunk for chunk, _ in sealed.chunks))
    assert list(found) == [chunk for chunk, _ in sealed.chunks[:4]]
    assert pack_length([MAX_SEALED] * 4) < MAX_PACK_BYTES < pack_length([MAX_SEALED] * 5)


def test_ranges_close_together_are_read_as_one() -> None:
    def held(name: str, offset: int, length: int) -> Held:
        return Held(ChunkId(b""), name, offset, length)

    one, near, far = held("a", 100, 50), held("a", 150, 10), held("a", 1_000_000, 10)
    assert coalesce([far, held("b", 160, 5), near, one]) == [[one, near], [far], [held("b", 160, 5)]]


# Runs, quota, condemned chunks ---------------------------------------------------------------------------------------


async def test_runs_are_given_to_members(shop: Workshop) -> None:
    sealed = await announce(shop, "a", shop.account.random_bytes(3000))
    run = sealed.content.runs[0]
    request = RunsRequest(workspace=shop.author.workspace, runs=(RunId(digest(b"unknown")), run))
    assert (await shop.database.read(read_runs, shop.account.user, request)).bodies == sealed.runs
    stranger = await shop.sign_up("bob@example.org")
    with pytest.raises(Refused):
        await shop.database.read(read_runs, stranger.user, request)


async def test_durable_replaces_announced_in_the_quota(shop: Workshop) -> None:
    """While they differ both heads count, then only the one."""
    node = shop.author.new_node()
    first = shop.author.seal(node, shop.account.random_bytes(3000), 1000)
    create = shop.author.create("a", content=first, node=node)
    await shop.commit(create, runs=first.runs)
    await shop.store(first)
    alone = await shop.used()
    second = shop.author.seal(node, shop.account.random_bytes(3000), 1000)
    await shop.commit(shop.author.write(node, version_of(create), second), runs=second.runs)
    assert await shop.used() == 2 * alone
    await shop.store(second)
    assert await shop.used() == alone
    await shop.check()


async def test_an_overtaken_version_turns_durable_quietly(shop: Workshop) -> None:
    node = shop.author.new_node()
    first = shop.author.seal(node, shop.account.random_bytes(3000), 1000)
    create = shop.author.create("a", content=first, node=node)
    await shop.commit(create, runs=first.runs)
    write = shop.author.write(node, version_of(create))
    await shop.commit(write)
    head, used = await shop.head(), await shop.used()
    assert list((await shop.store(first)).durable) == [version_of(create)]
    assert (await shop.head(), await shop.used()) == (head, used)
    await shop.check()


async def test_a_commit_pardons_condemned_chunks(shop: Workshop) -> None:
    data = shop.account.random_bytes(3000)
    await shop.store(await announce(shop, "a", data))
    await shop.database.transact(lambda connection: connection.execute(update(chunks).values(condemned_ms=1)))
    await announce(shop, "b", data)
    left = await shop.database.read(lambda connection: set(connection.scalars(select(chunks.c.condemned_ms))))
    assert left == {None}
