"""Lists of ids in statements, in batches of bounded length: databases limit the parameters of one statement.

Statements that run often are made once, at module level, with the parameters here: making one costs SQLAlchemy more
than SQLite takes to run it. So does a parameter for each id, which is what `column.in_(…)` makes of a list.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Self, TypeVar

from sqlalchemy import BindParameter, Boolean, Column, ColumnElement, Dialect, bindparam
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import UserDefinedType

from tracker.schema import Bytes

T = TypeVar("T")

BATCH = 500

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
    assert isinstance(column.type, Bytes)
    assert column.type.length is not None, "ids of one length"
    return _Among(column, bindparam(name, type_=_Ids(column.type.length)))


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """`items` in order, in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
