"""Two transactions at once come out as if one had come after the other, whatever the order of their statements.

What is compared is every row and both answers, so the tracker's own check need only look at what the two serial orders
leave.
"""

import dataclasses
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from math import comb

import pytest
from sqlalchemy import Connection, delete, insert, select, text, update

from protocol.api import EDITOR, OWNER, LeaseRequest, NewDevice, RegisterRequest, SignupRequest, WithdrawRequest
from protocol.breaker import Limits
from protocol.commits import Create, Operation, first_chain_hash
from protocol.hashing import digest
from protocol.identifiers import TrackerEpoch, UserId, WorkspaceId
from protocol.keys import new_workspace_keys
from protocol.packs import read_index
from tests.support.databases import Databases
from tests.support.tracker import Author, Sealed, author_of, new_account, seeded, seeded_machine, version_of
from tests.tracker.stepping import Function, Outcome, Run, Step, Stepper, described, interleavings, open_stepper
from tests.tracker.workshop import Workshop, open_workshop_at
from tracker import accounts
from tracker.accounts import _check_signup, _register, _sign_up
from tracker.administration import set_breaker
from tracker.blocks import find_chunks
from tracker.identity import Identity, settle_identity
from tracker.metadata import staging
from tracker.metadata.commit import commit, prepare
from tracker.metadata.damage import put_back, set_aside
from tracker.metadata.durable import record_pack
from tracker.metadata.lease import LEASE_MS, lease
from tracker.metadata.order import lock_head
from tracker.metadata.staging import close_parts, stage
from tracker.metadata.withdraw import FORSAKEN_MS, STALLED_MS, Withdrawn, withdraw, withdraw_stalled
from tracker.plans import FREE, PLANS, Plan
from tracker.schema import members, meta, metadata, workspaces
from tracker.sessions import retire_device
from tracker.system import postgresql

MOST, FEWER = 200, 60
"""Orders of one pair on one database; of more, so many are tried: of two commits, and of what is simpler."""
SEED = 1
QUOTA, DEVICES, PARTS = 20_000, 3, 2
"""Limits that two can meet at."""

Two = tuple[Function, Function]


# Commits -------------------------------------------------------------------------------------------------------------


def sending(shop: Workshop, author: Author, *operations: Operation, runs: tuple[bytes, ...] = ()) -> Function:
    """A commit, as the tracker runs it."""
    device = author.device
    prepared = prepare(author.commit(*operations, runs=runs), device.account.user, device.id, device.signing.public)
    return partial(commit, prepared=prepared, time_ms=shop.now_ms)


async def second(shop: Workshop) -> Author:
    """Another device's author, who knows what kinds of nodes there are."""
    other = await shop.add_device()
    other.kinds.update(shop.author.kinds)
    return other


async def creates_of_one_name(shop: Workshop) -> Two:
    other = await second(shop)
    return sending(shop, shop.author, shop.author.create("a")), sending(shop, other, other.create("a"))


async def creates_of_two_names(shop: Workshop) -> Two:
    other = await second(shop)
    return sending(shop, shop.author, shop.author.create("a")), sending(shop, other, other.create("b"))


async def writes_on_one_version(shop: Workshop) -> Two:
    made, other = shop.author.create("a"), await second(shop)
    await shop.commit(made)
    one, two = (author.write(made.node, version_of(made)) for author in (shop.author, other))
    return sending(shop, shop.author, one), sending(shop, other, two)


async def moves_that_make_a_cycle(shop: Workshop) -> Two:
    a, b = (shop.author.create_directory(name) for name in "ab")
    await shop.commit(a, b)
    other = await second(shop)
    one = shop.author.move(a.node, a.place.mark, "a", b.node)
    two = other.move(b.node, b.place.mark, "b", a.node)
    return sending(shop, shop.author, one), sending(shop, other, two)


async def a_delete_and_a_create_inside(shop: Workshop) -> Two:
    made = shop.author.create_directory("a")
    await shop.commit(made)
    other = await second(shop)
    gone = shop.author.delete(made.node, made.place.mark)
    return sending(shop, shop.author, gone), sending(shop, other, other.create("b", made.node))


async def deletes_that_are_too_many_together(shop: Workshop) -> Two:
    """Either may go, not both."""
    files, other = [shop.author.create(name) for name in "abcd"], await second(shop)
    await shop.commit(*files)
    limits = Limits(delete_percent=50, delete_least=1)
    await shop.database.transact(set_breaker, shop.account.email, limits)
    one, two = (
        [shop.author.delete(f.node, f.place.mark, version_of(f)) for f in half] for half in (files[:2], files[2:])
    )
    return sending(shop, shop.author, *one), sending(shop, other, *two)


async def commits_in_two_workspaces_of_one_owner(shop: Workshop) -> Two:
    """There is room for either, not for both."""
    elsewhere, size = await add_workspace(shop), QUOTA * 2 // 3
    one, two = File.make(shop.author, "a", size), File.make(elsewhere, "a", size)
    return one.sending(shop, shop.author), two.sending(shop, elsewhere)


async def add_workspace(shop: Workshop) -> Author:
    """The first device's author in a further workspace of its user."""
    workspace, user = WorkspaceId(shop.account.random_bytes(16)), shop.account.user
    row = {"id": workspace, "owner": user, "home": False, "epoch": 1, "revision": 0}

    def add(connection: Connection) -> None:
        connection.execute(insert(workspaces), [row | {"hash": first_chain_hash(workspace)}])
        connection.execute(insert(members), [{"workspace": workspace, "user": user, "role": OWNER}])

    await shop.database.transact(add)
    return author_of(shop.author.device, new_workspace_keys(workspace, shop.account.random_bytes))


async def one_commit_sent_twice(shop: Workshop) -> Two:
    sent = File.make(shop.author, "a").sending(shop, shop.author)
    return sent, sent


async def a_commit_of_who_loses_the_membership(shop: Workshop) -> Two:
    bob = await shop.sign_up("bob@example.org")
    await shop.add_member(bob.user, EDITOR)
    author = author_of(bob.first, shop.account.keys)
    sent = sending(shop, author, author.create("a"))
    return sent, partial(_unshare, workspace=author.workspace, user=bob.user)


def _unshare(connection: Connection, workspace: WorkspaceId, user: UserId) -> None:
    """As it will be: under the workspace's lock, and the next epoch of its keys begins."""
    lock_head(connection, workspace)
    connection.execute(delete(members).where(members.c.workspace == workspace, members.c.user == user))
    connection.execute(update(workspaces).where(workspaces.c.id == workspace).values(epoch=workspaces.c.epoch + 1))


async def a_commit_of_a_device_that_logs_out(shop: Workshop) -> Two:
    other = await second(shop)
    return sending(shop, other, other.create("a")), partial(retire_device, device=other.device.id)


def closing(shop: Workshop, author: Author, *operations: Operation) -> Function:
    """A commit of one part for each operation, staged and closed."""
    device = author.device
    parts = [
        prepare(author.commit(operation), device.account.user, device.id, device.signing.public)
        for operation in operations
    ]
    return partial(close_parts, parts=parts, time_ms=shop.now_ms)


async def a_staged_commit_closed_twice(shop: Workshop) -> Two:
    closed = closing(shop, shop.author, shop.author.create("a"), shop.author.create("b"))
    return closed, closed


async def a_staged_commit_and_one_of_the_same_name(shop: Workshop) -> Two:
    other = await second(shop)
    closed = closing(shop, shop.author, shop.author.create("a"), shop.author.create("b"))
    return closed, sending(shop, other, other.create("b"))


async def two_staged_commits_of_one_node(shop: Workshop) -> Two:
    made, other = shop.author.create("a"), await second(shop)
    await shop.commit(made)
    one, two = (author.write(made.node, version_of(made)) for author in (shop.author, other))
    return closing(shop, shop.author, shop.author.create("b"), one), closing(shop, other, two, other.create("c"))


async def parts_for_the_last_place(shop: Workshop) -> Two:
    def part(name: str) -> Function:
        device = shop.author.device
        sent = shop.author.commit(shop.author.create(name))
        prepared = prepare(sent, device.account.user, device.id, device.signing.public)
        return partial(stage, prepared=prepared, time_ms=shop.now_ms)

    await shop.database.transact(part("first"))
    shop.clock.advance(1)
    return part("a"), part("b")


# Uploads -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A new file whose chunks the tracker does not have."""

    create: Create
    sealed: Sealed

    @classmethod
    def make(cls, author: Author, name: str, size: int = 3000) -> "File":
        """Always of the same chunks."""
        node = author.new_node()
        sealed = author.seal(node, seeded()(size), 1000)
        return cls(author.create(name, content=sealed, node=node), sealed)

    def sending(self, shop: Workshop, author: Author) -> Function:
        return sending(shop, author, self.create, runs=self.sealed.runs)


async def announce(shop: Workshop) -> File:
    made = File.make(shop.author, "announced")
    await shop.database.transact(made.sending(shop, shop.author))
    return made


async def overwrite(shop: Workshop) -> tuple[Create, Sealed]:
    """A durable file with an announced head."""
    made = shop.author.create("overwritten")
    await shop.commit(made)
    head = shop.author.seal(made.node, seeded()(3000), 1000)
    await shop.commit(shop.author.write(made.node, version_of(made), head), runs=head.runs)
    return made, head


async def recording(shop: Workshop, sealed: Sealed) -> Function:
    """The end of an upload, whose object is stored."""
    author = shop.author
    pack = author.pack(sealed)
    key = f"{author.workspace.hex()}/{digest(pack).hex()}"
    await shop.blocks.storage.put(key, pack)
    packed = read_index(pack, author.workspace)
    return partial(
        record_pack,
        workspace=author.workspace,
        device=author.device.id,
        key=key,
        size=len(pack),
        packed=packed,
        time_ms=shop.now_ms,
    )


def withdrawing(shop: Workshop, sealed: Sealed) -> Function:
    author = shop.author
    request = WithdrawRequest(workspace=author.workspace, versions=(sealed.content.version,))
    return partial(withdraw, user=shop.account.user, device=author.device.id, request=request, time_ms=shop.now_ms)


def sweeping(shop: Workshop) -> Function:
    return partial(_sweep, time_ms=shop.now_ms)


def _sweep(connection: Connection, time_ms: int) -> Withdrawn | None:
    """It looks for a workspace without a lock; when another took all that it saw, it only looks again."""
    done = withdraw_stalled(connection, time_ms)
    return done if done is not None and done.versions else None


async def one_pack_twice(shop: Workshop) -> Two:
    recorded = await recording(shop, (await announce(shop)).sealed)
    return recorded, recorded


async def damaged_chunks_brought_again_and_read_well_again(shop: Workshop) -> Two:
    sealed = (await announce(shop)).sealed
    await shop.store(sealed)
    workspace, ids = shop.author.workspace, [chunk for chunk, _ in sealed.chunks]
    place = (await shop.database.read(find_chunks, workspace, shop.account.user, ids))[ids[0]].object
    await shop.database.transact(set_aside, workspace, dict.fromkeys(ids, place), {}, shop.now_ms)
    recorded = await recording(shop, dataclasses.replace(sealed, chunks=sealed.chunks[:2]))
    return recorded, partial(put_back, workspace=workspace, ids=ids)


async def a_pack_and_a_commit_of_the_same_chunks(shop: Workshop) -> Two:
    recorded, other = await recording(shop, (await announce(shop)).sealed), await second(shop)
    return recorded, File.make(other, "copy").sending(shop, other)


async def a_pack_and_its_withdrawal(shop: Workshop) -> Two:
    _, head = await overwrite(shop)
    return await recording(shop, head), withdrawing(shop, head)


async def a_pack_and_the_tracker_giving_up(shop: Workshop) -> Two:
    _, head = await overwrite(shop)
    shop.clock.advance(FORSAKEN_MS / 1000)
    return await recording(shop, head), sweeping(shop)


async def a_write_on_a_head_and_its_withdrawal(shop: Workshop) -> Two:
    made, head = await overwrite(shop)
    other = await second(shop)
    return sending(shop, other, other.write(made.node, head.content.version)), withdrawing(shop, head)


async def a_pack_and_a_write_that_passes_over_it(shop: Workshop) -> Two:
    made, head = await overwrite(shop)
    other = await second(shop)
    shop.clock.advance(STALLED_MS / 1000)
    return await recording(shop, head), sending(shop, other, other.write(made.node, version_of(made)))


async def two_trackers_giving_up(shop: Workshop) -> Two:
    await overwrite(shop)
    await announce(shop)
    shop.clock.advance(FORSAKEN_MS / 1000)
    return sweeping(shop), sweeping(shop)


async def leases_of_one_version(shop: Workshop) -> Two:
    sealed = (await announce(shop)).sealed
    request = LeaseRequest(workspace=shop.author.workspace, versions=(sealed.content.version,))
    one, two = [(await second(shop)).device.id for _ in range(2)]
    shop.clock.advance(LEASE_MS / 1000)
    asked = partial(lease, user=shop.account.user, request=request, time_ms=shop.now_ms)
    return partial(asked, device=one), partial(asked, device=two)


# Accounts, and the database itself -----------------------------------------------------------------------------------


def signing_up(shop: Workshop, request: SignupRequest, token: str) -> Function:
    return partial(_sign_up, signup=_check_signup(request), token=token, now=shop.now_ms)


async def sign_ups_of_one_address(shop: Workshop) -> Two:
    one, two = (new_account("bob@example.org", seeded(seed)).signup() for seed in (2, 3))
    return signing_up(shop, one, "one"), signing_up(shop, two, "two")


async def one_sign_up_sent_twice(shop: Workshop) -> Two:
    request = new_account("bob@example.org").signup()
    return signing_up(shop, request, "one"), signing_up(shop, request, "two")


async def sign_ups_with_one_id(shop: Workshop) -> Two:
    one, two = (new_account(f"{name}@example.org", seeded(2)).signup() for name in ("bob", "eve"))
    return signing_up(shop, one, "one"), signing_up(shop, two, "two")


def registering(shop: Workshop, new: NewDevice, token: str) -> Function:
    account = shop.account
    request = RegisterRequest(email=account.email, auth=account.auth, device=new)
    return partial(_register, email=account.email, request=request, token=token, now=shop.now_ms)


async def devices_for_the_last_place(shop: Workshop) -> Two:
    for _ in range(DEVICES - 2):
        await shop.add_device()
    one, two = (shop.account.new_device().new() for _ in range(2))
    return registering(shop, one, "one"), registering(shop, two, "two")


async def one_device_registered_twice(shop: Workshop) -> Two:
    new = shop.account.new_device().new()
    return registering(shop, new, "one"), registering(shop, new, "two")


async def two_trackers_of_a_new_database(shop: Workshop) -> Two:
    await shop.database.transact(lambda connection: connection.execute(delete(meta)))
    one, two = (Identity(TrackerEpoch(bytes([number]) * 16), bytes([number]) * 32) for number in (1, 2))
    return partial(settle_identity, fresh=one), partial(settle_identity, fresh=two)


# All of them ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """`set_up` makes the database what both find, and the two; `replies` of them can be, one after the other."""

    set_up: Callable[[Workshop], Awaitable[Two]]
    replies: set[int]
    most: int = MOST
    collide: bool = False
    """Whether PostgreSQL may have to run one again: nothing is there yet that the first could lock."""
    apart: bool = False
    """Whether nothing on PostgreSQL has one wait for the other."""


PAIRS = [
    Pair(creates_of_one_name, {1}),
    Pair(creates_of_two_names, {2}),
    Pair(writes_on_one_version, {1}),
    Pair(moves_that_make_a_cycle, {1}),
    Pair(a_delete_and_a_create_inside, {1}),
    Pair(deletes_that_are_too_many_together, {1}),
    Pair(one_commit_sent_twice, {2}),
    Pair(a_staged_commit_closed_twice, {2}),
    Pair(a_staged_commit_and_one_of_the_same_name, {1}),
    Pair(two_staged_commits_of_one_node, {1}),
    Pair(a_commit_of_who_loses_the_membership, {1, 2}),
    Pair(one_pack_twice, {2}),
    Pair(a_pack_and_a_commit_of_the_same_chunks, {2}),
    Pair(damaged_chunks_brought_again_and_read_well_again, {2}),
    Pair(a_pack_and_its_withdrawal, {2}),
    Pair(a_pack_and_a_write_that_passes_over_it, {1, 2}),
    Pair(a_write_on_a_head_and_its_withdrawal, {1, 2}),
    Pair(leases_of_one_version, {2}),
    Pair(two_trackers_of_a_new_database, {2}, collide=True),
]
HEAVY = [  # these don't begin with a lock on PostgreSQL, so there are many orders
    Pair(commits_in_two_workspaces_of_one_owner, {1}),
    Pair(a_commit_of_a_device_that_logs_out, {1, 2}, FEWER, apart=True),
    Pair(a_pack_and_the_tracker_giving_up, {2}, FEWER),
    Pair(two_trackers_giving_up, {2}, FEWER),
    Pair(sign_ups_of_one_address, {1}, FEWER, collide=True),
    Pair(one_sign_up_sent_twice, {2}, FEWER, collide=True),
    Pair(sign_ups_with_one_id, {1}, FEWER, collide=True),
    Pair(devices_for_the_last_place, {1}, FEWER),
    Pair(parts_for_the_last_place, {2}, FEWER),
    Pair(one_device_registered_twice, {2}, FEWER),
]

Contents = dict[str, frozenset[tuple[object, ...]]]
"""Every row, by table."""


@dataclass
class Stage:
    """A workshop's database, and two transactions stepped on it, again and again from the same contents."""

    shop: Workshop
    stepper: Stepper
    two: Two
    at_first: Contents
    left: Contents
    """As the last run left them."""

    async def run(self, schedule: str) -> Run:
        """Both, from the beginning."""
        changed = {name: rows for name, rows in self.at_first.items() if self.left[name] != rows}
        if changed:
            await self.shop.database.transact(_put_back, changed)
        made = await self.stepper.run(self.two, schedule)
        self.left = await self.shop.database.read(_contents)
        return made


def _contents(connection: Connection) -> Contents:
    return {table.name: frozenset(map(tuple, connection.execute(select(table)))) for table in metadata.sorted_tables}


def _put_back(connection: Connection, changed: Contents) -> None:
    if connection.dialect.name == "sqlite":
        connection.execute(text("PRAGMA defer_foreign_keys = ON"))
    else:
        connection.execute(text("SET LOCAL session_replication_role = replica"))
    for name, rows in changed.items():
        table = metadata.tables[name]
        connection.execute(delete(table))
        if rows:
            names = table.columns.keys()
            connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])


@pytest.fixture
def _small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLANS, FREE.name, Plan(FREE.name, QUOTA))
    monkeypatch.setattr(accounts, "MAX_DEVICES", DEVICES)
    monkeypatch.setattr(staging, "MAX_PARTS", PARTS)
    monkeypatch.setattr(postgresql, "PAUSE_S", 0)


@asynccontextmanager
async def open_stage(databases: Databases, pair: Pair) -> AsyncIterator[Stage]:
    url = await databases.migrated_url()
    async with open_workshop_at(databases, url) as shop, open_stepper(databases, seeded_machine(), url) as stepper:
        two = await pair.set_up(shop)
        contents = await shop.database.read(_contents)
        yield Stage(shop, stepper, two, contents, contents)


@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize(
    "pair",
    [*PAIRS, *(pytest.param(pair, marks=pytest.mark.slow) for pair in HEAVY)],
    ids=lambda pair: pair.set_up.__name__,
)
async def test_every_order_comes_out_as_a_serial_one(pair: Pair, databases: Databases) -> None:
    async with open_stage(databases, pair) as stage:
        serial = [await _serial(stage, pair, schedule) for schedule in "AB"]
        waited, number = False, 0
        async with aclosing(interleavings(stage.run, most=pair.most, seed=SEED)) as every:
            async for made in every:
                came_out = made.outcomes, stage.left
                assert came_out in serial, _complaint(made, came_out, serial)
                assert pair.collide or made.attempts == (1, 1), f"run again, {_how(made)}"
                waited |= any(step.waited for step in made.steps)
                number += 1
        assert waited or pair.apart
        assert number > 2


Result = tuple[tuple[Outcome, Outcome], Contents]


async def _serial(stage: Stage, pair: Pair, schedule: str) -> Result:
    """One whole after the other; the tracker's own check finds nothing, so used bytes are exact, too."""
    made = await stage.run(schedule)
    assert not any(step.waited for step in made.steps)
    assert sum(outcome[0] == "reply" for outcome in made.outcomes) in pair.replies, made.outcomes
    await stage.shop.check()
    return made.outcomes, stage.left


def _complaint(made: Run, came_out: Result, serial: list[Result]) -> str:
    """How it is neither of the two."""
    outcomes, contents = came_out
    lines = [f"neither A before B nor B before A, {_how(made)}", f"outcomes: {outcomes}"]
    for name, (expected, rows) in zip(("A before B", "B before A"), serial, strict=True):
        tables = [table for table in rows if rows[table] != contents[table]]
        lines.append(f"{name}: outcomes {'same' if expected == outcomes else expected}, other rows in {tables}")
    return "\n".join(lines)


def _how(made: Run) -> str:
    return f"seed {SEED}, schedule {made.schedule}:\n{described(made.steps)}"


# The orders themselves -----------------------------------------------------------------------------------------------


async def orders(lengths: dict[str, int], most: int, seed: int = SEED) -> list[str]:
    """Those tried of two that take so many steps and never wait."""

    async def run(schedule: str) -> Run:
        left, steps = Counter(lengths), list[Step]()
        while left.total():
            ready = [side for side in "AB" if left[side]]
            last = steps[-1].side if steps else "A"
            side = schedule[len(steps)] if len(steps) < len(schedule) else last if last in ready else ready[0]
            left[side] -= 1
            steps.append(Step(side, "", False, len(ready) == 2))
        return Run(steps, ((), ()), (1, 1))

    return [made.schedule async for made in interleavings(run, most=most, seed=seed)]


async def test_every_order_is_tried_once() -> None:
    assert await orders({"A": 2, "B": 2}, 10) == ["AABB", "BBAA", "ABBA", "BAAB", "ABAB", "BABA"]
    tried = await orders({"A": 4, "B": 5}, MOST)
    assert len(tried) == len(set(tried)) == comb(9, 4)


async def test_of_too_many_orders_some_are_drawn_and_the_same_each_time() -> None:
    tried = await orders({"A": 12, "B": 12}, 100)
    assert len(set(tried)) == 100
    assert tried == await orders({"A": 12, "B": 12}, 100)
    other = await orders({"A": 12, "B": 12}, 100, seed=2)
    assert tried[:50] == other[:50]
    assert tried[50:] != other[50:]
