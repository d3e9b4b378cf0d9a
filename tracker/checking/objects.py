"""Objects: every chunk's place inside one, and, unless asked to be quick, every chunk's bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

import trio
from sqlalchemy import Connection, select

from protocol.chunks import chunk_id
from protocol.identifiers import WorkspaceId
from protocol.ports import Machine
from storage.errors import Missing, StorageError
from storage.interface import Storage, listing
from tracker.checking.report import Report
from tracker.schema import chunks, objects


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk lies in its object, in bytes."""

    chunk: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Kept:
    """An object as the database knows it."""

    key: str
    size: int
    places: Sequence[Place]

    @property
    def needed(self) -> int:
        """How many bytes of it there must be for its chunks: none once all of them have been stored elsewhere."""
        return max((place.offset + place.length for place in self.places), default=0)


def kept_objects(connection: Connection, report: Report, workspace: WorkspaceId) -> list[Kept]:
    """A workspace's objects with the chunks in each, their places checked against the object's size."""
    places: dict[str, list[Place]] = {
        row.key: []
        for row in connection.execute(
            select(objects.c.key).where(objects.c.workspace == workspace).order_by(objects.c.key)
        )
    }
    sizes = {row.key: row.size for row in connection.execute(select(objects).where(objects.c.workspace == workspace))}
    for row in connection.execute(
        select(chunks).where(chunks.c.workspace == workspace).order_by(chunks.c.object, chunks.c.offset)
    ):
        report.counts["chunks"] += 1
        at = f"workspace {workspace.hex()}, chunk {row.chunk.hex()}"
        if row.object not in places:
            report.problem(f"{at}: its object {row.object} is not known")
        elif row.offset < 0 or row.length <= 0 or row.offset + row.length > sizes[row.object]:
            report.problem(f"{at}: it reaches past the end of its object")
        else:
            places[row.object].append(Place(row.chunk, row.offset, row.length))
    return [Kept(key, sizes[key], places[key]) for key in places]


async def check_objects(
    machine: Machine, storage: Storage, report: Report, kept: Sequence[Kept], *, quick: bool
) -> None:
    """Hold the database's objects against the storage."""
    hashing = trio.CapacityLimiter(1)
    for each in kept:
        report.counts["objects"] += 1
        try:
            if quick:
                size = await storage.size(each.key)
            else:
                data = await storage.get(each.key)
                size = len(data)
                await _check_chunks(machine, hashing, report, each, data)
        except Missing:
            if each.places:
                report.problem(f"object {each.key}: it is missing, with {len(each.places)} chunks in it")
            continue
        except StorageError as error:
            report.problem(f"object {each.key}: {error}")
            continue
        report.expect(size >= each.needed, f"object {each.key}: it has {size} bytes, not {each.size}")


async def _check_chunks(
    machine: Machine, hashing: trio.CapacityLimiter, report: Report, kept: Kept, data: bytes
) -> None:
    def damaged() -> list[bytes]:
        return [
            place.chunk
            for place in kept.places
            if chunk_id(data[place.offset : place.offset + place.length]) != place.chunk
        ]

    for chunk in await machine.offload(damaged, hashing):
        report.problem(f"object {kept.key}: chunk {chunk.hex()} is not what its id says")


async def find_orphans(storage: Storage, report: Report, known: set[str]) -> None:
    """Objects that nothing names: left by a crash between storing and recording, or just being uploaded."""
    count = size = 0
    async for stored in listing(storage):
        if stored.key not in known:
            count, size = count + 1, size + stored.size
    report.counts["orphans"] = count
    if count:
        report.information.append(f"{count} objects with {size} bytes are named by nothing (harmless)")
