"""The pairs of database and storage that a tracker is measured on. Each is started from nothing, on loopback."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from bench.lan.usage import Daemon, Measured
from bench.parts import Tracker
from bench.programs import Programs
from bench.servers import seaweed
from bench.servers.postgresql import binaries, postgresql
from bench.tracker.floors import DatabaseFloor, FolderFloor, PostgresqlFloor, S3Floor, SqliteFloor, StorageFloor
from bench.tracker.usage import Self, Tree

TRACKER, CLIENT = "tracker", "client"
"""Names of processes."""


@dataclass(frozen=True)
class DatabaseGround:
    """A database that runs: the tracker's options for it, and its processes."""

    floor: DatabaseFloor
    says: str  # what it is, with its version
    options: tuple[str, ...] = ()
    processes: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class StorageGround:
    """A storage that runs: the tracker's options and environment for it, and its processes."""

    floor: StorageFloor
    says: str
    options: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    processes: Mapping[str, Measured] = field(default_factory=dict)


@dataclass(frozen=True)
class Database:
    """A kind of database. `missing` tells in one line why there can't be one; `start` makes one below a folder."""

    name: str
    missing: Callable[[], str | None]
    start: Callable[[Path, Programs], AbstractAsyncContextManager[DatabaseGround]]


@dataclass(frozen=True)
class Storage:
    """A kind of storage, in the same way."""

    name: str
    missing: Callable[[], str | None]
    start: Callable[[Path, Programs], AbstractAsyncContextManager[StorageGround]]


@dataclass(frozen=True)
class Pair:
    """A database and a storage."""

    name: str
    database: Database
    storage: Storage

    def missing(self) -> str | None:
        """Why it can't be measured."""
        return self.database.missing() or self.storage.missing()

    @property
    def what(self) -> str:
        """In a few words."""
        return f"{self.database.name} and {self.storage.name}"


@dataclass(frozen=True)
class Stand:
    """A tracker on a pair, ready to be asked."""

    url: str
    database: DatabaseGround
    storage: StorageGround
    processes: Mapping[str, Measured]  # in the order to show them
    daemons: Mapping[str, int]  # pids of what a profile can be made of


@asynccontextmanager
async def standing(pair: Pair, place: Path, programs: Programs) -> AsyncIterator[Stand]:
    """Start a pair and a tracker on it, below an empty folder; all ends with the block."""
    async with pair.database.start(place, programs) as database, pair.storage.start(place, programs) as storage:
        tracker = Tracker(programs, place / "data", (*database.options, *storage.options), storage.variables)
        await tracker.start()
        assert tracker.running is not None
        pid = tracker.running.process.pid
        processes = {TRACKER: Daemon(pid), **database.processes, **storage.processes, CLIENT: Self()}
        try:
            yield Stand(tracker.url, database, storage, processes, {TRACKER: pid})
        finally:
            await programs.stop(tracker.running)


def _never() -> None:
    return None


@asynccontextmanager
async def _sqlite(place: Path, _: Programs) -> AsyncIterator[DatabaseGround]:
    import sqlite3

    yield DatabaseGround(SqliteFloor(place), f"SQLite {sqlite3.sqlite_version}, in the tracker's process")


@asynccontextmanager
async def _postgresql(_: Path, programs: Programs) -> AsyncIterator[DatabaseGround]:
    async with postgresql(programs) as server:
        for name in ("shoal", "floor"):
            await server.create(name)
        driver = server.address("shoal").replace("postgresql:", "postgresql+asyncpg:")
        yield DatabaseGround(
            floor=PostgresqlFloor(server.address("floor")),
            says=f"{server.version}, its own settings, asyncpg {version('asyncpg')}",
            options=("--database", driver),
            processes={"PostgreSQL": Tree(server.running.process.pid)},
        )


def _no_postgresql() -> str | None:
    if find_spec("asyncpg") is None:
        return "asyncpg is not installed (pip install 'shoal[postgresql]')"
    return None if binaries() else "PostgreSQL is not installed (apt-get install postgresql)"


@asynccontextmanager
async def _folder(place: Path, _: Programs) -> AsyncIterator[StorageGround]:
    yield StorageGround(FolderFloor(place), "a folder")


@asynccontextmanager
async def _s3(place: Path, programs: Programs) -> AsyncIterator[StorageGround]:
    async with seaweed.seaweed(programs, place / "seaweed") as server:
        yield StorageGround(
            floor=S3Floor(server),
            says=f"{await server.version()}, boto3 {version('boto3')}",
            options=("--storage", server.address),
            variables=server.variables,
            processes={"SeaweedFS": Tree(server.running.process.pid)},
        )


SQLITE = Database("SQLite", _never, _sqlite)
POSTGRESQL = Database("PostgreSQL", _no_postgresql, _postgresql)
FOLDER = Storage("a folder", _never, _folder)
S3 = Storage("S3", seaweed.missing, _s3)

PAIRS = (Pair("sqlite", SQLITE, FOLDER), Pair("postgresql", POSTGRESQL, S3))
PAIR_NAMES = tuple(pair.name for pair in PAIRS)
