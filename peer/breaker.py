"""The device's breaker (law 8): which changes may go on, which wait for a person, what that person has decided.

Changes have a direction: what is deleted or overwritten here goes out, what others deleted or overwrote comes in. Those
that were let pass count for ten minutes. When they and those that are still to be made become too many, all that are
still to be made wait, so that not half of them go; and so does all of their kind that comes after, until somebody
approves or rejects what waits.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Set
from enum import IntEnum
from typing import NamedTuple

from protocol.breaker import WINDOW_MS, Limits
from protocol.identifiers import NodeId


class Direction(IntEnum):
    """Which way a change goes. The numbers are stored."""

    OUT = 1
    IN = 2


class Kind(IntEnum):
    """What is done to a file or symlink. The numbers are stored."""

    DELETE = 1
    OVERWRITE = 2
    DIRECTORY = 3  # a directory is deleted: counts for nothing, waits with the other deletes
    DAMAGE = 4  # a file was found empty, or all zeros, after the machine went down: waits by itself


class State(IntEnum):
    """What is to become of a change. The numbers are stored."""

    PASSED = 1
    HELD = 2
    APPROVED = 3
    REJECTED = 4
    SUSPECT = 5  # it is held if it turns out to be damage


class Mark(NamedTuple):
    """What the breaker knows of a change of a node; `since_ms` since 1970 UTC."""

    direction: Direction
    node: NodeId
    kind: Kind
    state: State
    since_ms: int


Key = tuple[Direction, NodeId]


class Breaker:
    """Pure: it is told the time, and what there is. What has changed in its marks is in `changed`, until stored."""

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        """`marks` are those of an earlier life."""
        self._marks: dict[Key, Mark] = {}  # all but those that passed
        self._passed: dict[Key, Mark] = {}  # in the order of time
        self._held: Counter[tuple[Direction, Kind]] = Counter()
        self.changed: dict[Key, Mark | None] = {}
        for mark in sorted(marks, key=lambda mark: mark.since_ms):
            (self._passed if mark.state is State.PASSED else self._marks)[mark.direction, mark.node] = mark
            self._count(mark, 1)

    def mark(self, direction: Direction, node: NodeId) -> Mark | None:
        """What is known of a change, unless it just passed."""
        return self._marks.get((direction, node))

    def marks(self, state: State) -> list[Mark]:
        """All in this state, oldest first."""
        return sorted((mark for mark in self._marks.values() if mark.state is state), key=lambda mark: mark.since_ms)

    @property
    def idle(self) -> bool:
        """Whether nothing is to be decided, or was."""
        return not self._marks

    def holds(self, direction: Direction, *kinds: Kind) -> bool:
        """Whether changes of such a kind wait for a person."""
        return any(self._held[direction, kind] for kind in kinds or Kind)

    def held(self, direction: Direction, kind: Kind) -> int:
        """How many changes of this kind do."""
        return self._held[direction, kind]

    def _count(self, mark: Mark | None, by: int) -> None:
        if mark is not None and mark.state is State.HELD:
            self._held[mark.direction, mark.kind] += by

    def passed(self, direction: Direction, kind: Kind, now_ms: int) -> Set[NodeId]:
        """The files whose changes passed a short while ago."""
        self._forget(now_ms)
        marks = self._passed.values()
        return {mark.node for mark in marks if mark.direction is direction and mark.kind is kind}

    def _forget(self, now_ms: int) -> None:
        """Those that passed long ago; of a clock that was set back, those from the future count from now on."""
        for key, mark in list(self._passed.items()):
            if mark.since_ms > now_ms:
                self._passed[key] = mark._replace(since_ms=now_ms)
            elif now_ms - mark.since_ms > WINDOW_MS:
                del self._passed[key]
                self.changed[key] = None

    def judge(
        self,
        direction: Direction,
        kind: Kind,
        planned: Set[NodeId],
        pending: Set[NodeId],
        files: int,
        limits: Limits,
        now_ms: int,
    ) -> Set[NodeId]:
        """Which of the `planned` changes, deletes or overwrites, may not be made now. `pending` are all that are to be
        made; `files` is how many files there are, what passed and is gone by now included."""
        undecided = {node for node in planned | pending if not self._is_decided(direction, node)}
        count = len(undecided | self.passed(direction, kind, now_ms))
        too_many = limits.too_many_deletes if kind is Kind.DELETE else limits.too_many_overwrites
        if self.holds(direction, kind) or (planned & undecided and too_many(count, files)):
            self.hold(direction, kind, undecided, now_ms)
        else:
            self._let_pass(direction, kind, planned & undecided, now_ms)
        return self.held_among(direction, planned)

    def _is_decided(self, direction: Direction, node: NodeId) -> bool:
        mark = self._marks.get((direction, node))
        return mark is not None and mark.state in (State.APPROVED, State.REJECTED)

    def held_among(self, direction: Direction, nodes: Iterable[NodeId]) -> Set[NodeId]:
        """Those of these whose change waits for a person."""
        marks = ((node, self._marks.get((direction, node))) for node in nodes)
        return {node for node, mark in marks if mark is not None and mark.state is State.HELD}

    def _let_pass(self, direction: Direction, kind: Kind, nodes: Iterable[NodeId], now_ms: int) -> None:
        for node in sorted(nodes):
            key = direction, node
            self._passed.pop(key, None)  # to come after all others
            self._passed[key] = self.changed[key] = Mark(direction, node, kind, State.PASSED, now_ms)

    def hold(self, direction: Direction, kind: Kind, nodes: Iterable[NodeId], now_ms: int) -> None:
        """These wait for a person, whatever was decided before."""
        for node in sorted(nodes):
            before = self._marks.get((direction, node))
            if before is None or before.state is not State.HELD or before.kind is not kind:
                self._put(Mark(direction, node, kind, State.HELD, now_ms))

    def suspect(self, nodes: Iterable[NodeId], now_ms: int) -> None:
        """The machine went down, and these files have changed since they were last seen."""
        for node in nodes:
            self._put(Mark(Direction.OUT, node, Kind.DAMAGE, State.SUSPECT, now_ms))

    def decide(self, state: State, now_ms: int) -> list[Mark]:
        """All that is held is approved, or rejected."""
        held = self.marks(State.HELD)
        for mark in held:
            self._put(mark._replace(state=state, since_ms=now_ms))
        return held

    def allow(self, direction: Direction, kind: Kind, nodes: Iterable[NodeId], now_ms: int) -> None:
        """These are meant: somebody has said so already."""
        for node in nodes:
            self._put(Mark(direction, node, kind, State.APPROVED, now_ms))

    def settle(self, nodes: Iterable[NodeId]) -> None:
        """Nothing is to be changed on these nodes any more."""
        for node in nodes if self._marks else ():
            for direction in Direction:
                self.drop(direction, node)

    def drop(self, direction: Direction, node: NodeId) -> None:
        """What is known of a change no longer matters; that another passed still does."""
        mark = self._marks.pop((direction, node), None)
        self._count(mark, -1)
        if mark is not None:
            self.changed[direction, node] = self._passed.get((direction, node))

    def _put(self, mark: Mark) -> None:
        key = mark.direction, mark.node
        self._passed.pop(key, None)
        self._count(self._marks.get(key), -1)
        self._marks[key] = self.changed[key] = mark
        self._count(mark, 1)

    def stored(self) -> Iterator[tuple[Key, Mark | None]]:
        """What has changed since this was last asked; None for what is known no longer."""
        changed, self.changed = self.changed, {}
        yield from changed.items()
