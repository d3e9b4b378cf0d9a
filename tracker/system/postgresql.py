"""PostgreSQL through asyncpg, for a tracker of many processes.

A transaction is sent to an asyncio loop in another thread as a whole (`loop.py`), where SQLAlchemy runs the plain
function in a greenlet. Writers see each statement's moment (READ COMMITTED): what they decide by is behind the lock of
the workspace's row, which a snapshot from before that lock would defeat. Readers see one snapshot.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Concatenate

import trio
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from protocol.ports import Machine
from tracker.database import P, T, Unavailable
from tracker.system.channel import PostgresqlChannel
from tracker.system.loop import Job, LoopThread
from tracker.system.sqlstates import COLLIDED, DEFECTS, FULL, LOST, Failure, may_pass, reason_of, state_of

WRITERS, READERS = 8, 8
"""Transactions at a time, and so connections, of each kind. More only make one Python process switch more often."""
STATEMENT_S, LOCK_S, IDLE_S = 30, 10, 60
"""After so long PostgreSQL ends a statement, a wait for another transaction's lock, a transaction that says nothing."""
CONNECT_S = 10
WHOLE_S = 60
"""A transaction that takes longer is given up: whatever is between us and PostgreSQL has gone quiet."""
CLOSE_S = 1
"""For all connections to be closed politely."""
ATTEMPTS = 6
PAUSE_S = 0.02
"""Before the second attempt, at most; twice that before each further one."""

_log = logging.getLogger("shoal.tracker.database")


class Unsure(Exception):
    """The connection was lost while a transaction was committed: it may have happened."""


class PostgresqlDatabase:
    """A database of a PostgreSQL server, reached when it is first used."""

    def __init__(self, machine: Machine, loop: LoopThread, url: URL, *, patience: float | None = WHOLE_S) -> None:
        """`patience` is how many seconds a whole transaction may take; None for one that migrates."""
        self._machine = machine
        self._loop = loop
        self._url = url
        self._patience = patience
        self._engine = _make_engine(url)
        self._read_engine = self._engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        self._bare_engine = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writers, self._readers = trio.CapacityLimiter(WRITERS), trio.CapacityLimiter(READERS)

    async def transact(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(self._writers, self._engine, lambda connection: function(connection, *args, **kwargs))

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(
            self._readers, self._read_engine, lambda connection: function(connection, *args, **kwargs)
        )

    async def look(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(
            self._readers, self._bare_engine, lambda connection: function(connection, *args, **kwargs)
        )

    def channel(self) -> PostgresqlChannel:
        """See `Database`."""
        return PostgresqlChannel(self._machine, self._loop, self._url)

    async def close(self) -> None:
        await self._loop.run(self._dispose)

    async def _dispose(self, _: Job[None]) -> None:
        """Say goodbye on each connection; who doesn't answer is left."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._engine.dispose()

    async def _run(self, limiter: trio.CapacityLimiter, engine: AsyncEngine, function: Callable[[Connection], T]) -> T:
        attempt = 1
        while True:
            try:
                async with limiter:
                    return await self._loop.run(partial(_in_transaction, engine, function, self._patience))
            except Unsure as error:
                _log.error("the database was lost during a commit: %s", error)
                raise Unavailable("the tracker's database was lost; ask again", str(error)) from error
            except (DBAPIError, OSError, TimeoutError) as error:
                if attempt == ATTEMPTS or not may_pass(error):
                    raise _refusal(error) from error
                if state_of(error).startswith(LOST):
                    await self.close()  # the others to that server are no use either
            await trio.sleep(self._pause(attempt))
            attempt += 1

    def _pause(self, attempt: int) -> float:
        """Random, so that those who collided don't meet again."""
        share = (1 + self._machine.random_bytes(1)[0]) / 256
        return PAUSE_S * (1 << (attempt - 1)) * share


def _make_engine(url: URL) -> AsyncEngine:
    settings = {
        "application_name": "shoal-tracker",
        "statement_timeout": f"{STATEMENT_S}s",
        "lock_timeout": f"{LOCK_S}s",
        "idle_in_transaction_session_timeout": f"{IDLE_S}s",
        "jit": "off",  # for statements of a millisecond it takes longer than it saves
    }
    return create_async_engine(
        url,
        pool_size=WRITERS + READERS,
        max_overflow=0,
        hide_parameters=True,
        isolation_level="READ COMMITTED",
        connect_args={"server_settings": settings, "timeout": CONNECT_S, "prepared_statement_cache_size": 500},
    )


async def _in_transaction(
    engine: AsyncEngine, function: Callable[[Connection], T], patience: float | None, job: Job[T]
) -> T:
    try:
        async with asyncio.timeout(patience), engine.connect() as connection:
            result = await connection.run_sync(function)
            job.must_finish = True  # what is committed is told to whoever waits for it
            await connection.commit()
            return result
    except (DBAPIError, OSError, TimeoutError) as error:
        if job.must_finish and not state_of(error).startswith(COLLIDED):
            raise Unsure(reason_of(error)) from error
        raise


def _refusal(error: Failure) -> Exception:
    """What a device is told. A statement that PostgreSQL doesn't take is our own defect, and stays what it is."""
    state = state_of(error)
    if state.startswith(DEFECTS):
        return error
    reason = reason_of(error)
    _log.error("the database failed: %s", reason)
    if state == FULL:
        return Unavailable("the tracker's disk is full", reason)
    return Unavailable("the tracker's database is not available at the moment", reason)
