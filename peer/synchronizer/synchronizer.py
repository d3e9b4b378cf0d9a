"""The synchronizer: looks at what changed, plans, carries out, until the three trees agree; then waits to be woken.

One task plans and sends, so decisions never race each other. Fetching runs beside it, a few groups at a time; nodes
that are being fetched are left out of planning until their group is done, and nodes of a commit without an answer until
that has come.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from peer.indexer import Indexer
from peer.merging import MergeCount, count_merge
from peer.problems import printable
from peer.quiet import LONG
from peer.root import Names
from peer.synchronizer.context import POSTPONED, Context
from peer.synchronizer.downloads import Downloads
from peer.synchronizer.jobs import Job
from peer.synchronizer.loading import load_slice
from peer.synchronizer.local_steps import LocalSteps
from peer.synchronizer.planner import ground, plan
from peer.synchronizer.reading import Reading
from peer.synchronizer.recovery import recover_placed, waiting_for_a_look
from peer.synchronizer.sending import Sending
from peer.synchronizer.slices import Slice
from peer.synchronizer.steps import (
    Adopt,
    Agree,
    Await,
    Clean,
    Fetch,
    Forget,
    MakeDirectory,
    MoveLocal,
    Overrule,
    RemoveLocal,
    Renew,
    Send,
    SendCreate,
    SendDelete,
    SendMove,
    SendWrite,
    SetAside,
    SetAttributes,
    Step,
    StepAside,
)
from peer.traffic import Withheld
from peer.trees import Remote
from peer.watcher import Watcher
from protocol.errors import BadSignature, Malformed, Problem, Refused, ShoalError, Unreachable, WrongRoot, reason_of
from protocol.identifiers import ROOT, NodeId

log = logging.getLogger(__name__)
E = TypeVar("E", bound=Exception)
FIRST_BATCH, BATCH = 250, 2000
"""Dirty nodes planned together: few at first, so that others have something to do soon, then twice as many."""
GROUPS = 2
"""Groups of files fetched at once; groups of steps that are being sent, or wait for that."""
DELETE_QUIET = 2.0
"""Seconds without further disappearances before what has disappeared counts as deleted: `rm -rf` is one plan, and a
move may not have been seen whole."""
ERROR_RETRY = 5.0
"""Seconds until a folder that is missing, or a tracker that talks nonsense, is tried again."""

_SENDS = (SendCreate, SendMove, SendWrite, SendDelete)
_LOCAL = (MakeDirectory, MoveLocal, StepAside, SetAside, SetAttributes, RemoveLocal)
_COMING = (Fetch, Await, MakeDirectory, MoveLocal, StepAside, SetAttributes, RemoveLocal)


@dataclass
class Progress:
    """What the synchronizer is about, for status and for those who wait."""

    scanning: bool = True
    looking: bool = False  # at some of the folder, or all of it
    scan_seconds: float | None = None  # that looking at everything took last
    ready: bool = False  # REMOTE has been brought up to date at least once
    online: bool = False
    paused: bool = False
    working: bool = False
    error: str | None = None
    steps: dict[NodeId, Step] = field(default_factory=dict)  # of the nodes that aren't clean
    fetching: set[NodeId] = field(default_factory=set)
    sending: set[NodeId] = field(default_factory=set)
    settled: trio.Event = field(default_factory=trio.Event)  # replaced whenever something may have settled


class Synchronizer:
    """Keeps one workspace and one folder equal."""

    def __init__(
        self,
        *,
        context: Context,
        indexer: Indexer,
        watcher: Watcher,
        reading: Reading,
        local_steps: LocalSteps,
        downloads: Downloads,
        sending: Sending,
    ) -> None:
        """The parts all share `context`."""
        self._context = context
        self._indexer = indexer
        self._watcher = watcher
        self._reading = reading
        self._local_steps = local_steps
        self._downloads = downloads
        self._sending = sending
        self._fetch_limit = trio.CapacityLimiter(GROUPS)
        self._send_limit, self._send_turn = trio.Semaphore(GROUPS), trio.Lock()
        self._failure: Exception | None = None  # of sending; it ends the next round of work
        self._rounds = 0  # of work
        self._unsettled = True  # commits may be waiting for their answer
        self.progress = Progress()
        self.boot_id = ""
        """Of the machine, until the folder has been looked at for the first time; empty when it isn't known."""
        self.announce_merge: Callable[[MergeCount], None] | None = None
        """Told once, before a first sync of two sides that both hold something."""
        self.uploads_wanted = trio.Event()
        self.behind = trio.Event()
        """Set when REMOTE has to be brought up to date."""
        self.lost = trio.Event()
        """Set when the tracker didn't answer."""

    async def run(self) -> None:
        """Work until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                wake = self._context.wake = trio.Event()
                self.progress.working = True
                pause = await self._work(nursery)
                self.progress.working = False
                self._tell()
                with trio.move_on_after(pause):
                    await wake.wait()

    def look_at_everything(self) -> None:
        """Scan the whole folder next."""
        self._watcher.look_at_everything()

    def pause(self, *, paused: bool) -> None:
        """Stop sending, fetching and changing the disk, or go on. What changes here is still noticed."""
        self.progress.paused = paused
        self._context.try_all_again()
        self.uploads_wanted.set()
        self._context.wake.set()
        self._tell()

    def connected(self) -> None:
        """The tracker answers, and REMOTE is up to date."""
        self.progress.online = self.progress.ready = self._unsettled = True
        self._context.try_all_again()
        self._context.wake.set()

    def disconnected(self) -> None:
        """The tracker doesn't answer."""
        self.progress.online = False
        self._tell()

    def _tell(self) -> None:
        self.progress.settled.set()
        self.progress.settled = trio.Event()

    async def _work(self, nursery: trio.Nursery) -> float:
        """Do all that can be done now; returns in how many seconds there may be more, unless woken."""
        self._rounds += 1
        try:
            self._raise_failure()
            pause = await self._look()
            if self.progress.ready and not self.progress.paused:
                pause = min(pause, await self._synchronise(nursery))
            self.progress.error = None
            return max(0.0, pause)
        except WrongRoot as error:
            self._fail(error)
            self._context.look_at_all = True
        except Unreachable as error:
            log.info("%s", error)
            self._unsettled = True
            self.disconnected()
            self.lost.set()
        except OSError as error:
            self._fail(Problem(f"the folder can't be used: {reason_of(error)}"))
        except Problem as error:  # the client database: it may lack what was last done to the disk
            self._fail(error)
            self._context.look_at_all = self._unsettled = True
        except (Malformed, BadSignature, Refused) as error:
            self._fail(error)
            self._unsettled = True
        return ERROR_RETRY

    def _fail(self, error: ShoalError) -> None:
        if self.progress.error != str(error):
            log.error("%s", error)
        self.progress.error = str(error)

    # Looking

    async def _look(self) -> float:
        """Bring LOCAL up to date where something may have changed."""
        context = self._context
        await self._watcher.glance(self._indexer.unlike)
        pause = min(self._watcher.later_looks(), context.neighbours.ask_again())
        while context.look_at_all or context.to_look_at:
            directories, context.to_look_at = context.followed(context.to_look_at), set()
            everything, context.look_at_all = context.look_at_all, False
            self.progress.looking = True
            try:
                await self._look_at(None if everything else directories)
            except BaseException:
                context.look_at_all |= everything
                context.to_look_at |= directories
                raise
            finally:
                self.progress.looking = False
        return min(pause, self._watcher.later_looks())

    async def _look_at(self, directories: set[Names] | None) -> None:
        """Look at these directories, or with None at everything."""
        if directories is None:
            self.progress.scanning = True
            began = trio.current_time()
            await self._indexer.scan_everything()
            self._note_boot()
            self.progress.scanning, self.progress.scan_seconds = False, trio.current_time() - began
            self._watcher.looked_at_everything(self.progress.scan_seconds)
            log.debug("looked at everything in %.2f s", self.progress.scan_seconds)
        else:
            self._watcher.found_new(await self._indexer.scan(directories))
            self._watcher.looked(directories, self._indexer.took)
        self._context.stirred(self._indexer.stirred)
        self._watcher.found_shut(self._indexer.unlisted | self._indexer.unseen)
        await self._keep_what_was_placed()

    async def _keep_what_was_placed(self) -> None:
        """What was put in place before a crash, or before the disk failed, may not be on the disk for good. It must be
        before it counts as agreed on: gone with a power cut, it would count as deleted here."""
        context = self._context
        if any(note.agreed.node not in self.progress.fetching for note in context.store.placing()):
            await context.in_folder(lambda folder: context.disk.sync_file_system(folder.directory(())))

    def _note_boot(self) -> None:
        """After the first look at everything: what has changed while the machine went down is suspect. What was read
        and not sent is read again: without an fsync its bytes may be the old ones, under the time of the new."""
        boot, self.boot_id = self.boot_id, ""
        if boot:
            context = self._context
            if context.surprises.starts(boot):
                with context.store.database.transaction():
                    context.store.read_again()
                context.surprises.suspect()
            context.surprises.is_running(boot)

    # Planning and carrying out

    async def _synchronise(self, nursery: trio.Nursery) -> float:
        if self.progress.online and self._unsettled:
            async with self._send_turn:
                await self._sending.resend()
            self.behind.set()
            self.uploads_wanted.set()  # an answer may have come only now, and named missing chunks
            self._unsettled = False
        if self.announce_merge is not None:
            await self._count_merge(self.announce_merge)
        pause, position = float("inf"), 0
        if self._context.store.dirty_count() <= len(self.progress.fetching) + len(self.progress.sending):
            return pause  # whoever is done with a group wakes this
        size = FIRST_BATCH
        while batch := self._context.store.dirty_after(position, size):
            size = min(2 * size, BATCH)
            moved, later = await self._plan([node for _, node in batch], nursery)
            # What has moved goes on before the next are begun: others can work on the first while these are read.
            position, pause = (0, float("inf")) if moved else (batch[-1][0], min(pause, later))
            pause = min(pause, await self._look())
            if self.progress.paused:
                break
            await trio.lowlevel.checkpoint()
        return pause

    async def _count_merge(self, announce: Callable[[MergeCount], None]) -> None:
        """Before anything is decided: read all that is here, and count it against what is there."""
        store, self.announce_merge = self._context.store, None
        if store.synced_count() == 0:
            _, later = await self._reading.read(store.all_unread_files())
            if later <= LONG and store.remote_children(ROOT):  # all of them but those that are being written
                await trio.sleep(later)
                await self._reading.read(store.all_unread_files())
            count = count_merge(store)
            both = count.same + count.differ + count.unread
            if both + count.only_here and both + count.only_there:
                announce(count)

    async def _plan(self, nodes: list[NodeId], nursery: trio.Nursery) -> tuple[bool, float]:
        store = self._context.store
        free = self._free(nodes)
        unread = store.unread_files(free)
        read, later = await self._reading.read(unread)
        unsettled = self._recover_placed()
        free = [node for node in (self._free(nodes) if unread else free) if node not in unsettled]
        with store.database.transaction():
            agreed = store.agreed(free)
            agreed -= self._context.selection.excluded_of(agreed)
            pending = [node for node in free if node not in agreed]
            view = load_slice(store, pending, self._context, self._context.stuck)
            steps = plan(view)
            if self._until_quiet() > 0 and any(isinstance(step, Forget) for step in steps):
                steps = [step for step in steps if not isinstance(step, Forget)]
                later = min(later, self._until_quiet())
            clean = agreed.union(step.node for step in steps if isinstance(step, Clean))
            store.mark_clean(clean)
            steps = self._context.surprises.sift(view, steps, clean, self._busy)
            progressed = self._keep_books(steps)
            self._clear_problems(clean)
        self._note(clean, steps)
        for step in steps:
            if isinstance(step, _LOCAL):
                done = await self._local_steps.carry_out(step)
                progressed = done or progressed
                if done and isinstance(step, MakeDirectory):
                    self._watcher.found_new(self._places(step.node))
        await self._fetch(steps, nursery)
        if self.progress.online:
            later = min(later, await self._send(view, steps, nursery))
        now = trio.current_time()
        return progressed or read, min([later, *(due - now for due in self._context.postponed.values())])

    def _until_quiet(self) -> float:
        """Seconds until what has disappeared counts as gone: it may only have been moved to where nobody has looked
        yet."""
        return self._indexer.vanished_at + DELETE_QUIET - trio.current_time()

    def _recover_placed(self) -> set[NodeId]:
        """Settle what was left half done, once LOCAL is as the disk is. Returns the nodes to leave alone meanwhile."""
        context = self._context
        if context.look_at_all or context.to_look_at:
            return waiting_for_a_look(context.store, self._busy())
        return recover_placed(context.store, self._busy(), context.postponed)

    def _free(self, nodes: Iterable[NodeId]) -> list[NodeId]:
        """Those that nothing is under way with, and that aren't postponed."""
        now = trio.current_time()
        self._context.postponed = {node: due for node, due in self._context.postponed.items() if due > now}
        waiting = self._context.postponed.keys()
        self._context.stuck &= waiting
        busy = self._busy() | waiting
        return [node for node in nodes if node not in busy]

    def _busy(self) -> set[NodeId]:
        """Those that something is under way with."""
        return self.progress.fetching | self.progress.sending | self._sending.unanswered()

    def _clear_problems(self, clean: Iterable[NodeId]) -> None:
        context = self._context
        for node in clean:
            context.clean(node)
        if context.problems.any():
            for node in clean:
                path = context.store.path(node)
                if path is not None:
                    context.problems.settled(path)
            if context.store.dirty_count() == 0:
                context.problems.settled()

    def _places(self, node: NodeId) -> set[Names]:
        path = self._context.store.path(node)
        return set() if path is None else {path}

    def _note(self, clean: Iterable[NodeId], steps: list[Step]) -> None:
        for node in clean:
            self.progress.steps.pop(node, None)
        for step in steps:
            if isinstance(step, Clean | Agree | Forget):
                self.progress.steps.pop(step.node, None)
            else:
                self.progress.steps[step.node] = step

    def _keep_books(self, steps: Iterable[Step]) -> bool:
        context, store, changed = self._context, self._context.store, False
        for step in steps:
            if isinstance(step, Agree):
                store.agree(step.node)
            elif isinstance(step, Forget):
                store.drop_synced(step.node)
                store.drop_local(step.node)  # at most it is known as gone
            elif isinstance(step, Renew):
                path = printable(store.path(step.node) or ("?",))
                log.info("%s was deleted elsewhere and goes on as a new one: it was changed here", path)
                context.renew(step.node)
            elif isinstance(step, Overrule):
                context.surprises.overrule(step.node)
            elif isinstance(step, Adopt):
                store.rename_local_node(step.node, step.remote)
            else:
                continue
            changed = True
        return changed

    async def _fetch(self, steps: list[Step], nursery: trio.Nursery) -> None:
        """Begin to fetch, and tell the LAN at once what is wanted: who uploads it may then wait. Without the tracker,
        or while contents from there wait, only what a device on the LAN has said to hold."""
        fetches = [step for step in steps if isinstance(step, Fetch)]
        neighbours = self._context.neighbours
        neighbours.ask(step.version for step in steps if isinstance(step, Fetch | Await))
        if not self.progress.online or self._context.traffic.withheld is not None:
            fetches = [step for step in fetches if neighbours.holders(step.version)]
        for group in await self._downloads.groups(fetches):
            self.progress.fetching.update(job.remote.node for job in group)
            nursery.start_soon(self._fetch_group, group)

    async def _fetch_group(self, group: list[Job]) -> None:
        try:
            async with self._fetch_limit:
                await self._downloads.carry_out(group)
        except* Withheld:
            for job in group:  # a device on the LAN may hold it soon
                self._context.postponed[job.remote.node] = trio.current_time() + POSTPONED
        except* Unreachable as error:
            log.info("%s", error.exceptions[0])
            self.disconnected()
            self.lost.set()
        except* (Problem, Refused, Malformed) as error:
            log.warning("%s", error.exceptions[0])
            self._put_off(group)
        except* OSError as error:
            self._put_off(group, _first(error))
        finally:
            self.progress.fetching.difference_update(job.remote.node for job in group)
            self._context.wake.set()

    def _put_off(self, group: list[Job], error: OSError | None = None) -> None:
        """None of these can be fetched now, perhaps for what the disk said."""
        for job in group:
            if error is None:
                self._context.postpone(job.remote.node)
            else:
                self._local_steps.report(job.remote.node, error)

    async def _send(self, view: Slice, steps: list[Step], nursery: trio.Nursery) -> float:
        """Begin to send what may be sent now, so that the next files are read while the tracker answers; returns in how
        many seconds held deletes may go."""
        sends = [step for step in steps if isinstance(step, _SENDS)]
        quiet = self._until_quiet()
        pause = float("inf")
        if quiet > 0 and any(isinstance(step, SendDelete) for step in sends):
            others = [step for step in sends if not isinstance(step, SendDelete)]
            sends = [step for step in ground(view, others) if isinstance(step, _SENDS)]
            pause = quiet
        if sends:
            await self._send_limit.acquire()
            self.progress.sending.update(step.node for step in sends)
            nursery.start_soon(self._send_group, sends, view.remote)
        return pause

    async def _send_group(self, sends: list[Send], planned: Mapping[NodeId, Remote]) -> None:
        began, accepted, behind = self._rounds, False, False
        try:
            async with self._send_turn:  # one after the other: the next may stand on what this one makes
                if self._may_send():
                    accepted, behind = await self._sending.send(sends, planned)
        except* (ShoalError, OSError) as group:
            self._failure = _first(group)
        finally:
            self._send_limit.release()
            self.progress.sending.difference_update(step.node for step in sends)
        if accepted:
            self.uploads_wanted.set()
        if behind:
            self.behind.set()
        # What was refused is planned anew when REMOTE has been brought up to date and explains it. Where nothing was
        # sent, as the trees had changed, the change may have come while these nodes were left out of a plan.
        if accepted or self._failure is not None or (not behind and self._rounds > began):
            self._context.wake.set()

    def _may_send(self) -> bool:
        """Not after a failure, nor before what became of earlier commits is known."""
        return self._failure is None and self.progress.online and not self._unsettled

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def _first(group: BaseExceptionGroup[E]) -> E:
    error: BaseExceptionGroup[E] | E = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def is_coming(step: Step) -> bool:
    """Whether a step brings something from the tracker to this disk."""
    return isinstance(step, _COMING)
