"""Parts of large commits, and deleted nodes by where they were."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Nothing is staged yet."""
    op.create_table(
        "staged",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["devices.id"], name=op.f("fk_staged_device")),
        sa.PrimaryKeyConstraint("workspace", "device", "digest", name=op.f("pk_staged")),
    )
    op.create_index(op.f("ix_staged_device"), "staged", ["device"], unique=False)
    op.create_index(op.f("ix_staged_since_ms"), "staged", ["since_ms"], unique=False)
    op.create_index(
        "ix_nodes_deleted",
        "nodes",
        ["workspace", "parent"],
        unique=False,
        sqlite_where=sa.text("deleted = 1"),
        postgresql_where=sa.text("deleted"),
    )


def downgrade() -> None:
    """A database never goes back."""
    raise NotImplementedError("a database never goes back; restore a backup")
