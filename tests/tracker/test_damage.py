"""Chunks that were stored and are damaged: found, told of, brought again; nothing that is whole is lost meanwhile."""

import dataclasses

import pytest

from protocol.api import VIEWER, WantedRequest
from protocol.errors import Code, Problem, Refused
from protocol.identifiers import ChunkId, UserId
from storage.memory import MemoryStorage
from tests.support.tracker import Sealed, version_of
from tests.tracker.test_blocks import announce, fetch, missing, objects_in
from tests.tracker.workshop import Workshop
from tracker.administration import statistics
from tracker.metadata.damage import versions_with, wanted
from tracker.scrubbing import scrub


async def stored(shop: Workshop, name: str = "a", size: int = 3000) -> Sealed:
    """A file that is in the cloud, in one object."""
    sealed = await announce(shop, name, shop.account.random_bytes(size))
    await shop.store(sealed)
    return sealed


def spoil(shop: Workshop, sealed: Sealed, *numbers: int) -> None:
    """Turn a bit of these chunks, wherever they lie."""
    objects = objects_in(shop)
    for number in numbers:
        _, body = sealed.chunks[number]
        for key, data in objects.items():
            objects[key] = data.replace(body, bytes([body[0] ^ 1]) + body[1:])


async def scrubbed(shop: Workshop) -> dict[str, int]:
    services = shop.tracker.services
    return dict((await scrub(services.machine, services.database, services.blocks.storage)).counts)


async def told(shop: Workshop, user: UserId | None = None) -> tuple[set[bytes], set[bytes]]:
    """The chunks and versions that a device is told of."""
    request = WantedRequest(workspace=shop.author.workspace)
    reply = await shop.database.read(wanted, user or shop.account.user, request)
    return set(reply.chunks), set(reply.versions)


def part(sealed: Sealed, *numbers: int) -> Sealed:
    return dataclasses.replace(sealed, chunks=tuple(sealed.chunks[number] for number in numbers))


def ids(sealed: Sealed) -> list[ChunkId]:
    return [chunk for chunk, _ in sealed.chunks]


async def test_nothing_is_damaged(shop: Workshop) -> None:
    await stored(shop)
    assert await scrubbed(shop) == {"objects": 1, "chunks": 3, "damaged": 0}
    assert await told(shop) == (set(), set())


async def test_a_damaged_chunk_is_found_wanted_and_healed(shop: Workshop) -> None:
    sealed, other = await stored(shop), await stored(shop, "b")
    spoil(shop, sealed, 1)
    assert await scrubbed(shop) == {"objects": 2, "chunks": 6, "damaged": 1}
    assert await told(shop) == ({ids(sealed)[1]}, {sealed.content.version})
    assert (await shop.database.read(statistics))["chunks_damaged"] == 1
    assert await fetch(shop, *ids(sealed)) == dict(sealed.chunks) | {ids(sealed)[1]: b""}
    head = await shop.head()
    assert (await shop.store(part(sealed, 1))).stored == 1
    assert await shop.head() == head
    assert await told(shop) == (set(), set())
    assert await fetch(shop, *ids(sealed), *ids(other)) == dict(sealed.chunks) | dict(other.chunks)
    await shop.check()
    assert (await scrubbed(shop))["damaged"] == 0


async def test_the_same_pack_again_goes_beside_the_damaged_one(shop: Workshop) -> None:
    """Objects are immutable: under the old key nothing else can be stored."""
    sealed = await stored(shop)
    spoil(shop, sealed, 0, 1, 2)
    for count in (1, 2):
        assert (await scrubbed(shop))["damaged"] == 3
        assert (await shop.store(sealed)).stored == 3
        assert (await shop.store(sealed)).stored == 0
        await shop.check()
        assert len(objects_in(shop)) == 1 + count
        spoil(shop, sealed, 0, 1, 2)


async def test_who_asks_for_a_damaged_chunk_finds_it(shop: Workshop) -> None:
    sealed = await stored(shop)
    spoil(shop, sealed, 2)
    assert (await fetch(shop, *ids(sealed)))[ids(sealed)[2]] == b""
    assert await told(shop) == ({ids(sealed)[2]}, {sealed.content.version})
    await shop.store(sealed)
    assert await fetch(shop, *ids(sealed)) == dict(sealed.chunks)


async def test_an_object_that_is_gone(shop: Workshop) -> None:
    sealed, other = await stored(shop), await stored(shop, "b")
    objects = objects_in(shop)
    del objects[next(key for key, data in objects.items() if sealed.chunks[0][1] in data)]
    assert (await scrubbed(shop))["damaged"] == 3
    assert await fetch(shop, *ids(other)) == dict(other.chunks)
    await shop.store(sealed)
    await shop.check()


async def test_an_object_that_was_cut_off(shop: Workshop) -> None:
    sealed = await stored(shop)
    objects = objects_in(shop)
    ((key, data),) = objects.items()
    objects[key] = data[:-10]
    assert (await scrubbed(shop))["damaged"] == 1
    assert (await told(shop))[0] == {ids(sealed)[-1]}
    await shop.store(part(sealed, 2))
    await shop.check()


async def test_another_store_is_no_damage(shop: Workshop) -> None:
    await stored(shop)
    services = shop.tracker.services
    with pytest.raises(Problem, match="none of 1 objects is in the storage"):
        await scrub(services.machine, services.database, MemoryStorage())
    assert await told(shop) == (set(), set())


async def test_what_can_be_read_well_again_is_put_back(shop: Workshop) -> None:
    await stored(shop, "b")
    sealed = await stored(shop)
    before = dict(objects_in(shop))
    spoil(shop, sealed, 0, 2)
    assert (await scrubbed(shop))["damaged"] == 2
    objects_in(shop).update(before)
    assert await scrubbed(shop) == {"objects": 2, "chunks": 4, "recovered": 2, "damaged": 0}
    assert await fetch(shop, *ids(sealed)) == dict(sealed.chunks)
    await shop.check()


async def test_a_commit_that_names_a_damaged_chunk_waits_for_it(shop: Workshop) -> None:
    """It is in the cloud only when the chunk has been brought again."""
    data = shop.account.random_bytes(3000)
    first = await announce(shop, "a", data)
    await shop.store(first)
    spoil(shop, first, 1)
    await scrubbed(shop)
    second = await announce(shop, "b", data)
    assert await missing(shop, second) == {ids(second)[1]}
    assert list((await shop.store(part(second, 1))).durable) == [second.content.version]
    await shop.check()


async def test_versions_that_are_to_be_seen_are_told_first(shop: Workshop) -> None:
    author, made = shop.author, []
    data = shop.account.random_bytes(3000)
    for name in ("kept", "deleted"):
        node = author.new_node()
        sealed = author.seal(node, data, 1000)
        create = author.create(name, content=sealed, node=node)
        await shop.commit(create, runs=sealed.runs)
        made.append((sealed, create))
    (kept, _), (deleted, create) = made
    await shop.store(kept)
    await shop.commit(author.delete(create.node, create.place.mark, version_of(create)))
    found = await shop.database.read(versions_with, author.workspace, ids(kept)[:1])
    assert found == {ids(kept)[0]: [kept.content.version, deleted.content.version]}
    assert await shop.database.read(versions_with, author.workspace, [ChunkId(bytes(32))]) == {}


async def test_who_may_not_write_is_asked_for_nothing(shop: Workshop) -> None:
    sealed = await stored(shop)
    spoil(shop, sealed, 1)
    await scrubbed(shop)
    viewer, stranger = await shop.sign_up("viewer@example.org"), await shop.sign_up("eve@example.org")
    await shop.add_member(viewer.user, VIEWER)
    assert await told(shop, viewer.user) == (set(), set())
    with pytest.raises(Refused) as caught:
        await told(shop, stranger.user)
    assert caught.value.code is Code.NOT_FOUND


async def test_a_false_chunk_heals_nothing(shop: Workshop) -> None:
    sealed = await stored(shop)
    spoil(shop, sealed, 1)
    await scrubbed(shop)
    chunk, body = sealed.chunks[1]
    false = dataclasses.replace(sealed, chunks=((chunk, bytes(len(body))),))
    with pytest.raises(Refused) as caught:
        await shop.store(false)
    assert caught.value.code is Code.WRONG_ID
    assert (await told(shop))[0] == {chunk}
