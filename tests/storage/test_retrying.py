"""When a store is asked again, and when it isn't. Time is trio's MockClock, chance is seeded."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from storage.errors import AlreadyThere, Full, Missing, SlowDown, StorageDown, StorageError, TryAgain
from storage.interface import Storage, Stored
from storage.retrying import ATTEMPTS, FIRST_S, HOLD_S, LONGEST_S, PATIENCE_S, RetryingStorage
from tests.storage.scripted import ScriptedStorage
from tests.support.tracker import seeded_machine

KEY = "abc/0123456789"

CALLS: dict[str, Callable[[Storage], Awaitable[object]]] = {
    "put": lambda storage: storage.put(KEY, b"bytes"),
    "get": lambda storage: storage.get(KEY, 1, 2),
    "size": lambda storage: storage.size(KEY),
    "delete": lambda storage: storage.delete(KEY),
    "page": lambda storage: storage.page("abc", "", 3),
}
RESULTS = {"put": None, "get": b"yt", "size": 5, "delete": None, "page": [Stored(KEY, 5)]}


def retrying(inner: Storage) -> RetryingStorage:
    return RetryingStorage(seeded_machine(), inner)


def busy() -> TryAgain:
    return TryAgain("busy")


@pytest.mark.parametrize("name", CALLS)
async def test_each_call_is_made_again_with_the_same_arguments(name: str, autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(busy(), busy())
    await inner.inner.put(KEY, b"bytes")
    assert await CALLS[name](retrying(inner)) == RESULTS[name]
    assert len(inner.asked) == 3


@pytest.mark.parametrize("error", [StorageDown("a wrong secret"), Full("full"), Missing("none"), AlreadyThere("other")])
async def test_what_will_not_pass_is_not_tried_again(error: StorageError, autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(error)
    with pytest.raises(type(error)) as caught:
        await retrying(inner).put(KEY, b"bytes")
    assert caught.value is error
    assert len(inner.asked) == 1


async def test_attempts_are_bounded_and_so_are_pauses(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(*(busy() for _ in range(ATTEMPTS)))
    with pytest.raises(TryAgain):
        await retrying(inner).put(KEY, b"bytes")
    assert len(inner.asked) == ATTEMPTS
    pauses = [after - before for before, after in zip(inner.asked, inner.asked[1:], strict=False)]
    bounds = [min(FIRST_S * 2**number, LONGEST_S) for number in range(ATTEMPTS - 1)]
    assert all(0 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert len(set(pauses)) == len(pauses)


async def test_two_stores_pause_differently(autojump_clock: MockClock) -> None:
    machine = seeded_machine()
    inners = [ScriptedStorage(busy()) for _ in range(2)]
    for inner in inners:
        await RetryingStorage(machine, inner).put(KEY, b"bytes")
    one, other = (inner.asked[1] - inner.asked[0] for inner in inners)
    assert one != other


async def test_slow_attempts_use_up_the_patience(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(*(busy() for _ in range(ATTEMPTS)), takes=PATIENCE_S * 0.6)
    with pytest.raises(TryAgain):
        await retrying(inner).get(KEY)
    assert len(inner.asked) == 2


async def test_slow_down_holds_everybody_back(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(SlowDown("slow down", 7.0))
    storage = retrying(inner)
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(storage.put, KEY, b"bytes")
        await trio.sleep(1)
        for number in range(5):
            nursery.start_soon(storage.put, f"abc/{number:04}", b"others")
    first, *others = (asked - begin for asked in inner.asked)
    assert first == 0
    assert len(others) == 6
    assert all(7 <= asked <= 7 + 2 * FIRST_S for asked in others)
    assert len(set(others)) == len(others)  # they don't come back as one


async def test_it_is_left_alone_for_a_while_when_it_does_not_say(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(SlowDown("slow down"))
    await retrying(inner).put(KEY, b"bytes")
    assert inner.asked[1] - inner.asked[0] >= HOLD_S


async def test_who_can_not_wait_so_long_is_told_at_once(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(SlowDown("slow down", PATIENCE_S + 10))
    storage = retrying(inner)
    begin = trio.current_time()
    with pytest.raises(SlowDown) as caught:
        await storage.put(KEY, b"bytes")
    assert caught.value.seconds is not None
    await trio.sleep(begin + 5 - trio.current_time())
    with pytest.raises(SlowDown, match="25 s more"):
        await storage.size(KEY)
    assert trio.current_time() == begin + 5
    assert len(inner.asked) == 1
    await trio.sleep(10)
    await storage.put(KEY, b"bytes")  # what is left fits into its patience
    assert len(inner.asked) == 2
    assert inner.asked[1] >= begin + PATIENCE_S + 10


async def test_a_shorter_hold_does_not_end_a_longer_one(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(SlowDown("slow down", 9.0), SlowDown("slow down", 1.0), takes=0.5)
    storage = retrying(inner)
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(storage.put, f"abc/{number:04}", b"bytes")
    assert [asked for asked in inner.asked[3:] if asked < inner.asked[0] + 0.5 + 9] == []


@pytest.mark.parametrize("error", [busy(), SlowDown("slow down", 5.0)])
async def test_a_pause_can_be_cancelled(error: TryAgain, autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(error, *(busy() for _ in range(ATTEMPTS)))
    with trio.move_on_after(0) as scope:
        await retrying(inner).put(KEY, b"bytes")
    assert scope.cancelled_caught
    assert len(inner.asked) <= 1
