"""What counts for the breaker, its limits, and approvals."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Nothing counts yet, and the limits are those of all workspaces."""
    op.add_column("workspaces", sa.Column("recent", sa.LargeBinary(), nullable=True))
    op.add_column("workspaces", sa.Column("limits", sa.LargeBinary(), nullable=True))
    op.add_column("entries", sa.Column("approval", sa.LargeBinary(), nullable=True))
    op.create_table(
        "approvals",
        sa.Column("workspace", sa.LargeBinary(length=16), nullable=False),
        sa.Column("device", sa.LargeBinary(length=16), nullable=False),
        sa.Column("id", sa.LargeBinary(length=16), nullable=False),
        sa.Column("deletes", sa.BigInteger(), nullable=False),
        sa.Column("overwrites", sa.BigInteger(), nullable=False),
        sa.Column("first_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workspace", "device", "id", name=op.f("pk_approvals")),
    )


def downgrade() -> None:
    """A database never goes back."""
    raise NotImplementedError("a database never goes back; restore a backup")
