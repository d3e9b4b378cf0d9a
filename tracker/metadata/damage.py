"""Damaged chunks: stored once, and no longer what their ids say, until a device that holds them brings them again.

A damaged chunk counts as not held: nothing is answered with it, a commit that names it awaits it, a pack with it is
taken. Where it lay is kept, as it may only have been misread: what reads well again is put back.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, not_, select

from protocol.api import MAX_WANTED, MAX_WANTED_VERSIONS, WantedReply, WantedRequest
from protocol.identifiers import HASH_LENGTH, ID_LENGTH, ChunkId, UserId, VersionId, WorkspaceId
from protocol.runs import list_run
from tracker.metadata.access import WRITERS, require
from tracker.metadata.batches import batches, lookup
from tracker.metadata.order import lock_head
from tracker.schema import WITHDRAWN, chunks, damaged, nodes, runs, versions

VERSIONS_EACH = MAX_WANTED_VERSIONS // MAX_WANTED
"""Versions that are told for a damaged chunk: a device that has any of them has the chunk."""
_PAGE = 500

_DAMAGED = lookup(damaged.c.chunk, damaged.c.chunk, damaged.c.object)

Places = Mapping[ChunkId, str]
"""Chunks and the objects that they lie in."""


@dataclass(frozen=True, slots=True)
class Lost:
    """A damaged chunk, and where it lay."""

    chunk: ChunkId
    object: str
    offset: int
    length: int


def set_aside(
    connection: Connection,
    workspace: WorkspaceId,
    found: Places,
    listed: Mapping[ChunkId, Sequence[VersionId]],
    time_ms: int,
) -> int:
    """Take these chunks for damaged, unless they lie elsewhere by now; `listed` are versions that list them. How many
    it were."""
    lock_head(connection, workspace)
    count = 0
    for batch in batches(found):
        of_batch = (chunks.c.workspace == workspace, chunks.c.chunk.in_(batch))
        rows = [row for row in connection.execute(select(chunks).where(*of_batch)) if found[row.chunk] == row.object]
        for row in rows:
            connection.execute(delete(chunks).where(chunks.c.workspace == workspace, chunks.c.chunk == row.chunk))
            place = {"object": row.object, "offset": row.offset, "length": row.length}
            told = b"".join(listed.get(row.chunk, ())[:VERSIONS_EACH])
            values = {"workspace": workspace, "chunk": row.chunk, **place, "versions": told, "found_ms": time_ms}
            connection.execute(insert(damaged), [values])
        count += len(rows)
    return count


def put_back(connection: Connection, workspace: WorkspaceId, ids: Iterable[ChunkId]) -> int:
    """These can be read well where they lay; how many of them were still taken for damaged."""
    lock_head(connection, workspace)
    count = 0
    for chunk in ids:
        at = (damaged.c.workspace == workspace, damaged.c.chunk == chunk)
        row = connection.execute(select(damaged).where(*at)).one_or_none()
        if row is not None:
            place = {"object": row.object, "offset": row.offset, "length": row.length}
            connection.execute(delete(damaged).where(*at))
            connection.execute(insert(chunks), [{"workspace": workspace, "chunk": chunk, **place}])
            count += 1
    return count


def damaged_among(connection: Connection, workspace: WorkspaceId, ids: Iterable[ChunkId]) -> dict[ChunkId, str]:
    """Those of these chunks that are damaged, and the objects that they lay in."""
    found: dict[ChunkId, str] = {}
    for batch in batches(ids):
        rows = _DAMAGED.execute(connection, {"workspace": workspace, "ids": batch})
        found.update((ChunkId(row.chunk), row.object) for row in rows)
    return found


def healed(connection: Connection, workspace: WorkspaceId, ids: Iterable[ChunkId]) -> None:
    """These have been brought again."""
    for batch in batches(ids):
        connection.execute(delete(damaged).where(damaged.c.workspace == workspace, damaged.c.chunk.in_(batch)))


def all_damaged(connection: Connection, workspace: WorkspaceId) -> list[Lost]:
    """Every damaged chunk of a workspace."""
    rows = connection.execute(
        select(damaged).where(damaged.c.workspace == workspace).order_by(damaged.c.object, damaged.c.offset)
    )
    return [Lost(ChunkId(row.chunk), row.object, row.offset, row.length) for row in rows]


def wanted(connection: Connection, user: UserId, request: WantedRequest) -> WantedReply:
    """What a member's device may bring again, the oldest damage first: nothing, if it may not write."""
    if require(connection, request.workspace, user) not in WRITERS:
        return WantedReply()
    rows = connection.execute(
        select(damaged.c.chunk, damaged.c.versions)
        .where(damaged.c.workspace == request.workspace)
        .order_by(damaged.c.found_ms, damaged.c.chunk)
        .limit(MAX_WANTED)
    ).all()
    listed = dict.fromkeys(each for row in rows for each in _cut(row.versions, ID_LENGTH))
    return WantedReply(chunks=tuple(ChunkId(row.chunk) for row in rows), versions=tuple(map(VersionId, listed)))


# Which versions list them


def versions_with(
    connection: Connection, workspace: WorkspaceId, ids: Iterable[ChunkId]
) -> dict[ChunkId, list[VersionId]]:
    """Versions that list these chunks, those that are to be seen now first. Reads all lists of the workspace."""
    having = dict(_runs_with(connection, workspace, set(ids)))
    current = _current(connection, workspace)
    found: dict[ChunkId, list[tuple[bool, int, VersionId]]] = {}
    rows = connection.execution_options(yield_per=_PAGE).execute(
        select(versions.c.version, versions.c.revision, versions.c.runs).where(
            versions.c.workspace == workspace, versions.c.state != WITHDRAWN
        )
    )
    for row in rows:
        rank = row.version in current, row.revision, VersionId(row.version)
        for chunk in {chunk for run in _cut(row.runs, HASH_LENGTH) for chunk in having.get(run, ())}:
            found.setdefault(chunk, []).append(rank)
    return {chunk: [version for _, _, version in sorted(ranks, reverse=True)] for chunk, ranks in found.items()}


def _runs_with(
    connection: Connection, workspace: WorkspaceId, ids: set[ChunkId]
) -> Iterator[tuple[bytes, set[ChunkId]]]:
    rows = connection.execution_options(yield_per=_PAGE).execute(select(runs).where(runs.c.workspace == workspace))
    for row in rows:
        if here := ids.intersection(item.id for item in list_run(row.body)):
            yield row.run, here


def _current(connection: Connection, workspace: WorkspaceId) -> set[bytes]:
    """The heads and durable heads of all nodes that aren't deleted."""
    rows = connection.execute(
        select(nodes.c.version, nodes.c.durable_version).where(nodes.c.workspace == workspace, not_(nodes.c.deleted))
    )
    return {version for row in rows for version in row if version is not None}


def _cut(joined: bytes, length: int) -> Iterator[bytes]:
    return (joined[at : at + length] for at in range(0, len(joined), length))
