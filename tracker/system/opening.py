"""From the command line's addresses to an open database and storage."""

import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import ArgumentError, OperationalError

from protocol.errors import Problem, Usage
from protocol.system import real_machine
from tracker.database import SqliteDatabase, make_engine
from tracker.migrating import migrate, require_newest

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
        return self.database or f"sqlite:///{(self.data / DATABASE).absolute()}"

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
    _engine(locations.database_url, make=True).dispose()


def _engine(url: str, *, make: bool) -> Engine:
    try:
        engine = make_engine(url)
    except ArgumentError:
        raise Usage(f"{url!r} is no database address") from None
    file = engine.url.database
    if not make and file is not None and not Path(file).exists():
        raise Usage(f"there is no tracker's database at {file}: `shoal-tracker serve` makes one")
    return engine


@asynccontextmanager
async def open_database(locations: Locations, *, make: bool) -> AsyncIterator[SqliteDatabase]:
    """The database, with its schema brought up to date (`make`) or required to be (otherwise).

    `Usage` for an address that isn't supported or, without `make`, when there is no database; `DatabaseTooNew`;
    `Problem` when it can't be opened.
    """
    database = SqliteDatabase(real_machine(), _engine(locations.database_url, make=make))
    try:
        await database.transact(migrate if make else require_newest)
        yield database
    except OperationalError as error:
        raise Problem(f"the database can't be opened: {error.orig}") from None
    finally:
        await database.close()
