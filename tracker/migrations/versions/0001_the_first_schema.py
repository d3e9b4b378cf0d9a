"""The first schema."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Make every table. Written out, so that a later change of `tracker/schema.py` does not change the past."""
    op.create_table(
        "awaiting",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("chunk", sa.LargeBinary(length=32), nullable=False),
        sa.Column("version", sa.LargeBinary(length=16), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "chunk", "version", name=op.f("pk_awaiting")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("awaiting", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_awaiting_workspace_version"), ["workspace", "version"], unique=False)

    op.create_table(
        "chunks",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("chunk", sa.LargeBinary(length=32), nullable=False),
        sa.Column("object", sa.String(length=129), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("condemned_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "chunk", name=op.f("pk_chunks")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "entries",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("time_ms", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("device", sa.LargeBinary(length=16), nullable=True),
        sa.Column("commit_id", sa.LargeBinary(length=16), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=True),
        sa.Column("seen", sa.LargeBinary(length=32), nullable=True),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=True),
        sa.Column("items", sa.LargeBinary(), nullable=True),
        sa.Column("record", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "revision", name=op.f("pk_entries")),
        sa.UniqueConstraint("workspace", "device", "commit_id", name=op.f("uq_entries_workspace_device_commit_id")),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
    )
    op.create_table(
        "nodes",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("parent", sa.LargeBinary(length=16), nullable=False),
        sa.Column("token", sa.LargeBinary(length=16), nullable=False),
        sa.Column("place", sa.LargeBinary(length=16), nullable=False),
        sa.Column("version", sa.LargeBinary(length=16), nullable=True),
        sa.Column("durable_version", sa.LargeBinary(length=16), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("durable_size", sa.BigInteger(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("place_revision", sa.BigInteger(), nullable=False),
        sa.Column("place_position", sa.Integer(), nullable=False),
        sa.Column("content_revision", sa.BigInteger(), nullable=True),
        sa.Column("content_position", sa.Integer(), nullable=True),
        sa.Column("durable_revision", sa.BigInteger(), nullable=True),
        sa.Column("durable_position", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("workspace", "node", name=op.f("pk_nodes")),
        sqlite_with_rowid=False,
    )
    with op.batch_alter_table("nodes", schema=None) as batch_op:
        batch_op.create_index(
            "uq_nodes_live_name",
            ["workspace", "parent", "token"],
            unique=True,
            sqlite_where=sa.text("deleted = 0"),
            postgresql_where=sa.text("NOT deleted"),
        )

    op.create_table(
        "objects",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("key", sa.String(length=129), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "key", name=op.f("pk_objects")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "runs",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("run", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "run", name=op.f("pk_runs")),
    )
    op.create_table(
        "states",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("parent", sa.LargeBinary(length=16), nullable=False),
        sa.Column("token", sa.LargeBinary(length=16), nullable=False),
        sa.Column("place", sa.LargeBinary(length=16), nullable=False),
        sa.Column("version", sa.LargeBinary(length=16), nullable=True),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("operation", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "revision", "position", name=op.f("pk_states")),
    )
    with op.batch_alter_table("states", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_states_workspace_node"), ["workspace", "node"], unique=False)
        batch_op.create_index(batch_op.f("ix_states_workspace_place"), ["workspace", "place"], unique=False)

    op.create_table(
        "users",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("auth_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("kdf_passes", sa.BigInteger(), nullable=False),
        sa.Column("kdf_memory", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("identity_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("identity_by_password", sa.LargeBinary(), nullable=False),
        sa.Column("identity_by_recovery", sa.LargeBinary(), nullable=False),
        sa.Column("recovery_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("plan", sa.String(length=64), nullable=False),
        sa.Column("suspended", sa.Boolean(), nullable=False),
        sa.Column("used_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("email", name=op.f("uq_users_email")),
    )
    op.create_table(
        "versions",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("version", sa.LargeBinary(length=16), nullable=False),
        sa.Column("node", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("runs", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "version", name=op.f("pk_versions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "devices",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("user", sa.LargeBinary(length=16), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.Column("signing_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.LargeBinary(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False),
        sa.Column("added_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name=op.f("fk_devices_user")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_devices")),
    )
    with op.batch_alter_table("devices", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_devices_user"), ["user"], unique=False)

    op.create_table(
        "grants",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("user", sa.LargeBinary(length=16), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name=op.f("fk_grants_user")),
        sa.PrimaryKeyConstraint("workspace", "user", "epoch", name=op.f("pk_grants")),
    )
    op.create_table(
        "members",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("user", sa.LargeBinary(length=16), nullable=False),
        sa.Column("role", sa.SmallInteger(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name=op.f("fk_members_user")),
        sa.PrimaryKeyConstraint("workspace", "user", name=op.f("pk_members")),
    )
    with op.batch_alter_table("members", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_members_user"), ["user"], unique=False)

    op.create_table(
        "sealing_keys",
        sa.Column("user", sa.LargeBinary(length=16), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("signature", sa.LargeBinary(length=64), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["users.id"], name=op.f("fk_sealing_keys_user")),
        sa.PrimaryKeyConstraint("user", "number", name=op.f("pk_sealing_keys")),
    )
    op.create_table(
        "workspaces",
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("owner", sa.LargeBinary(length=16), nullable=False),
        sa.Column("home", sa.Boolean(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.id"], name=op.f("fk_workspaces_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workspaces")),
    )
    with op.batch_alter_table("workspaces", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_workspaces_owner"), ["owner"], unique=False)

    op.create_table(
        "sessions",
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"], name=op.f("fk_sessions_device")),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_sessions")),
    )
    with op.batch_alter_table("sessions", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_sessions_device"), ["device"], unique=False)


def downgrade() -> None:
    """There is nothing before the first schema."""
    raise NotImplementedError("a database never goes back; restore a backup")
