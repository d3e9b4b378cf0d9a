"""What is counted."""

import pytest
import trio
from trio.testing import MockClock

from storage.errors import StorageDown
from storage.measured import MeasuredStorage
from tests.storage.scripted import ScriptedStorage

KEY = "abc/0123456789"


async def test_calls_bytes_errors_and_seconds(autojump_clock: MockClock) -> None:
    inner = ScriptedStorage(takes=2)
    storage = MeasuredStorage(inner)
    assert str(storage.figures) == "never asked"
    await storage.put(KEY, b"bytes")
    inner.errors = [StorageDown("no")]
    with pytest.raises(StorageDown):
        await storage.put("abc/aaaa", b"more bytes")
    assert await storage.get(KEY, 1, 3) == b"yte"
    await storage.size(KEY)
    await storage.page()
    with trio.move_on_after(1):
        await storage.delete(KEY)
    figures = storage.figures
    told = [(each.calls, each.errors, each.bytes) for each in (figures.put, figures.get, figures.size)]
    assert told == [(2, 1, 5), (1, 0, 3), (1, 0, 0)]
    seconds = [figures.put.seconds, figures.get.seconds, figures.page.seconds, figures.delete.seconds]
    assert seconds == pytest.approx([4, 2, 2, 1])
    assert str(figures).startswith("put: 2 calls, 1 errors, 5 bytes, 4.0 s; get: 1 calls")
