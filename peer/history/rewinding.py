"""`shoal rewind`: what has to change for a folder, or everything, to be as it was. Pure: no clock, no I/O.

1  it wasn't there then and is now        deleted
2  it was there then and is gone          restored, with its content of then
3  it was there then and is elsewhere     moved back
4  it was there then with other content   written anew
5  of a single folder:
    5.1  it came in from elsewhere        moved back where it was, if that folder is there still; else it stays
    5.2  it went out                      moved back in
6  its content of then never reached the cloud: left as it is
7  a folder that is new stays while something that can't leave is in it
8  a name that something else has by then: `name (restored, DATE).ext`
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

from peer.history.past import CHANGED, DELETED, MOVED, RESTORED, Change, Past
from peer.synchronizer.conflicts import restored_name
from peer.trees import Content, Remote
from protocol.commits import DIRECTORY
from protocol.identifiers import ROOT, NodeId

MAX_DEPTH = 4096


class Tree(Protocol):
    """The tree as the tracker has it now."""

    def remote(self, node: NodeId) -> Remote | None: ...
    def remote_at(self, parent: NodeId, name: str) -> Remote | None: ...


@dataclass
class Rewind:
    """What is to be done, and how many nodes are left as they are, as they can't be had or have nowhere to go."""

    changes: list[Change] = field(default_factory=list)
    left: int = 0


def rewind(changed: Sequence[Past], tree: Tree, folder: NodeId, now_ns: int) -> Rewind:
    """What brings back what nodes were. `changed` are all nodes that changed since."""
    return _Rewinding({past.node: past for past in changed}, tree, folder, now_ns).result()


class _Rewinding:
    def __init__(self, changed: Mapping[NodeId, Past], tree: Tree, folder: NodeId, now_ns: int) -> None:
        self._changed = changed
        self._tree = tree
        self._row = cache(tree.remote)  # siblings ask for the same folders again and again
        self._folder = folder
        self._now_ns = now_ns
        self._to: dict[NodeId, tuple[NodeId, str]] = {}  # new places
        self._deleted: set[NodeId] = set()
        self._left: set[NodeId] = set()
        self._names: dict[tuple[NodeId, str], NodeId] = {}

    def result(self) -> Rewind:
        concerned = [past for past in self._changed.values() if self._concerns(past)]
        for past in concerned:
            self._decide(past)
        self._keep_in_trees()
        for past in concerned:
            self._keep_folders_of(past.node)
        for node in sorted(self._to, key=self._depth):
            self._settle_name(node)
        changes = [change for past in concerned for change in self._change(past)]
        return Rewind(sorted(changes, key=self._order), len(self._left))

    # Which nodes

    def _concerns(self, past: Past) -> bool:
        if past.node == self._folder:
            return past.now.deleted
        return self._folder == ROOT or self._was_inside(past.node) or self._is_inside(past.node)

    def _was_inside(self, node: NodeId) -> bool:
        return any(each == self._folder for each in self._walk(node, self._parent_then))

    def _is_inside(self, node: NodeId) -> bool:
        return any(each == self._folder for each in self._walk(node, self._parent_now))

    def _walk(self, node: NodeId, parent: Callable[[NodeId], NodeId | None]) -> Iterator[NodeId]:
        """The folders above a node, from the nearest on."""
        at: NodeId | None = node
        for _ in range(MAX_DEPTH):
            if at is None or at == ROOT:
                return
            at = parent(at)
            if at is not None:
                yield at

    def _parent_now(self, node: NodeId) -> NodeId | None:
        row = self._row(node)
        return None if row is None else row.parent

    def _parent_then(self, node: NodeId) -> NodeId | None:
        past = self._changed.get(node)
        if past is not None:
            return None if past.place is None else past.place.parent
        return self._parent_now(node)

    # What becomes of one

    def _decide(self, past: Past) -> None:
        row = self._row(past.node)
        if row is None and not past.now.deleted:
            self._left.add(past.node)  # something that this device can't use
        elif past.place is None:
            if row is not None:
                self._deleted.add(past.node)  # 1
        elif not past.can_be_had:
            self._left.add(past.node)  # 6
        elif row is None or (row.parent, row.name) != (past.place.parent, past.place.name):
            self._to[past.node] = past.place.parent, past.place.name  # 2, 3, 5

    def _keep_in_trees(self) -> None:
        """Nothing goes where no folder is by then, nor into itself (5.1)."""
        while lost := [node for node in self._to if not self._has_home(node)]:
            for node in lost:
                del self._to[node]
                self._left.add(node)

    def _has_home(self, node: NodeId) -> bool:
        above = list(self._walk(node, self._parent_then_now))
        return bool(above) and above[-1] == ROOT and node not in above

    def _parent_then_now(self, node: NodeId) -> NodeId | None:
        """The folder that a node is in once all is done; None for what isn't there then."""
        if node in self._to:
            return self._to[node][0]
        return None if node in self._deleted else self._parent_now(node)

    def _keep_folders_of(self, node: NodeId) -> None:
        """What stays keeps the folders that it is in (7)."""
        if node in self._deleted or self._parent_then_now(node) is None:
            return
        at = self._parent_now(node) if node not in self._to else self._to[node][0]
        while at is not None and at != ROOT:
            if at in self._deleted:
                self._deleted.discard(at)
                self._left.add(at)
            at = self._to[at][0] if at in self._to else self._parent_now(at)

    # Names

    def _depth(self, node: NodeId) -> tuple[int, NodeId]:
        return sum(1 for _ in self._walk(node, self._parent_then_now)), node

    def _settle_name(self, node: NodeId) -> None:
        parent, name = self._to[node]
        if self._is_taken(parent, name, node):
            name = restored_name(name, self._now_ns, lambda other: self._is_taken(parent, other, node))
            self._to[node] = parent, name
        self._names[parent, name] = node

    def _is_taken(self, parent: NodeId, name: str, node: NodeId) -> bool:
        if self._names.get((parent, name), node) != node:
            return True
        holder = self._tree.remote_at(parent, name)
        if holder is None or holder.node == node:
            return False
        return holder.node not in self._to and holder.node not in self._deleted

    # The changes

    def _change(self, past: Past) -> Iterator[Change]:
        node, row = past.node, self._row(past.node)
        place, version = (past.now.place, past.now.version) if row is None else (row.place, row.version)
        change = Change(node, past.now.kind, "", self._path(node), place, version)
        if node in self._deleted:
            yield change._replace(what=DELETED)
            return
        if past.place is None or node in self._left:
            return
        to = self._to.get(node)
        if row is None:
            if to is not None:
                yield change._replace(what=RESTORED, to=to, stored=past.stored)
            return
        fresh = None if past.stored is None or self._outside(past) or _same(row, past) else past.stored
        if to is not None or fresh is not None:
            yield change._replace(what=CHANGED if to is None else MOVED, to=to, stored=fresh)

    def _outside(self, past: Past) -> bool:
        """Whether a node wasn't in the folder then: only its place is the folder's matter (5.1)."""
        return self._folder != ROOT and not self._was_inside(past.node)

    def _path(self, node: NodeId) -> tuple[str, ...]:
        """Where it is once all is done, or was before it is deleted."""
        names: list[str] = []
        at = node
        while at != ROOT and len(names) < MAX_DEPTH:
            row = self._row(at)
            if at in self._to:
                at, name = self._to[at]
            elif row is not None:
                at, name = row.parent, row.name
            else:
                break
            names.append(name)
        return tuple(reversed(names))

    def _order(self, change: Change) -> tuple[bool, int, tuple[str, ...]]:
        """Folders from the top down, deletes last and from the bottom up, as the tracker and people like to read it."""
        gone = change.what == DELETED
        return gone, -len(change.path) if gone else len(change.path), change.path


def _same(row: Remote, past: Past) -> bool:
    """Whether the newest content is the one of then, under whatever version id."""
    if row.kind == DIRECTORY or past.stored is None or row.version == past.stored.version:
        return True
    now: Content | None = row.content
    return now is not None and now == past.stored.content
