"""Bringing a database to this program's schema, or refusing one that a newer program has written."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select

from protocol.errors import DatabaseTooNew, Usage

MIGRATING = 0x53686F616C
"""The advisory lock of whoever migrates: "Shoal"."""


def _config(connection: Connection | None = None) -> Config:
    """Alembic's configuration, made here: no file, and no path of this machine in one."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def known_revisions() -> list[str]:
    """All schema revisions this program knows, newest first."""
    scripts = ScriptDirectory.from_config(_config())
    return [script.revision for script in scripts.walk_revisions()]


def present_revision(connection: Connection) -> str | None:
    """The database's schema revision; None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def refuse_newer(connection: Connection) -> str | None:
    """The database's revision; `DatabaseTooNew` for one that this program does not know."""
    present = present_revision(connection)
    if present is not None and present not in known_revisions():
        raise DatabaseTooNew("a newer Shoal has written this tracker's database: upgrade this program")
    return present


def require_newest(connection: Connection) -> None:
    """`DatabaseTooNew` or, for an older or empty database, `Usage`: for commands that must not change the schema."""
    present = refuse_newer(connection)
    if present is None:
        raise Usage("there is no tracker's database here yet: `shoal-tracker serve` makes one")
    if present != known_revisions()[0]:
        raise Usage("this database is of an older Shoal: `shoal-tracker serve` brings it up to date")


def migrate(connection: Connection) -> None:
    """Run the migrations a database lacks, all in the transaction at hand. Of several processes one does it."""
    if connection.dialect.name == "postgresql":
        for setting in ("statement_timeout", "lock_timeout"):
            connection.exec_driver_sql(f"SET LOCAL {setting} = 0")
        connection.execute(select(func.pg_advisory_xact_lock(MIGRATING)))
    refuse_newer(connection)
    command.upgrade(_config(connection), "head")
