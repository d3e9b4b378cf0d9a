"""What `storage/interface.py` promises, held against every backend."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from protocol.system import real_machine
from storage.errors import AlreadyThere, Missing
from storage.filesystem import FilesystemStorage
from storage.interface import Storage, Stored, listing
from storage.memory import MemoryStorage

KEY = "abc/0123456789"

Backend = Callable[[Path], Storage]


def _filesystem(path: Path) -> Storage:
    return FilesystemStorage(real_machine(), path / "objects")


def _memory(_: Path) -> Storage:
    return MemoryStorage()


@pytest.fixture(params=[_filesystem, _memory], ids=["filesystem", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    backend: Backend = request.param
    return backend(tmp_path)


async def test_what_was_put_is_got(storage: Storage) -> None:
    await storage.put(KEY, b"bytes")
    assert await storage.get(KEY) == b"bytes"
    assert await storage.size(KEY) == 5


async def test_ranges(storage: Storage) -> None:
    await storage.put(KEY, b"0123456789")
    assert await storage.get(KEY, 3, 4) == b"3456"
    assert await storage.get(KEY, 3) == b"3456789"
    assert await storage.get(KEY, 10) == b""
    assert await storage.get(KEY, 5, 0) == b""
    assert await storage.get(KEY, 10, 0) == b""


@pytest.mark.parametrize(("offset", "length"), [(0, 11), (5, 6), (11, None), (11, 0)])
async def test_a_range_past_the_end_is_missing(storage: Storage, offset: int, length: int | None) -> None:
    await storage.put(KEY, b"0123456789")
    with pytest.raises(Missing):
        await storage.get(KEY, offset, length)


@pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1), (-1, 1)])
async def test_a_negative_range_is_a_defect(storage: Storage, offset: int, length: int | None) -> None:
    await storage.put(KEY, b"0123456789")
    with pytest.raises(ValueError, match="no bytes at"):
        await storage.get(KEY, offset, length)


async def test_the_same_bytes_again_are_fine(storage: Storage) -> None:
    await storage.put(KEY, b"bytes")
    await storage.put(KEY, b"bytes")
    assert await storage.get(KEY) == b"bytes"


@pytest.mark.parametrize("other", [b"", b"bytez", b"bytes and more"])
async def test_other_bytes_under_a_key_are_refused(storage: Storage, other: bytes) -> None:
    await storage.put(KEY, b"bytes")
    with pytest.raises(AlreadyThere):
        await storage.put(KEY, other)
    assert await storage.get(KEY) == b"bytes"


async def test_an_empty_object(storage: Storage) -> None:
    await storage.put(KEY, b"")
    assert await storage.get(KEY) == b""
    assert await storage.size(KEY) == 0


async def test_of_concurrent_puts_one_wins(storage: Storage) -> None:
    refused = []

    async def put(data: bytes) -> None:
        try:
            await storage.put(KEY, data)
        except AlreadyThere:
            refused.append(data)

    candidates = [bytes([number]) * 1000 for number in range(8)]
    async with trio.open_nursery() as nursery:
        for data in candidates:
            nursery.start_soon(put, data)
    assert set(candidates) - set(refused) == {await storage.get(KEY)}


async def test_missing(storage: Storage) -> None:
    with pytest.raises(Missing):
        await storage.get(KEY)
    with pytest.raises(Missing):
        await storage.size(KEY)


async def test_deleted_is_missing_and_may_be_put_anew(storage: Storage) -> None:
    await storage.delete(KEY)
    await storage.put(KEY, b"bytes")
    await storage.delete(KEY)
    with pytest.raises(Missing):
        await storage.get(KEY)
    await storage.put(KEY, b"other")
    assert await storage.get(KEY) == b"other"


@pytest.mark.parametrize(
    "key",
    [
        "",
        "abc",
        "abc/",
        "/abcd",
        "abc/abc",
        "ABC/abcd",
        "abc/../abcd",
        "../abc/abcd",
        "a/b/cdef",
        "abc/ab\0d",
        "abc/abcd\n",
    ],
)
async def test_what_can_not_be_a_key_is_a_defect(storage: Storage, key: str) -> None:
    with pytest.raises(ValueError, match="can't be"):
        await storage.put(key, b"")
    with pytest.raises(ValueError, match="can't be"):
        await storage.get(key)
    with pytest.raises(ValueError, match="can't be"):
        await storage.size(key)
    with pytest.raises(ValueError, match="can't be"):
        await storage.delete(key)


KEYS = ["0/aaaa", "0/aaab", "0/ab01", "a/0000", "a0/0000", "b/ffff", "b/ffff0"]


async def test_listing_is_sorted_and_complete(storage: Storage) -> None:
    for key in reversed(KEYS):
        await storage.put(key, key.encode())
    assert [stored async for stored in listing(storage)] == [Stored(key, len(key)) for key in KEYS]
    assert [stored.key async for stored in listing(storage, "a/")] == ["a/0000"]
    assert [stored.key async for stored in listing(storage, "0/aa")] == ["0/aaaa", "0/aaab"]
    assert [stored.key async for stored in listing(storage, "c")] == []


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_pages_join_without_gap_or_overlap(storage: Storage, limit: int) -> None:
    for key in KEYS:
        await storage.put(key, b"")
    seen: list[str] = []
    while page := await storage.page(after=seen[-1] if seen else "", limit=limit):
        assert len(page) <= limit
        seen += [stored.key for stored in page]
    assert seen == KEYS


async def test_an_empty_store_lists_nothing(storage: Storage) -> None:
    assert await storage.page() == []
