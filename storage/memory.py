"""Objects in memory: for the simulation and for tests. Durable for as long as the object lives."""

from storage.errors import AlreadyThere, Missing
from storage.interface import PAGE, Stored, check_key, check_range


class MemoryStorage:
    """A `Storage` that never waits, so that a simulation has no hidden scheduling."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def put(self, key: str, data: bytes) -> None:
        check_key(key)
        if self.objects.setdefault(key, bytes(data)) != data:
            raise AlreadyThere(f"object {key} is there with other bytes")

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        check_range(offset, length)
        data = self._find(key)
        end = len(data) if length is None else offset + length
        if offset > len(data) or end > len(data):
            raise Missing(f"object {key} has {len(data)} bytes, not {end}")
        return data[offset:end]

    async def size(self, key: str) -> int:
        return len(self._find(key))

    async def delete(self, key: str) -> None:
        check_key(key)
        self.objects.pop(key, None)

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        keys = sorted(key for key in self.objects if key.startswith(prefix) and key > after)
        return [Stored(key, len(self.objects[key])) for key in keys[:limit]]

    def _find(self, key: str) -> bytes:
        check_key(key)
        if key not in self.objects:
            raise Missing(f"there is no object {key}")
        return self.objects[key]
