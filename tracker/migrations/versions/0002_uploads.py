"""Who uploads an announced version, and since when it has made progress; files without any content are deleted."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

ANNOUNCED = 1
FILE, SYMLINK = 1, 3

versions = sa.table(
    "versions",
    sa.column("workspace", sa.LargeBinary),
    sa.column("device", sa.LargeBinary),
    sa.column("revision", sa.BigInteger),
    sa.column("state", sa.SmallInteger),
    sa.column("uploader", sa.LargeBinary),
    sa.column("leased_ms", sa.BigInteger),
    sa.column("progress_ms", sa.BigInteger),
)
entries = sa.table(
    "entries",
    sa.column("workspace", sa.LargeBinary),
    sa.column("revision", sa.BigInteger),
    sa.column("time_ms", sa.BigInteger),
)
nodes = sa.table(
    "nodes",
    sa.column("kind", sa.SmallInteger),
    sa.column("version", sa.LargeBinary),
    sa.column("deleted", sa.Boolean),
)


def upgrade() -> None:
    """Announced versions are leased to their authors and have progressed at their commits."""
    op.add_column("versions", sa.Column("uploader", sa.LargeBinary(length=16), nullable=True))
    op.add_column("versions", sa.Column("leased_ms", sa.BigInteger(), nullable=True))
    op.add_column("versions", sa.Column("progress_ms", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_versions_announced",
        "versions",
        ["workspace", "progress_ms"],
        unique=False,
        sqlite_where=sa.text("state = 1"),
        postgresql_where=sa.text("state = 1"),
    )
    committed = (
        sa.select(entries.c.time_ms)
        .where(entries.c.workspace == versions.c.workspace, entries.c.revision == versions.c.revision)
        .scalar_subquery()
    )
    op.execute(
        versions.update()
        .where(versions.c.state == ANNOUNCED)
        .values(uploader=versions.c.device, leased_ms=committed, progress_ms=committed)
    )
    op.execute(
        nodes.update().where(nodes.c.kind.in_((FILE, SYMLINK)), nodes.c.version.is_(None)).values(deleted=sa.true())
    )


def downgrade() -> None:
    """A database never goes back."""
    raise NotImplementedError("a database never goes back; restore a backup")
