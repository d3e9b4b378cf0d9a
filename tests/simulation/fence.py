"""Fences: from a drawn call on, a process has no effect on anything any more, and each of its calls raises."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection

from storage.interface import PAGE, Storage, Stored
from tracker.database import Database

_CRITICAL = 10
"""How much likelier it is to fall where chunks are stored."""
P = ParamSpec("P")
T = TypeVar("T")


class Crashed(BaseException):
    """The process is dead: nothing it still tries has any effect. Not an `Exception`, so that nobody handles it."""


@dataclass
class FenceTrouble:
    """How often a process may still die, in this life or a later one, and how likely that is at each call."""

    left: int = 0
    chance: float = 0.0


class TrackerFence:
    """Falls before or after one of the calls of one life of the tracker. `fall` is told, and ends it."""

    def __init__(self, trouble: FenceTrouble, rng: Random, fall: Callable[[str], None]) -> None:
        self.down = False
        self._trouble = trouble
        self._rng = rng
        self._fall = fall

    def _perhaps(self, where: str) -> None:
        trouble = self._trouble
        chance = trouble.chance * (_CRITICAL if where.endswith(" put") else 1)
        if not self.down and trouble.left and self._rng.random() < chance:
            trouble.left -= 1
            self.down = True
            self._fall(where)
        if self.down:
            raise Crashed

    async def around(self, what: str, call: Callable[[], Awaitable[T]]) -> T:
        """Carry out one call, unless it falls before; what it says is not heard if it falls after."""
        self._perhaps(f"before {what}")
        result = await call()
        self._perhaps(f"after {what}")
        return result


class FencedDatabase:
    """A `tracker.database.Database` behind a fence."""

    def __init__(self, inner: Database, fence: TrackerFence) -> None:
        self._inner = inner
        self._fence = fence

    async def transact(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        what = f"transaction {function.__name__}"
        return await self._fence.around(what, lambda: self._inner.transact(function, *args, **kwargs))

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._fence.around("reading", lambda: self._inner.read(function, *args, **kwargs))

    async def look(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._fence.around("looking", lambda: self._inner.look(function, *args, **kwargs))

    def channel(self) -> Any:
        return self._inner.channel()

    async def close(self) -> None:
        await self._inner.close()


class FencedStorage:
    """A `storage.interface.Storage` behind a fence."""

    def __init__(self, inner: Storage, fence: TrackerFence) -> None:
        self._inner = inner
        self._fence = fence

    async def put(self, key: str, data: bytes) -> None:
        await self._fence.around("put", lambda: self._inner.put(key, data))

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        return await self._fence.around("get", lambda: self._inner.get(key, offset, length))

    async def size(self, key: str) -> int:
        return await self._fence.around("size", lambda: self._inner.size(key))

    async def delete(self, key: str) -> None:
        await self._fence.around("delete", lambda: self._inner.delete(key))

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        return await self._fence.around("page", lambda: self._inner.page(prefix, after, limit))
