"""Fixtures of the tracker's tests."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import trio

from tests.support.databases import Databases, PostgresDatabases, SqliteDatabases, postgres_databases
from tests.tracker.served import Served, open_served
from tests.tracker.workshop import Workshop, open_workshop


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresDatabases]:
    """A PostgreSQL server of this session."""
    with postgres_databases() as databases:
        yield databases


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Each kind of database in turn."""
    if request.param == "sqlite":
        return SqliteDatabases(tmp_path)
    databases: PostgresDatabases = request.getfixturevalue("postgres")
    return databases


@pytest.fixture
async def shop(databases: Databases) -> AsyncIterator[Workshop]:
    """A workspace on each kind of database."""
    async with open_workshop(databases) as workshop:
        yield workshop


@pytest.fixture
def any_database(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have programs use each kind of database; its address."""
    url = trio.run(databases.migrated_url)
    monkeypatch.setenv("SHOAL_DATABASE", url)
    return url


@pytest.fixture
async def sqlite_shop(tmp_path: Path) -> AsyncIterator[Workshop]:
    """A workspace in memory, where nothing waits for anything."""
    async with open_workshop(SqliteDatabases(tmp_path)) as workshop:
        yield workshop


@pytest.fixture
async def served(databases: Databases, tmp_path: Path) -> AsyncIterator[Served]:
    """A tracker on a real socket."""
    async with open_served(tmp_path / "data", await databases.migrated_url()) as made:
        yield made
