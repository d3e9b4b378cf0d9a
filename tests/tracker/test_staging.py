"""Commits in parts: all of it or nothing, one revision a part, staged for an hour, within bounds."""

import dataclasses
from collections.abc import Sequence

import pytest
from sqlalchemy import func, select

from protocol.api import VIEWER, CommitRefusal, CommitReply
from protocol.codec import decode
from protocol.commits import Close, Commit, Operation, digest_of, sign_close
from protocol.errors import BadSignature, Code, Malformed, Refused
from protocol.identifiers import HASH_LENGTH
from tests.support.tracker import Device, author_of, version_of
from tests.tracker.test_breaker import approval
from tests.tracker.workshop import Workshop
from tracker.http.commits import close_commit, stage_part
from tracker.metadata import staging
from tracker.metadata.staging import KEPT_MS, forget_staged
from tracker.plans import FREE
from tracker.schema import entries, staged
from tracker.sessions import Principal


def who(device: Device) -> Principal:
    return Principal(device.account.user, device.id, device.signing.public, 0)


async def stage(shop: Workshop, *parts: Commit, device: Device | None = None) -> Close:
    """Stage these; the request that closes them."""
    device = device or shop.author.device
    for part in parts:
        await stage_part(shop.tracker.services, who(device), part)
    digests = tuple(digest_of(part, device.id) for part in parts)
    return sign_close(shop.author.workspace, device.id, digests, device.signing)


async def close(shop: Workshop, request: Close, device: Device | None = None) -> CommitReply:
    return await close_commit(shop.tracker.services, who(device or shop.author.device), request)


async def refusal(shop: Workshop, request: Close) -> Refused:
    """What closing is refused with; nothing may have been recorded."""
    before = await shop.head()
    with pytest.raises(Refused) as caught:
        await close(shop, request)
    assert await shop.head() == before
    return caught.value


async def count(shop: Workshop) -> int:
    return await shop.database.read(
        lambda connection: int(connection.execute(select(func.count()).select_from(staged)).scalar_one())
    )


def commits(shop: Workshop, *operations: Operation) -> list[Commit]:
    """One operation a part."""
    return [shop.author.commit(operation) for operation in operations]


async def test_parts_are_judged_and_ordered_as_one(shop: Workshop) -> None:
    """Two names swapped, a folder emptied and deleted, a child before its parent: none of it could be part by part."""
    folder, a, b = (shop.author.create_directory("d"), shop.author.create("a"), shop.author.create("b"))
    inside = shop.author.create("inside", folder.node)
    await shop.commit(folder, a, b, inside)
    before = await shop.delta()
    new = shop.author.create_directory("new")
    parts = commits(
        shop,
        shop.author.move(a.node, a.place.mark, "b"),
        shop.author.delete(folder.node, folder.place.mark),
        shop.author.create("child", new.node),
        shop.author.delete(inside.node, inside.place.mark, version_of(inside)),
        shop.author.move(b.node, b.place.mark, "a"),
        new,
    )
    reply = await close(shop, await stage(shop, *parts))
    assert (reply.since, reply.revision) == (1, 7)
    delta = await shop.delta(before)
    assert (delta.through, delta.hash) == (7, reply.hash)
    assert [entry.revision for entry in delta.entries] == list(range(2, 8))
    assert {entry.time_ms for entry in delta.entries} == {reply.time_ms}
    assert ((await shop.node(a.node)).token, (await shop.node(b.node)).token) == (b.place.token, a.place.token)
    assert await count(shop) == 0
    await shop.check()


async def test_one_node_in_several_parts(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    delete = shop.author.delete(create.node, create.place.mark, version_of(create))
    await shop.commit(delete)
    restore = shop.author.restore(create.node, delete.mark, "back", version_of(create))
    write = shop.author.write(create.node, version_of(create))
    await close(shop, await stage(shop, *commits(shop, restore, write)))
    node = await shop.node(create.node)
    assert (node.place_at, node.content_at, node.version) == ((3, 0), (4, 0), version_of(write))
    await shop.check()


async def test_a_part_that_cant_be_refuses_all(shop: Workshop) -> None:
    taken = shop.author.create("taken")
    await shop.commit(taken)
    good = [shop.author.create(f"{number}") for number in range(3)]
    parts = [shop.author.commit(*good), shop.author.commit(shop.author.create("fine"), shop.author.create("taken"))]
    error = await refusal(shop, await stage(shop, *parts))
    (failed,) = decode(CommitRefusal, error.detail, 1 << 20).operations
    assert (failed.index, failed.reason) == (4, "name-taken")
    assert await count(shop) == 2
    await shop.check()


async def test_an_answer_that_was_lost_is_given_again(shop: Workshop) -> None:
    parts = commits(shop, *(shop.author.create(f"{number}") for number in range(3)))
    request = await stage(shop, *parts)
    first = await close(shop, request)
    await shop.commit(shop.author.create("later"))
    assert (await refusal(shop, request)).code is Code.NOT_FOUND
    assert await close(shop, await stage(shop, *parts)) == first
    assert await shop.head() == 4


async def test_parts_are_kept_for_an_hour(shop: Workshop) -> None:
    parts = commits(shop, *(shop.author.create(f"{number}") for number in range(2)))
    request = await stage(shop, parts[0])
    shop.clock.advance(KEPT_MS / 1000 - 1)
    request = await stage(shop, parts[0], parts[1])
    shop.clock.advance(KEPT_MS / 1000 - 1)
    assert await shop.database.transact(forget_staged, shop.now_ms) == 0
    shop.clock.advance(1)
    assert await shop.database.transact(forget_staged, shop.now_ms) == 2
    assert (await refusal(shop, request)).code is Code.NOT_FOUND


async def test_new_parts_take_the_place_of_the_oldest(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = commits(shop, *(shop.author.create(f"{number}") for number in range(5)))
    monkeypatch.setattr(staging, "MAX_PARTS", 3)
    for part in parts:
        await stage(shop, part)
        shop.clock.advance(1)
    assert await count(shop) == 3
    device = shop.author.device
    digests = tuple(digest_of(part, device.id) for part in parts)
    error = await refusal(shop, sign_close(shop.author.workspace, device.id, digests, device.signing))
    assert str(error) == "2 of 5 parts are not staged"
    monkeypatch.setattr(staging, "MAX_STAGED_BYTES", 10)
    await stage(shop, parts[4])
    assert await count(shop) == 1


async def test_a_close_is_signed_and_names_its_parts_in_order(shop: Workshop) -> None:
    parts = commits(shop, *(shop.author.create(f"{number}") for number in range(2)))
    request = await stage(shop, *parts)
    turned = dataclasses.replace(request, parts=request.parts[::-1])
    for wrong in (turned, dataclasses.replace(request, parts=request.parts[:1])):
        with pytest.raises(BadSignature):
            await close(shop, wrong)
    key = shop.author.device.signing
    for digests in ((), request.parts + request.parts[:1]):
        with pytest.raises(Malformed):
            await close(shop, sign_close(shop.author.workspace, shop.author.device.id, digests, key))
    with pytest.raises(Malformed):
        await close(shop, dataclasses.replace(request, format=9))
    other = await shop.add_device()
    with pytest.raises(BadSignature):
        await close(shop, request, other.device)
    theirs = sign_close(shop.author.workspace, other.device.id, request.parts, other.device.signing)
    with pytest.raises(Refused, match="2 of 2 parts are not staged"):
        await close(shop, theirs, other.device)


async def test_a_part_that_is_in_the_order_already(shop: Workshop) -> None:
    one, two = commits(shop, shop.author.create("a"), shop.author.create("b"))
    request = await stage(shop, one, two)
    await shop.send(one)
    assert (await refusal(shop, request)).code is Code.MALFORMED
    request = await stage(shop, two, one)
    assert (await refusal(shop, request)).code is Code.MALFORMED


async def test_parts_bring_only_contents_that_are_held(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, b"x" * 3000, 1000)
    parts = [
        shop.author.commit(shop.author.create("a")),
        shop.author.commit(shop.author.create("b", content=sealed, node=node), runs=sealed.runs),
    ]
    assert (await refusal(shop, await stage(shop, *parts))).code is Code.MALFORMED


async def test_runs_of_one_part_are_known_to_the_next(shop: Workshop) -> None:
    nodes = [shop.author.new_node() for _ in range(3)]
    sealed = [shop.author.seal(node, b"x" * 3000, 1000) for node in nodes]
    creates = [shop.author.create(f"{at}", content=sealed[at], node=nodes[at]) for at in range(3)]
    await shop.commit(creates[0], runs=sealed[0].runs)
    await shop.store(sealed[0])
    await close(shop, await stage(shop, *commits(shop, *creates[1:])))
    assert (await shop.node(nodes[2])).durable_version == version_of(creates[2])
    await shop.check()


async def test_quota_is_exact_over_all_parts(shop: Workshop) -> None:
    writes = [shop.author.create(f"{number}") for number in range(3)]
    await shop.set_used(FREE.quota - 1)
    error = await refusal(shop, await stage(shop, *commits(shop, *writes)))
    reasons = {each.reason for each in decode(CommitRefusal, error.detail, 1 << 20).operations}
    assert reasons == {"quota"}
    await shop.set_used(0)
    await close(shop, await stage(shop, *commits(shop, *writes)))
    await shop.check()


async def test_viewers_neither_stage_nor_close(shop: Workshop) -> None:
    bob = await shop.sign_up("bob@example.org")
    await shop.add_member(bob.user, VIEWER)
    viewer = author_of(bob.first, shop.account.keys)
    part = viewer.commit(viewer.create("a"))
    with pytest.raises(Refused) as refused:
        await stage(shop, part, device=bob.first)
    assert refused.value.code is Code.FORBIDDEN
    digests = (digest_of(part, bob.first.id),)
    with pytest.raises(Refused) as refused:
        await close(shop, sign_close(viewer.workspace, bob.first.id, digests, bob.first.signing), bob.first)
    assert refused.value.code is Code.FORBIDDEN


async def test_a_thousand_operations_are_not_the_most(shop: Workshop) -> None:
    folder = shop.author.create_directory("d")
    creates = [shop.author.create(f"{number}", folder.node) for number in range(2200)]
    await close(shop, await stage(shop, shop.author.commit(folder), *chunked(shop, creates)))
    gone: list[Operation] = [shop.author.delete(each.node, each.place.mark, version_of(each)) for each in creates]
    gone.append(shop.author.delete(folder.node, folder.place.mark))
    parts = chunked(shop, gone)
    with pytest.raises(Refused, match="2201 of 2201 operations"):  # too big a surprise, as a whole
        await close(shop, await stage(shop, *parts))
    approved = [dataclasses.replace(part, approval=approval(shop.author, deletes=2200)) for part in parts]
    reply = await close(shop, await stage(shop, *approved))
    assert reply.revision - reply.since == 3
    assert (await shop.node(folder.node)).deleted
    assert await shop.used() == 0


def chunked(shop: Workshop, operations: Sequence[Operation]) -> list[Commit]:
    return [shop.author.commit(*operations[at : at + 1000]) for at in range(0, len(operations), 1000)]


async def test_every_entry_has_the_digest_that_was_closed(shop: Workshop) -> None:
    parts = commits(shop, *(shop.author.create(f"{number}") for number in range(3)))
    request = await stage(shop, *parts)
    await close(shop, request)
    rows = await shop.database.read(
        lambda connection: list(connection.scalars(select(entries.c.digest).order_by(entries.c.revision)))
    )
    assert tuple(rows) == request.parts
    assert all(len(digest) == HASH_LENGTH for digest in rows)
