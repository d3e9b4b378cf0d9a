"""Lists of ids as one parameter: what they find, that an index finds it, and how PostgreSQL is asked."""

from collections.abc import Iterator

import pytest
from sqlalchemy import ClauseElement, Connection, Dialect, Engine, Executable, create_engine, event, insert, select
from sqlalchemy.dialects.postgresql import asyncpg

from tracker.metadata import durable, loading, runs, weighing, writing
from tracker.metadata.batches import BATCH, WORKSPACE, among
from tracker.schema import awaiting, metadata

HERE, ELSEWHERE = b"h" * 16, b"e" * 16
CHUNKS = [at.to_bytes(32, "big") for at in range(BATCH)]
_FIND = select(awaiting.c.chunk).where(awaiting.c.workspace == WORKSPACE, among(awaiting.c.chunk))

_HOT = [
    value
    for module in (durable, loading, runs, weighing, writing)
    for value in vars(module).values()
    if isinstance(value, ClauseElement) and "cuts(" in str(value.compile(create_engine("sqlite://")))
]


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


@pytest.mark.parametrize("statement", _HOT)
def test_an_index_finds_the_rows(connection: Connection, statement: Executable) -> None:
    """And not a scan of the workspace."""
    run: list[tuple[str, tuple[object, ...]]] = []
    event.listen(connection, "before_cursor_execute", lambda _c, _d, sql, values, _x, _m: run.append((sql, values)))
    connection.execute(statement, {"workspace": HERE, "at_workspace": HERE, "ids": CHUNKS})
    ((sql, values),) = run
    plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
    (search,) = [row.detail for row in plan if row.detail.startswith("SEARCH")]
    assert "(workspace=? AND " in search


def test_there_are_hot_statements() -> None:
    assert len(_HOT) >= 10


def test_postgresql_takes_an_array() -> None:
    dialect: Dialect = asyncpg.dialect()  # type: ignore[no-untyped-call]
    text = str(_FIND.compile(dialect=dialect))
    assert "awaiting.chunk IN (SELECT unnest(CAST($2 AS BYTEA[])))" in text
