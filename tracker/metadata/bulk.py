"""Statements that are run for many rows at once, and several of them in one go.

For each row SQLAlchemy makes a dict of all parameters, looks every one up and converts it, which takes longer than
SQLite needs to write the row. Here a statement is compiled once for each kind of database, and the rows go to its
driver as tuples. They are not converted: the columns of `tracker/schema.py` take what drivers take.

PostgreSQL takes the rows of an insert as one array a column: with a message for each row, half of its time and of ours
went into the messages. And it takes several statements as one, each but the last in a WITH, since the way there and
back costs more than most of them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Connection, Delete, Dialect, Insert, Table, Update

Row: TypeAlias = tuple[Any, ...]
Work: TypeAlias = "tuple[Bulk, Sequence[Row]]"
"""A statement and its rows."""

_POSTGRESQL = "postgresql"
_PARAMETER = re.compile(r"\$(\d+)")


class Bulk:
    """A statement, and the names of its parameters in the order of the rows it is given."""

    def __init__(self, statement: Insert | Update | Delete, *names: str) -> None:
        self._statement = statement
        self._names = names
        self._compiled: dict[tuple[str, str], tuple[str, Callable[[Row], Row]]] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run it once for each row."""
        if not rows:
            return
        sql, arranged = self.compiled_for(connection.dialect)
        if self.takes_arrays(connection.dialect):
            connection.exec_driver_sql(sql, _columns(rows))
        else:
            connection.exec_driver_sql(sql, list(map(arranged, rows)))

    def takes_arrays(self, dialect: Dialect) -> bool:
        """Whether all rows go into one statement, as an array for each column."""
        return dialect.name == _POSTGRESQL and isinstance(self._statement, Insert)

    def compiled_for(self, dialect: Dialect) -> tuple[str, Callable[[Row], Row]]:
        """What `compile` makes, made once."""
        key = dialect.name, dialect.driver
        if key not in self._compiled:
            self._compiled[key] = self.compile(dialect)
        return self._compiled[key]

    def compile(self, dialect: Dialect) -> tuple[str, Callable[[Row], Row]]:
        """The statement as a database's driver takes it, and what puts a row into the order of its parameters."""
        if self.takes_arrays(dialect):
            return self._with_arrays(dialect), tuple
        compiled = self._statement.compile(dialect=dialect, column_keys=list(self._names))
        assert compiled.positiontup is not None, "a driver that names its parameters"
        return str(compiled), itemgetter(*(self._names.index(name) for name in compiled.positiontup))

    def _with_arrays(self, dialect: Dialect) -> str:
        table = self._statement.table
        assert isinstance(table, Table)
        quoted = dialect.identifier_preparer.quote
        types = (table.c[name].type.compile(dialect=dialect) for name in self._names)
        arrays = ", ".join(f"CAST(${at} AS {type}[])" for at, type in enumerate(types, 1))
        return f"INSERT INTO {table.name} ({', '.join(map(quoted, self._names))}) SELECT * FROM unnest({arrays})"


def _columns(rows: Sequence[Row]) -> Row:
    return tuple(map(list, zip(*rows, strict=True)))


class Together:
    """Several statements in one go. None may depend on what another does; an update has one row."""

    def __init__(self) -> None:
        self._texts: dict[tuple[Bulk, ...], str] = {}

    def run(self, connection: Connection, works: Iterable[Work]) -> None:
        """Run them all, those without rows left out."""
        works = [(bulk, rows) for bulk, rows in works if rows]
        if connection.dialect.name != _POSTGRESQL:
            for bulk, rows in works:
                bulk.run(connection, rows)
        elif works:
            values = [value for bulk, rows in works for value in _values(bulk, rows, connection.dialect)]
            connection.exec_driver_sql(self._text(tuple(bulk for bulk, _ in works), connection.dialect), tuple(values))

    def _text(self, bulks: tuple[Bulk, ...], dialect: Dialect) -> str:
        if bulks not in self._texts:
            self._texts[bulks] = _joined([bulk.compiled_for(dialect)[0] for bulk in bulks])
        return self._texts[bulks]


def _values(bulk: Bulk, rows: Sequence[Row], dialect: Dialect) -> Row:
    if bulk.takes_arrays(dialect):
        return _columns(rows)
    (row,) = rows
    return bulk.compiled_for(dialect)[1](row)


def _joined(texts: Sequence[str]) -> str:
    """One statement of several, their parameters counted on."""
    numbered, before = [], 0
    for text in texts:
        numbered.append(_counted_on(text, before))
        before += max(int(number) for number in _PARAMETER.findall(text))
    *others, last = numbered
    if not others:
        return last
    return f"WITH {', '.join(f'w{at} AS ({text})' for at, text in enumerate(others))} {last}"


def _counted_on(text: str, before: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + before}", text)
