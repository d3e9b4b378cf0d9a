"""Statements run for many rows: as SQLite and as asyncpg take them, and run."""

import pytest
from sqlalchemy import Connection, Dialect, bindparam, create_engine, delete, insert, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.exc import IntegrityError

from tests.support.databases import Databases
from tests.support.tracker import seeded_machine
from tracker.metadata.bulk import Bulk, Row, Together, Work
from tracker.schema import awaiting, metadata, nodes, versions

WORKSPACE, FIRST, SECOND = bytes(16), b"1" * 16, b"2" * 16
CHUNK = bytes(32)

SQLITE: Dialect = sqlite.dialect()
POSTGRESQL: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]

_COUNT_DOWN = (
    update(versions)
    .where(versions.c.workspace == bindparam("at"))
    .values(missing=versions.c.missing - bindparam("less"), leased_ms=bindparam("now"), progress_ms=bindparam("now"))
)
_ADD = Bulk(insert(awaiting), *awaiting.columns.keys())
_FORGET = Bulk(
    delete(awaiting).where(awaiting.c.workspace == bindparam("at"), awaiting.c.version == bindparam("of")), "at", "of"
)


@pytest.mark.parametrize("dialect", [SQLITE, POSTGRESQL], ids=lambda dialect: dialect.name)
def test_an_insert_of_all_columns_takes_rows_as_they_are(dialect: Dialect) -> None:
    _, arranged = Bulk(insert(nodes), *nodes.columns.keys()).compile(dialect)
    row = tuple(range(len(nodes.columns)))
    assert arranged(row) == row


def test_parameters_are_put_where_each_database_wants_them() -> None:
    bulk = Bulk(_COUNT_DOWN, "at", "less", "now")
    text, arranged = bulk.compile(SQLITE)
    assert text.count("?") == 4
    assert arranged(("w", 1, 2)) == (1, 2, 2, "w")
    text, arranged = bulk.compile(POSTGRESQL)
    assert "$3" in text
    assert "$4" not in text
    assert arranged(("w", 1, 2)) == (1, 2, "w")


def test_postgresql_takes_rows_as_arrays() -> None:
    text, _ = Bulk(insert(awaiting), *awaiting.columns.keys()).compile(POSTGRESQL)
    arrays = "CAST($1 AS BYTEA[]), CAST($2 AS BYTEA[]), CAST($3 AS BYTEA[]), CAST($4 AS INTEGER[])"
    assert text == f"INSERT INTO awaiting (workspace, chunk, version, length) SELECT * FROM unnest({arrays})"


async def test_several_statements_are_run_together(databases: Databases) -> None:
    """Nothing is lost between them, and none comes without its rows."""
    async with databases.migrated(seeded_machine()) as database:
        rows: list[Row] = [(WORKSPACE, CHUNK, version, 7) for version in (FIRST, SECOND)]
        nothing: list[Row] = []
        await database.transact(Together().run, [(_ADD, rows), (_FORGET, nothing)])
        assert await database.read(_awaited) == rows
        works: list[Work] = [(_ADD, [(WORKSPACE, b"2" * 32, FIRST, 9)]), (_FORGET, [(WORKSPACE, SECOND)])]
        await database.transact(Together().run, works)
        assert await database.read(_awaited) == [rows[0], (WORKSPACE, b"2" * 32, FIRST, 9)]
        await database.transact(Together().run, [])


def _awaited(connection: Connection) -> list[tuple[object, ...]]:
    return [tuple(row) for row in connection.execute(select(awaiting).order_by(awaiting.c.chunk, awaiting.c.version))]


def test_a_parameter_that_no_row_brings_is_refused() -> None:
    with pytest.raises(ValueError, match="not in"):
        Bulk(_COUNT_DOWN, "at", "less").compile(sqlite.dialect())


def test_rows_are_written_and_errors_are_the_databases_own() -> None:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    add = Bulk(insert(awaiting), *awaiting.columns.keys())
    rows = [(WORKSPACE, CHUNK, version, 7) for version in (FIRST, SECOND)]
    with engine.connect() as connection:
        add.run(connection, [])
        add.run(connection, rows[:1])
        add.run(connection, rows[1:])
        found = connection.execute(select(awaiting).order_by(awaiting.c.version))
        assert [tuple(row) for row in found] == rows
        with pytest.raises(IntegrityError):
            add.run(connection, rows)
    engine.dispose()
