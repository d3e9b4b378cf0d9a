"""A store that does what a test says, and remembers when it was asked."""

import trio

from storage.errors import StorageError
from storage.interface import PAGE, Stored
from storage.memory import MemoryStorage


class ScriptedStorage:
    """A `MemoryStorage` that takes a while for each call, and raises what stands in `errors` first."""

    def __init__(self, *errors: StorageError, takes: float = 0.0) -> None:
        self.errors = list(errors)
        self.takes = takes
        self.asked: list[float] = []
        """When each call began."""
        self.inner = MemoryStorage()
        self.now = 0
        self.most = 0
        """The calls at a time, now and at most."""

    async def put(self, key: str, data: bytes) -> None:
        await self._turn()
        await self.inner.put(key, data)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        await self._turn()
        return await self.inner.get(key, offset, length)

    async def size(self, key: str) -> int:
        await self._turn()
        return await self.inner.size(key)

    async def delete(self, key: str) -> None:
        await self._turn()
        await self.inner.delete(key)

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        await self._turn()
        return await self.inner.page(prefix, after, limit)

    async def _turn(self) -> None:
        self.asked.append(trio.current_time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.sleep(self.takes)
        finally:
            self.now -= 1
        if self.errors:
            raise self.errors.pop(0)
