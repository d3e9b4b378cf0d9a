"""A client database with a memory: every statement since the last fsync, so that a power cut can take back the newest.

The product runs it in WAL mode with `synchronous=NORMAL`: transactions are fsynced only with a checkpoint, and what a
power cut leaves is some earlier commit, never a part of one and never one without those before it.
"""

import sqlite3
from collections.abc import Callable, Iterable
from functools import cache
from random import Random
from typing import Any

from peer.database import open_database
from protocol.identifiers import DeviceId, VersionId

_CHECKPOINT = 0.3
"""Chance that the last checkpoint was just before the power cut."""

_Statement = tuple[str, Any, bool]  # the SQL, its parameters, and whether these are for many


class Ledger:
    """The file, whichever process has it open."""

    def __init__(self) -> None:
        self._base = _empty()
        self._done: list[list[_Statement]] = []
        self._running: list[_Statement] = []
        self.connection = _opened(self._base)
        self.forgotten = 0
        """How often it has lost anything."""
        self.problems: list[str] = []
        """What people were told of single paths, ever."""

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        cursor = self.connection.execute(sql, parameters)
        self._note(sql, parameters, many=False)
        return cursor

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        rows = list(parameters)
        cursor = self.connection.executemany(sql, rows)
        self._note(sql, rows, many=True)
        return cursor

    def _note(self, sql: str, parameters: Any, *, many: bool) -> None:
        word = sql.lstrip()[:6].upper()
        if "wal_checkpoint" in sql:
            self.go_back(0)
        elif word == "COMMIT":
            self._done.append(self._running)
            self._running = []
        elif word in ("ROLLBA", "BEGIN ", "BEGIN"):
            self._running = []
        elif word not in ("SELECT", "PRAGMA"):
            if "INTO problems" in sql:
                self.problems.append(" ".join(str(part) for part in parameters[1:]))
            self._running.append((sql, parameters, many))
            if not self.connection.in_transaction:
                self._done.append(self._running)
                self._running = []

    def knows(self, digest: bytes) -> bool:
        """Whether it has a version of this content, by this device or another."""
        return self.connection.execute("SELECT 1 FROM versions WHERE digest = ?", (digest,)).fetchone() is not None

    def has_read(self, digest: bytes) -> bool:
        """Whether it has found this content in a file here."""
        return self.connection.execute("SELECT 1 FROM local WHERE digest = ?", (digest,)).fetchone() is not None

    def agreed_on(self, digest: bytes) -> list[VersionId]:
        """Versions of this content that SYNCED names."""
        sql = "SELECT v.version FROM versions v JOIN synced s ON s.version = v.version WHERE v.digest = ?"
        return [version for (version,) in self.connection.execute(sql, (digest,))]

    def agreed_on_only(self, digest: bytes, author: DeviceId | None = None) -> list[VersionId]:
        """Versions of this content, by this author or anybody, that SYNCED names, and that the cloud isn't known to
        have."""
        sql = """SELECT v.version, v.author FROM versions v JOIN synced s ON s.version = v.version
                 WHERE v.digest = ? AND NOT v.durable AND length(v.runs) > 0"""
        return [version for version, by in self.connection.execute(sql, (digest,)) if author in (None, by)]

    # What becomes of it

    def abandon(self) -> None:
        """The process dies: what it had not committed is rolled back."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
        self._running = []

    def cut_power(self, rng: Random) -> int:
        """Go back to a commit since the last fsync; how many transactions are lost."""
        self.abandon()
        lost = 0 if rng.random() < _CHECKPOINT else min(len(self._done), int(rng.expovariate(1 / rng.choice((2, 20)))))
        self.go_back(lost)
        return lost

    @property
    def transactions(self) -> int:
        """How many there were since the last fsync."""
        return len(self._done)

    def go_back(self, lost: int) -> None:
        """Take so many of them back; what is left is fsynced."""
        if lost:
            self.forgotten += 1
            self.connection.close()
            self.connection = _opened(self._base)
            _repeat(self.connection, self._done[: len(self._done) - lost])
        self._base, self._done = self.connection.serialize(), []

    def lose(self) -> None:
        """The file is gone; an empty one takes its place."""
        self.forgotten += 1
        self.connection.close()
        self._base, self._done, self._running = _empty(), [], []
        self.connection = _opened(self._base)


def _repeat(connection: sqlite3.Connection, transactions: Iterable[list[_Statement]]) -> None:
    connection.execute("BEGIN")
    for statements in transactions:
        for sql, parameters, many in statements:
            if many:
                connection.executemany(sql, parameters)
            else:
                connection.execute(sql, parameters).fetchall()
    connection.execute("COMMIT")


@cache
def _empty() -> bytes:
    """A database with nothing in it but the schema."""
    return open_database(":memory:")._connection.serialize()


def _opened(content: bytes) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.deserialize(content)
    return connection


class Access:
    """One process's way to the database: what `peer.database.Database` has for its sqlite3 connection. `check` raises
    once the process is dead; `before` and `after` are called around each transaction that writes, and may kill it."""

    def __init__(
        self, ledger: Ledger, check: Callable[[], None], before: Callable[[], None], after: Callable[[], None]
    ) -> None:
        self._ledger = ledger
        self._check = check
        self._before = before
        self._after = after

    @property
    def in_transaction(self) -> bool:
        return self._ledger.in_transaction

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        self._check()
        writes = sql.lstrip()[:6].upper() != "SELECT"
        if writes and not self.in_transaction:
            self._before()
        cursor = self._ledger.execute(sql, parameters)
        if writes and not self.in_transaction:
            self._after()
        return cursor

    def executemany(self, sql: str, parameters: Iterable[Any]) -> sqlite3.Cursor:
        self._check()
        return self._ledger.executemany(sql, parameters)

    def close(self) -> None:
        """Nothing: the machine keeps it."""
