"""Reading local files whose content isn't known: when they are quiet, many to a thread hop."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from peer.chunker import WINDOW, Cut, Staged, stage_file
from peer.ports import Descriptor, Disk
from peer.root import Folder, Names, open_folder
from peer.synchronizer.context import Context
from peer.synchronizer.holdings import Place
from peer.synchronizer.local_steps import advice_for
from peer.synchronizer.offers import OFFERED_BYTES, Offered
from peer.trees import Fingerprint, Local
from protocol.errors import reason_of
from protocol.identifiers import NodeId, VersionId, new_id
from protocol.keys import WorkspaceKeys

KIND = "read"
"""The kind of problem this module reports."""
BATCH_FILES, BATCH_BYTES = 256, 32 << 20
"""How much one thread hop reads before what it found is stored."""
TELLING = 0.03
"""Seconds between two words of how much of a file may be fetched already."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    row: Local
    parent: Names
    cut: Cut | None
    is_new: bool


_Found = tuple[Staged, Fingerprint] | OSError | None


class Reading:
    """Stages local files for sending."""

    def __init__(self, context: Context) -> None:
        """Work on the context's workspace and folder."""
        self._context = context

    async def read(self, nodes: list[NodeId]) -> tuple[bool, float]:
        """Read those that are quiet. Returns whether any was read, and in how many seconds to come back for the
        rest."""
        context, now = self._context, trio.current_time()
        due = {node: context.quiet.due(node, now) for node in nodes}
        later = [pause for pause in due.values() if pause > 0]
        progress = False
        for batch in _batches(self._wanted([node for node in nodes if due[node] <= 0])):
            found = await self._read_and_offer(batch)
            with context.store.database.transaction():
                progress = self._keep(batch, found) or progress
        return progress, min(later, default=float("inf"))

    async def _read_and_offer(self, batch: list[_Wanted]) -> list[_Found]:
        """What is in these files; large new ones are offered to the LAN while they are read."""
        context, offers = self._context, self._offers(batch)
        if not offers:
            return await context.machine.offload(lambda: self._read_batch(batch, {}), context.limiter)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_telling, list(offers.values()))
            found = await context.machine.offload(lambda: self._read_batch(batch, offers), context.limiter)
            nursery.cancel_scope.cancel()
        for wanted, result in zip(batch, found, strict=True):
            offered = offers.get(wanted.row.node)
            if offered is not None:
                context.offers.read(offered, result[0].content.digest if isinstance(result, tuple) else None)
        return found

    def _offers(self, batch: Sequence[_Wanted]) -> dict[NodeId, Offered]:
        context = self._context
        large = [wanted for wanted in batch if wanted.is_new and wanted.row.print.size >= OFFERED_BYTES]
        listener = context.offers.listener() if large else None
        if listener is None:
            return {}
        made: dict[NodeId, Offered] = {}
        for wanted in large:
            row, version = wanted.row, VersionId(new_id(context.machine.random_bytes))
            place = Place(wanted.parent, row.name)
            made[row.node] = Offered(version, row.node, row.parent, place, row.print.size, listener)
            context.offers.begin(made[row.node])
        return made

    async def _keep_telling(self, offers: Sequence[Offered]) -> None:
        while True:
            await trio.sleep(TELLING)
            for offered in offers:
                self._context.offers.tell(offered)

    def _wanted(self, nodes: list[NodeId]) -> Iterator[_Wanted]:
        store = self._context.store
        rows, synceds = store.locals(nodes), store.synceds(nodes)
        bases = self._context.versions.get_many(row.version for row in synceds.values() if row.version is not None)
        paths = {parent: store.path(parent) for parent in {row.parent for row in rows.values()}}
        for row in (rows[node] for node in nodes if node in rows):
            parent, synced = paths[row.parent], synceds.get(row.node)
            base = None if synced is None or synced.version is None else bases.get(synced.version)
            if parent is not None:
                yield _Wanted(row, parent, None if base is None else base.manifest.cut, synced is None)

    def _read_batch(self, batch: list[_Wanted], offers: Mapping[NodeId, Offered]) -> list[_Found]:
        with open_folder(self._context.disk, self._context.root) as folder:
            keys = self._context.keys
            return [_read_one(folder, wanted, keys, offers.get(wanted.row.node)) for wanted in batch]

    def _keep(self, batch: list[_Wanted], found: list[_Found]) -> bool:
        """Store what was read; returns whether any of it counts."""
        context = self._context
        now = context.store.locals(wanted.row.node for wanted in batch)
        troubled, kept = context.problems.any(), list[tuple[Local, Staged]]()
        for wanted, result in zip(batch, found, strict=True):
            staged = self._judge(wanted, result, now.get(wanted.row.node))
            if staged is not None:
                kept.append((wanted.row, staged))
                if troubled:
                    context.problems.clear((*wanted.parent, wanted.row.name), KIND)
        context.versions.stage((row.node, staged) for row, staged in kept)
        context.store.put_contents((row.node, staged.content) for row, staged in kept)
        return bool(kept)

    def _judge(self, wanted: _Wanted, result: _Found, now: Local | None) -> Staged | None:
        """What was read of a file, if that is what it holds; else it is looked at again."""
        context, row = self._context, wanted.row
        path = (*wanted.parent, row.name)
        if isinstance(result, OSError):
            if not isinstance(result, FileNotFoundError) and context.stumble(row.node, result):
                reason = reason_of(result)
                context.problems.report(path, KIND, f"it can't be read: {reason}", advice_for(result, reading=True))
            context.look_again(wanted.parent)
            return None
        # Only as it was when it became quiet: a kernel's clock ticks every few milliseconds, and what is written in the
        # tick in which a file was read can't be told from what was read.
        if result is None or result[1] != row.print or now != row:
            context.quiet.disturbed(row.node, row.print, trio.current_time())
            context.look_again(wanted.parent)
            return None
        context.quiet.read(row.node, trio.current_time())
        return result[0]


def _read_one(folder: Folder, wanted: _Wanted, keys: WorkspaceKeys, offered: Offered | None) -> _Found:
    disk = folder.disk
    try:
        folder.trim()
        descriptor = disk.open_file(folder.directory(wanted.parent), wanted.row.name)
        try:
            with _brought_to_disk(disk, descriptor, aside=wanted.row.print.size > WINDOW):
                if offered is None:
                    return stage_file(disk, descriptor, keys, wanted.cut)
                return stage_file(disk, descriptor, keys, wanted.cut, offered.sealed)
        finally:
            disk.close(descriptor)
    except OSError as error:
        return error


@contextmanager
def _brought_to_disk(disk: Disk, descriptor: Descriptor, *, aside: bool) -> Iterator[None]:
    """fsync a large file while it is read: the fsync before the commit then has little to wait for. An error is told
    once only, so it must not be lost here. What comes out doesn't depend on the thread, as with the chunker's."""
    if not aside:
        yield
        return
    with ThreadPoolExecutor(1) as thread:
        underway = thread.submit(disk.fsync, descriptor)
        yield
        underway.result()


def _batches(wanted: Iterable[_Wanted]) -> Iterator[list[_Wanted]]:
    batch: list[_Wanted] = []
    size = 0
    for item in wanted:
        batch.append(item)
        size += item.row.print.size
        if len(batch) >= BATCH_FILES or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
