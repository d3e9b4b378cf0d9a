"""Deltas: a follower that folds them from any cursor knows what the tracker knows, and reads nothing overtaken."""

import dataclasses
import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from protocol.api import DeltaRequest, WithdrawRequest
from protocol.codec import encode
from protocol.commits import DIRECTORY, Operation, chain, decode_operation, first_chain_hash
from protocol.deltas import PAGE_BYTES, Delta, entry_digest
from protocol.errors import Code, Refused
from protocol.identifiers import HASH_LENGTH, ROOT, CommitHash, NodeId, TrackerEpoch
from tests.support.databases import Databases
from tests.support.tracker import Sealed, author_of, version_of
from tests.tracker.folding import Follower, Known
from tests.tracker.reading import Reader
from tests.tracker.workshop import Workshop, open_workshop
from tracker.metadata.deltas import read_delta
from tracker.metadata.loading import node_of
from tracker.metadata.rules import Node
from tracker.metadata.withdraw import withdraw, withdraw_stalled
from tracker.schema import nodes

HISTORIES = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
"""Suppressed: what the fixture `databases` makes, each example makes anew."""


async def truth(shop: Workshop) -> dict[NodeId, Node]:
    """The tracker's own nodes."""
    query = select(nodes).where(nodes.c.workspace == shop.author.workspace)
    return await shop.database.read(
        lambda connection: {NodeId(row.node): node_of(row) for row in connection.execute(query)}
    )


async def follow(shop: Workshop, follower: Follower) -> None:
    """Ask for deltas until there is no more."""
    while True:
        delta = await shop.delta(follower.last)
        follower.fold(delta)
        if delta.through == delta.head:
            return


def agreed(known: Known, node: Node) -> bool:
    """Whether a follower knows a node as the tracker does. Of deleted nodes only that they are."""
    if node.deleted:
        return known.deleted and known.place == node.place
    present = (node.parent, node.token, node.place, node.version, node.deleted)
    told = (known.parent, known.token, known.place, known.head, known.deleted)
    return told == present and known.durable == node.durable_version and known.kind in (None, node.kind)


async def assert_agreed(shop: Workshop, follower: Follower) -> None:
    known = await truth(shop)
    assert follower.nodes.keys() == known.keys()
    for id, node in known.items():
        assert agreed(follower.nodes[id], node), (follower.nodes[id], node)


def new_follower(shop: Workshop) -> Follower:
    return Follower(shop.author.device.signing.public)


def whole(delta: Delta) -> list[Operation]:
    """The operations in a delta that travel whole."""
    return [
        decode_operation(item)
        for entry in delta.entries
        if entry.commit is not None
        for item in entry.commit.items
        if len(item) != HASH_LENGTH
    ]


# Random histories ----------------------------------------------------------------------------------------------------


@contextmanager
def refused_at_most(code: Code) -> Iterator[None]:
    """What is inside may be refused, but for no other reason."""
    try:
        yield
    except Refused as refusal:
        if refusal.code is not code:
            raise


class History:
    """Random valid commits, uploads and withdrawals, made from a seed, hours apart."""

    def __init__(self, shop: Workshop, seed: int, *, restores: bool = True) -> None:
        self.shop = shop
        self.random = random.Random(seed)
        self.restores = restores
        self.pending: list[Sealed] = []
        self.names = iter(range(10_000))

    async def step(self) -> None:
        """One thing happens."""
        self.shop.clock.advance(self.random.choice([1, 13, 25]) * 3600)
        commits = [self.commit] * 5
        happening = self.random.choice([*commits, self.upload, self.upload, self.withdraw, self.forsake])
        await happening()

    async def commit(self) -> None:
        live = list((await truth(self.shop)).values())
        operations: list[Operation] = []
        runs: list[bytes] = []
        touched: set[NodeId] = set()
        for _ in range(self.random.randint(1, 4)):
            operation, sealed = self.operation([node for node in live if node.node not in touched])
            touched.add(operation.node)
            operations.append(operation)
            if sealed is not None:
                runs += sealed.runs
                if sealed.chunks:
                    self.pending.append(sealed)
        # A directory that is not empty, a parent deleted beside it, a head passed over too early.
        with refused_at_most(Code.COMMIT):
            await self.shop.commit(*operations, runs=tuple(runs))

    def operation(self, known: list[Node]) -> tuple[Operation, Sealed | None]:
        author, draw = self.shop.author, self.random
        directories = [ROOT, *(node.node for node in known if node.kind == DIRECTORY and not node.deleted)]
        name, parent = str(next(self.names)), draw.choice(directories)
        known = [node for node in known if node.kind == DIRECTORY or node.version is not None]
        known = [node for node in known if self.restores or not node.deleted]
        node = draw.choice(known) if known and draw.random() < 0.75 else None
        if node is None:
            if draw.random() < 0.3:
                return author.create_directory(name, parent), None
            id = author.new_node()
            sealed = self.content(id)
            return author.create(name, parent, content=sealed, node=id), sealed
        if node.deleted:
            return author.restore(node.node, node.place, name, node.version, parent), None
        kind = draw.choice(["move", "delete", "write", "write"])
        if kind == "write" and node.version is not None:
            sealed = self.content(node.node)
            base = node.durable_version if draw.random() < 0.5 else None
            return author.write(node.node, base or node.version, sealed), sealed
        if kind == "delete":
            return author.delete(node.node, node.place, node.version), None
        return author.move(node.node, node.place, name, parent), None

    def content(self, node: NodeId) -> Sealed:
        size = self.random.choice([10, 10, 3000, 6000])
        return self.shop.author.seal(node, self.random.randbytes(size), chunk_size=2500)

    async def upload(self) -> None:
        if self.pending:
            sealed = self.pending.pop(self.random.randrange(len(self.pending)))
            with refused_at_most(Code.NOT_ANNOUNCED):  # the commit was refused, or the version withdrawn
                await self.shop.store(sealed)

    async def withdraw(self) -> None:
        versions = tuple(sealed.content.version for sealed in self.pending if self.random.random() < 0.4)
        request = WithdrawRequest(workspace=self.shop.author.workspace, versions=versions)
        user, device = self.shop.account.user, self.shop.author.device.id
        await self.shop.database.transact(withdraw, user, device, request, self.shop.now_ms)

    async def forsake(self) -> None:
        await self.shop.database.transact(withdraw_stalled, self.shop.now_ms, at_once=self.random.randint(1, 3))


@settings(max_examples=20, deadline=None, suppress_health_check=HISTORIES)
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 30))
async def test_folding_deltas_from_any_cursor_gives_the_trackers_nodes(
    databases: Databases, seed: int, steps: int
) -> None:
    async with open_workshop(databases) as shop:
        history = History(shop, seed)
        followers = [new_follower(shop)]
        for _ in range(steps):
            await history.step()
            if history.random.random() < 0.5:
                await follow(shop, history.random.choice(followers))
            if history.random.random() < 0.2:
                followers.append(new_follower(shop))
        for follower in (*followers, new_follower(shop)):
            await follow(shop, follower)
            await assert_agreed(shop, follower)
        await shop.check()


@settings(max_examples=20, deadline=None, suppress_health_check=HISTORIES)
@given(seed=st.integers(0, 1 << 32), steps=st.integers(1, 30))
async def test_a_device_reads_any_history_from_any_cursor_without_a_snapshot(
    databases: Databases, seed: int, steps: int
) -> None:
    """Restores aside, which no device can read yet without one."""
    async with open_workshop(databases) as shop:
        history = History(shop, seed, restores=False)
        readers = [Reader(shop)]
        for _ in range(steps):
            await history.step()
            if history.random.random() < 0.5:
                await history.random.choice(readers).pull()
            if history.random.random() < 0.2:
                readers.append(Reader(shop))
        living = {id: node for id, node in (await truth(shop)).items() if not node.deleted}
        for reader in (*readers, Reader(shop)):
            await reader.pull()
            known = {id: (row.place, row.version, row.durable) for id, row in reader.nodes().items()}
            assert known == {id: (node.place, node.version, node.durable_version) for id, node in living.items()}


# What a delta holds --------------------------------------------------------------------------------------------------


async def test_overtaken_operations_travel_as_hashes_and_empty_entries_not_at_all(shop: Workshop) -> None:
    a, b = shop.author.create("a"), shop.author.create("b")
    await shop.commit(a, b)
    write = shop.author.write(a.node, version_of(a))
    await shop.commit(write)
    middle = shop.author.write(a.node, version_of(write))
    await shop.commit(middle)
    move = shop.author.move(a.node, a.place.mark, "c")
    last = shop.author.write(a.node, version_of(middle))
    await shop.commit(move, last)
    delta = await shop.delta()
    assert whole(delta) == [b, move, last]
    assert [entry.revision for entry in delta.entries] == [1, 4]
    assert delta.entries[0].commit is not None
    assert len(delta.entries[0].commit.items) == 2


async def test_the_durable_heads_operation_travels_while_the_head_is_announced(shop: Workshop) -> None:
    create = shop.author.create("a")
    await shop.commit(create)
    sealed = shop.author.seal(create.node, bytes(3000))
    write = shop.author.write(create.node, version_of(create), sealed)
    await shop.commit(write, runs=sealed.runs)
    delta = await shop.delta()
    assert whole(delta) == [create, write]
    assert delta.announced == (version_of(write),)
    follower = new_follower(shop)
    follower.fold(delta)
    assert follower.nodes[create.node].durable == version_of(create)


async def test_a_version_that_turns_durable_is_told_to_who_saw_it_announced_only(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, bytes(3000))
    create = shop.author.create("a", content=sealed, node=node)
    await shop.commit(create, runs=sealed.runs)
    seen = await shop.delta()
    await shop.store(sealed)
    update = await shop.delta(seen)
    assert [entry.record.durable for entry in update.entries if entry.record] == [((node, version_of(create)),)]
    fresh = await shop.delta()
    assert (len(fresh.entries), fresh.announced, fresh.through) == (1, (), 2)


async def test_a_record_that_no_longer_holds_is_left_out(shop: Workshop) -> None:
    node = shop.author.new_node()
    sealed = shop.author.seal(node, bytes(3000))
    create = shop.author.create("a", content=sealed, node=node)
    await shop.commit(create, runs=sealed.runs)
    seen = await shop.delta()
    await shop.store(sealed)
    await shop.commit(shop.author.write(node, version_of(create)))
    assert [entry.record for entry in (await shop.delta(seen)).entries] == [None]


async def test_the_chain_and_the_signatures_of_a_whole_history_verify(shop: Workshop) -> None:
    history = History(shop, 7)
    hash, revision = first_chain_hash(shop.author.workspace), 0
    delta = await shop.delta()
    for _ in range(30):
        await history.step()
        delta = await shop.delta(delta)
        for entry in delta.entries:
            revision += 1
            if entry.revision == revision:
                hash = chain(hash, revision, entry_digest(delta.workspace, entry))
        if delta.through == revision:
            assert delta.hash == hash
        else:
            revision, hash = delta.through, delta.hash  # a record of which nothing was left


async def test_pages(shop: Workshop) -> None:
    files = []
    for batch in range(6):
        made = []
        for number in range(1000):
            node = shop.author.new_node()
            content = shop.author.seal(node, bytes(500))
            made.append(shop.author.create(f"{batch} {number}", content=content, node=node))
        files += made
        await shop.commit(*made)
    pages = []
    follower = new_follower(shop)
    while follower.last is None or follower.last.through < follower.last.head:
        delta = await shop.delta(follower.last)
        pages.append(len(encode(delta)))
        follower.fold(delta)
    assert len(pages) > 1
    assert all(PAGE_BYTES <= size < PAGE_BYTES + (1 << 20) for size in pages[:-1])
    assert follower.nodes.keys() == {file.node for file in files}


async def test_many_small_entries_come_in_order_and_complete(shop: Workshop) -> None:
    """More operations than are read at a time, of commits that straddle the windows."""
    sizes = [700, 999, 1, 1000, 1000, 300, 2, 900]
    count = 0
    for size in sizes:
        await shop.commit(*(shop.author.create(f"{count + number}") for number in range(size)))
        count += size
    follower = new_follower(shop)
    await follow(shop, follower)
    assert len(follower.nodes) == count


# Cursors -------------------------------------------------------------------------------------------------------------


async def test_an_empty_workspace(shop: Workshop) -> None:
    delta = await shop.delta()
    assert (delta.since, delta.through, delta.head, delta.entries) == (0, 0, 0, ())
    assert delta.hash == first_chain_hash(shop.author.workspace)


async def test_a_cursor_at_the_head_gets_nothing(shop: Workshop) -> None:
    await shop.commit(shop.author.create("a"))
    delta = await shop.delta(await shop.delta())
    assert (delta.since, delta.through, delta.entries) == (1, 1, ())


@pytest.mark.parametrize("wrong", ["epoch", "hash", "future", "none"])
async def test_a_cursor_of_another_history_is_refused(shop: Workshop, wrong: str) -> None:
    await shop.commit(shop.author.create("a"))
    seen = await shop.delta()
    request = DeltaRequest(
        workspace=shop.author.workspace, revision=1, tracker_epoch=seen.tracker_epoch, hash=seen.hash
    )
    changed = {
        "epoch": {"tracker_epoch": TrackerEpoch(bytes(16))},
        "hash": {"hash": CommitHash(bytes(32))},
        "future": {"revision": 2},
        "none": {"tracker_epoch": None, "hash": None},
    }[wrong]
    epoch = shop.tracker.services.identity.epoch
    bad = dataclasses.replace(request, **changed)  # type: ignore[arg-type]
    with pytest.raises(Refused) as caught:
        await shop.database.read(read_delta, shop.account.user, bad, epoch)
    assert caught.value.code is Code.CURSOR_UNKNOWN


async def test_another_users_workspace_is_not_found(shop: Workshop) -> None:
    stranger = await shop.sign_up("bob@example.org")
    request = DeltaRequest(workspace=shop.author.workspace, revision=0)
    epoch = shop.tracker.services.identity.epoch
    with pytest.raises(Refused) as caught:
        await shop.database.read(read_delta, stranger.user, request, epoch)
    assert caught.value.code is Code.NOT_FOUND
    assert author_of(stranger.first).workspace != shop.author.workspace
