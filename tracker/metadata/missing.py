"""What announced versions still lack."""

from collections.abc import Iterable

from sqlalchemy import Connection, select

from protocol.api import MissingReply, MissingRequest
from protocol.identifiers import ChunkId, UserId, VersionId, WorkspaceId
from tracker.metadata.access import require
from tracker.metadata.batches import batches
from tracker.schema import ANNOUNCED, awaiting, versions

MAX_CHUNKS = 100_000
"""What one answer can name; ask again once these are uploaded."""


def announced_and_missing(
    connection: Connection, workspace: WorkspaceId, named: Iterable[VersionId]
) -> tuple[list[VersionId], list[ChunkId]]:
    """Which of these versions are announced and not durable, and the chunks they lack (at most MAX_CHUNKS)."""
    announced = _announced_among(connection, workspace, named)
    missing: dict[ChunkId, None] = {}
    for batch in batches(announced):
        rows = connection.scalars(
            select(awaiting.c.chunk)
            .where(awaiting.c.workspace == workspace, awaiting.c.version.in_(batch))
            .order_by(awaiting.c.version, awaiting.c.chunk)
        )
        missing |= dict.fromkeys(map(ChunkId, rows))
    return announced, list(missing)[:MAX_CHUNKS]


def _announced_among(connection: Connection, workspace: WorkspaceId, named: Iterable[VersionId]) -> list[VersionId]:
    """Which of these versions are announced and not durable, in the order given."""
    named = list(dict.fromkeys(named))
    found: set[bytes] = set()
    for batch in batches(named):
        found.update(
            connection.scalars(
                select(versions.c.version).where(
                    versions.c.workspace == workspace,
                    versions.c.version.in_(batch),
                    versions.c.state == ANNOUNCED,
                )
            )
        )
    return [version for version in named if version in found]


def read_missing(connection: Connection, user: UserId, request: MissingRequest) -> MissingReply:
    """What a member asks for: the chunks these versions still lack."""
    require(connection, request.workspace, user)
    _, missing = announced_and_missing(connection, request.workspace, request.versions)
    return MissingReply(chunks=tuple(missing))
