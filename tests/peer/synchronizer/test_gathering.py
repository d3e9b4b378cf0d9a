"""Gathering chunks: who is asked for what, what happens when a source fails, and that nothing waits for a slow one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from peer.synchronizer.gathering import Sealed, Source, gather
from peer.synchronizer.jobs import Wanted
from peer.synchronizer.pool import ALONE, HEDGE, Alone, Outcome, Pool
from protocol.chunks import OVERHEAD, ChunkRef
from protocol.errors import CannotOpen, Malformed, Unreachable
from protocol.identifiers import ChunkId, VersionId

LENGTH = 1000
VERSION = VersionId(bytes(16))


def wanted(number: int, *, in_the_cloud: bool = True) -> Wanted:
    ref = ChunkRef(ChunkId(number.to_bytes(32, "big")), bytes(32), LENGTH)
    return Wanted(ref, VERSION, number, in_the_cloud)


@dataclass(eq=False)
class Giver:
    """A source under the test's hands. `holds` are the numbers that it says it holds, all if None."""

    is_cloud: bool = False
    holds: set[int] | None = None
    lacking: set[int] = field(default_factory=set)
    seeking: bool = False  # it is fetching the same itself
    parallel: int = 1
    most: int = 4 * (LENGTH + OVERHEAD)
    dies_after: int | None = None
    before: Callable[[], object] = lambda: None
    pause: float = 0.0
    asked: list[list[int]] = field(default_factory=list)
    error: CannotOpen | Malformed | None = None

    def gives(self, each: Wanted) -> bool:
        return each.in_the_cloud if self.is_cloud else self.holds is None or each.number in self.holds

    def fetches(self, each: Wanted) -> bool:
        return self.seeking

    async def ask(self, batch: Sequence[Wanted]) -> Sealed:
        self.asked.append([each.number for each in batch])
        await trio.sleep(self.pause)
        if self.dies_after is not None and len(self.asked) > self.dies_after:
            raise Unreachable("gone")
        return lambda: [memoryview(b"" if each.number in self.lacking else b"sealed") for each in batch]

    def lacks(self, batch: Sequence[Wanted]) -> None:
        gone = {each.number for each in batch}
        self.holds = (set(range(1000)) if self.holds is None else self.holds) - gone

    def spoilt(self, error: CannotOpen | Malformed) -> None:
        if self.is_cloud:
            raise error
        self.error = error

    @property
    def numbers(self) -> list[int]:
        return [number for batch in self.asked for number in batch]


@dataclass
class Around(Alone):
    """All sources there are, and never any news."""

    givers: Sequence[Giver]

    def sources(self) -> Sequence[Source]:
        return self.givers

    def offers(self, source: Source) -> Sequence[Wanted]:
        return ()

    def shifts(self) -> bool:
        return False

    async def news(self) -> None:
        await trio.sleep_forever()


@dataclass
class User:
    """What is done with what comes."""

    got: list[int] = field(default_factory=list)
    wrong: dict[Giver, CannotOpen | Malformed] = field(default_factory=dict)

    async def use(self, source: Source, batch: Sequence[Wanted], sealed: Sealed) -> Outcome:
        await trio.lowlevel.checkpoint()
        assert isinstance(source, Giver)
        if source in self.wrong:
            return Outcome(wrong=self.wrong[source])
        missing = [each for each, body in zip(batch, sealed(), strict=True) if not body]
        self.got += [each.number for each in batch if each not in missing]
        return Outcome(missing)


async def gathered(chunks: Sequence[Wanted], *sources: Giver, user: User | None = None) -> tuple[list[int], list[int]]:
    """What came, and what didn't."""
    user = user or User()
    lost = await gather(chunks, Around(sources), user.use)
    return sorted(set(user.got)), sorted(each.number for each in lost)


async def test_the_lan_comes_before_the_cloud(autojump_clock: trio.testing.MockClock) -> None:
    cloud, near = Giver(is_cloud=True), Giver(holds=set(range(6)))
    got, lost = await gathered([wanted(number) for number in range(8)], cloud, near)
    assert (got, lost) == (list(range(8)), [])
    assert near.asked == [[0, 1, 2, 3], [4, 5]]
    assert cloud.numbers == [6, 7]


async def test_what_is_announced_only_is_never_asked_of_the_cloud(autojump_clock: trio.testing.MockClock) -> None:
    cloud, near = Giver(is_cloud=True), Giver(holds={0}, pause=10 * HEDGE)
    got, lost = await gathered([wanted(number, in_the_cloud=False) for number in range(2)], cloud, near)
    assert (got, lost) == ([0], [1])
    assert cloud.asked == []


async def test_two_share_the_work(autojump_clock: trio.testing.MockClock) -> None:
    one, other = Giver(pause=1.0), Giver(pause=1.0)
    got, _ = await gathered([wanted(number) for number in range(32)], one, other)
    assert got == list(range(32))
    assert len(one.asked) == len(other.asked) == 4
    assert sorted(one.numbers + other.numbers) == list(range(32))


@pytest.mark.parametrize("dies_after", [0, 1, 3])
async def test_one_that_is_gone_is_made_up_for(autojump_clock: trio.testing.MockClock, dies_after: int) -> None:
    one, other, cloud = Giver(dies_after=dies_after, pause=1.0), Giver(holds={1, 2, 3}), Giver(is_cloud=True)
    got, lost = await gathered([wanted(number) for number in range(16)], one, other, cloud)
    assert (got, lost) == (list(range(16)), [])
    assert len(one.asked) == dies_after + 1


async def test_what_turns_out_not_to_be_held_comes_from_the_next(autojump_clock: trio.testing.MockClock) -> None:
    one, other, cloud = Giver(lacking={2, 3}), Giver(holds={2}), Giver(is_cloud=True)
    got, lost = await gathered([wanted(number) for number in range(4)], one, other, cloud)
    assert (got, lost) == ([0, 1, 2, 3], [])
    assert cloud.numbers == [3]


@pytest.mark.parametrize("error", [CannotOpen("altered"), Malformed("a lie")])
async def test_a_liar_is_not_asked_again(autojump_clock: trio.testing.MockClock, error: CannotOpen | Malformed) -> None:
    liar, cloud = Giver(), Giver(is_cloud=True)
    got, lost = await gathered([wanted(number) for number in range(8)], liar, cloud, user=User(wrong={liar: error}))
    assert (got, lost) == (list(range(8)), [])
    assert liar.error is error
    assert len(liar.asked) == 1


async def test_one_that_stalls_holds_up_nobody(autojump_clock: trio.testing.MockClock) -> None:
    stalled, good = Giver(pause=1000.0), Giver(pause=0.1)
    user, began = User(), trio.current_time()
    with trio.move_on_after(500):
        await gather([wanted(number) for number in range(8)], Around((stalled, good)), user.use)
    assert sorted(user.got) == list(range(8))
    assert trio.current_time() - began < 2 * HEDGE


async def test_the_cloud_helps_out_when_the_lan_stalls(autojump_clock: trio.testing.MockClock) -> None:
    stalled, cloud = Giver(pause=1000.0), Giver(is_cloud=True)
    user, began = User(), trio.current_time()
    with trio.move_on_after(500):
        await gather([wanted(number) for number in range(8)], Around((stalled, cloud)), user.use)
    assert sorted(user.got) == list(range(8))
    assert trio.current_time() - began < 3 * HEDGE


async def test_one_that_is_slow_but_not_silent_is_left_to_it(autojump_clock: trio.testing.MockClock) -> None:
    """Each answer takes longer than a silence may last, but with several under way one comes often enough."""
    slow, cloud = Giver(parallel=6, pause=1.5 * HEDGE, most=1), Giver(is_cloud=True)
    turn = 0

    async def ask(batch: Sequence[Wanted]) -> Sealed:
        nonlocal turn
        turn += 1
        await trio.sleep(HEDGE * (0.5 + 0.25 * (turn % 6)))
        return lambda: [memoryview(b"sealed") for _ in batch]

    slow.ask = ask  # type: ignore[method-assign]
    got, lost = await gathered([wanted(number) for number in range(24)], slow, cloud)
    assert (got, lost) == (list(range(24)), [])
    assert cloud.asked == []


async def test_a_cloud_that_is_gone_matters_only_to_who_needs_it(autojump_clock: trio.testing.MockClock) -> None:
    chunks = [wanted(number) for number in range(8)]
    got, lost = await gathered(chunks, Giver(), Giver(is_cloud=True, dies_after=0))
    assert (got, lost) == (list(range(8)), [])
    with pytest.raises(Unreachable):
        await gathered(chunks, Giver(holds={1, 2}), Giver(is_cloud=True, dies_after=0))


async def test_a_single_chunk_may_be_longer_than_a_request(autojump_clock: trio.testing.MockClock) -> None:
    near = Giver(most=10)
    got, _ = await gathered([wanted(number) for number in range(3)], near)
    assert got == [0, 1, 2]
    assert near.asked == [[0], [1], [2]]


@given(st.data())
def test_every_chunk_is_used_or_lost(data: st.DataObject) -> None:
    """Whoever dies, lacks or stalls, in any order; what is lost, nobody could give."""
    chunks = [wanted(number, in_the_cloud=data.draw(st.booleans())) for number in range(data.draw(st.integers(0, 12)))]
    numbers = st.sets(st.integers(0, 12))
    sources = [Giver(holds=data.draw(numbers), lacking=data.draw(numbers)) for _ in range(data.draw(st.integers(0, 3)))]
    sources.append(Giver(is_cloud=True, lacking=data.draw(numbers)))
    pool, now, done = Pool(chunks, sources, Alone()), 0.0, set[int]()
    asked: list[tuple[Giver, list[Wanted]]] = []
    while not pool.finished:
        now += data.draw(st.sampled_from((0.0, HEDGE)))
        for source in sources:
            batch = pool.take(source, now)
            if batch:
                asked.append((source, batch))
        assert asked or pool.finished
        if asked:
            source, batch = asked.pop(data.draw(st.integers(0, len(asked) - 1)))
            missing = [each for each in batch if each.number in source.lacking]
            pool.answered(source, batch, Outcome(missing), now)
            done.update(each.number for each in batch if each not in missing)
            if missing and not source.is_cloud:
                source.lacks(missing)
                pool.look_again(now)
    lost = {each.number for each in pool.lost}
    assert done | lost == {each.number for each in chunks}
    assert not done & lost
    for each in chunks:
        able = [source for source in sources if source.gives(each) and each.number not in source.lacking]
        assert (each.number in done) or not able


@dataclass
class Dealt:
    """Others who fetch the same: what is this device's share, by number; None for what is dealt to nobody."""

    turns: dict[int, bool | None]

    def turn(self, each: Wanted, *, from_cloud: bool) -> bool | None:
        return self.turns[each.number]

    def order(self, each: Wanted) -> int:
        return -each.number


@given(st.data())
def test_every_chunk_is_used_or_lost_in_company_too(data: st.DataObject) -> None:
    """Sources come, go, get more, and lack what they said they have; in the end nobody is waited for."""
    count = data.draw(st.integers(1, 10))
    chunks = [wanted(number, in_the_cloud=data.draw(st.booleans())) for number in range(count)]
    numbers = st.sets(st.integers(0, count - 1))
    devices = [
        Giver(holds=data.draw(numbers), lacking=data.draw(numbers), seeking=data.draw(st.booleans()), parallel=2)
        for _ in range(data.draw(st.integers(0, 3)))
    ]
    cloud = Giver(is_cloud=True, lacking=data.draw(numbers), parallel=2)
    company = Dealt({number: data.draw(st.sampled_from((None, True, False))) for number in range(count)})
    late = devices[data.draw(st.integers(1, 3)) :]
    pool, now, done = Pool(chunks, [cloud, *(each for each in devices if each not in late)], company), 0.0, set[int]()
    asked: list[tuple[Giver, list[Wanted]]] = []
    for turn in range(400):
        if pool.finished:
            break
        now += data.draw(st.sampled_from((0.0, HEDGE, ALONE))) if turn < 50 else ALONE
        if bool(late) and data.draw(st.booleans()):
            pool.joined(late.pop())
        pool.look_again(now)
        for source in [cloud, *devices]:
            if pool.has_room(source) and (batch := pool.take(source, now)):
                asked.append((source, batch))
        if asked:
            source, batch = asked.pop(data.draw(st.integers(0, len(asked) - 1)))
            missing = [each for each in batch if each.number in source.lacking]
            pool.answered(source, batch, Outcome(missing), now)
            done.update(each.number for each in batch if each not in missing)
            if missing and not source.is_cloud:
                source.lacks(missing)
                pool.look_again(now)
        elif bool(devices) and data.draw(st.booleans()):
            device = data.draw(st.sampled_from(devices))
            more = data.draw(numbers)
            device.holds = (device.holds or set()) | (more - device.lacking)
            if device in pool.sources:
                pool.offered(device, [each for each in chunks if each.number in more], now)
    assert pool.finished
    lost = {each.number for each in pool.lost}
    assert done | lost == set(range(count))
    assert not done & lost
