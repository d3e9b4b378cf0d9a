"""Durable immutable objects: what every store offers.

A key is `FOLDER/NAME`, both of the characters 0-9 and a-z: 1 to 64 of them in FOLDER, 4 to 64 in NAME. The tracker uses
the workspace id and a content hash in hex. Every backend passes `tests/storage/test_conformance.py`; retries, limits
and metrics belong in wrappers around a backend, not in it.
"""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

PAGE = 1000
"""How many objects a listing asks for at a time."""

_KEY = re.compile(r"[0-9a-z]{1,64}/[0-9a-z]{4,64}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Stored:
    """One object in a listing; `size` in bytes."""

    key: str
    size: int


class Storage(Protocol):
    """One place for objects.

    Every method raises `ValueError` for a key that can't be one (a defect of the caller), `StorageDown` when the
    store doesn't work, and may be cancelled at any time: a cancelled `delete` has happened or has not; a cancelled
    `put` may also happen a little later.
    """

    async def put(self, key: str, data: bytes) -> None:
        """Store an object, once. It is durable, and whole for every reader, when this returns.

        The same bytes under the same key again are fine and change nothing; other bytes are `AlreadyThere`. Of two
        concurrent puts with different bytes exactly one succeeds. `Full` leaves nothing behind. Empty objects are
        allowed.
        """
        ...

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """`length` bytes from `offset`, or all from there on.

        `Missing` when there is no such object or it ends before the range does; `ValueError` for a negative number. A
        length of 0 gives b"" if the object reaches `offset`.
        """
        ...

    async def size(self, key: str) -> int:
        """How many bytes the object has; `Missing` when there is none."""
        ...

    async def delete(self, key: str) -> None:
        """Remove an object; durable when this returns. No error when there is none."""
        ...

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        """At most `limit` objects whose keys start with `prefix` and sort after `after`, in key order.

        `prefix` is any beginning of a key, `after` a whole key, which need not be there, or empty.
        Fewer than `limit` means that these were the last. What is put or deleted meanwhile may or may not show.
        """
        ...


def is_key(text: str) -> bool:
    """Whether an object of ours can have this key."""
    return _KEY.fullmatch(text) is not None


def check_key(key: str) -> None:
    """Raise `ValueError` for what can't be a key."""
    if not is_key(key):
        raise ValueError(f"{key!r} can't be an object's key")


def check_range(offset: int, length: int | None) -> None:
    """Raise `ValueError` for a range with a negative number."""
    if offset < 0 or (length is not None and length < 0):
        raise ValueError(f"no bytes at {offset} for {length}")


async def listing(storage: Storage, prefix: str = "") -> AsyncIterator[Stored]:
    """All objects whose keys start with `prefix`, in key order, a page at a time."""
    after = ""
    while True:
        page = await storage.page(prefix, after)
        for stored in page:
            yield stored
        if len(page) < PAGE:
            return
        after = page[-1].key
