"""Fetching content: from versions to files in place.

Small files share requests, one fsync barrier and one database transaction; a large one is fetched in several
requests at once and written as they arrive. Chunks that the replaced file already has are taken from it; devices on the
LAN come before the cloud. The whole file is hashed, in the order of its pieces, before it may come into place.
"""

import errno
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial

import trio

from peer.problems import printable
from peer.root import Folder, Names
from peer.synchronizer.context import Context
from peer.synchronizer.gathering import Sealed, Source, gather
from peer.synchronizer.jobs import Job, Wanted, grouped, wanted_by
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.pieces import Piece, pieces_of
from peer.synchronizer.pool import Outcome
from peer.synchronizer.prefetching import Prefetching
from peer.synchronizer.replacing import Changed, InTheWay, Placed, Target, digest_of, put_in_place
from peer.synchronizer.runs import fetch_runs
from peer.synchronizer.sources import CloudSource, LanSource
from peer.synchronizer.steps import Fetch
from peer.synchronizer.swarm import SHARED_BYTES, LanSwarm
from peer.synchronizer.temps import ONE_BY_ONE, Lacking, begin, discard, finish, unfailed, write
from peer.tracker_client import DeviceClient
from peer.trees import Fetched, Local, Placing, Remote, Synced
from peer.version_store import Version, chunks_of, content_of
from protocol.chunks import ChunkRef
from protocol.errors import CannotOpen, Malformed, WrongRoot
from protocol.failpoints import failpoint
from protocol.identifiers import ChunkId, NodeId

log = logging.getLogger(__name__)
KIND = "fetch"
"""The kind of problem this module reports."""


class Downloads:
    """Fetches and places groups of files."""

    def __init__(
        self, context: Context, client: DeviceClient, local_steps: LocalSteps, prefetching: Prefetching
    ) -> None:
        """`local_steps` reports what the disk refuses."""
        self._prefetching = prefetching
        self._context = context
        self._client = client
        self._local_steps = local_steps
        self._litter: set[str] = set()
        self._under_way: dict[str, Job] = {}  # by their names in `.shoal/temp`

    async def groups(self, steps: Iterable[Fetch]) -> list[list[Job]]:
        """What to fetch, in groups that are carried out one by one or side by side. Asks the tracker for runs that are
        not here."""
        wanted = {step.node: step.version for step in steps}
        versions = self._context.versions.get_many(wanted.values())
        await fetch_runs(self._context, self._client, [run for version in versions.values() for run in version.runs])
        bodies = self._context.versions.run_bodies(versions.values())
        store, jobs = self._context.store, list[Job]()
        there, here = store.remotes(wanted), store.locals(wanted)
        parents = {parent: store.path(parent) for parent in {row.parent for row in there.values()}}
        for remote in (there[node] for node in wanted if node in there):
            version, parent = versions.get(wanted[remote.node]), parents[remote.parent]
            if version is None or parent is None:
                continue
            try:
                pieces = list(pieces_of(chunks_of(version, bodies)))
            except (Malformed, CannotOpen) as error:
                self._report(remote, str(error))
            else:
                jobs.append(self._job(remote, here.get(remote.node), version, pieces, parent))
        # Folder by folder: each folder that a group goes to costs it an fsync.
        return list(grouped(sorted(jobs, key=lambda job: (job.target.parent, job.target.name))))

    def _job(self, remote: Remote, local: Local | None, version: Version, pieces: list[Piece], parent: Names) -> Job:
        context = self._context
        base: dict[ChunkId, Piece] = {}
        synced = None if local is None else context.store.synced(remote.node)
        if local is not None and synced is not None and synced.version is not None and local.content == synced.content:
            held = context.versions.get(synced.version)
            if held is not None and not context.versions.missing_runs(held.runs):
                base = {piece.ref.id: piece for piece in pieces_of(context.versions.chunks(held))}
        spare = None if local is None else context.spare(synced)
        expected = None if local is None else local.print
        target = Target(parent, remote.name, expected, digest_of(synced, spare))
        conflict = "" if local is None else self._local_steps.conflict_name(remote.parent, remote.name)
        return Job(remote, version, pieces, target, local, base, conflict, spare, remote.node in context.stumbles)

    def _report(self, remote: Remote, reason: str) -> None:
        path = self._context.store.remote_path(remote.node) or (remote.name,)
        self._context.problems.report(path, KIND, reason, "it is tried again; what is here stays as it is")
        self._context.postpone(remote.node)

    # Fetching

    async def carry_out(self, jobs: list[Job]) -> None:
        """Fetch, assemble and place one group. Raises `Unreachable`; whatever else fails is a problem of one path."""
        self._litter -= {job.temp for job in jobs}
        try:
            for job in jobs:
                await self._take_over(job)
            with self._context.partials.gathering(jobs):
                await self._assemble(jobs)
                await self._context.in_folder(lambda folder: finish(folder, jobs))
                failpoint("peer.temp.synced")
                async with self._context.turn:
                    await self._place([job for job in jobs if job.failure is None])
        finally:
            for job in jobs:
                self._under_way.pop(job.temp, None)
            self._litter |= {job.temp for job in jobs if not job.placed}
            await self.tidy()
        troubled = self._context.problems.any()
        for job in jobs:
            if job.failure is not None:
                self._settle_failure(job, job.failure)
            elif troubled:
                self._context.problems.settled((*job.target.parent, job.remote.name))

    async def _take_over(self, job: Job) -> None:
        """Go on from what has been fetched ahead, if it is just what was announced."""
        file = await self._prefetching.release(job.version.id)
        if file is None or job.base or [piece.ref for piece in file.pieces] != _refs(job)[: len(file.pieces)]:
            return
        job.ahead, job.assembly = True, file.assembly
        job.assembly.settle(job.pieces)
        job.lan = sum(piece.ref.length for piece in job.pieces if job.assembly.has(piece))
        job.to_come -= job.lan
        job.givers[file.link.device] = None

    async def tidy(self) -> None:
        """Leave nothing in `.shoal/temp` of attempts that failed: the next one may be at another version. What can't be
        removed now is the next time."""
        litter = frozenset(self._litter)

        def work(folder: Folder) -> None:
            for temp in sorted(litter):
                discard(folder, temp)

        if litter:
            with suppress(OSError, WrongRoot):
                await self._context.in_folder(work)
                self._litter -= litter

    async def _assemble(self, jobs: list[Job]) -> None:
        await self._admit(jobs)
        await self._context.in_folder(lambda folder: begin(folder, jobs))
        wanted = wanted_by(unfailed(jobs))
        self._context.transfer.expect(sum(job.to_come for job in jobs))
        try:
            if wanted:
                await self._gather(wanted)
        finally:
            self._context.transfer.moved(sum(job.to_come for job in jobs))
        failpoint("peer.temp.written")

    async def _admit(self, jobs: Sequence[Job]) -> None:
        """What doesn't fit on the disk beside all that is to come is not begun: it would be fetched in vain, again and
        again."""
        free = await self._context.in_folder(lambda folder: folder.disk.space(folder.temp).free_bytes)
        free -= self._prefetching.to_come + sum(job.to_come for job in unfailed(self._under_way.values()))
        for job in jobs:
            if job.to_come > max(0, free):
                job.failure, job.to_come = OSError(errno.ENOSPC, "No space left on device"), 0
            else:
                free -= job.to_come
                self._under_way[job.temp] = job

    async def _gather(self, wanted: Sequence[Wanted]) -> None:
        neighbours, versions = self._context.neighbours, [*dict.fromkeys(each.version for each in wanted)]
        with neighbours.seeking(versions):
            await neighbours.hear(versions)
            far = {version for version in versions if not neighbours.holders(version)}
            if sum(each.ref.length for each in wanted if each.version in far) >= SHARED_BYTES:
                await neighbours.meet()
                await neighbours.hear(versions)
            lacking = await self._gather_from_all(wanted)
        for lost in lacking:
            for job, _ in lost.users:
                job.failure = job.failure or Lacking("parts of it can't be had")

    async def _gather_from_all(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        context = self._context
        swarm = LanSwarm(context, CloudSource(self._client, context.keys.workspace, context.traffic), wanted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(swarm.keep_telling)
            lacking = await gather(wanted, swarm, partial(self._use, swarm))
            nursery.cancel_scope.cancel()
        swarm.tell()
        return lacking

    async def _use(self, swarm: LanSwarm, source: Source, wanted: Sequence[Wanted], sealed: Sealed) -> Outcome:
        context = self._context

        def work(folder: Folder) -> Outcome:
            bodies = sealed()
            context.counters["cloud_in" if source.is_cloud else "lan_in"] += sum(map(len, bodies))
            return write(folder, wanted, bodies, is_cloud=source.is_cloud)

        outcome = Outcome()
        try:
            outcome = await self._context.in_folder(work)
        except (CannotOpen, Malformed) as error:
            outcome = Outcome(wrong=error)
        missing = set(outcome.missing if outcome.wrong is None else wanted)
        came = [each for each in wanted if each not in missing]
        for each in came:
            self._count(each, source)
        swarm.came(came)
        return outcome

    def _count(self, wanted: Wanted, source: Source) -> None:
        """A chunk came. Who has it already, as two were asked, doesn't count it again."""
        for job, piece in wanted.users:
            length = min(job.to_come, piece.ref.length)
            job.to_come -= length
            if isinstance(source, LanSource):
                job.lan += length
                job.givers[source.device] = None
            else:
                job.cloud += length
            self._context.transfer.moved(length)

    # Placing

    async def _place(self, jobs: list[Job]) -> None:
        """Bring complete files into place and then record that disk and tracker agree on them."""
        wanted = self._still_wanted(jobs)
        placed: list[tuple[Job, Placed]] = []
        store = self._context.store
        with store.database.transaction():
            # REMOTE may have forgotten them meanwhile.
            self._context.versions.put_missing([job.version for job in wanted])
            store.put_placing(
                Placing(_agreed(job), job.whole.device, job.whole.inode) for job in wanted if job.whole is not None
            )
        try:
            await self._context.in_folder(lambda folder: placed.extend(_put_in_place(folder, wanted)))
        finally:
            with store.database.transaction():
                self._record(placed)
                done = {job.remote.node for job, _ in placed}
                # What the disk failed at may be in place all the same: its note stays until somebody has looked.
                store.drop_placing(
                    job.remote.node for job in wanted if job.remote.node in done or isinstance(job.failure, Changed)
                )
        if placed:
            failpoint("peer.synced.advanced")
            self._context.neighbours.arrived([job.version.id for job, _ in placed])

    def _still_wanted(self, jobs: Sequence[Job]) -> list[Job]:
        """The tracker may have moved or deleted them meanwhile, or something may have happened to them here."""
        store, nodes = self._context.store, [job.remote.node for job in jobs]
        there, here = store.remotes(nodes), store.locals(nodes)
        paths = {parent: store.path(parent) for parent in {job.remote.parent for job in jobs}}
        names: defaultdict[NodeId, list[str]] = defaultdict(list)
        for job in jobs:
            names[job.remote.parent].append(job.remote.name)
        holders = {parent: store.locals_at(parent, wanted) for parent, wanted in names.items()}
        for job in jobs:
            node, parent, name = job.remote.node, job.remote.parent, job.remote.name
            remote = there.get(node)
            same = remote is not None and (remote.parent, remote.name) == (parent, name)
            at_home = paths[parent] == job.target.parent and here.get(node) == job.replaced
            holder = holders[parent].get(name)  # LOCAL knows of one node at most under a name
            if not same or not at_home or (holder is not None and holder.node != node):
                job.failure = Changed("the trees have moved on")
        return [job for job in jobs if job.failure is None]

    def _record(self, placed: list[tuple[Job, Placed]]) -> None:
        context, store = self._context, self._context.store
        parents = {names: store.find(names) for names in {job.target.parent for job, _ in placed}}
        rows = []
        for job, result in placed:
            remote, content = job.remote, content_of(job.version.manifest)
            if job.replaced is not None and result.outgoing is not None:
                context.remember_outgoing(result.outgoing, job.replaced, job.spare)
            parent = parents[job.target.parent] or remote.parent  # it may have a new id since
            context.written(job.target.parent, remote.name)
            rows.append(Local(remote.node, parent, remote.name, remote.kind, content, result.print))
            if result.kept is not None:
                context.log_conflict(job.target.parent, remote.name, result.kept)
                context.look_again(job.target.parent)
        store.put_locals(rows)
        store.put_synceds([_agreed(job) for job, _ in placed])
        store.put_fetched((job.remote.node, _fetched(job)) for job, _ in placed)
        for link in context.neighbours.links if any(job.givers for job, _ in placed) else ():
            context.names.heard(link.device, link.channel.name)
        context.versions.unstage(job.remote.node for job, _ in placed)

    def _settle_failure(self, job: Job, failure: Exception) -> None:
        context, node = self._context, job.remote.node
        if isinstance(failure, InTheWay):
            self._local_steps.report_in_the_way(node)
        elif isinstance(failure, Changed):
            context.look_again(job.target.parent)
            context.shifted(node)
        elif isinstance(failure, OSError):
            self._local_steps.report(node, failure)
        elif isinstance(failure, Lacking) and job.remote.durable != job.version.id:
            log.debug(
                "not to be had any more, and not in the cloud yet: %s", printable((*job.target.parent, job.target.name))
            )
        else:
            self._report(job.remote, str(failure))


def _refs(job: Job) -> list[ChunkRef]:
    return [piece.ref for piece in job.pieces]


def _agreed(job: Job) -> Synced:
    remote = job.remote
    return Synced(remote.node, remote.parent, remote.name, remote.kind, remote.place, job.version.id, None)


def _fetched(job: Job) -> Fetched:
    return Fetched(job.cloud, job.lan, job.here, tuple(job.givers))


# In the thread


def _put_in_place(folder: Folder, jobs: list[Job]) -> Iterator[tuple[Job, Placed]]:
    """Swap all of them in, then make that last: an fsync for each folder that they went to, or one barrier for many."""
    placed: dict[Names, list[tuple[Job, Placed]]] = {}
    for job in jobs:
        assert job.whole is not None
        try:
            done = put_in_place(folder, job.temp, job.whole, job.target, job.conflict)
            placed.setdefault(job.target.parent, []).append((job, done))
            job.placed = True
        except (OSError, Changed) as error:
            job.failure = error
        folder.trim()
    if many := len(placed) > ONE_BY_ONE:
        folder.disk.sync_file_system(folder.temp)
    for parent, files in placed.items():
        try:
            if not many:
                folder.disk.fsync(folder.directory(parent))
            yield from files
        except OSError as error:
            for job, _ in files:
                job.failure = error
