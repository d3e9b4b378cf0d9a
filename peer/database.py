"""The client metadata database: one SQLite file a home, read and written only from the event loop's thread.

What it holds can be rebuilt: LOCAL from the disk, REMOTE from the tracker, SYNCED by merging the two. So it runs with
`synchronous=NORMAL`: a power cut may cost the newest transactions, never the order between them. Statements take
microseconds; nothing here waits for a network or holds a transaction open while it does.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from protocol.errors import DatabaseTooNew, Problem

CACHE_KIB = 16 << 10
"""Pages kept in memory. With SQLite's own 2 MB a batch of a thousand files reads most pages again and again."""
CHECKPOINT_PAGES = 4000
"""Pages of 4 KiB in the write-ahead log before they go to the database, which takes two fsyncs."""
# For a parameter of a type that isn't one of the module's own it looks in three places for how to adapt it, in vain,
# which takes longer than binding it; and nearly all of ours are bytes and bools.
sqlite3.register_adapter(bytes, bytes.__bytes__)
sqlite3.register_adapter(bool, bool.__int__)
SCHEMA_VERSION = 4
"""Stored as `user_version`. Raise it with every change of the schema, and add the step that brings an older one up."""

SCHEMA = """
CREATE TABLE settings (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- The cursor and what is known of each workspace.
CREATE TABLE workspaces (
    workspace BLOB PRIMARY KEY,
    tracker_epoch BLOB,
    revision INTEGER NOT NULL,
    hash BLOB NOT NULL
) WITHOUT ROWID;

-- The three trees. Times are nanoseconds since 1970 UTC, sizes bytes. LOCAL has rowids: without them SQLite 3.40
-- prefers scanning a workspace to a secondary index that doesn't cover the query.
CREATE TABLE local (
    workspace BLOB NOT NULL, node BLOB NOT NULL,
    parent BLOB NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    digest BLOB, executable INTEGER NOT NULL, private INTEGER NOT NULL,
    device INTEGER NOT NULL, inode INTEGER NOT NULL, size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, mode INTEGER NOT NULL,
    gone INTEGER NOT NULL DEFAULT 0,     -- no longer seen; kept so that a move is recognised when it turns up elsewhere
    blocked INTEGER NOT NULL DEFAULT 0,
    wanted INTEGER NOT NULL DEFAULT 1,   -- 0 of a folder that is here for what is ignored in it only
    PRIMARY KEY (workspace, node)
);
CREATE INDEX local_not_wanted ON local (workspace, node) WHERE NOT wanted;
CREATE INDEX local_blocked ON local (workspace, node) WHERE blocked;
CREATE INDEX local_by_name ON local (workspace, parent, name);
CREATE INDEX local_by_inode ON local (workspace, device, inode);

CREATE TABLE remote (
    workspace BLOB NOT NULL, node BLOB NOT NULL,
    parent BLOB NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    place BLOB NOT NULL, version BLOB, durable BLOB,
    PRIMARY KEY (workspace, node)
) WITHOUT ROWID;
CREATE UNIQUE INDEX remote_by_name ON remote (workspace, parent, name);
CREATE INDEX remote_not_durable ON remote (workspace, node) WHERE durable IS NOT version;

CREATE TABLE synced (
    workspace BLOB NOT NULL, node BLOB NOT NULL,
    parent BLOB NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    place BLOB NOT NULL, version BLOB,
    PRIMARY KEY (workspace, node)
) WITHOUT ROWID;

-- Nodes whose trees may disagree, in the order in which they became so.
CREATE TABLE dirty (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace BLOB NOT NULL, node BLOB NOT NULL,
    UNIQUE (workspace, node)
);

-- What SYNCED will say of files that are just being put in place. A row that is here after a crash tells a file that
-- Shoal had put there already from an edit of the user's.
CREATE TABLE placing (
    workspace BLOB NOT NULL, node BLOB NOT NULL,
    parent BLOB NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
    place BLOB NOT NULL, version BLOB NOT NULL,
    device INTEGER NOT NULL, inode INTEGER NOT NULL,
    PRIMARY KEY (workspace, node)
) WITHOUT ROWID;

-- Opened manifests of the versions that REMOTE, SYNCED, `placing` and `outgoing` name. `revision` and `announced_ms`
-- (by the tracker's clock) say when each came.
CREATE TABLE versions (
    workspace BLOB NOT NULL, version BLOB NOT NULL, node BLOB NOT NULL,
    author BLOB NOT NULL, manifest BLOB NOT NULL, runs BLOB NOT NULL,
    digest BLOB NOT NULL, mtime_ns INTEGER NOT NULL, executable INTEGER NOT NULL, private INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0, announced_ms INTEGER NOT NULL DEFAULT 0,
    durable INTEGER NOT NULL DEFAULT 0,  -- known to be in the cloud
    PRIMARY KEY (workspace, version)
);
CREATE INDEX versions_by_node ON versions (workspace, node);

-- Bodies of runs, as they travel.
CREATE TABLE runs (
    workspace BLOB NOT NULL, run BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (workspace, run)
) WITHOUT ROWID;

-- What the chunker made of local files that have not been sent yet; `chunks` is (id, key, length: u32,
-- saved by compression: u32) for each.
CREATE TABLE staged (
    workspace BLOB NOT NULL, node BLOB NOT NULL,
    digest BLOB NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    inline BLOB, chunks BLOB NOT NULL, cut BLOB,
    PRIMARY KEY (workspace, node)
) WITHOUT ROWID;

-- Commits that were made and not yet answered, stored before they are sent.
CREATE TABLE outbox (workspace BLOB NOT NULL, id BLOB NOT NULL, body BLOB NOT NULL, PRIMARY KEY (workspace, id));

-- Chunks that the tracker asked this device for.
CREATE TABLE uploads (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    workspace BLOB NOT NULL, version BLOB NOT NULL,
    chunk BLOB NOT NULL, key BLOB NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    saved INTEGER NOT NULL DEFAULT 0,    -- by compression
    UNIQUE (workspace, chunk)
);

-- Files that were replaced or removed, waiting in .shoal/outgoing until nobody can be writing to them any more, and
-- while `version`, which they hold, is not in the cloud.
CREATE TABLE outgoing (
    name TEXT PRIMARY KEY, workspace BLOB NOT NULL,
    parent BLOB NOT NULL, original TEXT NOT NULL,
    inode INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    since_ms INTEGER NOT NULL,
    version BLOB, digest BLOB            -- of what it was taken for
) WITHOUT ROWID;

-- Where the bytes of what is on this disk came from, in bytes, for files that were fetched; `devices` are the ids of
-- those on the LAN, one after the other.
CREATE TABLE fetched (
    workspace BLOB NOT NULL, node BLOB NOT NULL,
    cloud INTEGER NOT NULL, lan INTEGER NOT NULL, here INTEGER NOT NULL,
    devices BLOB NOT NULL DEFAULT x'',
    PRIMARY KEY (workspace, node)
) WITHOUT ROWID;

-- Deletes and overwrites that passed a short while ago, that wait for a person, or that one has decided about: see
-- `peer/breaker.py`, also for the numbers. `since_ms` counts from 1970 UTC.
CREATE TABLE breaker (
    workspace BLOB NOT NULL, direction INTEGER NOT NULL, node BLOB NOT NULL,
    kind INTEGER NOT NULL, state INTEGER NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (workspace, direction, node)
) WITHOUT ROWID;

-- What this device doesn't follow: what the `.shoalignore` of a folder says, and nodes that a person has excluded here.
CREATE TABLE rules (
    workspace BLOB NOT NULL, directory BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (workspace, directory)
) WITHOUT ROWID;
CREATE TABLE excluded (workspace BLOB NOT NULL, node BLOB NOT NULL, PRIMARY KEY (workspace, node)) WITHOUT ROWID;

-- Names of devices, as last heard.
CREATE TABLE devices (device BLOB PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;

-- What keeps a path from being synced: a reason for people, and what to do about it.
CREATE TABLE problems (
    workspace BLOB NOT NULL, path TEXT NOT NULL, kind TEXT NOT NULL, reason TEXT NOT NULL, advice TEXT NOT NULL,
    PRIMARY KEY (workspace, path, kind)
) WITHOUT ROWID;
"""


_TO_2 = """
ALTER TABLE versions ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE versions ADD COLUMN announced_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE versions ADD COLUMN durable INTEGER NOT NULL DEFAULT 0;
UPDATE versions SET durable = 1 WHERE version IN (SELECT durable FROM remote WHERE durable NOT NULL);
ALTER TABLE outgoing ADD COLUMN version BLOB;
CREATE TABLE fetched (
    workspace BLOB NOT NULL, node BLOB NOT NULL,
    cloud INTEGER NOT NULL, lan INTEGER NOT NULL, here INTEGER NOT NULL,
    PRIMARY KEY (workspace, node)
) WITHOUT ROWID;
CREATE INDEX remote_not_durable ON remote (workspace, node) WHERE durable IS NOT version;
"""
_TO_3 = """
CREATE TABLE breaker (
    workspace BLOB NOT NULL, direction INTEGER NOT NULL, node BLOB NOT NULL,
    kind INTEGER NOT NULL, state INTEGER NOT NULL, since_ms INTEGER NOT NULL,
    PRIMARY KEY (workspace, direction, node)
) WITHOUT ROWID;
ALTER TABLE local ADD COLUMN wanted INTEGER NOT NULL DEFAULT 1;
CREATE INDEX local_not_wanted ON local (workspace, node) WHERE NOT wanted;
CREATE INDEX local_blocked ON local (workspace, node) WHERE blocked;
CREATE TABLE rules (
    workspace BLOB NOT NULL, directory BLOB NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (workspace, directory)
) WITHOUT ROWID;
CREATE TABLE excluded (workspace BLOB NOT NULL, node BLOB NOT NULL, PRIMARY KEY (workspace, node)) WITHOUT ROWID;
ALTER TABLE fetched ADD COLUMN devices BLOB NOT NULL DEFAULT x'';
CREATE TABLE devices (device BLOB PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID;
ALTER TABLE placing ADD COLUMN device INTEGER NOT NULL DEFAULT 0;
ALTER TABLE placing ADD COLUMN inode INTEGER NOT NULL DEFAULT 0;
ALTER TABLE outgoing ADD COLUMN digest BLOB;
"""
_TO_4 = """
ALTER TABLE uploads ADD COLUMN saved INTEGER NOT NULL DEFAULT 0;
DELETE FROM staged;
"""
STEPS_UP = {1: _TO_2, 2: _TO_3, 3: _TO_4}
"""What brings a schema up to the next one, by its number."""


REMEDY = "stop Shoal, remove peer.db and the files beside it that begin so, and start again: nothing is lost"
"""What to do about a database that is no database any more."""


class _Told:
    """Turns what SQLite can't do into a `Problem`: for want of space, because the disk fails, or because of damage. No
    generator, as it is around every statement."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, sqlite3.OperationalError):
            raise Problem(f"the client database can't be used: {error}") from error
        if type(error) is sqlite3.DatabaseError:  # a subclass is a defect of ours
            raise Problem(f"the client database is damaged ({error}): {REMEDY}") from error


_told = _Told()


class Database:
    """One connection, with explicit transactions that nest. Its methods raise `Problem` when the disk is full or
    fails."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Take over a connection in autocommit mode whose schema is current; `open_database` makes one."""
        self._connection = connection
        self._depth = 0

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; an inner one is part of the outer. Never await inside."""
        if self._depth:
            yield
            return
        self._execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # after some errors SQLite has rolled back by itself
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._depth -= 1

    def _execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        with _told:
            return self._connection.execute(sql, parameters)

    def rows(self, sql: str, *parameters: Any) -> list[Any]:
        """All rows of a query."""
        with _told:
            return self._connection.execute(sql, parameters).fetchall()

    def row(self, sql: str, *parameters: Any) -> Any:
        """The first row of a query, or None."""
        with _told:
            return self._connection.execute(sql, parameters).fetchone()

    def run(self, sql: str, *parameters: Any) -> int:
        """Carry out a statement; returns how many rows it changed."""
        return self._execute(sql, parameters).rowcount

    def run_many(self, sql: str, parameters: Iterable[Sequence[Any]]) -> None:
        """Carry out a statement once for each row of parameters."""
        with _told:
            self._connection.executemany(sql, parameters)

    def rows_in(
        self, sql: str, workspace: bytes, keys: Iterable[bytes | int | str], *more: bytes | int | str
    ) -> Iterator[Any]:
        """A query with `workspace = ? AND ... IN (??)`, for any number of keys, a few hundred at a time. `more` is for
        further marks between the two."""
        pending = list(keys)
        for start in range(0, len(pending), 500):
            part = pending[start : start + 500]
            marks = ",".join("?" * len(part))
            with _told:
                found = self._connection.execute(sql.replace("??", marks), (workspace, *more, *part)).fetchall()
            yield from found

    def run_in(self, sql: str, workspace: bytes, keys: Iterable[bytes]) -> None:
        """A statement of the same form."""
        for _ in self.rows_in(sql, workspace, keys):
            pass

    def get_setting(self, key: str) -> bytes | None:
        """One of the few single values."""
        found = self.row("SELECT value FROM settings WHERE key = ?", key)
        return None if found is None else found[0]

    def set_setting(self, key: str, value: bytes) -> None:
        """Store a single value."""
        self.run("INSERT OR REPLACE INTO settings VALUES (?, ?)", key, value)

    def checkpoint(self) -> None:
        """Have the disk hold everything that was committed before this returns."""
        self.row("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def open_database(path: str) -> Database:
    """Open the database at `path` (":memory:" for one that lives as long as the connection), making it if need be.

    Raises `DatabaseTooNew` for one that a newer Shoal wrote and `Problem` for one that can't be read.
    """
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        with ExitStack() as on_failure:
            on_failure.callback(connection.close)
            _prepare(connection, path)
            on_failure.pop_all()
    except sqlite3.OperationalError as error:
        raise Problem(f"the database {path} can't be opened: {error}") from error
    except sqlite3.DatabaseError as error:
        raise Problem(f"the database {path} can't be opened ({error}): {REMEDY}") from error
    return Database(connection)


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise DatabaseTooNew(f"{path} was written by a newer Shoal (schema {version}); upgrade this one")
    if version == 0:
        connection.executescript(f"BEGIN; {SCHEMA} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
    elif version < SCHEMA_VERSION:
        steps = "".join(STEPS_UP[number] for number in range(version, SCHEMA_VERSION))
        connection.executescript(f"BEGIN; {steps} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
