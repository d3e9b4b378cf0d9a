"""What a commit may do: pure rules over what was read beforehand (design §6).

Operations are applied in order to an overlay of the nodes they touch. What only the whole commit can show (unique
names, living parents, no cycle, empty deleted directories, quota) is judged at its end, so two names can be swapped in
one commit. A failing operation is taken out and the rest judged again, until what remains stands: so a refusal
names every operation that fails, those that built on a failed one included.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from protocol.commits import (
    DIRECTORY,
    FILE,
    SYMLINK,
    Content,
    Create,
    Delete,
    Move,
    Operation,
    Place,
    Restore,
    Write,
)
from protocol.identifiers import ROOT, NameToken, NodeId, PlaceMark, VersionId

At = tuple[int, int]
"""(revision, position) of an operation."""

MAX_ROUNDS = 64
"""How often the rest of a commit is judged anew. Past this a refusal names what was found so far."""


class Node(NamedTuple):
    """A node's registers, in the order of their columns; sizes are what a version costs of the quota, in bytes.

    A tuple, as a commit or a pack makes thousands: a frozen dataclass takes four times as long to make.
    """

    node: NodeId
    kind: int
    parent: NodeId
    token: NameToken
    place: PlaceMark
    version: VersionId | None
    durable_version: VersionId | None
    size: int
    durable_size: int
    deleted: bool
    place_at: At
    content_at: At | None
    durable_at: At | None

    @property
    def charge(self) -> int:
        """What the node costs of the quota: its head, and its durable head while they differ."""
        if self.deleted:
            return 0
        return self.size + (self.durable_size if self.durable_version != self.version else 0)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a new version weighs: `size` sealed with its manifest, `content` in clear, both in bytes."""

    size: int
    content: int
    durable: bool  # no chunk is missing


@dataclass(frozen=True, slots=True)
class Before:
    """What was read before a commit is judged."""

    revision: int  # the commit's own, if it stands
    nodes: Mapping[NodeId, Node]  # all that operations or places name, and the ancestors of moved directories
    occupants: Mapping[tuple[NodeId, NameToken], NodeId]  # live nodes at the names that operations give
    crowded: Set[NodeId]  # directories to be deleted with live children that the commit does not name
    used_marks: Set[bytes]  # of the new place marks and version ids, those that were there already
    contents: Mapping[VersionId, Measured]  # of new versions whose runs are all known
    used: int  # by the workspace's owner, in bytes
    quota: int
    max_file: int
    parts: Sequence[int] = (0,)
    """Of a commit in parts, each a revision of its own: the index of each part's first operation."""

    def at(self, index: int) -> At:
        """Where an operation is put into the order."""
        part = bisect_right(self.parts, index) - 1
        return self.revision + part, index - self.parts[part]


@dataclass(slots=True)
class Verdict:
    """`failures` (operation index → reason) or, when there are none, what the touched nodes become."""

    failures: dict[int, str]
    nodes: dict[NodeId, Node]  # in the order of first touch
    after: list[Node]  # the touched node after each operation
    charge: int  # what the owner's used bytes change by


class _Refuse(Exception):
    """An operation can't be; the text is one of `protocol.api.REASONS`."""


def judge(operations: Sequence[Operation], before: Before) -> Verdict:
    """Whether the commit stands as a whole."""
    failures: dict[int, str] = {}
    overlay = _Overlay(before)
    for _ in range(MAX_ROUNDS):
        overlay = _Overlay(before)
        found = overlay.apply(operations, failures)
        failures |= found
        found = overlay.judge_end() or overlay.judge_quota()
        failures |= found
        if not found:
            break
    charge = sum(overlay.charges.values())
    return Verdict(failures, overlay.touched, overlay.after, charge)


@dataclass(slots=True)
class _Overlay:
    """The nodes as the operations applied so far leave them."""

    before: Before
    touched: dict[NodeId, Node] = field(default_factory=dict)
    placed: dict[NodeId, int] = field(default_factory=dict)  # the last operation that gave the node its place
    emptied: dict[NodeId, int] = field(default_factory=dict)  # directories deleted, and by which operation
    charges: dict[int, int] = field(default_factory=dict)
    marks: set[bytes] = field(default_factory=set)
    after: list[Node] = field(default_factory=list)

    def apply(self, operations: Sequence[Operation], skip: Mapping[int, str]) -> dict[int, str]:
        """Apply all but those in `skip`; the failures found on the way."""
        failures = {}
        for index, operation in enumerate(operations):
            if index in skip:
                continue
            try:
                self._apply_one(index, operation)
            except _Refuse as refusal:
                failures[index] = str(refusal)
        return failures

    def find(self, node: NodeId) -> Node | None:
        """The node as it is by now."""
        return self.touched.get(node) or self.before.nodes.get(node)

    def _apply_one(self, index: int, operation: Operation) -> None:
        present = self.find(operation.node)
        node = self._result(index, operation, present)
        self.charges[index] = node.charge - (present.charge if present else 0)
        self.touched[node.node] = node
        self.after.append(node)

    def _result(self, index: int, operation: Operation, present: Node | None) -> Node:
        match operation:
            case Create():
                return self._create(index, operation, present)
            case Write():
                return self._write(index, operation, _alive(present))
            case Move():
                return self._move(index, operation, _alive(present))
            case Delete():
                return self._delete(index, operation, _alive(present))
            case Restore():
                return self._restore(index, operation, present)

    def _create(self, index: int, operation: Create, present: Node | None) -> Node:
        if present is not None or operation.node == ROOT:
            raise _Refuse("node-exists")
        if operation.kind not in (FILE, DIRECTORY, SYMLINK):
            raise _Refuse("wrong-kind")  # mounts come with sharing
        place = operation.place
        self._check_marks(place.mark, *([operation.content.version] if operation.content else []))
        node = Node(
            node=operation.node,
            kind=operation.kind,
            parent=place.parent,
            token=place.token,
            place=place.mark,
            version=None,
            durable_version=None,
            size=0,
            durable_size=0,
            deleted=False,
            place_at=self.before.at(index),
            content_at=None,
            durable_at=None,
        )
        if operation.content is not None:
            node = self._with_content(index, node, operation.content)
        self._take_marks(place.mark, *([operation.content.version] if operation.content else []))
        self._note_place(index, node)
        return node

    def _write(self, index: int, operation: Write, present: Node) -> Node:
        if present.kind not in (FILE, SYMLINK):
            raise _Refuse("wrong-kind")
        if operation.base != present.version:
            raise _Refuse("stale-content")
        self._check_marks(operation.content.version)
        node = self._with_content(index, present, operation.content)
        self._take_marks(operation.content.version)
        return node

    def _move(self, index: int, operation: Move, present: Node) -> Node:
        if operation.base != present.place:
            raise _Refuse("stale-place")
        if operation.kind != present.kind:
            raise _Refuse("wrong-kind")
        return self._put_at(index, present, operation.place)

    def _delete(self, index: int, operation: Delete, present: Node) -> Node:
        if operation.base != present.place:
            raise _Refuse("stale-place")
        if operation.content_base != present.version:
            raise _Refuse("stale-content")
        self._check_marks(operation.mark)
        self._take_marks(operation.mark)
        self.placed.pop(present.node, None)
        if present.kind == DIRECTORY:
            self.emptied[present.node] = index
        return present._replace(place=operation.mark, deleted=True, place_at=self.before.at(index))

    def _restore(self, index: int, operation: Restore, present: Node | None) -> Node:
        if present is None:
            raise _Refuse("unknown-node")
        if not present.deleted:
            raise _Refuse("not-deleted")
        if present.kind != DIRECTORY and present.version is None:
            raise _Refuse("deleted")  # its only version was withdrawn: there is nothing to restore
        if operation.base != present.place:
            raise _Refuse("stale-place")
        if operation.content_base != present.version:
            raise _Refuse("stale-content")
        if operation.kind != present.kind:
            raise _Refuse("wrong-kind")
        self.emptied.pop(present.node, None)
        return self._put_at(index, present._replace(deleted=False), operation.place)

    def _put_at(self, index: int, present: Node, place: Place) -> Node:
        self._check_marks(place.mark)
        self._take_marks(place.mark)
        node = present._replace(
            parent=place.parent, token=place.token, place=place.mark, place_at=self.before.at(index)
        )
        self._note_place(index, node)
        return node

    def _note_place(self, index: int, node: Node) -> None:
        self.placed[node.node] = index

    def _with_content(self, index: int, node: Node, content: Content) -> Node:
        measured = self.before.contents.get(content.version)
        if measured is None:
            raise _Refuse("unknown-run")
        if measured.content > self.before.max_file:
            raise _Refuse("too-large")
        node = node._replace(version=content.version, size=measured.size, content_at=self.before.at(index))
        return as_durable(node) if measured.durable else node

    def _check_marks(self, *marks: bytes) -> None:
        if len(set(marks)) < len(marks) or any(mark in self.before.used_marks or mark in self.marks for mark in marks):
            raise _Refuse("mark-reused")

    def _take_marks(self, *marks: bytes) -> None:
        self.marks.update(marks)

    # The end of the commit ------------------------------------------------------------------------------------------

    def judge_end(self) -> dict[int, str]:
        """What is wrong with the tree that the operations leave, by the operation to blame."""
        failures: dict[int, str] = {}
        for index, reason in (*self._bad_names(), *self._bad_parents(), *self._cycles(), *self._not_empty()):
            failures.setdefault(index, reason)
        return failures | self._orphans(failures)

    def _bad_names(self) -> Iterator[tuple[int, str]]:
        """Of several nodes at one name the first to claim it keeps it; one that was there before comes first."""
        claims: dict[tuple[NodeId, NameToken], list[int]] = defaultdict(list)
        for node, index in self.placed.items():
            claims[self.touched[node].parent, self.touched[node].token].append(index)
        for name, indices in claims.items():
            indices.sort()
            rightful = 0 if self._holds(self.before.occupants.get(name), name) else 1
            for index in indices[rightful:]:
                yield index, "name-taken"

    def _holds(self, occupant: NodeId | None, name: tuple[NodeId, NameToken]) -> bool:
        """Whether the node that had the name before still has it, without an operation having placed it there."""
        if occupant is None or occupant in self.placed:
            return False
        node = self.find(occupant)
        return node is not None and not node.deleted and (node.parent, node.token) == name

    def _bad_parents(self) -> Iterator[tuple[int, str]]:
        for node, index in self.placed.items():
            if not self._can_hold(self.touched[node].parent):
                yield index, "no-parent"

    def _can_hold(self, parent: NodeId) -> bool:
        node = self.find(parent)
        return parent == ROOT or (node is not None and not node.deleted and node.kind == DIRECTORY)

    def _cycles(self) -> Iterator[tuple[int, str]]:
        """Of the operations that close a cycle together, the last is to blame."""
        safe: set[NodeId] = {ROOT}
        for start in self.placed:
            path: dict[NodeId, None] = {}
            at = start
            while at not in safe and at not in path:
                node = self.find(at)
                if node is None:
                    break  # not read, so an ancestor that nothing moved; or no parent at all, which is told apart
                path[at] = None
                at = node.parent
            if path and at == start:
                yield max(self.placed[node] for node in path if node in self.placed), "cycle"
            elif at not in path:
                safe.update(path)

    def _not_empty(self) -> Iterator[tuple[int, str]]:
        """What an operation puts into a deleted directory has no parent; here it is about what stayed behind."""
        parents = {node.parent for node in self.touched.values() if not node.deleted and node.node not in self.placed}
        for directory, index in self.emptied.items():
            if directory in self.before.crowded or directory in parents:
                yield index, "not-empty"

    def _orphans(self, failures: Mapping[int, str]) -> dict[int, str]:
        """Operations that put something into a directory whose creation fails, however deep."""
        children: dict[NodeId, list[NodeId]] = defaultdict(list)
        for node in self.placed:
            children[self.touched[node].parent].append(node)
        lost = [node for node, index in self.placed.items() if index in failures and node not in self.before.nodes]
        orphans: dict[int, str] = {}
        while lost:
            for child in children[lost.pop()]:
                index = self.placed[child]
                if index not in failures and index not in orphans:
                    orphans[index] = "no-parent"
                    if child not in self.before.nodes:
                        lost.append(child)
        return orphans

    def judge_quota(self) -> dict[int, str]:
        """The operations for which there is no room, in order; one that frees some makes room for all."""
        change = sum(self.charges.values())
        if change <= 0 or self.before.used + change <= self.before.quota:
            return {}
        room = self.before.quota - self.before.used - sum(cost for cost in self.charges.values() if cost < 0)
        failures = {}
        for index, cost in self.charges.items():
            if cost > 0 and cost > room:
                failures[index] = "quota"
            elif cost > 0:
                room -= cost
        return failures


def _alive(node: Node | None) -> Node:
    if node is None:
        raise _Refuse("unknown-node")
    if node.deleted:
        raise _Refuse("deleted")
    return node


def as_durable(node: Node) -> Node:
    """The node once its head is durable: both heads are one."""
    return node._replace(durable_version=node.version, durable_size=node.size, durable_at=node.content_at)


def without_head(node: Node) -> Node:
    """The node once its head is withdrawn: the durable head is the head again. Without one there is nothing to show,
    and the node is deleted."""
    return node._replace(
        version=node.durable_version,
        size=node.durable_size,
        content_at=node.durable_at,
        deleted=node.deleted or node.durable_version is None,
    )


# Heads that writes pass over ---------------------------------------------------------------------------------------


def passed_over(operations: Sequence[Operation], known: Mapping[NodeId, Node]) -> dict[NodeId, VersionId]:
    """The heads that aren't durable and that writes pass over: the first write to the node is made on the durable head.

    Only writes do that. A delete made on the durable head would take away the edit that it passes over, and edit beats
    delete: it stays a `stale-content`.
    """
    first: dict[NodeId, Write] = {}
    for operation in operations:
        if isinstance(operation, Write):
            first.setdefault(operation.node, operation)
    found: dict[NodeId, VersionId] = {}
    for id, write in first.items():
        node = known.get(id)
        if node is None or node.deleted or node.version is None:
            continue
        if write.base == node.durable_version != node.version:
            found[id] = node.version
    return found


def once_withdrawn(before: Before, heads: Iterable[NodeId]) -> Before:
    """What a commit is judged by when the heads of these nodes are withdrawn by a record just before it."""
    fallen = {node: without_head(before.nodes[node]) for node in heads}
    if not fallen:
        return before
    freed = sum(before.nodes[node].charge - fallen[node].charge for node in fallen)
    nodes = {**before.nodes, **fallen}
    return replace(before, revision=before.revision + 1, nodes=nodes, used=before.used - freed)
