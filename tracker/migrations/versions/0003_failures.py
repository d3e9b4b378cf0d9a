"""Failed logins, which all processes count as one."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    """Nobody has failed yet."""
    op.create_table(
        "failures",
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("last_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_failures")),
    )
    op.create_index(op.f("ix_failures_last_ms"), "failures", ["last_ms"], unique=False)


def downgrade() -> None:
    """A database never goes back."""
    raise NotImplementedError("a database never goes back; restore a backup")
