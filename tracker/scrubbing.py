"""Scrubbing: every stored chunk is read and held against its id; what is damaged is wanted from a device again."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio
from sqlalchemy import Connection, func, select

from protocol.chunks import chunk_id
from protocol.errors import Problem
from protocol.identifiers import ChunkId, WorkspaceId
from protocol.ports import Machine
from storage.errors import Missing
from storage.interface import Storage
from tracker.checking.objects import Kept, kept_objects
from tracker.checking.report import Report
from tracker.clock import now_ms
from tracker.database import Database
from tracker.metadata.damage import Lost, all_damaged, put_back, set_aside, versions_with
from tracker.schema import damaged, workspaces


@dataclass(slots=True)
class Scrubbed:
    """What came of it: "objects" and "chunks" that were read, chunks that were "recovered", as they can be read well
    again, and those that are "damaged" now."""

    counts: Counter[str] = field(default_factory=Counter)


async def scrub(machine: Machine, database: Database, storage: Storage) -> Scrubbed:
    """Read all that is stored. May run beside a server. `Problem` when none of the objects are there, which is no
    damage but another store; a `StorageError` when it doesn't work. What was found until then holds."""
    counts = Counter[str]()
    gone: list[tuple[WorkspaceId, Kept]] = []
    hashing = trio.CapacityLimiter(1)
    for workspace in await database.read(_workspaces):
        for kept in await database.read(_objects, workspace):
            try:
                bad = await _read(machine, hashing, storage, kept)
            except Missing:
                gone.append((workspace, kept))
                continue
            counts["objects"] += 1
            counts["chunks"] += len(kept.places)
            await take_for_damaged(machine, database, workspace, dict.fromkeys(bad, kept.key))
        await _recover(machine, hashing, database, storage, workspace, counts)
    await _lose(machine, database, gone, counts)
    counts["damaged"] = await database.read(_damaged_now)
    return Scrubbed(counts)


async def take_for_damaged(
    machine: Machine, database: Database, workspace: WorkspaceId, places: dict[ChunkId, str]
) -> int:
    """Chunks that were read, in these objects, and are not what their ids say; how many of them count as damaged only
    now."""
    if not places:
        return 0
    listed = await database.read(versions_with, workspace, list(places))
    return await database.transact(set_aside, workspace, places, listed, now_ms(machine))


def _workspaces(connection: Connection) -> list[WorkspaceId]:
    return [WorkspaceId(id) for id in connection.scalars(select(workspaces.c.id).order_by(workspaces.c.id))]


def _objects(connection: Connection, workspace: WorkspaceId) -> list[Kept]:
    """Those with chunks in them."""
    return [kept for kept in kept_objects(connection, Report(), workspace) if kept.places]


async def _read(machine: Machine, hashing: trio.CapacityLimiter, storage: Storage, kept: Kept) -> list[ChunkId]:
    """The damaged chunks of an object, each read twice."""
    bad = await _damaged(machine, hashing, await storage.get(kept.key), kept)
    return bad and await _damaged(machine, hashing, await storage.get(kept.key), kept)


async def _damaged(machine: Machine, hashing: trio.CapacityLimiter, data: bytes, kept: Kept) -> list[ChunkId]:
    def bad() -> list[ChunkId]:
        cut = ((place.chunk, data[place.offset : place.offset + place.length]) for place in kept.places)
        return [ChunkId(chunk) for chunk, sealed in cut if chunk_id(sealed) != chunk]

    return await machine.offload(bad, hashing)


async def _recover(
    machine: Machine,
    hashing: trio.CapacityLimiter,
    database: Database,
    storage: Storage,
    workspace: WorkspaceId,
    counts: Counter[str],
) -> None:
    """Look once more at what was taken for damaged: a disk may misread, a store may have been away."""
    well = [each.chunk for each in await database.read(all_damaged, workspace) if await _reads_well(storage, each)]
    if well:
        counts["recovered"] += await database.transact(put_back, workspace, well)


async def _reads_well(storage: Storage, lost: Lost) -> bool:
    try:
        return chunk_id(await storage.get(lost.object, lost.offset, lost.length)) == lost.chunk
    except Missing:
        return False


async def _lose(
    machine: Machine, database: Database, gone: Sequence[tuple[WorkspaceId, Kept]], counts: Counter[str]
) -> None:
    """Objects that are not there any more."""
    if gone and not counts["objects"]:
        raise Problem(f"none of {len(gone)} objects is in the storage: is it the right one?")
    for workspace, kept in gone:
        places = {ChunkId(place.chunk): kept.key for place in kept.places}
        await take_for_damaged(machine, database, workspace, places)


def _damaged_now(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(damaged)).scalar_one()
