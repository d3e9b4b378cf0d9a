"""The tracker's tables.

Every key of a growing table begins with the workspace, and an id means nothing without it: that is what sharding will
cut along. Ids and hashes are raw bytes, times are milliseconds since 1970 UTC, sizes are bytes. The migrations in
`tracker/migrations` make exactly this; a test holds the two against each other.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    literal,
    text,
)
from sqlalchemy.schema import SchemaItem


class Bytes(LargeBinary):
    """Bytes as every driver here takes and gives them: SQLAlchemy's wrapping costs more than writing a row."""

    def bind_processor(self, dialect: Dialect) -> None:
        """Nothing to do to a parameter."""

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        """Nothing to do to a result."""


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def _growing(name: str, *items: SchemaItem) -> Table[Any]:
    """A table of short rows, clustered by its primary key where the database can do that."""
    return Table(name, metadata, *items, sqlite_with_rowid=False)


def _workspace() -> Column[bytes]:
    return Column("workspace", Bytes(16), primary_key=True)


# One row a fact about this database: the tracker epoch, the secret that salts, challenges and tokens are keyed with.
meta = Table(
    "meta",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Bytes, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", Bytes(16), primary_key=True),
    Column("email", String(254), nullable=False, unique=True),  # normalised
    Column("auth_hash", Bytes(32), nullable=False),
    Column("kdf_passes", BigInteger, nullable=False),
    Column("kdf_memory", BigInteger, nullable=False),
    Column("generation", Integer, nullable=False),  # of the password wrapping
    Column("identity_key", Bytes(32), nullable=False),
    Column("identity_by_password", Bytes, nullable=False),
    Column("identity_by_recovery", Bytes, nullable=False),
    Column("recovery_hash", Bytes(32), nullable=False),
    Column("plan", String(64), nullable=False),
    Column("suspended", Boolean, nullable=False),
    Column("used_bytes", BigInteger, nullable=False),  # by all workspaces the user owns, exact (law 6)
    Column("created_ms", BigInteger, nullable=False),
)

sealing_keys = Table(
    "sealing_keys",
    metadata,
    Column("user", Bytes(16), ForeignKey("users.id"), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("body", Bytes, nullable=False),
    Column("signature", Bytes(64), nullable=False),
    Column("wrapped", Bytes, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("id", Bytes(16), primary_key=True),
    Column("user", Bytes(16), ForeignKey("users.id"), nullable=False, index=True),
    Column("body", Bytes, nullable=False),  # of the certificate
    Column("signature", Bytes(64), nullable=False),
    Column("signing_key", Bytes(32), nullable=False),  # out of the certificate
    Column("name", Bytes, nullable=False),  # sealed
    Column("retired", Boolean, nullable=False),
    Column("added_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", Bytes(32), primary_key=True),
    Column("device", Bytes(16), ForeignKey("devices.id"), nullable=False, index=True),
    Column("expires_ms", BigInteger, nullable=False),
)

# Failed logins, by a keyed hash of the address.
failures = Table(
    "failures",
    metadata,
    Column("key", Bytes(32), primary_key=True),
    Column("times", Integer, nullable=False),
    Column("last_ms", BigInteger, nullable=False, index=True),
)

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", Bytes(16), primary_key=True),
    Column("owner", Bytes(16), ForeignKey("users.id"), nullable=False, index=True),
    Column("home", Boolean, nullable=False),  # of its owner
    Column("epoch", BigInteger, nullable=False),  # of its keys
    Column("revision", BigInteger, nullable=False),
    Column("hash", Bytes(32), nullable=False),  # chained, at `revision`
    Column("recent", Bytes),  # deletes and overwrites that count for the breaker: an encoded `Recent`
    Column("limits", Bytes),  # of the breaker, where they are not those of all: an encoded `Limits`
)

members = Table(
    "members",
    metadata,
    _workspace(),
    Column("user", Bytes(16), ForeignKey("users.id"), primary_key=True, index=True),
    Column("role", SmallInteger, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    _workspace(),
    Column("user", Bytes(16), ForeignKey("users.id"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True),
    Column("body", Bytes, nullable=False),  # an encoded Grant
)

# The order itself, append-only: one row a revision, a commit or a record that the tracker made.
entries = Table(
    "entries",
    metadata,
    _workspace(),
    Column("revision", BigInteger, primary_key=True),
    Column("time_ms", BigInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False),  # COMMIT, RECORD or WITHDRAWAL
    Column("digest", Bytes(32), nullable=False),
    Column("hash", Bytes(32), nullable=False),  # chained, after this entry
    Column("device", Bytes(16)),
    Column("commit_id", Bytes(16)),
    Column("epoch", BigInteger),
    Column("seen", Bytes(32)),
    Column("signature", Bytes(64)),
    Column("items", LargeBinary),  # the hashes of the operations, one after the other
    Column("record", LargeBinary),
    Column("approval", Bytes),  # an encoded Approval that came with a commit
    UniqueConstraint("workspace", "device", "commit_id"),
)
COMMIT, RECORD, WITHDRAWAL = 1, 2, 3
"""Kinds of entry; a WITHDRAWAL is a record with withdrawn versions in it."""

# What is left of approvals that came with commits.
approvals = Table(
    "approvals",
    metadata,
    _workspace(),
    Column("device", Bytes(16), primary_key=True),
    Column("id", Bytes(16), primary_key=True),
    Column("deletes", BigInteger, nullable=False),
    Column("overwrites", BigInteger, nullable=False),
    Column("first_ms", BigInteger, nullable=False),  # when it was first used
)

# Append-only too: one row an operation, with the state its node had after it. This is the history.
states = Table(
    "states",
    metadata,
    _workspace(),
    Column("revision", BigInteger, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("node", Bytes(16), nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("parent", Bytes(16), nullable=False),
    Column("token", Bytes(16), nullable=False),
    Column("place", Bytes(16), nullable=False),
    Column("version", Bytes(16)),
    Column("deleted", Boolean, nullable=False),
    Column("operation", Bytes, nullable=False),  # the exact bytes that were signed
    Index(None, "workspace", "node"),
    Index(None, "workspace", "place"),  # a mark never returns
)

# The registers of each node now. The pairs (revision, position) name the operations that set them.
nodes = _growing(
    "nodes",
    _workspace(),
    Column("node", Bytes(16), primary_key=True),
    Column("kind", SmallInteger, nullable=False),
    Column("parent", Bytes(16), nullable=False),
    Column("token", Bytes(16), nullable=False),
    Column("place", Bytes(16), nullable=False),
    Column("version", Bytes(16)),  # the head
    Column("durable_version", Bytes(16)),  # the durable head
    Column("size", BigInteger, nullable=False),  # what the head costs of the quota, 0 without one
    Column("durable_size", BigInteger, nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("place_revision", BigInteger, nullable=False),
    Column("place_position", Integer, nullable=False),
    Column("content_revision", BigInteger),
    Column("content_position", Integer),
    Column("durable_revision", BigInteger),
    Column("durable_position", Integer),
)
Index(
    "ix_nodes_deleted",
    nodes.c.workspace,
    nodes.c.parent,
    sqlite_where=text("deleted = 1"),
    postgresql_where=text("deleted"),
)
live_names = Index(
    "uq_nodes_live_name",
    nodes.c.workspace,
    nodes.c.parent,
    nodes.c.token,
    unique=True,
    sqlite_where=text("deleted = 0"),
    postgresql_where=text("NOT deleted"),
)

versions = _growing(
    "versions",
    _workspace(),
    Column("version", Bytes(16), primary_key=True),
    Column("node", Bytes(16), nullable=False),
    Column("device", Bytes(16), nullable=False),  # the author
    Column("revision", BigInteger, nullable=False),  # with `position`: the operation that introduced it
    Column("position", Integer, nullable=False),
    Column("state", SmallInteger, nullable=False),  # ANNOUNCED, DURABLE or WITHDRAWN
    Column("size", BigInteger, nullable=False),  # sealed chunks and manifest together
    Column("missing", Integer, nullable=False),  # distinct chunks awaited
    Column("runs", Bytes, nullable=False),  # run ids, one after the other
    # Of an announced version, null in every other:
    Column("uploader", Bytes(16)),  # the device that its missing chunks are leased to
    Column("leased_ms", BigInteger),  # since when
    Column("progress_ms", BigInteger),  # its commit, or the last pack with one of its chunks
    Index(
        "ix_versions_announced",
        "workspace",
        "progress_ms",
        sqlite_where=text("state = 1"),
        postgresql_where=text("state = 1"),
    ),
)
ANNOUNCED, DURABLE, WITHDRAWN = 1, 2, 3
"""States of a version."""
IS_ANNOUNCED = versions.c.state == literal(ANNOUNCED, literal_execute=True)
"""For who looks for them all: written out in the statement, so that any database sees, also in a plan it keeps, that
their own index will do. Who looks some up by their ids compares with ANNOUNCED, lest that index seem the better one."""
NO_UPLOAD = {"uploader": None, "leased_ms": None, "progress_ms": None}
"""What the columns about its upload are in a version that is announced no longer."""

runs = Table(
    "runs",
    metadata,
    _workspace(),
    Column("run", Bytes(32), primary_key=True),
    Column("body", Bytes, nullable=False),
)

# Parts of commits that are too large for one request, until all are here and the device closes them.
staged = Table(
    "staged",
    metadata,
    _workspace(),
    Column("device", Bytes(16), ForeignKey("devices.id"), primary_key=True, index=True),
    Column("digest", Bytes(32), primary_key=True),
    Column("body", Bytes, nullable=False),  # an encoded Commit
    Column("size", Integer, nullable=False),
    Column("since_ms", BigInteger, nullable=False, index=True),
)

# Chunks that announced versions list and that are not held; the length is what that version's list says.
awaiting = _growing(
    "awaiting",
    _workspace(),
    Column("chunk", Bytes(32), primary_key=True),
    Column("version", Bytes(16), primary_key=True),
    Column("length", Integer, nullable=False),
    Index(None, "workspace", "version"),
)

chunks = _growing(
    "chunks",
    _workspace(),
    Column("chunk", Bytes(32), primary_key=True),
    Column("object", String(129), nullable=False),
    Column("offset", Integer, nullable=False),
    Column("length", Integer, nullable=False),
    Column("condemned_ms", BigInteger),  # by garbage collection; a commit that names the chunk clears it
)

# Chunks that were stored and are not what their ids say any more, where they lay, and versions that list them.
damaged = _growing(
    "damaged",
    _workspace(),
    Column("chunk", Bytes(32), primary_key=True),
    Column("object", String(129), nullable=False),
    Column("offset", Integer, nullable=False),
    Column("length", Integer, nullable=False),
    Column("versions", Bytes, nullable=False),  # version ids, one after the other
    Column("found_ms", BigInteger, nullable=False),
)

objects = _growing(
    "objects",
    _workspace(),
    Column("key", String(129), primary_key=True),
    Column("size", BigInteger, nullable=False),
)
