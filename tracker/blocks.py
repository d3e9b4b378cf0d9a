"""The block service: takes packs of sealed chunks and gives chunks back.

An upload is authorised (short transaction), verified (worker thread), stored as one immutable object (no transaction),
and recorded (one transaction). A crash between the last two leaves an orphan object and nothing else; repeating the
upload is always safe. A hash is never a capability: chunks are looked up only within a workspace of the asking user.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import trio
from sqlalchemy import Connection, select

from protocol.api import ChunksRequest
from protocol.chunks import chunk_id
from protocol.errors import Code, Malformed, Refused
from protocol.failpoints import failpoint
from protocol.hashing import digest
from protocol.identifiers import MAX_PACK_BYTES, ChunkId, DeviceId, UserId, WorkspaceId
from protocol.packs import ENTRY_LENGTH, HEADER_LENGTH, Packed, build_pack, read_index, workspace_of
from protocol.ports import Machine
from storage.errors import Missing
from storage.interface import Storage
from tracker.clock import now_ms
from tracker.database import Database
from tracker.failpoints import PACK_RECORDED, PACK_STORED
from tracker.metadata.access import require
from tracker.metadata.batches import batches
from tracker.metadata.durable import Recorded, expected_chunks, record_pack
from tracker.schema import chunks
from tracker.scrubbing import take_for_damaged

HASHERS = 2
TRANSFERS = 16
"""Packs held in memory at a time, up and down together: at most some 15 MiB each."""
GAP = 16 << 10
"""Two ranges of an object no further apart than this are read as one."""

_log = logging.getLogger("shoal.tracker.blocks")


@dataclass(frozen=True, slots=True)
class Held:
    """Where a chunk is."""

    id: ChunkId
    object: str
    offset: int
    length: int


class Blocks:
    """Takes and gives packs."""

    def __init__(self, machine: Machine, database: Database, storage: Storage) -> None:
        self._machine = machine
        self._database = database
        self.storage = storage
        self._hashing = trio.CapacityLimiter(HASHERS)
        self.transfers = trio.CapacityLimiter(TRANSFERS)

    async def store(self, user: UserId, device: DeviceId, body: bytes) -> Recorded:
        """Make a pack's chunks durable. `Refused` with NOT_ANNOUNCED, WRONG_ID, NOT_FOUND or FORBIDDEN;
        `Malformed` for what is no pack; a `StorageError` when the store can't."""
        workspace = workspace_of(body)
        packed = read_index(body, workspace)
        if any(item.length == 0 for item in packed):
            raise Malformed("an uploaded pack with an empty chunk")
        expected = await self._database.read(expected_chunks, workspace, user, packed)
        key = await self._machine.offload(lambda: _verify(workspace, body, packed, expected.damaged_in), self._hashing)
        fresh = expected.fresh
        if not fresh:
            return Recorded(0, (), ())
        await self.storage.put(key, body)
        failpoint(PACK_STORED)
        now = now_ms(self._machine)
        recorded = await self._database.transact(record_pack, workspace, device, key, len(body), fresh, now)
        failpoint(PACK_RECORDED)
        return recorded

    async def fetch(self, user: UserId, request: ChunksRequest) -> bytes:
        """A pack of the chunks asked for: in that order, not held ones empty, cut off at MAX_PACK_BYTES."""
        wanted = list(dict.fromkeys(request.chunks))
        held = await self._database.read(find_chunks, request.workspace, user, wanted)
        wanted = list(_fitting(wanted, held))
        found = await self._read(request.workspace, [held[chunk] for chunk in wanted if chunk in held])
        return build_pack(request.workspace, ((chunk, found.get(chunk, b"")) for chunk in wanted))

    async def _read(self, workspace: WorkspaceId, held: Sequence[Held]) -> dict[ChunkId, bytes]:
        """The bytes of these chunks, each held against its id; a damaged or lost one is logged and left out."""
        found: dict[ChunkId, bytes] = {}
        for run in coalesce(held):
            start = run[0].offset
            end = max(each.offset + each.length for each in run)
            try:
                data = await self.storage.get(run[0].object, start, end - start)
            except Missing as error:
                _log.error("chunks of workspace %s are lost: %s", workspace.hex(), error)
                continue
            found |= {each.id: data[each.offset - start : each.offset - start + each.length] for each in run}
        good = await self._machine.offload(lambda: {id for id in found if chunk_id(found[id]) == id}, self._hashing)
        if len(good) < len(found):
            await self._note_damage(workspace, [each for each in held if each.id in found and each.id not in good])
        return {id: data for id, data in found.items() if id in good}

    async def _note_damage(self, workspace: WorkspaceId, damaged: Iterable[Held]) -> None:
        """Have the devices asked for what is damaged; whoever wanted it is answered all the same."""
        try:
            places = {each.id: each.object for each in damaged}
            count = await take_for_damaged(self._machine, self._database, workspace, places)
            _log.error("%d chunks of workspace %s are damaged, and wanted from its devices", count, workspace.hex())
        except Refused as error:
            _log.error("damaged chunks of workspace %s could not be noted: %s", workspace.hex(), error)


def _verify(workspace: WorkspaceId, body: bytes, packed: Sequence[Packed], damaged_in: Sequence[str]) -> str:
    """Hold each chunk against its id; the key of the object that the pack becomes. It is another than that of an
    object with the same chunks that is damaged."""
    view = memoryview(body)
    for item in packed:
        if chunk_id(view[item.offset : item.offset + item.length]) != item.id:
            raise Refused(Code.WRONG_ID, "a chunk is not what its id says")
    name = digest(body)
    if damaged_in:
        name = digest(name + " ".join(damaged_in).encode())
    return f"{workspace.hex()}/{name.hex()}"


def find_chunks(
    connection: Connection, workspace: WorkspaceId, user: UserId, ids: Iterable[ChunkId]
) -> dict[ChunkId, Held]:
    """Where a member's chunks are; those not held are left out."""
    require(connection, workspace, user)
    found: dict[ChunkId, Held] = {}
    for batch in batches(ids):
        rows = connection.execute(
            select(chunks.c.chunk, chunks.c.object, chunks.c.offset, chunks.c.length).where(
                chunks.c.workspace == workspace, chunks.c.chunk.in_(batch)
            )
        )
        found.update((ChunkId(row.chunk), Held(ChunkId(row.chunk), *row[1:])) for row in rows)
    return found


def _fitting(wanted: Iterable[ChunkId], held: dict[ChunkId, Held]) -> Iterable[ChunkId]:
    """As many of the wanted, in order, as one pack may carry."""
    left = MAX_PACK_BYTES - HEADER_LENGTH
    for chunk in wanted:
        left -= ENTRY_LENGTH + (held[chunk].length if chunk in held else 0)
        if left < 0:
            return
        yield chunk


def coalesce(places: Iterable[Held]) -> list[list[Held]]:
    """Runs of chunks to be read together: of one object and hardly apart."""
    runs: list[list[Held]] = []
    for place in sorted(places, key=lambda each: (each.object, each.offset)):
        last = runs[-1][-1] if runs else None
        if last and last.object == place.object and place.offset - (last.offset + last.length) <= GAP:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs
