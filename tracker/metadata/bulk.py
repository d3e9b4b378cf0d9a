"""Statements that are run for many rows at once.

For each row SQLAlchemy makes a dict of all parameters, looks every one up and converts it, which takes longer than
SQLite needs to write the row. Here a statement is compiled once for each kind of database, and the rows go to its
driver as tuples. They are not converted: the columns of `tracker/schema.py` take what drivers take.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from sqlalchemy import Connection, Delete, Dialect, Insert, Update

Row: TypeAlias = tuple[Any, ...]


class Bulk:
    """A statement, and the names of its parameters in the order of the rows it is given."""

    def __init__(self, statement: Insert | Update | Delete, *names: str) -> None:
        self._statement = statement
        self._names = names
        self._compiled: dict[tuple[str, str], tuple[str, Callable[[Row], Row]]] = {}

    def run(self, connection: Connection, rows: Sequence[Row]) -> None:
        """Run it once for each row."""
        if rows:
            sql, arranged = self._compiled_for(connection.dialect)
            connection.exec_driver_sql(sql, list(map(arranged, rows)))

    def _compiled_for(self, dialect: Dialect) -> tuple[str, Callable[[Row], Row]]:
        key = dialect.name, dialect.driver
        if key not in self._compiled:
            self._compiled[key] = self.compile(dialect)
        return self._compiled[key]

    def compile(self, dialect: Dialect) -> tuple[str, Callable[[Row], Row]]:
        """The statement as a database's driver takes it, and what puts a row into the order of its parameters."""
        compiled = self._statement.compile(dialect=dialect, column_keys=list(self._names))
        assert compiled.positiontup is not None, "a driver that names its parameters"
        return str(compiled), itemgetter(*(self._names.index(name) for name in compiled.positiontup))
