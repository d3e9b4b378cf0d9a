"""Holding steps that would be a big surprise (law 8), and what comes of a person's answer.

It stands between the planner, which knows nothing of it, and those who carry steps out:

    held                the step becomes a `Wait`
    approved            it goes on; to the tracker with the signed approval
    rejected            its opposite: what was deleted or overwritten here comes back from the tracker, what others
                        deleted or overwrote goes there again

The marks are kept in the client database, so neither a crash nor a restart forgets what is held or what counts.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

from peer.breaker import Breaker, Direction, Kind, Mark, State
from peer.held import WORDS, page, summary_of, told
from peer.synchronizer.hollow import is_hollow
from peer.synchronizer.pending import files_with, pending_changes
from peer.synchronizer.planner import ground, kept
from peer.synchronizer.slices import Slice
from peer.synchronizer.steps import (
    Fetch,
    Forget,
    Overrule,
    RemoveLocal,
    SendDelete,
    SendWrite,
    SetAside,
    Step,
    Wait,
)
from peer.tree_store import TreeStore
from protocol.breaker import MAX_APPROVAL_BYTES, Approval, Changes, Limits
from protocol.codec import decode, encode
from protocol.commits import DIRECTORY, Delete, Operation
from protocol.identifiers import NodeId

log = logging.getLogger(__name__)
WHY = "it is held: see shoal held"
_KEPT_APPROVAL = "approval"
_BOOT = "boot"
_WENT_DOWN = "went down"

Busy = Callable[[], Set[NodeId]]


class Surprises:
    """The breaker of one workspace on this device. `now_ms` tells the time since 1970 UTC."""

    def __init__(self, store: TreeStore, now_ms: Callable[[], int]) -> None:
        """Go on where an earlier life was."""
        self._store = store
        self._now_ms = now_ms
        rows = store.database.rows(
            "SELECT direction, node, kind, state, since_ms FROM breaker WHERE workspace = ?", store.workspace
        )
        self.breaker = Breaker(Mark(Direction(d), node, Kind(k), State(s), t) for d, node, k, s, t in rows)
        self.limits: Callable[[], Limits] = Limits
        """What may happen unasked, as the tracker last said."""

    # Between planner and executor

    def sift(self, view: Slice, steps: Sequence[Step], clean: Iterable[NodeId], busy: Busy) -> list[Step]:
        """The steps that may be carried out; others wait, or are the opposite of what was planned. `clean` nodes are
        agreed on; `busy` tells which nodes are being changed already. Within the transaction of the plan."""
        self.breaker.settle(clean)
        found = {step.node: each for step in steps if (each := _change(view, step)) is not None}
        if found or not self.breaker.idle:
            self._forget_others(found)
            held = self._held(view, found, busy)
            if held or not self.breaker.idle:
                steps = ground(view, [self._sifted(view, step, found.get(step.node), held) for step in steps])
        self._keep()
        return list(steps)

    def _forget_others(self, found: Mapping[NodeId, tuple[Direction, Kind]]) -> None:
        """What was held or decided about another change of a node than is planned now."""
        for node, (direction, kind) in found.items():
            mark = self.breaker.mark(direction, node)
            same = {kind, Kind.DAMAGE} if kind is Kind.OVERWRITE else {kind}
            if mark is not None and mark.kind not in same:
                self.breaker.drop(direction, node)

    def _held(self, view: Slice, found: Mapping[NodeId, tuple[Direction, Kind]], busy: Busy) -> Set[NodeId]:
        planned: defaultdict[tuple[Direction, Kind], set[NodeId]] = defaultdict(set)
        for node, change in found.items():
            if not self._is_damage(view, node, change):
                planned[change].add(node)
        outgoing = (node for node, (direction, _) in found.items() if direction is Direction.OUT)
        held = self.breaker.held_among(Direction.OUT, outgoing)
        for direction, kind in ((d, k) for d in Direction for k in (Kind.DELETE, Kind.OVERWRITE)):
            if nodes := planned[direction, kind]:
                held = held | self._judge(direction, kind, nodes, busy)
        for direction in Direction:
            held = (held - planned[direction, Kind.DIRECTORY]) | self._judge_directories(
                direction, planned[direction, Kind.DIRECTORY]
            )
        return held

    def _judge_directories(self, direction: Direction, nodes: Set[NodeId]) -> Set[NodeId]:
        """They wait while deletes of files do, and no longer."""
        breaker = self.breaker
        if breaker.holds(direction, Kind.DELETE):
            fresh = [node for node in nodes if breaker.mark(direction, node) is None]
            breaker.hold(direction, Kind.DIRECTORY, fresh, self._now_ms())
        else:
            for node in breaker.held_among(direction, nodes):
                breaker.drop(direction, node)
        return breaker.held_among(direction, nodes)

    def _judge(self, direction: Direction, kind: Kind, nodes: Set[NodeId], busy: Busy) -> Set[NodeId]:
        """Which of these are held. What there is besides is looked at only where it may matter."""
        breaker, limits, now = self.breaker, self.limits(), self._now_ms()
        before, held = breaker.holds(direction, kind), breaker.held_among(direction, nodes)
        if held == nodes:
            return held
        pending, files = frozenset[NodeId](), 0
        if before or len(breaker.passed(direction, kind, now)) + self._store.dirty_count() >= _least(limits, kind):
            pending, files = pending_changes(self._store, direction, kind) - busy(), self._files(now)
        held = breaker.judge(direction, kind, nodes, pending, files, limits, now)
        if breaker.holds(direction, kind) and not before:
            self._tell(direction, kind)
        return held

    def _files(self, now_ms: int) -> int:
        gone = (self.breaker.passed(each, Kind.DELETE, now_ms) for each in Direction)
        return files_with(self._store, set[NodeId]().union(*gone))

    def _tell(self, direction: Direction, kind: Kind) -> None:
        count = self.breaker.held(direction, kind)
        log.warning("held: %d files were %s; see shoal held", count, WORDS[direction, kind])

    def _sifted(self, view: Slice, step: Step, change: tuple[Direction, Kind] | None, held: Set[NodeId]) -> Step:
        if change is None:
            return step
        if step.node in held:
            return Wait(step.node, WHY)
        mark = self.breaker.mark(change[0], step.node)
        return self._opposite(view, step, mark) if mark is not None and mark.state is State.REJECTED else step

    def _opposite(self, view: Slice, step: Step, mark: Mark) -> Step:
        node = step.node
        if isinstance(step, SendDelete):
            return Forget(node)  # it comes as if it were new
        if isinstance(step, SendWrite):
            return RemoveLocal(node) if mark.kind is Kind.DAMAGE else SetAside(node, renew=True)
        return Overrule(node) if isinstance(step, Fetch) else kept(view.local[node])

    def overrule(self, node: NodeId) -> None:
        """What is here goes to the tracker as an edit of what came from there. Somebody has asked for it."""
        synced, remote = self._store.synced(node), self._store.remote(node)
        if synced is not None and remote is not None:
            self._store.put_synced(synced._replace(version=remote.version))
            self.breaker.allow(Direction.OUT, Kind.OVERWRITE, [node], self._now_ms())
            self._keep()

    # Answers

    def decide(self, *, approved: bool, sign: Callable[[Changes], Approval]) -> list[Mark]:
        """All that is held goes on, or is undone. What goes out of it, or goes there again, is signed."""
        with self._store.database.transaction():
            held = self.breaker.decide(State.APPROVED if approved else State.REJECTED, self._now_ms())
            bound = self._outgoing(held if not approved else ())
            if bound != Changes():
                self._store.database.set_setting(self._approval_key, encode(sign(bound)))
            self._keep()
        for (direction, kind), count in Counter((mark.direction, mark.kind) for mark in held).items():
            if kind is not Kind.DIRECTORY:
                answer = "approved" if approved else "rejected"
                log.warning("%s: %d files were %s", answer, count, WORDS[direction, kind])
        return held

    def _outgoing(self, rejected: Iterable[Mark]) -> Changes:
        """What is still to go out approved, what was rejected of others' overwrites included."""
        marks = [mark for mark in self.breaker.marks(State.APPROVED) if mark.direction is Direction.OUT]
        again = sum((mark.direction, mark.kind) == (Direction.IN, Kind.OVERWRITE) for mark in rejected)
        deletes = sum(mark.kind is Kind.DELETE for mark in marks)
        return Changes(deletes, sum(mark.kind in (Kind.OVERWRITE, Kind.DAMAGE) for mark in marks) + again)

    # Sending

    @property
    def _approval_key(self) -> str:
        return f"{_KEPT_APPROVAL} {self._store.workspace.hex()}"

    def approval_for(self, nodes: Iterable[NodeId]) -> Approval | None:
        """The approval that a commit about these nodes needs."""
        if self.breaker.idle:
            return None
        marks = (self.breaker.mark(Direction.OUT, node) for node in nodes)
        if not any(mark is not None and mark.state is State.APPROVED for mark in marks):
            return None
        kept = self._store.database.get_setting(self._approval_key)
        return None if kept is None else decode(Approval, kept, MAX_APPROVAL_BYTES)

    def refused(self, operation: Operation) -> None:
        """The tracker holds an operation of this device's: with those of other devices it is too much."""
        kind = Kind.OVERWRITE
        if isinstance(operation, Delete):
            kind = Kind.DIRECTORY if operation.content_base is None else Kind.DELETE
        before = self.breaker.holds(Direction.OUT, kind)
        self.breaker.hold(Direction.OUT, kind, [operation.node], self._now_ms())
        self._keep()
        if not before and kind is not Kind.DIRECTORY:
            self._tell(Direction.OUT, kind)

    def approved_elsewhere(self, operations: Iterable[Operation]) -> None:
        """These deletes and writes of another device were approved there. Within a transaction."""
        for operation in operations:
            kind = Kind.DELETE if isinstance(operation, Delete) else Kind.OVERWRITE
            self.breaker.allow(Direction.IN, kind, [operation.node], self._now_ms())
        self._keep()

    # After the machine went down

    def starts(self, boot_id: str) -> bool:
        """Whether the machine has gone down while Shoal was running: then `suspect` what has changed, and say
        `is_running`."""
        noted = self._store.database.get_setting(_BOOT)
        return bool(boot_id) and noted is not None and noted != boot_id.encode()

    @property
    def went_down_ns(self) -> int:
        """When Shoal last ran for the first time after the machine had gone down: what was written to before that may
        look as if it hadn't been. 0 for never."""
        noted = self._store.database.get_setting(_WENT_DOWN)
        return 0 if noted is None else int.from_bytes(noted, "big")

    def suspect(self) -> None:
        """Of what was in sync, all files that turned out to have changed."""
        unread = self._store.synceds(self._store.all_unread_files())
        with self._store.database.transaction():
            self._store.database.set_setting(_WENT_DOWN, (self._now_ms() * 1_000_000).to_bytes(8, "big"))
            self.breaker.suspect(unread, self._now_ms())
            self._keep()

    def is_running(self, boot_id: str) -> None:
        """Note in which boot of the machine Shoal runs, until it `ends`."""
        self._store.database.set_setting(_BOOT, boot_id.encode())

    def _is_damage(self, view: Slice, node: NodeId, change: tuple[Direction, Kind]) -> bool:
        """Whether a suspected file is damaged, so that it is held by itself; if it isn't, or somebody has written to it
        since, it is like any other, whatever was said of it."""
        mark = self.breaker.mark(Direction.OUT, node)
        if mark is None or mark.kind is not Kind.DAMAGE or change != (Direction.OUT, Kind.OVERWRITE):
            return False
        if not is_hollow(view.local[node], view.synced.get(node)):
            self.breaker.drop(Direction.OUT, node)
            return False
        if mark.state is State.SUSPECT:
            before = self.breaker.holds(Direction.OUT, Kind.DAMAGE)
            self.breaker.hold(Direction.OUT, Kind.DAMAGE, [node], self._now_ms())
            if not before:
                self._tell(Direction.OUT, Kind.DAMAGE)
        return True

    # Telling

    @property
    def holding(self) -> bool:
        """Whether anything waits for a person."""
        kinds = [kind for kind in Kind if kind is not Kind.DIRECTORY]
        return any(self.breaker.holds(direction, *kinds) for direction in Direction)

    def summary(self) -> list[dict[str, Any]]:
        """How much is held, for people and programs."""
        return summary_of(self.breaker.marks(State.HELD))

    async def told(self) -> list[dict[str, Any]]:
        """What is held, with folders and the first paths."""
        return await told(self._store, self.breaker.marks(State.HELD))

    async def page(self, direction: str, change: str, skip: int) -> dict[str, Any]:
        """Some of the paths that are held; see `peer.held.page`."""
        return await page(self._store, self.breaker.marks(State.HELD), direction, change, skip)

    # Storing

    def _keep(self) -> None:
        """Store what has changed."""
        changed = list(self.breaker.stored())
        if not changed:
            return
        workspace, database = self._store.workspace, self._store.database
        gone = [(workspace, *key) for key, mark in changed if mark is None]
        if gone:
            database.run_many("DELETE FROM breaker WHERE workspace = ? AND direction = ? AND node = ?", gone)
        rows = [(workspace, *mark) for _, mark in changed if mark is not None]
        database.run_many("INSERT OR REPLACE INTO breaker VALUES (?,?,?,?,?,?)", rows)


def ends(store: TreeStore) -> None:
    """Shoal ends, and the machine hasn't gone down."""
    store.database.run("DELETE FROM settings WHERE key = ?", _BOOT)


def _least(limits: Limits, kind: Kind) -> int:
    """Fewer are never too many."""
    return min(limits.delete_least, limits.delete_most) if kind is Kind.DELETE else limits.overwrite_least


def _change(view: Slice, step: Step) -> tuple[Direction, Kind] | None:
    """The change that a step makes, if it is one that may be held."""
    if isinstance(step, SendDelete):
        is_directory = view.remote[step.node].kind == DIRECTORY
        return Direction.OUT, Kind.DIRECTORY if is_directory else Kind.DELETE
    if isinstance(step, SendWrite):
        return Direction.OUT, Kind.OVERWRITE
    if isinstance(step, RemoveLocal) and not step.unwanted:
        is_directory = view.local[step.node].kind == DIRECTORY
        return Direction.IN, Kind.DIRECTORY if is_directory else Kind.DELETE
    if isinstance(step, Fetch) and step.node in view.local:
        return Direction.IN, Kind.OVERWRITE
    return None
