"""SQLite: the embedded default, in a file (WAL, every commit fsynced) or in memory.

It has one writer at a time anyway, so writers queue at a limiter of 1 instead of colliding in the file.
"""

import logging
import sqlite3
from collections.abc import Callable
from functools import partial
from typing import Any, Concatenate

import trio
from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, make_url
from sqlalchemy.exc import OperationalError

from protocol.ports import Machine
from tracker.database import P, T, Unavailable

IN_MEMORY = "sqlite://"
READERS = 8
ATTEMPTS = 5
"""How often a transaction is tried that another process's writer kept out."""
BUSY_TIMEOUT_MS = 5000
_WRITER = "shoal_writer"
# As in `peer/database.py`: bytes are found to be fit as they are at once, rather than after three look-ups in vain.
sqlite3.register_adapter(bytes, bytes.__bytes__)

_log = logging.getLogger("shoal.tracker.database")


class SqliteDatabase:
    """SQLite, in a file (WAL, every commit fsynced) or in memory."""

    def __init__(self, machine: Machine, engine: Engine) -> None:
        self._machine = machine
        self.engine = engine
        self._writer = trio.CapacityLimiter(1)
        in_memory = isinstance(engine.pool, StaticPool)  # one connection, so one user of it at a time
        self._readers = self._writer if in_memory else trio.CapacityLimiter(READERS)
        self._begin_write = engine.execution_options(**{_WRITER: True})

    async def transact(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(
            self._writer, self._begin_write, lambda connection: function(connection, *args, **kwargs)
        )

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(self._readers, self.engine, lambda connection: function(connection, *args, **kwargs))

    async def look(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.read(function, *args, **kwargs)

    def channel(self) -> None:
        """One process serves from it."""

    async def close(self) -> None:
        await self._machine.offload(self.engine.dispose, self._writer)

    async def _run(self, limiter: trio.CapacityLimiter, engine: Engine, function: Callable[[Connection], T]) -> T:
        attempt = 1
        while True:
            try:
                return await self._machine.offload(partial(_in_transaction, engine, function), limiter)
            except OperationalError as error:
                if attempt == ATTEMPTS or not _is_busy(error):
                    raise _refusal(error) from error
                attempt += 1


def _in_transaction(engine: Engine, function: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return function(connection)


def _is_busy(error: OperationalError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _refusal(error: OperationalError) -> Unavailable:
    """What a device is told; the log gets the database's own word, without the statement's parameters."""
    _log.error("the database failed: %s", error.orig)
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None and code & 0xFF == sqlite3.SQLITE_FULL:
        return Unavailable("the tracker's disk is full", str(error.orig))
    return Unavailable("the tracker's database is not available at the moment", str(error.orig))


def _on_connect(connection: Any, _: object) -> None:
    """Settings of one connection. Transactions are begun by `_on_begin`, not by Python's sqlite3."""
    connection.isolation_level = None
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",  # a commit that was answered survives power loss
        "foreign_keys = ON",
        f"busy_timeout = {BUSY_TIMEOUT_MS}",
        "cache_size = -16384",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _on_begin(connection: Connection) -> None:
    writer = connection.get_execution_options().get(_WRITER)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")


def make_engine(url: str | URL) -> Engine:
    """An engine for `sqlite:///FILE` or, kept in memory for as long as it lives, `sqlite://`."""
    if make_url(url).database in (None, "", ":memory:"):
        engine = create_engine(IN_MEMORY, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(url, pool_size=READERS + 1, max_overflow=0, hide_parameters=True)
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine
