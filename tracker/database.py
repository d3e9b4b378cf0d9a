"""The database: plain synchronous functions, each in one transaction.

Every metadata operation is `def f(connection, ...)`. `transact` runs one that may write, `read` one that doesn't; both
are the only places where retries and the database's own errors live: in `tracker/sqlite.py` for the embedded default,
in `tracker/system/postgresql.py` for PostgreSQL. What holds in either: whoever changes a workspace locks its row first
(`metadata/order.py`), and whoever changes what an owner uses locks that row after it.
"""

from collections.abc import Callable
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection

from protocol.errors import Code, Refused
from tracker.fanout import Channel

P = ParamSpec("P")
T = TypeVar("T")


class Unavailable(Refused):
    """The database can't at the moment. `reason` is its own word, for who keeps it and not for devices."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(Code.UNAVAILABLE, message)
        self.reason = reason


class Database(Protocol):
    """Where transactions run."""

    async def transact(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(connection, ...)` in one transaction that may write; what it raises rolls back.

        It may run several times, so it must have no other effects. It sees all that was committed before each of its
        statements. Cancelled, it has happened or has not; what has happened is returned. `Unavailable` when the
        database can't, or when it isn't known whether it did.
        """
        ...

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(connection, ...)` on one consistent snapshot; it must not write."""
        ...

    async def look(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `function(connection, ...)` that reads, with a single statement: it needs no transaction around it."""
        ...

    def channel(self) -> Channel | None:
        """What leads to the other processes that use this database; None where there can be no others."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...
