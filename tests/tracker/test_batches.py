"""Lists of ids as one parameter: what they find, that an index finds it, and how PostgreSQL is asked."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    ClauseElement,
    Column,
    Connection,
    Dialect,
    Engine,
    Executable,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql import visitors

from tests.support.databases import PostgresDatabases
from tests.support.tracker import seeded_machine
from tracker.metadata import durable, loading, runs, weighing, writing
from tracker.metadata.batches import BATCH, WORKSPACE, Lookup, among
from tracker.schema import Bytes, awaiting, metadata

HERE, ELSEWHERE = b"h" * 16, b"e" * 16
CHUNKS = [at.to_bytes(32, "big") for at in range(BATCH)]
_FIND = select(awaiting.c.chunk).where(awaiting.c.workspace == WORKSPACE, among(awaiting.c.chunk))

_HOT = [
    value
    for module in (durable, loading, runs, weighing, writing)
    for value in vars(module).values()
    if isinstance(value, Executable)
    and isinstance(value, ClauseElement)
    and "cuts(" in str(value.compile(create_engine("sqlite://")))
]
_LOOKUPS = [
    value
    for module in (durable, loading, runs, weighing)
    for value in vars(module).values()
    if isinstance(value, Lookup)
]
_BY_ID = re.compile(r"\(\(workspace = .*\) AND \(\w+ = .*wanted_.*\)\)")
_LISTS = ("ids", "parents", "tokens", "places", "versions")


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine: Engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _found(connection: Connection, ids: list[bytes]) -> list[bytes]:
    return sorted(connection.scalars(_FIND, {"workspace": HERE, "ids": ids}))


def test_those_of_a_list_are_found_and_no_others(connection: Connection) -> None:
    rows = [(workspace, chunk, HERE, 1) for workspace in (HERE, ELSEWHERE) for chunk in CHUNKS[::2]]
    names = awaiting.columns.keys()
    connection.execute(insert(awaiting), [dict(zip(names, row, strict=True)) for row in rows])
    assert _found(connection, []) == []
    assert _found(connection, CHUNKS[1:2]) == []
    assert _found(connection, CHUNKS[2:3]) == CHUNKS[2:3]
    assert _found(connection, [*CHUNKS, *CHUNKS[:10]]) == CHUNKS[::2]


@pytest.mark.parametrize("statement", [*_HOT, *(lookup.statements["sqlite"] for lookup in _LOOKUPS)])
def test_an_index_finds_the_rows(connection: Connection, statement: Executable) -> None:
    """And not a scan of the workspace."""
    run: list[tuple[str, tuple[object, ...]]] = []
    event.listen(connection, "before_cursor_execute", lambda _c, _d, sql, values, _x, _m: run.append((sql, values)))
    connection.execute(statement, {"workspace": HERE, "at_workspace": HERE, **dict.fromkeys(_LISTS, CHUNKS)})
    ((sql, values),) = run
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
    searches = [row.detail for row in plan if row.detail.startswith("SEARCH")]
    assert searches
    assert all("(workspace=? AND " in search for search in searches), searches


def test_there_are_hot_statements() -> None:
    assert len(_HOT) >= 4
    assert len(_LOOKUPS) >= 6


def test_postgresql_takes_an_array() -> None:
    dialect: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]
    text = str(_FIND.compile(dialect=dialect))
    assert "awaiting.chunk = ANY (CAST($2 AS BYTEA[]))" in text


async def test_an_index_of_postgresql_finds_the_rows(postgres: PostgresDatabases) -> None:
    """The one plan that it keeps for all workspaces and lists, of tables large enough for it to matter."""
    async with postgres.migrated(seeded_machine()) as database:
        await database.transact(_fill)
        for statement in _HOT:
            plan = await database.read(_kept_plan, statement)
            assert "Index Cond: ((workspace = " in plan, plan
            assert "Seq Scan" not in plan, plan


async def test_postgresql_looks_ids_up_one_by_one_in_tables_it_knows_nothing_of(postgres: PostgresDatabases) -> None:
    """The plan made while a table is new is kept, and must not be one that reads all of a workspace."""
    async with postgres.migrated(seeded_machine()) as database:
        for lookup in _LOOKUPS:
            plan = await database.read(_kept_plan, lookup.statements["postgresql"])
            assert "Seq Scan" not in plan, plan
            looked_up = re.findall(r"Index Cond: (.*)", plan)
            assert looked_up, plan
            assert all(re.fullmatch(r"\(\(workspace = .*\) AND \(\w+ = .*wanted_.*\)\)", each) for each in looked_up), (
                plan
            )


def _fill(connection: Connection) -> None:
    """Many rows of few workspaces in each table that these statements read, without what they refer to."""
    connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
    for table in {table for statement in _HOT for table in _tables(statement)}:
        columns = ", ".join(f'"{column.name}"' for column in table.columns)
        values = ", ".join(_made(column) for column in table.columns)
        connection.exec_driver_sql(
            f"INSERT INTO {table.name} ({columns}) SELECT {values} FROM generate_series(1, 5000) n"
        )
        connection.exec_driver_sql(f"ANALYZE {table.name}")


def _tables(statement: ClauseElement) -> list[Table]:
    return [each for each in visitors.iterate(statement) if isinstance(each, Table)]


def _made(column: Column[Any]) -> str:
    if column.name == "workspace":
        return "substring(sha256((n % 5)::text::bytea) FOR 16)"
    if isinstance(column.type, Bytes):
        return f"substring(sha256(n::text::bytea) FOR {column.type.length or 8})"
    return {Boolean: "false", String: "n::text"}.get(type(column.type), "n")


def _kept_plan(connection: Connection, statement: ClauseElement) -> str:
    text = str(statement.compile(dialect=connection.dialect))
    connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
    connection.exec_driver_sql(f"PREPARE hot AS {text}")
    given = ", ".join(["NULL"] * len(set(re.findall(r"\$\d+", text))))
    plan = "\n".join(connection.exec_driver_sql(f"EXPLAIN EXECUTE hot({given})").scalars())
    connection.exec_driver_sql("DEALLOCATE hot")
    return plan
