"""The client metadata database: its version, its transactions."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.database import SCHEMA_VERSION, Database, open_database
from protocol.errors import DatabaseTooNew, Problem


@pytest.fixture
def database() -> Iterator[Database]:
    opened = open_database(":memory:")
    yield opened
    opened.close()


def settings(database: Database) -> dict[str, bytes]:
    return dict(database.rows("SELECT key, value FROM settings"))


def test_what_was_stored_is_there_the_next_time(tmp_path: Path) -> None:
    path = str(tmp_path / "peer.db")
    database = open_database(path)
    database.set_setting("key", b"value")
    database.close()
    database = open_database(path)
    assert database.get_setting("key") == b"value"
    assert database.get_setting("other") is None
    assert database.rows("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert database.rows("PRAGMA journal_mode") == [("wal",)]
    database.close()


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "peer.db"
    open_database(str(path)).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(DatabaseTooNew, match=rf"peer\.db was written by a newer Shoal \(schema {SCHEMA_VERSION + 1}\)"):
        open_database(str(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", ["text", "directory", "missing folder"])
def test_what_is_no_database(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "peer.db"
    if damage == "text":
        path.write_bytes(b"this is no database at all, " * 100)
    elif damage == "directory":
        path.mkdir()
    else:
        path = tmp_path / "missing" / "peer.db"
    with pytest.raises(Problem, match="can't be opened"):
        open_database(str(path))


def test_a_half_made_schema_is_made_whole(tmp_path: Path) -> None:
    """Killed while it was being made: nothing of it is there."""
    path = str(tmp_path / "peer.db")
    connection = sqlite3.connect(path)
    connection.executescript("BEGIN; CREATE TABLE settings (key TEXT PRIMARY KEY);")
    connection.close()
    database = open_database(path)
    database.set_setting("key", b"value")
    database.close()


def test_a_schema_of_before_is_brought_up(tmp_path: Path) -> None:
    """From 2 to 4."""
    path = str(tmp_path / "peer.db")
    fresh = open_database(path)
    wanted = columns(fresh)
    fresh.run("INSERT INTO local VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)", b"w", b"n", b"p", "a", *[1] * 13)
    for statement in (
        "DROP INDEX local_not_wanted",
        "DROP INDEX local_blocked",
        "ALTER TABLE local DROP COLUMN wanted",
        "DROP TABLE rules",
        "DROP TABLE excluded",
        "DROP TABLE breaker",
        "DROP TABLE devices",
        "ALTER TABLE placing DROP COLUMN device",
        "ALTER TABLE placing DROP COLUMN inode",
        "ALTER TABLE outgoing DROP COLUMN digest",
        "ALTER TABLE fetched DROP COLUMN devices",
        "INSERT INTO fetched VALUES (x'77', x'6e', 1, 2, 3)",
        "ALTER TABLE uploads DROP COLUMN saved",
        "INSERT INTO uploads VALUES (1, x'77', x'76', x'63', x'6b', 4, 5)",
        "INSERT INTO staged VALUES (x'77', x'6e', x'64', 5, 0, NULL, x'00', NULL)",
        "PRAGMA user_version = 2",
    ):
        fresh.run(statement)
    fresh.close()
    database = open_database(path)
    assert columns(database) == wanted
    assert database.row("SELECT name, wanted FROM local") == ("a", 1)
    assert database.row("SELECT cloud, lan, here, devices FROM fetched") == (1, 2, 3, b"")
    assert database.row("SELECT offset, length, saved FROM uploads") == (4, 5, 0)
    assert database.row("SELECT * FROM staged") is None
    database.close()


def columns(database: Database) -> set[tuple[str, str]]:
    """All columns of all tables and indexes."""
    sql = "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c"
    indexes = database.rows("SELECT name, tbl_name FROM sqlite_master WHERE type = 'index'")
    return {*database.rows(sql), *indexes}


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    with database.transaction():
        database.set_setting("kept", b"1")
    with pytest.raises(KeyError), database.transaction():
        database.set_setting("lost", b"1")
        raise KeyError
    assert settings(database) == {"kept": b"1"}


def test_an_inner_transaction_is_part_of_the_outer(database: Database) -> None:
    with pytest.raises(KeyError), database.transaction():
        with database.transaction():
            database.set_setting("inner", b"1")
        raise KeyError
    assert settings(database) == {}
    with database.transaction():
        database.set_setting("after", b"1")
    assert settings(database) == {"after": b"1"}


def test_any_number_of_keys(database: Database) -> None:
    keys = [bytes([number >> 8, number & 255]) for number in range(1300)]
    database.run_many("INSERT INTO outbox VALUES (?,?,?)", [(b"w", key, b"") for key in keys])
    sql = "SELECT id FROM outbox WHERE workspace = ? AND id IN (??)"
    assert sorted(row[0] for row in database.rows_in(sql, b"w", [*keys, b"none such"])) == keys
    assert list(database.rows_in(sql, b"w", [])) == []
    assert list(database.rows_in(sql, b"another", keys)) == []


def test_a_transaction_that_cannot_end_is_undone_and_stands_in_nobodys_way(database: Database) -> None:
    database.run("PRAGMA foreign_keys = ON")
    database.run("CREATE TABLE parents (id INTEGER PRIMARY KEY)")
    database.run("CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)")
    with pytest.raises(sqlite3.IntegrityError), database.transaction():
        database.set_setting("lost", b"1")
        database.run("INSERT INTO children VALUES (1)")
    with database.transaction():
        database.set_setting("after", b"1")
    assert settings(database) == {"after": b"1"}


def test_a_full_disk_is_a_problem_that_passes(tmp_path: Path) -> None:
    database = open_database(str(tmp_path / "peer.db"))
    (pages,) = database.row("PRAGMA page_count")
    database.row(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(Problem, match="the client database can't be used: database or disk is full"):
        with database.transaction():
            database.set_setting("lost", bytes(1 << 20))
    database.row(f"PRAGMA max_page_count = {pages + 1000}")
    with database.transaction():
        database.set_setting("kept", bytes(1 << 20))
    assert list(settings(database)) == ["kept"]
    database.close()


def test_damage_inside_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "peer.db"
    database = open_database(str(path))
    for number in range(2000):
        database.set_setting(f"key {number}", bytes(100))
    database.close()
    data = bytearray(path.read_bytes())
    data[8192:-4096] = b"\xa5" * (len(data) - 4096 - 8192)
    path.write_bytes(data)
    with pytest.raises(Problem, match=r"malformed.*remove peer\.db"):
        damaged = open_database(str(path))
        try:
            damaged.rows("SELECT * FROM settings ORDER BY key")
        finally:
            damaged.close()
