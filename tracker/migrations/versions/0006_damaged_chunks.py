"""Chunks that are damaged, and wanted from devices."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Nothing is known to be damaged."""
    op.create_table(
        "damaged",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("chunk", sa.LargeBinary(length=32), nullable=False),
        sa.Column("object", sa.String(length=129), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("versions", sa.LargeBinary(), nullable=False),
        sa.Column("found_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "chunk", name=op.f("pk_damaged")),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    """A database never goes back."""
    raise NotImplementedError("a database never goes back; restore a backup")
