"""So many calls at a time: a store that has a limit isn't asked beyond it, and what waits needs no thread."""

import trio

from storage.interface import PAGE, Storage, Stored


class LimitedStorage:
    """A `Storage` around another, which gets at most `calls` at a time. Who waits longest is next; waiting ends at once
    when cancelled."""

    def __init__(self, storage: Storage, calls: int) -> None:
        self._storage = storage
        self._slots = trio.CapacityLimiter(calls)

    async def put(self, key: str, data: bytes) -> None:
        async with self._slots:
            await self._storage.put(key, data)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        async with self._slots:
            return await self._storage.get(key, offset, length)

    async def size(self, key: str) -> int:
        async with self._slots:
            return await self._storage.size(key)

    async def delete(self, key: str) -> None:
        async with self._slots:
            await self._storage.delete(key)

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        async with self._slots:
            return await self._storage.page(prefix, after, limit)
