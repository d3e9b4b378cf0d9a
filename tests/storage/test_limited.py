"""So many calls at a time, and no more."""

import pytest
import trio
from trio.testing import MockClock

from storage.errors import Missing
from storage.limited import LimitedStorage
from tests.storage.scripted import ScriptedStorage


async def test_so_many_calls_at_a_time(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(takes=1)
    storage = LimitedStorage(inner, 3)
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(storage.put, f"abc/{number:04}", b"bytes")
    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon((storage.get, storage.size, storage.delete)[number % 3], f"abc/{number:04}")
        nursery.start_soon(storage.page)
    assert inner.most == 3
    assert len(inner.asked) == 21


async def test_who_waits_can_be_cancelled_and_takes_no_place(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(takes=10)
    storage = LimitedStorage(inner, 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(storage.put, "abc/aaaa", b"bytes")
        await trio.sleep(1)
        with trio.move_on_after(1) as scope:
            await storage.get("abc/aaaa")
        assert scope.cancelled_caught
    with pytest.raises(Missing):
        await storage.get("abc/bbbb")
    assert await storage.get("abc/aaaa") == b"bytes"
    assert len(inner.asked) == 3
