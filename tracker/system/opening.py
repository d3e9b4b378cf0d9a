"""From the command line's addresses to an open database and storage."""

import fcntl
import logging
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from protocol.errors import Problem, Usage
from protocol.system import real_machine
from tracker.database import Database, Unavailable
from tracker.migrating import migrate, require_newest
from tracker.sqlite import SqliteDatabase, make_engine
from tracker.system.addresses import POSTGRESQL, parse_database

DATABASE, OBJECTS, LOCK = "tracker.sqlite", "objects", "lock"


@dataclass(frozen=True, slots=True)
class Locations:
    """Where a tracker keeps things. The database and the storage are in the data folder unless said otherwise."""

    data: Path
    database: str | None = None
    storage: str | None = None

    @property
    def database_url(self) -> str:
        """The address of the database."""
        return self.database if self.database is not None else f"sqlite:///{(self.data / DATABASE).absolute()}"

    @property
    def storage_url(self) -> str:
        """The address of the storage."""
        return self.storage or f"file://{(self.data / OBJECTS).absolute()}"


def default_data() -> Path:
    """`$XDG_DATA_HOME/shoal-tracker`."""
    base = os.environ.get("XDG_DATA_HOME", "")
    return Path(base if os.path.isabs(base) else Path.home() / ".local" / "share") / "shoal-tracker"


def make_data(data: Path) -> None:
    """Make the data folder, for this user's eyes only; so is everything made in it later."""
    os.umask(0o077)
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"the data folder {data} can't be made: {error.strerror}") from None


@contextmanager
def sole_server(data: Path) -> Iterator[None]:
    """Hold the data folder's lock; `Problem` when another server has it."""
    with open(data / LOCK, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Problem(f"another tracker serves from {data}") from None
        yield


def check_database(locations: Locations) -> None:
    """`Usage` unless the database's address is one of ours. Touches nothing."""
    _url(locations)


def serves_many(locations: Locations) -> bool:
    """Whether several processes may serve from this database."""
    return _url(locations).drivername == POSTGRESQL


def _url(locations: Locations) -> URL:
    return parse_database(locations.database_url)


@asynccontextmanager
async def open_database(locations: Locations, *, make: bool) -> AsyncIterator[Database]:
    """The database, with its schema brought up to date (`make`) or required to be (otherwise).

    `Usage` for an address that isn't supported or, without `make`, when there is no database; `DatabaseTooNew`;
    `Problem` when it can't be opened.
    """
    url = _url(locations)
    async with _connected(url, make=make, patience=None) as database:
        try:
            with _told_once():
                await database.transact(migrate if make else require_newest)
        except Unavailable as error:
            raise Problem(f"the database {url!r} can't be used: {error.reason}") from None
        except DBAPIError as error:
            raise Problem(f"the database {url!r} can't be used: {error.orig}") from None
    async with _connected(url, make=make) as database:
        yield database


@contextmanager
def _told_once() -> Iterator[None]:
    """Why the database can't be used is what the command ends with: not a line of the log as well."""
    log = logging.getLogger("shoal.tracker.database")
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = False


@asynccontextmanager
async def _connected(url: URL, *, make: bool, **patience: float | None) -> AsyncIterator[Database]:
    if url.drivername == POSTGRESQL:
        async with _postgresql(url, **patience) as database:
            yield database
        return
    if not make:
        _require_file(url)
    sqlite = SqliteDatabase(real_machine(), make_engine(url))
    try:
        yield sqlite
    finally:
        await sqlite.close()


def _require_file(url: URL) -> None:
    if url.database is not None and not Path(url.database).exists():
        raise Usage(f"there is no tracker's database at {url.database}: `shoal-tracker serve` makes one")


@asynccontextmanager
async def _postgresql(url: URL, **patience: float | None) -> AsyncIterator[Database]:
    try:
        from tracker.system.postgresql import PostgresqlDatabase  # asyncpg is in an extra
    except ModuleNotFoundError as error:
        raise Usage(f"PostgreSQL needs {error.name}: pip install 'shoal[postgresql]'") from None
    from tracker.system.loop import open_loop

    with open_loop() as loop:
        database = PostgresqlDatabase(real_machine(), loop, url, **patience)
        try:
            yield database
        finally:
            await database.close()
