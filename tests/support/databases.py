"""Each kind of database a tracker can have, for tests that hold on all of them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection, delete, make_url, text

from protocol.ports import Machine
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.tracker import memory_database, seeded_machine
from tracker.database import Database
from tracker.migrating import migrate
from tracker.schema import metadata
from tracker.sqlite import SqliteDatabase, make_engine
from tracker.system.loop import LoopThread, open_loop
from tracker.system.postgresql import PostgresqlDatabase


class Databases(Protocol):
    """Makes databases of one kind."""

    def migrated(self, machine: Machine) -> AbstractAsyncContextManager[Database]:
        """One with our tables, empty; the only one of its kind at a time. SQLite's is in memory."""
        ...

    async def migrated_url(self) -> str:
        """Its address, for one that several open."""
        ...

    def new_url(self) -> str:
        """The address of a database that was never used."""
        ...

    def opened(self, machine: Machine, url: str) -> AbstractAsyncContextManager[Database]:
        """The database there. Opened twice, it is as two processes see it."""
        ...


@dataclass
class SqliteDatabases:
    """Files in a folder; the migrated one in memory."""

    folder: Path
    made: int = 0

    @asynccontextmanager
    async def migrated(self, machine: Machine) -> AsyncIterator[Database]:
        database = await memory_database(machine)
        try:
            yield database
        finally:
            await database.close()

    async def migrated_url(self) -> str:
        return self.new_url()

    def new_url(self) -> str:
        self.made += 1
        return f"sqlite:///{self.folder / f'database-{self.made}'}"

    @asynccontextmanager
    async def opened(self, machine: Machine, url: str) -> AsyncIterator[Database]:
        database = SqliteDatabase(machine, make_engine(url))
        try:
            yield database
        finally:
            await database.close()


@dataclass
class PostgresDatabases:
    """Databases of one server, spoken to from one loop."""

    server: PostgresServer
    loop: LoopThread
    made: int = 0
    used: bool = False
    """Whether the migrated one has been. It is emptied, and not made anew: that takes a tenth of the time."""

    @asynccontextmanager
    async def migrated(self, machine: Machine) -> AsyncIterator[Database]:
        async with self.opened(machine, self._migrated) as database:
            await database.transact(_empty if self.used else migrate)
            self.used = True
            yield database

    async def migrated_url(self) -> str:
        async with self.migrated(seeded_machine()):
            return self._migrated

    @property
    def _migrated(self) -> str:
        return self.server.url()

    def new_url(self) -> str:
        self.made += 1
        name = f"test_{self.made}"
        self.server.psql(f"CREATE DATABASE {name}")
        return self.server.url(name)

    @asynccontextmanager
    async def opened(self, machine: Machine, url: str) -> AsyncIterator[Database]:
        database = PostgresqlDatabase(machine, self.loop, make_url(url))
        try:
            yield database
        finally:
            await database.close()


def _empty(connection: Connection) -> None:
    connection.execute(text("SET LOCAL session_replication_role = replica"))  # no foreign keys to look up
    for table in reversed(metadata.sorted_tables):
        connection.execute(delete(table))


@contextmanager
def postgres_databases() -> Iterator[PostgresDatabases]:
    """Databases of a server of their own."""
    with postgres_server() as server, open_loop() as loop:
        yield PostgresDatabases(server, loop)
