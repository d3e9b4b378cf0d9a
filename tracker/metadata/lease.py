"""Leases: which device uploads the chunks that an announced version still lacks (design §6, rule c).

A lease is one device's for 60 s from the version's commit, from a grant, or from a pack that brought one of its chunks.
The author has the first. It only keeps two devices from uploading the same; a chunk is taken from any writer.
"""

from collections.abc import Iterable

from sqlalchemy import Connection, select, update
from sqlalchemy.engine import Row

from protocol.api import LeaseReply, LeaseRequest
from protocol.identifiers import ChunkId, DeviceId, UserId, VersionId, WorkspaceId
from tracker.metadata.access import WRITERS
from tracker.metadata.batches import batches
from tracker.metadata.order import lock_for
from tracker.schema import ANNOUNCED, awaiting, versions

LEASE_MS = 60 * 1000
MAX_CHUNKS = 100_000
"""What one answer can name; ask again once these are uploaded."""


def lease(connection: Connection, user: UserId, device: DeviceId, request: LeaseRequest, time_ms: int) -> LeaseReply:
    """Lease to the device those of the versions that no other device is uploading. `Refused` for who may not write."""
    workspace = request.workspace
    # Of two devices that ask at once the second sees what the first was granted.
    lock_for(connection, workspace, user, WRITERS)
    named = list(dict.fromkeys(request.versions))
    announced = _announced_among(connection, workspace, named)
    granted = [version for version in named if version in announced and _is_free(announced[version], device, time_ms)]
    _grant(connection, workspace, granted, device, time_ms)
    return LeaseReply(
        granted=tuple(granted),
        missing=tuple(_missing(connection, workspace, granted)),
        settled=tuple(version for version in named if version not in announced),
    )


def _is_free(row: Row[*tuple[object, ...]], device: DeviceId, time_ms: int) -> bool:
    """Whether the device may have the lease. One that begins later than now is over too: the clock was set back."""
    return row.uploader == device or not 0 <= time_ms - row.leased_ms < LEASE_MS


def _grant(
    connection: Connection, workspace: WorkspaceId, granted: Iterable[VersionId], device: DeviceId, time_ms: int
) -> None:
    for batch in batches(granted):
        connection.execute(
            update(versions)
            .where(versions.c.workspace == workspace, versions.c.version.in_(batch))
            .values(uploader=device, leased_ms=time_ms)
        )


def announced_and_missing(
    connection: Connection, workspace: WorkspaceId, named: Iterable[VersionId]
) -> tuple[list[VersionId], list[ChunkId]]:
    """Which of these versions are announced and not durable, and the chunks they lack (at most MAX_CHUNKS)."""
    named = list(dict.fromkeys(named))
    found = _announced_among(connection, workspace, named)
    announced = [version for version in named if version in found]
    return announced, _missing(connection, workspace, announced)


def _announced_among(
    connection: Connection, workspace: WorkspaceId, named: Iterable[VersionId]
) -> dict[VersionId, Row[*tuple[object, ...]]]:
    """Which of these versions are announced and not durable, and who uploads them since when."""
    found: dict[VersionId, Row[*tuple[object, ...]]] = {}
    for batch in batches(named):
        rows = connection.execute(
            select(versions.c.version, versions.c.uploader, versions.c.leased_ms).where(
                versions.c.workspace == workspace, versions.c.version.in_(batch), versions.c.state == ANNOUNCED
            )
        )
        found.update((VersionId(row.version), row) for row in rows)
    return found


def _missing(connection: Connection, workspace: WorkspaceId, announced: Iterable[VersionId]) -> list[ChunkId]:
    missing: dict[ChunkId, None] = {}
    for batch in batches(announced):
        rows = connection.scalars(
            select(awaiting.c.chunk)
            .where(awaiting.c.workspace == workspace, awaiting.c.version.in_(batch))
            .order_by(awaiting.c.version, awaiting.c.chunk)
        )
        missing |= dict.fromkeys(map(ChunkId, rows))
    return list(missing)[:MAX_CHUNKS]
