"""What must hold at the tracker after every transaction, not only in the end: devices heal much of what breaks it."""

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, text

from protocol.commits import DIRECTORY
from protocol.identifiers import ROOT
from tracker.database import Database
from tracker.schema import DURABLE

P = ParamSpec("P")
T = TypeVar("T")

_RULES = {
    "something has no folder": text(
        """SELECT n.node FROM nodes n LEFT JOIN nodes p ON p.workspace = n.workspace AND p.node = n.parent
           WHERE NOT n.deleted AND n.parent != :root AND (p.node IS NULL OR p.deleted OR p.kind != :directory)"""
    ).bindparams(root=ROOT, directory=DIRECTORY),
    "two have one name": text(
        "SELECT max(node) FROM nodes WHERE NOT deleted GROUP BY workspace, parent, token HAVING count(*) > 1"
    ),
    "what is durable lacks a chunk": text(
        """SELECT version FROM versions v JOIN awaiting USING (workspace, version)
           WHERE v.state = :durable"""
    ).bindparams(durable=DURABLE),
    "a durable head is not durable": text(
        """SELECT n.node FROM nodes n LEFT JOIN versions v
               ON v.workspace = n.workspace AND v.version = n.durable_version
           WHERE n.durable_version IS NOT NULL AND v.state IS NOT :durable"""
    ).bindparams(durable=DURABLE),
}


class WatchedDatabase:
    """A `tracker.database.Database` of which every transaction is looked at before it is committed. What it would leave
    broken is added to `broken`."""

    def __init__(self, inner: Database, broken: list[str]) -> None:
        self._inner = inner
        self._broken = broken

    async def transact(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        def watched(connection: Connection) -> T:
            result = function(connection, *args, **kwargs)
            self._broken += [f"{function.__name__}: {rule}" for rule in _broken_by(connection)]
            return result

        return await self._inner.transact(watched)

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._inner.read(function, *args, **kwargs)

    async def look(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._inner.look(function, *args, **kwargs)

    def channel(self) -> Any:
        return self._inner.channel()

    async def close(self) -> None:
        await self._inner.close()


def _broken_by(connection: Connection) -> list[str]:
    return [rule for rule, query in _RULES.items() if connection.execute(query).first() is not None]
