"""The channel between processes over PostgreSQL's LISTEN and NOTIFY, on one connection of its own.

Messages are sent after the transactions they tell of: NOTIFY inside one would make all commits of the whole database
queue for one lock. Those that wait go in one statement, which writes nothing to the log and waits for no disk. The
sender's mark in front lets it pass over its own; equal messages that PostgreSQL folds into one say nothing new.
"""

import asyncio
import logging
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import asyncpg
import trio
from sqlalchemy import URL, NullPool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from protocol.identifiers import ID_LENGTH
from protocol.ports import Machine
from tracker.fanout import Missed, Receiver, encode_message
from tracker.system.loop import Job, LoopThread
from tracker.system.sqlstates import reason_of

NAME = "shoal"
MAX_WAITING, AT_ONCE = 10_000, 200
"""Messages that wait for a connection, of which more are all forgotten and missed; and in one statement."""
PING_S, PATIENCE_S = 10.0, 10.0
"""A connection that is quiet for so long is asked; one that doesn't answer for so long is lost."""
PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Between attempts to connect; the last again and again."""

_log = logging.getLogger("shoal.tracker.channel")


class PostgresqlChannel:
    """See `tracker.fanout.Channel`."""

    def __init__(self, machine: Machine, loop: LoopThread, url: URL) -> None:
        self._mark = machine.random_bytes(ID_LENGTH)
        self._loop = loop
        self._url = url
        self._waiting: deque[str] = deque()  # this and `_news` are the loop's
        self._news = asyncio.Event()

    def send(self, message: bytes) -> None:
        payload = b64encode(self._mark + message).decode()
        self._loop.soon(lambda: self._enqueue(payload))

    def _enqueue(self, payload: str) -> None:
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.clear()
            payload = b64encode(self._mark + encode_message(Missed())).decode()
        self._waiting.append(payload)
        self._news.set()

    async def run(self, receiver: Receiver, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        token = trio.lowlevel.current_trio_token()
        stood = trio.Event()

        def stands() -> None:
            if stood.is_set():
                receiver.missed()  # what was sent while nobody listened
            else:
                task_status.started()
            stood.set()

        async def carry(_: Job[None]) -> None:
            await self._carry(
                lambda: token.run_sync_soon(stands), lambda message: token.run_sync_soon(receiver.receive, message)
            )

        pauses = iter(PAUSES_S)
        while True:
            begun = trio.current_time()
            try:
                await self._loop.run(carry)
            except (asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError, OSError, TimeoutError) as error:
                _log.warning("what other processes tell does not come: %s", reason_of(error))
            if trio.current_time() - begun > PATIENCE_S + PAUSES_S[-1]:
                pauses = iter(PAUSES_S)
            await trio.sleep(next(pauses, PAUSES_S[-1]))

    async def _carry(self, stands: Callable[[], None], received: Callable[[bytes], None]) -> None:
        """Carry until the connection is lost, which raises."""
        engine = create_async_engine(self._url, poolclass=NullPool, connect_args={"timeout": PATIENCE_S})
        async with engine.connect() as pooled:
            connection: asyncpg.Connection[Any] = (await pooled.get_raw_connection()).driver_connection

            def heard(_: object, __: int, ___: str, payload: str) -> None:
                sent = _decoded(payload)
                if not sent.startswith(self._mark):
                    received(sent[ID_LENGTH:])

            connection.add_termination_listener(lambda _: self._news.set())
            try:
                await connection.add_listener(NAME, heard)
                stands()
                while True:
                    await self._send_on(connection)
            finally:
                connection.terminate()  # without a goodbye, for which one might wait long

    async def _send_on(self, connection: "asyncpg.Connection[Any]") -> None:
        """Send what waits, or see after a while that the connection is still there."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PING_S):  # `wait_for` can swallow a cancellation
                await self._news.wait()
        self._news.clear()
        sent = [self._waiting.popleft() for _ in range(min(len(self._waiting), AT_ONCE))]
        try:
            await connection.execute(
                "SELECT pg_notify($1, message) FROM unnest($2::text[]) AS message", NAME, sent, timeout=PATIENCE_S
            )
        except BaseException:
            self._waiting.extendleft(reversed(sent))  # on the next connection; twice does no harm
            raise
        if self._waiting:
            self._news.set()


def _decoded(payload: str) -> bytes:
    """What was sent; something that is nobody's message for what wasn't sent by a tracker."""
    try:
        return b64decode(payload, validate=True)
    except ValueError:
        return b""
