"""The floor: what the database and the storage below a tracker do by themselves when the same is asked of them.

A commit is one row in a transaction of its own there, a batch of rows one transaction, a pack one file or one object.
Everything is fsynced as the tracker would. Each floor is a context that yields what to run with the clock running.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from bench.servers.seaweed import BUCKET, Seaweed

Run = Callable[[], object]
_TABLE = "CREATE TABLE IF NOT EXISTS floor (id INTEGER PRIMARY KEY, body {} NOT NULL)"
ROW_BYTES = 400
"""Of a row here; a create in a commit is some 400 bytes."""
_numbers = count()


class DatabaseFloor(Protocol):
    """Of a database."""

    def inserts(self, transactions: int, rows: int, connections: int) -> AbstractContextManager[Run]:
        """`transactions` of `rows` rows each, by so many connections at once, if the database has any use for them."""


class StorageFloor(Protocol):
    """Of a storage."""

    def puts(self, packs: Sequence[bytes], threads: int) -> AbstractContextManager[Run]:
        """Store all packs durably."""

    def gets(self, packs: Sequence[bytes], threads: int) -> AbstractContextManager[Run]:
        """Get back what `puts` stored."""


def _rows(rows: int) -> list[tuple[int, bytes]]:
    return [(next(_numbers), os.urandom(ROW_BYTES)) for _ in range(rows)]


class SqliteFloor:
    """Python's sqlite3, one writer, as there is never more than one."""

    def __init__(self, folder: Path) -> None:
        """A database in the folder, made when it is used."""
        self._file = folder / "floor.sqlite"

    @contextmanager
    def inserts(self, transactions: int, rows: int, connections: int) -> Iterator[Run]:
        """See `DatabaseFloor`."""
        batches = [_rows(rows) for _ in range(transactions)]
        with closing(sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)) as connection:
            connection.execute("PRAGMA journal_mode = WAL").close()
            connection.execute("PRAGMA synchronous = FULL").close()
            connection.execute(_TABLE.format("BLOB"))

            def run() -> None:
                for batch in batches:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.executemany("INSERT INTO floor VALUES (?, ?)", batch)
                    connection.execute("COMMIT")

            yield run


class PostgresqlFloor:
    """asyncpg, in one process and loop, as in the tracker."""

    def __init__(self, address: str) -> None:
        """A database that is there."""
        self._address = address

    @contextmanager
    def inserts(self, transactions: int, rows: int, connections: int) -> Iterator[Run]:
        """See `DatabaseFloor`."""
        import asyncpg  # it is in an extra

        batches = [_rows(rows) for _ in range(transactions)]
        shares = [batches[first::connections] for first in range(connections)]
        with asyncio.Runner() as runner:

            async def connect() -> list[Any]:
                opened = [await asyncpg.connect(self._address) for _ in shares]
                await opened[0].execute(_TABLE.format("BYTEA"))
                return opened

            async def insert_all() -> None:
                await asyncio.gather(*map(_insert, opened, shares))

            async def close() -> None:
                for connection in opened:
                    await connection.close()

            opened = runner.run(connect())
            yield lambda: runner.run(insert_all())
            runner.run(close())


async def _insert(connection: Any, batches: Sequence[Sequence[tuple[int, bytes]]]) -> None:
    for batch in batches:
        if len(batch) == 1:
            await connection.execute("INSERT INTO floor VALUES ($1, $2)", *batch[0])
        else:
            await connection.executemany("INSERT INTO floor VALUES ($1, $2)", batch)


class FolderFloor:
    """Files, each written, fsynced and renamed, its folder fsynced."""

    def __init__(self, folder: Path) -> None:
        """In a folder that is made when it is used."""
        self._folder = folder / "floor"

    @contextmanager
    def puts(self, packs: Sequence[bytes], threads: int) -> Iterator[Run]:
        """See `StorageFloor`."""
        self._folder.mkdir(exist_ok=True)
        yield lambda: _in_threads(self._put, list(enumerate(packs)), threads)

    @contextmanager
    def gets(self, packs: Sequence[bytes], threads: int) -> Iterator[Run]:
        """See `StorageFloor`."""
        files = [self._folder / str(number) for number in range(len(packs))]
        yield lambda: _in_threads(Path.read_bytes, files, threads)

    def _put(self, numbered: tuple[int, bytes]) -> None:
        number, pack = numbered
        made = self._folder / f"{number}.new"
        with made.open("wb") as file:
            file.write(pack)
            file.flush()
            os.fsync(file.fileno())
        made.rename(self._folder / str(number))
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class S3Floor:
    """boto3, as in the tracker."""

    def __init__(self, server: Seaweed) -> None:
        """In its bucket."""
        self._server = server

    @contextmanager
    def puts(self, packs: Sequence[bytes], threads: int) -> Iterator[Run]:
        """See `StorageFloor`."""
        client = self._server.client()

        def put(numbered: tuple[int, bytes]) -> None:
            client.put_object(Bucket=BUCKET, Key=f"floor/{numbered[0]}", Body=numbered[1])

        yield lambda: _in_threads(put, list(enumerate(packs)), threads)

    @contextmanager
    def gets(self, packs: Sequence[bytes], threads: int) -> Iterator[Run]:
        """See `StorageFloor`."""
        client = self._server.client()

        def get(number: int) -> None:
            client.get_object(Bucket=BUCKET, Key=f"floor/{number}")["Body"].read()

        yield lambda: _in_threads(get, range(len(packs)), threads)


def _in_threads(function: Callable[[Any], object], items: Sequence[Any], threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(function, items))
