"""What is counted."""

import pytest
import trio
from trio.testing import MockClock

from storage.errors import StorageDown
from storage.measured import Figures, MeasuredStorage
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
    assert figures.put == Figures(calls=2, errors=1, bytes=5, seconds=pytest.approx(4))
    assert figures.get == Figures(calls=1, bytes=3, seconds=pytest.approx(2))
    assert figures.size == figures.page == Figures(calls=1, seconds=pytest.approx(2))
    assert figures.delete == Figures(calls=1, seconds=pytest.approx(1))
    assert str(figures).startswith("put: 2 calls, 1 errors, 5 bytes, 4.0 s; get: 1 calls")
