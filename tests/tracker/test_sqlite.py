"""What only SQLite can get wrong: its settings, its file's disk."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select

from protocol.errors import Code, Refused
from protocol.system import real_machine
from tracker.migrating import migrate
from tracker.schema import meta
from tracker.sqlite import SqliteDatabase, make_engine


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    """In a file."""
    opened = SqliteDatabase(real_machine(), make_engine(f"sqlite:///{tmp_path / 'database'}"))
    yield opened
    await opened.close()


def _put(connection: Connection, name: str) -> None:
    connection.execute(insert(meta), [{"name": name, "value": b""}])


def _names(connection: Connection) -> list[str]:
    return sorted(connection.scalars(select(meta.c.name)))


async def test_durability_settings_hold_on_every_connection(database: SqliteDatabase) -> None:

    def settings(connection: Connection) -> tuple[object, ...]:
        names = ("journal_mode", "synchronous", "foreign_keys")
        return tuple(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names)

    for run in (database.transact, database.read):
        assert await run(settings) == ("wal", 2, 1)


async def test_a_full_disk_is_named_and_over_when_there_is_room(database: SqliteDatabase) -> None:
    await database.transact(migrate)

    def limit(connection: Connection, extra: int) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + extra}")

    def fill(connection: Connection) -> None:
        limit(connection, 2)
        connection.execute(insert(meta), [{"name": "big", "value": bytes(100_000)}])

    with pytest.raises(Refused, match="disk is full") as caught:
        await database.transact(fill)
    assert caught.value.code is Code.UNAVAILABLE
    await database.transact(limit, 1000)
    await database.transact(_put, "small")
    assert await database.read(_names) == ["small"]
