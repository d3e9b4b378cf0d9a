"""Recording stored chunks, and turning the versions durable that they complete.

A head that turns durable becomes its node's durable head as well, and what the old durable head cost is the owner's
again. A version that was overtaken before it was whole turns durable quietly, for history: it takes no register, so
it can't cost quota that nobody checked.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from protocol.deltas import Record
from protocol.errors import Code, Refused
from protocol.identifiers import ChunkId, DeviceId, NodeId, UserId, VersionId, WorkspaceId
from protocol.packs import Packed
from tracker.metadata.access import WRITERS, require
from tracker.metadata.batches import WORKSPACE, among, batches, lookup
from tracker.metadata.bulk import Bulk
from tracker.metadata.damage import damaged_among, healed
from tracker.metadata.loading import find_nodes
from tracker.metadata.order import Head, NewRecord, add_used, append_record, lock_head
from tracker.metadata.rules import as_durable
from tracker.metadata.writing import turn_heads_durable
from tracker.schema import ANNOUNCED, DURABLE, NO_UPLOAD, awaiting, chunks, objects, versions

RECORD_ROWS = 10_000
"""Versions in one record; more are told in several revisions."""

_HELD = lookup(chunks.c.chunk, chunks.c.chunk)
_AWAITED = (
    select(awaiting.c.chunk, awaiting.c.version, awaiting.c.length)
    .where(awaiting.c.workspace == WORKSPACE, among(awaiting.c.chunk))
    .order_by(awaiting.c.chunk, awaiting.c.version)
)
_INSERT_CHUNKS = Bulk(insert(chunks), "workspace", "chunk", "object", "offset", "length")
_NO_LONGER_AWAITED = Bulk(
    delete(awaiting).where(
        awaiting.c.workspace == bindparam("at_workspace"),
        awaiting.c.chunk == bindparam("at_chunk"),
        awaiting.c.version == bindparam("at_version"),
    ),
    "at_workspace",
    "at_chunk",
    "at_version",
)
_ANNOUNCED = (
    select(versions.c.version, versions.c.node, versions.c.missing)
    .where(versions.c.workspace == WORKSPACE, among(versions.c.version), versions.c.state == ANNOUNCED)
    .order_by(versions.c.revision, versions.c.position)
)
_PROGRESS = Bulk(
    update(versions)
    .where(versions.c.workspace == bindparam("at_workspace"), versions.c.version == bindparam("at_version"))
    .values(
        missing=versions.c.missing - bindparam("arrived"),
        uploader=bindparam("by"),
        leased_ms=bindparam("now"),
        progress_ms=bindparam("now"),
    ),
    "at_workspace",
    "at_version",
    "arrived",
    "by",
    "now",
)
_TURN_DURABLE = (
    update(versions)
    .where(versions.c.workspace == bindparam("at_workspace"), among(versions.c.version))
    .values(state=DURABLE, missing=0, **NO_UPLOAD)
)


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a stored pack did."""

    stored: int  # chunks that were not held before
    durable: Sequence[VersionId]
    records: Sequence[NewRecord]


@dataclass(frozen=True, slots=True)
class Expected:
    """Those chunks of a pack that are to be stored, and the objects in which damaged ones of them lay."""

    fresh: Sequence[Packed]
    damaged_in: Sequence[str]


def expected_chunks(connection: Connection, workspace: WorkspaceId, user: UserId, packed: Sequence[Packed]) -> Expected:
    """What of a pack is to be stored; held chunks are left out.

    `Refused` (NOT_ANNOUNCED) when no accepted commit lists one of them at that length.
    """
    require(connection, workspace, user, WRITERS)
    lengths = {item.id: item.length for item in packed}
    held = _held(connection, workspace, lengths)
    announced = {chunk for chunk, _ in _awaited(connection, workspace, lengths)}
    damaged = damaged_among(connection, workspace, [id for id in lengths if id not in held])
    expected = announced | damaged.keys()
    strangers = [item for item in packed if item.id not in held and item.id not in expected]
    if strangers:
        raise Refused(Code.NOT_ANNOUNCED, f"{len(strangers)} of {len(packed)} chunks are in no accepted commit")
    fresh = [item for item in {item.id: item for item in packed}.values() if item.id not in held]
    return Expected(fresh, sorted(set(damaged.values())))


def _held(connection: Connection, workspace: WorkspaceId, lengths: Mapping[ChunkId, int]) -> set[ChunkId]:
    found: set[ChunkId] = set()
    for batch in batches(lengths):
        found.update(_HELD.execute(connection, {"workspace": workspace, "ids": batch}).scalars())
    return found


def _awaited(
    connection: Connection, workspace: WorkspaceId, lengths: Mapping[ChunkId, int]
) -> list[tuple[ChunkId, VersionId]]:
    """Which versions wait for these chunks at these lengths."""
    found = []
    for batch in batches(lengths):
        rows = connection.execute(_AWAITED, {"workspace": workspace, "ids": batch})
        found += [(chunk, version) for chunk, version, length in rows if lengths[chunk] == length]
    return found


def record_pack(
    connection: Connection,
    workspace: WorkspaceId,
    device: DeviceId,
    key: str,
    size: int,
    packed: Sequence[Packed],
    time_ms: int,
) -> Recorded:
    """Record chunks of this device's that an object of `size` bytes holds, and what turns durable by them.

    Chunks that are held by now are skipped, and so are those that nothing waits for any more: an object of which
    nothing was recorded is an orphan. The device has the lease of what it brought something for.
    """
    head = lock_head(connection, workspace)
    lengths = {item.id: item.length for item in packed}
    held = _held(connection, workspace, lengths)
    waiting = _awaited(connection, workspace, {id: lengths[id] for id in lengths if id not in held})
    damaged = damaged_among(connection, workspace, [id for id in lengths if id not in held])
    wanted = {chunk for chunk, _ in waiting} | damaged.keys()
    fresh = [item for item in packed if item.id in wanted]
    if not fresh:
        return Recorded(0, (), ())
    healed(connection, workspace, damaged)
    _insert_chunks(connection, workspace, key, size, fresh)
    whole = _satisfy(connection, workspace, device, waiting, time_ms)
    records = _turn_durable(connection, head, whole, time_ms)
    return Recorded(len(fresh), list(whole), records)


def _insert_chunks(
    connection: Connection, workspace: WorkspaceId, key: str, size: int, fresh: Iterable[Packed]
) -> None:
    known = select(objects.c.key).where(objects.c.workspace == workspace, objects.c.key == key)
    if connection.execute(known).one_or_none() is None:
        connection.execute(insert(objects), [{"workspace": workspace, "key": key, "size": size}])
    _INSERT_CHUNKS.run(connection, [(workspace, item.id, key, item.offset, item.length) for item in fresh])


def _satisfy(
    connection: Connection,
    workspace: WorkspaceId,
    device: DeviceId,
    waiting: Sequence[tuple[ChunkId, VersionId]],
    time_ms: int,
) -> dict[VersionId, NodeId]:
    """Take what has arrived off the versions' lists, which is progress; the versions of which the last chunk came, and
    whose they are."""
    _NO_LONGER_AWAITED.run(connection, [(workspace, chunk, version) for chunk, version in waiting])
    arrived = Counter(version for _, version in waiting)
    whole = {}
    for version, node, missing in _announced_among(connection, workspace, arrived):
        if missing == arrived[version]:
            whole[version] = node
    lacking = [(version, count) for version, count in arrived.items() if version not in whole]
    _PROGRESS.run(connection, [(workspace, version, count, device, time_ms) for version, count in lacking])
    return whole


def _announced_among(
    connection: Connection, workspace: WorkspaceId, ids: Iterable[VersionId]
) -> Iterator[tuple[VersionId, NodeId, int]]:
    """Those of these versions that are announced, whose they are, and how many chunks they lack."""
    for batch in batches(ids):
        for version, node, missing in connection.execute(_ANNOUNCED, {"workspace": workspace, "ids": batch}):
            yield VersionId(version), NodeId(node), missing


def _turn_durable(
    connection: Connection, head: Head, whole: Mapping[VersionId, NodeId], time_ms: int
) -> list[NewRecord]:
    workspace = head.workspace
    for batch in batches(whole):
        connection.execute(_TURN_DURABLE, {"at_workspace": workspace, "ids": batch})
    known = find_nodes(connection, workspace, dict.fromkeys(whole.values()))
    heads = [node for node in known.values() if node.version in whole]
    now = [as_durable(node) for node in heads]
    turn_heads_durable(connection, workspace, [node.node for node in now])
    add_used(connection, head.owner, sum(node.charge for node in now) - sum(node.charge for node in heads))
    told = sorted((node.content_at or (0, 0), node.node, node.version) for node in now if node.version is not None)
    return _append_records(connection, head, [(node, version) for _, node, version in told], time_ms)


def _append_records(
    connection: Connection, head: Head, rows: Sequence[tuple[NodeId, VersionId]], time_ms: int
) -> list[NewRecord]:
    made = []
    for batch in batches(rows, RECORD_ROWS):
        made.append(append_record(connection, head, Record(durable=tuple(batch)), time_ms))
        head = made[-1].head
    return made
