"""Fetching content: from versions to files in place.

Small files share requests, one fsync barrier and one database transaction; a large one is fetched in several
requests at once and written as they arrive. Chunks that the replaced file already has are taken from it. The whole
file is hashed as it lies on the disk before it may come into place.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

import trio

from peer.chunker import file_digest
from peer.ports import Descriptor
from peer.root import Folder, open_folder
from peer.synchronizer.context import Context
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.replacing import Changed, Placed, Target, dress, put_in_place
from peer.synchronizer.runs import fetch_runs
from peer.synchronizer.steps import Fetch
from peer.tracker_client import DeviceClient
from peer.trees import Local, Remote, Synced
from peer.version_store import Version, content_of
from protocol.api import ChunksRequest
from protocol.chunks import OVERHEAD, ChunkRef, open_chunk
from protocol.commits import SYMLINK
from protocol.errors import CannotOpen, Malformed, WrongRoot
from protocol.failpoints import failpoint
from protocol.identifiers import MAX_REQUEST_CHUNKS, PACK_TARGET, ChunkId, NodeId
from protocol.packs import read_index

KIND = "fetch"
"""The kind of problem this module reports."""
GROUP_FILES, GROUP_BYTES = 200, 4 << 20
"""Small files are fetched together up to this many files and bytes."""
PARALLEL = 3
"""Requests under way at once for one group."""
ONE_BY_ONE = 8
"""Up to this many files are fsynced one by one; more share one barrier for the whole file system."""


class Piece(NamedTuple):
    """A chunk of a file, and where in it: offset in bytes."""

    ref: ChunkRef
    offset: int


@dataclass(slots=True)
class Job:
    """One file or symlink on its way into place."""

    remote: Remote
    version: Version
    pieces: list[Piece]
    target: Target
    replaced: Local | None
    base: dict[ChunkId, Piece]
    conflict: str
    failure: Exception | None = None
    placed: bool = False
    to_come: int = 0  # bytes still to be fetched

    @property
    def temp(self) -> str:
        """Its name in `.shoal/temp`."""
        return self.version.id.hex()

    @property
    def size(self) -> int:
        """Bytes in clear."""
        return self.version.manifest.size


class Downloads:
    """Fetches and places groups of files."""

    def __init__(self, context: Context, client: DeviceClient, local_steps: LocalSteps) -> None:
        """`local_steps` reports what the disk refuses."""
        self._context = context
        self._client = client
        self._local_steps = local_steps

    async def groups(self, steps: Iterable[Fetch]) -> list[list[Job]]:
        """What to fetch, in groups that are carried out one by one or side by side. Asks the tracker for runs that are
        not here."""
        versions = {step.node: self._context.versions.get(step.version) for step in steps}
        runs = [run for version in versions.values() if version for run in version.runs]
        await fetch_runs(self._context, self._client, runs)
        jobs = [job for node, version in versions.items() if version and (job := self._job(node, version))]
        return list(_grouped(jobs))

    def _job(self, node: NodeId, version: Version) -> Job | None:
        context, store = self._context, self._context.store
        remote, local, synced = store.remote(node), store.local(node), store.synced(node)
        parent = None if remote is None else store.path(remote.parent)
        if remote is None or parent is None:
            return None
        try:
            pieces = list(_pieces(context.versions.chunks(version)))
        except (Malformed, CannotOpen) as error:
            self._report(remote, str(error))
            return None
        base: dict[ChunkId, Piece] = {}
        if local is not None and synced is not None and synced.version is not None and local.content == synced.content:
            held = context.versions.get(synced.version)
            if held is not None and not context.versions.missing_runs(held.runs):
                base = {piece.ref.id: piece for piece in _pieces(context.versions.chunks(held))}
        target = Target(parent, remote.name, None if local is None else local.print)
        conflict = self._local_steps.conflict_name(remote.parent, remote.name)
        return Job(remote, version, pieces, target, local, base, conflict)

    def _report(self, remote: Remote, reason: str) -> None:
        path = self._context.store.remote_path(remote.node) or (remote.name,)
        self._context.problems.report(path, KIND, reason, "it is tried again; what is here stays as it is")
        self._context.postpone(remote.node)

    # Fetching

    async def carry_out(self, jobs: list[Job]) -> None:
        """Fetch, assemble and place one group. Raises `Unreachable`; whatever else fails is a problem of one path."""
        try:
            await self._assemble(jobs)
            await self._in_thread(lambda folder: _finish(folder, jobs))
            failpoint("peer.temp.synced")
            async with self._context.turn:
                await self._place([job for job in jobs if job.failure is None])
        finally:
            await self._tidy([job for job in jobs if not job.placed])
        for job in jobs:
            self._settle_failure(job)

    async def _tidy(self, jobs: list[Job]) -> None:
        """Leave nothing of these in `.shoal/temp`: the next attempt may be at another version."""

        def work(folder: Folder) -> None:
            for job in jobs:
                _discard(folder, job.temp)

        if jobs:
            with suppress(OSError, WrongRoot):  # what can't be removed now is at the next start
                await self._in_thread(work)

    async def _assemble(self, jobs: list[Job]) -> None:
        await self._in_thread(lambda folder: _begin(folder, jobs, self._context))
        wanted = [(job, piece) for job in jobs if job.failure is None for piece in job.pieces]
        wanted = [(job, piece) for job, piece in wanted if piece.ref.id not in job.base]
        for job, piece in wanted:
            job.to_come += piece.ref.length
        self._context.transfer.expect(sum(job.to_come for job in jobs))
        try:
            await self._fetch_all(wanted)
        finally:
            self._context.transfer.moved(sum(job.to_come for job in jobs))
        failpoint("peer.temp.written")

    async def _fetch_all(self, wanted: list[tuple[Job, Piece]]) -> None:
        send, receive = trio.open_memory_channel[list[tuple[Job, Piece]]](0)
        async with trio.open_nursery() as nursery:
            for _ in range(PARALLEL):
                nursery.start_soon(self._fetch_requests, receive.clone())
            receive.close()
            async with send:
                for request in _requests(wanted):
                    await send.send(request)

    async def _fetch_requests(self, requests: "trio.MemoryReceiveChannel[list[tuple[Job, Piece]]]") -> None:
        async with requests:
            async for wanted in requests:
                await self._fetch(wanted)

    async def _fetch(self, wanted: list[tuple[Job, Piece]]) -> None:
        workspace = self._context.keys.workspace
        ids = tuple(dict.fromkeys(piece.ref.id for _, piece in wanted))
        body = await self._client.fetch_chunks(ChunksRequest(workspace=workspace, chunks=ids))
        self._context.counters["cloud_in"] += len(body)
        held = {entry.id: body[entry.offset : entry.offset + entry.length] for entry in read_index(body, workspace)}
        await self._in_thread(lambda folder: _write_pieces(folder, wanted, held))
        for job, piece in wanted:
            job.to_come -= piece.ref.length
            self._context.transfer.moved(piece.ref.length)

    async def _in_thread(self, work: Callable[[Folder], None]) -> None:
        context = self._context

        def run() -> None:
            with open_folder(context.disk, context.root) as folder:
                work(folder)

        await context.machine.offload(run, context.limiter)

    # Placing

    async def _place(self, jobs: list[Job]) -> None:
        """Bring complete files into place and then record that disk and tracker agree on them."""
        wanted = [job for job in jobs if self._still_wanted(job)]
        placed: list[tuple[Job, Placed]] = []

        def work(folder: Folder) -> None:
            for job in wanted:
                try:
                    placed.append((job, put_in_place(folder, job.temp, job.target, job.conflict)))
                    job.placed = True
                except (OSError, Changed) as error:
                    job.failure = error
                folder.trim()

        store = self._context.store
        with store.database.transaction():
            for job in wanted:
                self._context.versions.put(job.version)  # REMOTE may have gone on meanwhile and forgotten it
            store.put_placing(_agreed(job) for job in wanted)
        try:
            await self._in_thread(work)
        finally:
            with store.database.transaction():
                self._record(placed)
                store.drop_placing(job.remote.node for job in wanted)
        if placed:
            failpoint("peer.synced.advanced")

    def _still_wanted(self, job: Job) -> bool:
        """The tracker may have moved or deleted it meanwhile, or something may have happened to it here."""
        store, node = self._context.store, job.remote.node
        remote = store.remote(node)
        same = remote is not None and (remote.parent, remote.name) == (job.remote.parent, job.remote.name)
        at_home = store.path(job.remote.parent) == job.target.parent and store.local(node) == job.replaced
        there = store.local_at(job.remote.parent, job.remote.name)  # LOCAL knows of one node at most under a name
        if not same or not at_home or (there is not None and there.node != node):
            job.failure = Changed("the trees have moved on")
        return job.failure is None

    def _record(self, placed: list[tuple[Job, Placed]]) -> None:
        context, store = self._context, self._context.store
        for job, result in placed:
            remote, content = job.remote, content_of(job.version.manifest)
            if job.replaced is not None and result.outgoing is not None:
                context.remember_outgoing(result.outgoing, job.replaced)
            parent = store.find(job.target.parent) or remote.parent  # it may have a new id since
            store.put_local(Local(remote.node, parent, remote.name, remote.kind, content, result.print))
            store.put_synced(_agreed(job))
            context.versions.unstage(remote.node)
            if result.kept is not None:
                context.log_conflict(job.target.parent, remote.name, result.kept)
                context.look_again(job.target.parent)

    def _settle_failure(self, job: Job) -> None:
        context, node = self._context, job.remote.node
        if job.failure is None:
            context.problems.settled((*job.target.parent, job.remote.name))
        elif isinstance(job.failure, Changed):
            context.look_again(job.target.parent)
        elif isinstance(job.failure, OSError):
            self._local_steps.report(node, job.failure)
        else:
            self._report(job.remote, str(job.failure))


def _agreed(job: Job) -> Synced:
    remote = job.remote
    return Synced(remote.node, remote.parent, remote.name, remote.kind, remote.place, job.version.id, None)


def _pieces(refs: Iterable[ChunkRef]) -> Iterator[Piece]:
    offset = 0
    for ref in refs:
        yield Piece(ref, offset)
        offset += ref.length


def _grouped(jobs: list[Job]) -> Iterator[list[Job]]:
    group: list[Job] = []
    size = 0
    for job in jobs:
        if job.size >= GROUP_BYTES:
            yield [job]
            continue
        group.append(job)
        size += job.size
        if len(group) >= GROUP_FILES or size >= GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _requests(wanted: list[tuple[Job, Piece]]) -> Iterator[list[tuple[Job, Piece]]]:
    """Cut into requests of about PACK_TARGET bytes. A chunk that several files have is asked for once."""
    users: dict[ChunkId, list[tuple[Job, Piece]]] = {}
    for job, piece in wanted:
        users.setdefault(piece.ref.id, []).append((job, piece))
    request: list[tuple[Job, Piece]] = []
    chunks = size = 0
    for pieces in users.values():
        length = pieces[0][1].ref.length + OVERHEAD
        if request and (size + length > PACK_TARGET or chunks >= MAX_REQUEST_CHUNKS):
            yield request
            request, chunks, size = [], 0, 0
        request.extend(pieces)
        chunks, size = chunks + 1, size + length
    if request:
        yield request


# In the thread


def _each(jobs: Iterable[Job]) -> Iterator[Job]:
    return (job for job in jobs if job.failure is None)


def _begin(folder: Folder, jobs: list[Job], context: Context) -> None:
    """Make the temporary files, with what is at hand: inline content, link texts, chunks of the file to be replaced."""
    for job in _each(jobs):
        try:
            _discard(folder, job.temp)
            if job.remote.kind == SYMLINK:
                folder.disk.make_symlink(job.version.manifest.link or "", folder.temp, job.temp)
            else:
                _begin_file(folder, job, context)
        except OSError as error:
            job.failure = error
        folder.trim()


def _begin_file(folder: Folder, job: Job, context: Context) -> None:
    disk = folder.disk
    descriptor = disk.create_file(folder.temp, job.temp, 0o600)
    try:
        if job.version.manifest.inline is not None:
            disk.write_at(descriptor, job.version.manifest.inline, 0)
        if job.base:
            context.counters["local"] += _copy_from_base(folder, job, descriptor)
    finally:
        disk.close(descriptor)


def _copy_from_base(folder: Folder, job: Job, descriptor: Descriptor) -> int:
    disk = folder.disk
    source = disk.open_file(folder.directory(job.target.parent), job.target.name)
    copied = 0
    try:
        for piece in job.pieces:
            held = job.base.get(piece.ref.id)
            if held is not None:
                data = disk.read_at(source, held.ref.length, held.offset)
                disk.write_at(descriptor, data, piece.offset)
                copied += len(data)
    finally:
        disk.close(source)
    return copied


def _write_pieces(folder: Folder, wanted: list[tuple[Job, Piece]], held: dict[ChunkId, bytes]) -> None:
    disk = folder.disk
    opened: dict[str, Descriptor] = {}
    try:
        for job, piece in wanted:
            if job.failure is not None:
                continue
            try:
                body = open_chunk(piece.ref, held.get(piece.ref.id, b""))
                if job.temp not in opened:
                    opened[job.temp] = disk.open_for_writing(folder.temp, job.temp)
                disk.write_at(opened[job.temp], body, piece.offset)
            except (OSError, Malformed, CannotOpen) as error:
                job.failure = error
    finally:
        for descriptor in opened.values():
            disk.close(descriptor)


def _finish(folder: Folder, jobs: list[Job]) -> None:
    """Verify each file as it lies on the disk, give it its time and permissions, and make all of them durable."""
    disk = folder.disk
    whole = list(_each(jobs))
    for job in whole:
        try:
            _verify_and_dress(folder, job, sync=len(whole) <= ONE_BY_ONE)
        except (OSError, Malformed) as error:
            job.failure = error
    if len(whole) > ONE_BY_ONE:
        disk.sync_file_system(folder.temp)
    for job in jobs:
        if job.failure is not None:
            _discard(folder, job.temp)


def _verify_and_dress(folder: Folder, job: Job, *, sync: bool) -> None:
    disk, content = folder.disk, content_of(job.version.manifest)
    if job.remote.kind == SYMLINK:
        disk.set_link_times(folder.temp, job.temp, content.mtime_ns)
        return
    descriptor = disk.open_file(folder.temp, job.temp)
    try:
        if file_digest(disk, descriptor) != content.digest:
            raise Malformed("what was fetched is not what its manifest says")
        dress(disk, descriptor, content, None if job.replaced is None else job.replaced.print)
        if sync:
            disk.fsync(descriptor)
    finally:
        disk.close(descriptor)


def _discard(folder: Folder, name: str) -> None:
    with suppress(FileNotFoundError):
        folder.disk.unlink(folder.temp, name)
