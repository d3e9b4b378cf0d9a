"""What `storage/interface.py` promises, held against every backend."""

import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from protocol.system import real_machine
from storage.errors import AlreadyThere, Missing
from storage.filesystem import FilesystemStorage
from storage.interface import Storage, Stored, listing
from storage.limited import LimitedStorage
from storage.measured import MeasuredStorage
from storage.memory import MemoryStorage
from storage.retrying import RetryingStorage
from tests.storage.buckets import new_bucket

KEY = "abc/0123456789"
MIB = 1 << 20

IN_S3 = [pytest.param(name, marks=pytest.mark.slow) for name in ("s3", "s3, decorated")]


@pytest.fixture(params=["memory", "filesystem", *IN_S3])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "memory":
        return MemoryStorage()
    elif request.param == "filesystem":
        return FilesystemStorage(real_machine(), tmp_path / "objects")
    bucket = new_bucket(request.getfixturevalue("s3_client"))
    if request.param == "s3":
        return bucket
    return MeasuredStorage(RetryingStorage(real_machine(), LimitedStorage(bucket, 4)))


async def test_what_was_put_is_got(storage: Storage) -> None:
    await storage.put(KEY, b"bytes")
    assert await storage.get(KEY) == b"bytes"
    assert await storage.size(KEY) == 5


@pytest.mark.parametrize("data", [b"", b"0", b"0123456789"], ids=len)
async def test_ranges_at_every_edge(storage: Storage, data: bytes) -> None:
    await storage.put(KEY, data)
    size = len(data)
    edges = sorted({0, 1, 5, max(0, size - 1), size, size + 1, size + 7})
    for offset in edges:
        for length in (None, *edges):
            expected = data[offset:] if length is None else data[offset : offset + length]
            if max(offset, offset + (length or 0)) <= size:
                assert await storage.get(KEY, offset, length) == expected
            else:
                with pytest.raises(Missing):
                    await storage.get(KEY, offset, length)


async def test_ranges_of_what_is_missing(storage: Storage) -> None:
    await storage.put("abc/0123456788", b"a neighbour")
    for offset, length in ((0, None), (0, 0), (0, 1), (3, None), (3, 0), (3, 4)):
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


async def _refused(storage: Storage, candidates: list[bytes]) -> list[bytes]:
    """Put all of them under KEY at a time; which were refused."""
    refused = []

    async def put(data: bytes) -> None:
        try:
            await storage.put(KEY, data)
        except AlreadyThere:
            refused.append(data)

    async with trio.open_nursery() as nursery:
        for data in candidates:
            nursery.start_soon(put, data)
    return refused


async def test_of_concurrent_puts_one_wins(storage: Storage) -> None:
    candidates = [bytes([number]) * 1000 for number in range(3)]
    refused = await _refused(storage, candidates)
    assert set(candidates) - set(refused) == {await storage.get(KEY)}
    assert len(refused) == 2


async def test_concurrent_puts_of_the_same_bytes_all_succeed(storage: Storage) -> None:
    assert await _refused(storage, [b"the same"] * 3) == []
    assert await storage.get(KEY) == b"the same"


async def test_nobody_sees_half_an_object(storage: Storage) -> None:
    data = bytes(MIB)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(storage.put, KEY, data)
        while True:
            try:
                assert await storage.get(KEY) == data
                break
            except Missing:
                await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("checkpoints", [0, 1, 2, 5])
async def test_a_cancelled_put_has_happened_or_has_not(storage: Storage, checkpoints: int) -> None:
    data = bytes(range(256)) * 1000
    async with trio.open_nursery() as nursery:
        nursery.start_soon(storage.put, KEY, data)
        for _ in range(checkpoints):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    with suppress(Missing):
        assert await storage.get(KEY) == data
    await storage.put(KEY, data)
    assert await storage.page() == [Stored(KEY, len(data))]


async def test_cancelled_calls_leave_a_working_store(storage: Storage) -> None:
    await storage.put(KEY, b"bytes")
    calls: list[Callable[[], Awaitable[object]]] = [
        partial(storage.get, KEY),
        partial(storage.size, KEY),
        storage.page,
        partial(storage.put, KEY, b"bytes"),
        partial(storage.delete, "abc/none"),
    ]
    for call in calls * 5:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    assert await storage.get(KEY) == b"bytes"


async def test_a_large_object(storage: Storage) -> None:
    data = random.Random(1).randbytes(15 * MIB)
    await storage.put(KEY, data)
    assert await storage.size(KEY) == len(data)
    assert await storage.get(KEY) == data
    assert await storage.get(KEY, 4 * MIB - 3, 5 * MIB) == data[4 * MIB - 3 : 9 * MIB - 3]
    assert await storage.get(KEY, 15 * MIB - 1) == data[-1:]


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


async def test_a_page_begins_after_any_key(storage: Storage) -> None:
    for key in KEYS:
        await storage.put(key, b"")
    for prefix in ("", "0/", "a", "a/0000", "b/ffff", "c/"):
        for after in ("", "0/0000", "0/aaaa", "0/zzzz", "a/0001", "a00/0000", "b/ffff", "b/ffff0", "c/0000"):
            expected = [key for key in KEYS if key.startswith(prefix) and key > after]
            assert [stored.key for stored in await storage.page(prefix, after)] == expected, (prefix, after)
    assert await storage.page(limit=0) == []


async def test_an_empty_store_lists_nothing(storage: Storage) -> None:
    assert await storage.page() == []
