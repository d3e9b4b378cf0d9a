"""What a store was asked for, and how that went."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields

import trio

from storage.errors import StorageError
from storage.interface import PAGE, Storage, Stored


@dataclass(slots=True)
class Figures:
    """Of one method: calls that have ended, however; those that ended with an error of the store; bytes that went up or
    came down; seconds, waiting and repetitions included."""

    calls: int = 0
    errors: int = 0
    bytes: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.calls} calls, {self.errors} errors, {self.bytes} bytes, {self.seconds:.1f} s"


@dataclass(slots=True)
class AllFigures:
    """Of all methods of a `Storage`, by their names."""

    put: Figures
    get: Figures
    size: Figures
    delete: Figures
    page: Figures

    def __str__(self) -> str:
        used = ((field.name, getattr(self, field.name)) for field in fields(self))
        return "; ".join(f"{name}: {figures}" for name, figures in used if figures.calls) or "never asked"


class MeasuredStorage:
    """A `Storage` around another; `figures` are as they are now."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.figures = AllFigures(Figures(), Figures(), Figures(), Figures(), Figures())

    async def put(self, key: str, data: bytes) -> None:
        with _measured(self.figures.put):
            await self._storage.put(key, data)
            self.figures.put.bytes += len(data)

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        with _measured(self.figures.get):
            data = await self._storage.get(key, offset, length)
            self.figures.get.bytes += len(data)
            return data

    async def size(self, key: str) -> int:
        with _measured(self.figures.size):
            return await self._storage.size(key)

    async def delete(self, key: str) -> None:
        with _measured(self.figures.delete):
            await self._storage.delete(key)

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        with _measured(self.figures.page):
            return await self._storage.page(prefix, after, limit)


@contextmanager
def _measured(figures: Figures) -> Iterator[None]:
    began = trio.current_time()
    try:
        yield
    except StorageError:
        figures.errors += 1
        raise
    finally:
        figures.calls += 1
        figures.seconds += trio.current_time() - began
