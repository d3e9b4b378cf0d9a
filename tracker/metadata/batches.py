"""Lists of ids in statements, in batches of bounded length: databases limit the parameters of one statement.

PostgreSQL keeps the plan of a statement that runs often. Made while a table is new and small, that plan reads all rows
of a workspace and compares each with the list, and goes on doing so when there are 100,000 of them, until the table has
been analysed. So the statements of every commit (`Lookup`) leave it no choice: they look up one id after the other.

Statements that run often are made once, at module level, with the parameters here: making one costs SQLAlchemy more
than SQLite takes to run it. So does a parameter for each id, which is what `column.in_(…)` makes of a list.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Self, TypeAlias, TypeVar

from sqlalchemy import (
    ARRAY,
    BindParameter,
    Boolean,
    Column,
    ColumnElement,
    CompoundSelect,
    Connection,
    CursorResult,
    Dialect,
    Select,
    TextualSelect,
    bindparam,
    cast,
    func,
    literal_column,
    select,
    true,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType

from tracker.schema import Bytes

T = TypeVar("T")

BATCH = 500

Statement: TypeAlias = Select[*tuple[Any, ...]] | CompoundSelect[*tuple[Any, ...]] | TextualSelect

WORKSPACE: BindParameter[Any] = bindparam("workspace")


class _Ids(UserDefinedType[list[bytes]]):
    """A list of ids of one length as one parameter: joined where a database knows no arrays."""

    cache_ok = True

    def __init__(self, length: int) -> None:
        self.length = length

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any]:
        return b"".join if dialect.name == "sqlite" else list


class _Among(FunctionElement[bool]):
    """Whether a column is one of a list of ids."""

    inherit_cache = True
    type = Boolean()

    def self_group(self, against: object = None) -> Self:
        """As it is: SQLAlchemy would make `… = 1` of it for SQLite, which then looks in no index."""
        return self


@compiles(_Among, "postgresql")
def _any(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, ids = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY (CAST({ids} AS BYTEA[]))"


@compiles(_Among, "sqlite")
def _cut(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    """Cut from the joined ids. None at all are cut as one empty blob, which no id is."""
    column, ids = element.clauses
    length, joined = ids.type.length, compiler.process(ids, **options)  # type: ignore[attr-defined]
    more = f"SELECT at + {length} FROM cuts WHERE at + {length} <= length({joined})"
    cuts = f"WITH RECURSIVE cuts(at) AS (VALUES (1) UNION ALL {more}) SELECT substr({joined}, at, {length}) FROM cuts"
    return f"{compiler.process(column, **options)} IN ({cuts})"


def among(column: Column[Any], name: str = "ids") -> ColumnElement[bool]:
    """Whether a column of ids is one of a list, which is given by this name when the statement runs."""
    return _Among(column, bindparam(name, type_=_Ids(_length(column))))


def _length(column: Column[Any]) -> int:
    assert isinstance(column.type, Bytes)
    assert column.type.length is not None, "ids of one length"
    return column.type.length


def arrays(*columns: Column[Any], names: Sequence[str]) -> Any:
    """For PostgreSQL: parameters of these names, lists of such ids, as columns of a table."""
    lists = [
        cast(bindparam(name, type_=_Ids(_length(column))), ARRAY(column.type))
        for column, name in zip(columns, names, strict=True)
    ]
    return func.unnest(*lists).table_valued(*(f"{name}_" for name in names)).render_derived(name=f"wanted_{names[0]}")


def one_by_one(wanted: Any, rows: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """For PostgreSQL: the `rows` for each of `wanted`, which they refer to. OFFSET keeps them from being merged."""
    found = rows.offset(literal_column("0")).lateral(f"found_{wanted.name}")
    return select(*found.c).select_from(wanted.join(found, true()))


def joined_ids(name: str, column: Column[Any]) -> BindParameter[Any]:
    """For SQLite: a list of such ids, given by this name, as one blob."""
    return bindparam(name, type_=_Ids(_length(column)))


class Lookup:
    """A statement that finds rows of a workspace by lists of ids, in the words of each database."""

    def __init__(self, sqlite: Statement, postgresql: Statement) -> None:
        self.statements = {"sqlite": sqlite, "postgresql": postgresql}

    def execute(self, connection: Connection, values: Mapping[str, Any]) -> CursorResult[Any]:
        """Run it: with the workspace, and the list of ids by its name."""
        return connection.execute(self.statements[connection.dialect.name], values)

    def beside(self, other: "Lookup") -> "Lookup":
        """What either finds, in one statement. Both have the same columns."""
        return Lookup(*(union_all(self.statements[name], other.statements[name]) for name in ("sqlite", "postgresql")))


def lookup(key: Column[Any], *columns: Column[Any], name: str = "ids") -> Lookup:
    """Columns of the workspace's rows whose key is one of a list, which is given by this name."""
    here = select(*columns).where(key.table.c.workspace == WORKSPACE)
    wanted = arrays(key, names=[name])
    return Lookup(here.where(among(key, name)), one_by_one(wanted, here.where(key == wanted.c[f"{name}_"])))


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """`items` in order, in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
