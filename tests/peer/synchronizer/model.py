"""The three trees as dicts, with all that carries steps out on them as the real executor would on a disk, and commits
judged by the tracker's own rules.

    Person (here)  ─→ LOCAL  ┐
                             ├→ plan ─→ World.carry_out ─→ LOCAL, SYNCED, commits ─→ REMOTE
    Person (there) ─→ REMOTE ┘

Every content that a person saves is remembered in `World.saved`, until somebody who sees it deletes it or writes over
it: what is left there must be in the folder at the end.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias, TypeVar

from peer.database import Database
from peer.synchronizer.conflicts import conflict_name
from peer.synchronizer.local_steps import NAMELESS
from peer.synchronizer.planner import plan
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
    Read,
    RemoveLocal,
    Renew,
    SendCreate,
    SendDelete,
    SendMove,
    SendWrite,
    SetAside,
    SetAttributes,
    Step,
    StepAside,
    Wait,
    aside_name,
    aside_node,
)
from peer.tree_store import TreeStore
from peer.trees import Content, Fingerprint, Local, Remote, Synced
from peer.version_store import Origin
from protocol import commits
from protocol.commits import DIRECTORY, FILE, SYMLINK, Create, Delete, Move, Operation, Place, Write
from protocol.identifiers import ID_LENGTH, ROOT, NameToken, NodeId, PlaceMark, VersionId, WorkspaceId
from tracker.metadata import rules

NAMES = ("a", "b", "c", "d")
POOL = 3
"""Contents that may be saved more than once, on both sides."""
Row = TypeVar("Row", Local, Remote)
_SENDS = SendCreate | SendMove | SendWrite | SendDelete
_BOOKS = Agree | Forget | Renew | Adopt
_SPACE = 1 << 60


def identifier(number: int) -> bytes:
    """The id of this number."""
    return number.to_bytes(ID_LENGTH, "big")


def revision_of(version: VersionId) -> int:
    """When a version came: ids are given in order."""
    return int.from_bytes(version, "big")


def print_of(content: Content | None, inode: int = 0) -> Fingerprint:
    """A fingerprint that goes with a content."""
    if content is None:
        return Fingerprint(1, inode, 0, 0, 0, 0o755)
    mode = 0o755 if content.executable else 0o644
    return Fingerprint(1, inode, 1, content.mtime_ns, 0, mode & 0o700 if content.private else mode)


class World:
    """One device's three trees, its disk and the tracker. `fates(step)` says whether a step is carried out when its
    turn comes; the real executor may leave any out."""

    def __init__(self) -> None:
        self.local: dict[NodeId, Local] = {}
        self.remote: dict[NodeId, Remote] = {}
        self.synced: dict[NodeId, Synced] = {}
        self.dirty: dict[NodeId, None] = {}
        self.hidden: dict[NodeId, Content] = {}
        """What unread files really hold."""
        self.versions: dict[VersionId, Content] = {}
        self.saved: set[bytes] = set()
        self.conflicts = 0
        self.was: dict[NodeId, NodeId] = {}
        """Under which id a node was known before it got a new one."""
        self.announced_only = False
        """Whether commits leave their contents to be brought to the cloud later."""
        self.on_the_lan: set[VersionId] = set()
        """What is offered on the LAN."""
        self.given_up: set[VersionId] = set()
        """What the tracker lets be passed over."""
        self.online = True
        self._tracker: dict[NodeId, rules.Node] = {}
        self._marks: set[bytes] = set()
        self._revision = 0
        self._numbers = count(1)

    # Ids and contents

    def fresh(self) -> bytes:
        """An id never given before."""
        return identifier(next(self._numbers))

    def new_content(self, *, executable: bool = False) -> Content:
        """A content that nobody has saved before."""
        number = next(self._numbers)
        return Content(identifier(number) * 2, number, executable)

    def pooled_content(self, number: int) -> Content:
        """One of a few contents that several files may have, saved now."""
        return Content(b"pool" + bytes([number % POOL]) * 28, next(self._numbers))

    # LOCAL, SYNCED

    def put_local(self, row: Local) -> None:
        self.local[row.node] = row
        self.mark_dirty(row.node)

    def put_file(
        self, node: NodeId, parent: NodeId, name: str, kind: int, content: Content | None, *, read: bool = True
    ) -> None:
        """What the indexer makes of a look at a file or directory; unread files hide their content."""
        self.hidden.pop(node, None)
        if content is not None and not read:
            self.hidden[node] = content
        shown = content if read else None
        self.put_local(Local(node, parent, name, kind, shown, print_of(content, next(self._numbers))))

    def drop_local(self, node: NodeId) -> None:
        self.local.pop(node, None)
        self.hidden.pop(node, None)
        self.mark_dirty(node)

    def put_synced(self, remote: Remote, version: VersionId | None = None) -> None:
        held = remote.version if version is None else version
        content = None if held is None else self.versions[held]
        row = Synced(remote.node, remote.parent, remote.name, remote.kind, remote.place, held, content)
        self.synced[remote.node] = row
        self.mark_dirty(remote.node)

    def drop_synced(self, node: NodeId) -> None:
        self.synced.pop(node, None)
        self.mark_dirty(node)

    def mark_dirty(self, node: NodeId) -> None:
        self.dirty.setdefault(node)

    def held(self, node: NodeId) -> Content | None:
        """What a local file really holds."""
        return self.hidden.get(node, self.local[node].content)

    def local_at(self, parent: NodeId, name: str) -> NodeId | None:
        return _at(self.local, parent, name)

    def is_local(self, parent: NodeId) -> bool:
        """Whether there is such a directory on the disk."""
        return parent == ROOT or parent in self.local

    def rename_local_node(self, node: NodeId, to: NodeId) -> None:
        row = self.local.pop(node)
        self.was[to] = node
        self.local[to] = row._replace(node=to)
        if node in self.hidden:
            self.hidden[to] = self.hidden.pop(node)
        for child in [row.node for row in self.local.values() if row.parent == node]:
            self.put_local(self.local[child]._replace(parent=to))
        self.mark_dirty(node)
        self.mark_dirty(to)

    # The tracker

    def place(self, parent: NodeId, name: str) -> Place:
        """A place with a fresh mark; the token says just the name."""
        return Place(parent=parent, token=NameToken(name.encode()), name=b"", mark=PlaceMark(self.fresh()))

    def content(self, content: Content) -> commits.Content:
        """A new version."""
        version = VersionId(self.fresh())
        self.versions[version] = content
        return commits.Content(version=version, manifest=b"")

    def commit(self, operations: list[Operation]) -> dict[int, str]:
        """Have the tracker judge a commit; why each of what fails does, nothing changed then."""
        self._revision += 1
        verdict = rules.judge(operations, self._before(operations))
        if verdict.failures:
            return verdict.failures
        self._tracker |= verdict.nodes
        for node in verdict.nodes.values():
            self._marks |= {node.place, node.version or b""}
            self._show(node)
        return {}

    def _before(self, operations: list[Operation]) -> rules.Before:
        alive = [node for node in self._tracker.values() if not node.deleted]
        named = {operation.node for operation in operations}
        return rules.Before(
            revision=self._revision,
            nodes=self._tracker,
            occupants={(node.parent, node.token): node.node for node in alive},
            crowded={node.parent for node in alive if node.node not in named},
            used_marks=self._marks,
            contents={version: rules.Measured(1, 1, not self.announced_only) for version in self.versions},
            used=0,
            quota=_SPACE,
            max_file=_SPACE,
        )

    def _show(self, node: rules.Node) -> None:
        """A delta brings a node to REMOTE."""
        if node.deleted:
            self.remote.pop(node.node, None)
        else:
            content = None if node.version is None else self.versions[node.version]
            name = node.token.decode()
            row = Remote(
                node.node, node.parent, name, node.kind, node.place, node.version, content, node.durable_version
            )
            self.remote[node.node] = row
        self.mark_dirty(node.node)

    def make_durable(self) -> bool:
        """Everything announced reaches the cloud; False when it was there already."""
        lacking = [node for node in self._tracker.values() if node.durable_version != node.version]
        for node in lacking:
            self._tracker[node.node] = rules.as_durable(node)
            self._show(self._tracker[node.node])
        return bool(lacking)

    # Planning and carrying out

    def view(self, dirty: Iterable[NodeId] | None = None) -> Slice:
        """All of the three trees."""
        nodes = list(self.dirty if dirty is None else dirty)
        view = Slice(nodes, dict(self.local), dict(self.remote), dict(self.synced))
        view.offered, view.stalled = set(self.on_the_lan), set(self.given_up)
        view.revisions = {version: revision_of(version) for version in self.versions}
        return view

    # What `load_slice` is told of heads that are not in the cloud

    def offered(self, version: VersionId, _: Origin) -> bool:
        return version in self.on_the_lan

    def stalled(self, version: VersionId, _: Origin) -> bool:
        return version in self.given_up

    def _pass_over(self, node: NodeId) -> None:
        """What the tracker does with a head that has stalled before it takes a write on the durable head."""
        known = self._tracker[node]
        assert known.version in self.given_up
        self._tracker[node] = known._replace(
            version=known.durable_version, size=known.durable_size, content_at=known.durable_at
        )

    def steps(self) -> dict[NodeId, Step]:
        """What is planned for each dirty node."""
        return {step.node: step for step in plan(self.view())}

    def turn(self, dirty: Iterable[NodeId] | None = None) -> bool:
        """Plan once and carry all of it out in order; whether anything was done."""
        return self.carry_out(plan(self.view(dirty)))

    def carry_out(self, steps: list[Step], wanted: Callable[[Step], bool] = lambda step: True) -> bool:
        """Do as the executor does with one plan. Bookkeeping is never left out: it is one transaction with planning."""
        progressed = False
        for step in steps:
            if isinstance(step, Clean):
                self.dirty.pop(step.node, None)
            elif isinstance(step, _BOOKS):
                self._keep_books(step)
                progressed = True
        for step in steps:
            if not isinstance(step, Clean | Wait | Await | _BOOKS | _SENDS) and wanted(step):
                progressed = self._change_disk(step) or progressed
        sends = [step for step in steps if isinstance(step, _SENDS) and wanted(step)]
        return (self.online and self._send(sends)) or progressed

    def _keep_books(self, step: Step) -> None:
        node = step.node
        if isinstance(step, Agree):
            if node in self.remote:
                self.put_synced(self.remote[node])
        elif isinstance(step, Forget):
            self.drop_synced(node)
        elif isinstance(step, Renew):
            self.rename_local_node(node, NodeId(self.fresh()))
            self.drop_synced(node)
        elif isinstance(step, Adopt):
            self.rename_local_node(node, step.remote)

    def _change_disk(self, step: Step) -> bool:
        local, remote = self.local.get(step.node), self.remote.get(step.node)
        if isinstance(step, Read):
            return local is not None and self._read(local)
        if isinstance(step, MakeDirectory):
            return remote is not None and self._make_directory(remote)
        if isinstance(step, Fetch):
            return remote is not None and self._fetch(remote, step.version)
        if isinstance(step, MoveLocal):
            return local is not None and remote is not None and self._rename(local, remote.parent, remote.name)
        if local is None:
            return False
        if isinstance(step, StepAside):
            return self._rename(local, local.parent, aside_name(local.node))
        if isinstance(step, SetAside):
            return self._set_aside(local, renew=step.renew)
        if isinstance(step, SetAttributes):
            return remote is not None and self._set_attributes(local, remote)
        assert isinstance(step, RemoveLocal)
        return self._remove(local)

    def _read(self, row: Local) -> bool:
        content = self.hidden.pop(row.node, None)
        if content is not None:
            self.put_local(row._replace(content=content))
        return content is not None

    def _make_directory(self, remote: Remote) -> bool:
        if not self.is_local(remote.parent) or self.local_at(remote.parent, remote.name) is not None:
            return False
        self.put_file(remote.node, remote.parent, remote.name, DIRECTORY, None)
        self.put_synced(remote)
        return True

    def _fetch(self, remote: Remote, version: VersionId) -> bool:
        """A file is replaced where it stands, when it is as SYNCED says; a new one needs a free name."""
        if not self.online or not self.is_local(remote.parent):
            return False
        local = self.local.get(remote.node)
        holder = self.local_at(remote.parent, remote.name)
        if holder != (None if local is None else remote.node):
            return False
        assert local is None or (local.node in self.synced and local.content is not None)
        assert local is None or local.content.same_bytes(self.synced[local.node].content or self.new_content())  # type: ignore[union-attr]
        self.put_file(remote.node, remote.parent, remote.name, remote.kind, self.versions[version])
        self.put_synced(remote, version)
        return True

    def _rename(self, row: Local, parent: NodeId, name: str) -> bool:
        """renameat2(RENAME_NOREPLACE)."""
        if (
            not self.is_local(parent)
            or self.local_at(parent, name) is not None
            or row.node in _path(self.local, parent)
        ):
            return False
        self.put_local(row._replace(parent=parent, name=name))
        return True

    def _set_aside(self, row: Local, *, renew: bool) -> bool:
        def taken(name: str) -> bool:
            return _at(self.local, row.parent, name) is not None or _at(self.remote, row.parent, name) is not None

        past = self.synced.get(row.node)
        known = row.name if aside_node(row.name) is None else NAMELESS if past is None else past.name
        name = conflict_name(known, "here", 0, taken)
        self.conflicts += 1
        if renew:
            fresh = NodeId(self.fresh())
            self.rename_local_node(row.node, fresh)
            self.drop_synced(row.node)
            row = self.local[fresh]
        self.put_local(row._replace(name=name))
        return True

    def _set_attributes(self, local: Local, remote: Remote) -> bool:
        if remote.content is None or local.content is None or not local.content.same_bytes(remote.content):
            return False
        self.put_file(local.node, local.parent, local.name, local.kind, remote.content)
        self.put_synced(remote)
        return True

    def _remove(self, row: Local) -> bool:
        """unlinkat(2), which refuses a directory with something in it."""
        if any(child.parent == row.node for child in self.local.values()):
            return False
        self.drop_local(row.node)
        self.drop_synced(row.node)
        return True

    def _send(self, steps: Sequence[Step]) -> bool:
        """One commit, sent again without what was refused."""
        renewed = False
        for _ in range(3):
            made = [(step, operation) for step in steps if (operation := self._operation(step)) is not None]
            if not made:
                return renewed
            failed = self.commit([operation for _, operation in made])
            if not failed:
                for _, operation in made:
                    self._accept(operation)
                return True
            for index, reason in failed.items():
                renewed = self._settle_failure(made[index][0].node, reason) or renewed
            steps = [step for index, (step, _) in enumerate(made) if index not in failed]
        return renewed

    def _settle_failure(self, node: NodeId, reason: str) -> bool:
        if reason != "node-exists" or not self._tracker[node].deleted:
            return False
        self.rename_local_node(node, NodeId(self.fresh()))
        self.drop_synced(node)
        return True

    def _operation(self, step: Step) -> Operation | None:
        node, local, remote = step.node, self.local.get(step.node), self.remote.get(step.node)
        if isinstance(step, SendDelete):
            mark = PlaceMark(self.fresh())
            return None if remote is None else _delete(remote, mark)
        if local is None or (local.content is None and local.kind != DIRECTORY and not isinstance(step, SendMove)):
            return None
        if isinstance(step, SendMove):
            place = self.place(local.parent, local.name)
            return None if remote is None else Move(node=node, base=remote.place, place=place, kind=local.kind)
        content = None if local.content is None else self.content(local.content)
        if isinstance(step, SendCreate):
            return Create(node=node, kind=local.kind, place=self.place(local.parent, local.name), content=content)
        if remote is None or remote.version is None or content is None:
            return None
        if isinstance(step, SendWrite) and step.skip:
            self._pass_over(node)
            return None if remote.durable is None else Write(node=node, base=remote.durable, content=content)
        return Write(node=node, base=remote.version, content=content)

    def _accept(self, operation: Operation) -> None:
        """What the tracker took is agreed on."""
        node = operation.node
        if isinstance(operation, Delete):
            self.drop_synced(node)
        elif isinstance(operation, Create):
            self.put_synced(self.remote[node])
        elif isinstance(operation, Write) and node in self.synced:
            version = operation.content.version
            self.synced[node] = self.synced[node]._replace(version=version, content=self.versions[version])
            self.mark_dirty(node)
        elif isinstance(operation, Move) and node in self.synced:
            place = operation.place
            self.synced[node] = self.synced[node]._replace(
                parent=place.parent, name=place.token.decode(), place=place.mark
            )
            self.mark_dirty(node)

    # The end

    def settle(self, rounds: int) -> int:
        """Plan and carry out until nothing is left to do; how many rounds that took. Fails after `rounds`."""
        for done in range(rounds):
            if not self.dirty:
                return done
            if not self.turn() and self.dirty:
                raise AssertionError(f"stuck: {self.steps()}")
        raise AssertionError(f"no end after {rounds} rounds: {self.steps()}")

    def check_agreed(self) -> None:
        """The three trees are equal, and the disk is one that can be."""
        assert not self.hidden
        assert {node: (row.parent, row.name, row.kind, row.content) for node, row in self.local.items()} == {
            node: (row.parent, row.name, row.kind, row.content) for node, row in self.remote.items()
        }
        assert self.synced == {
            node: Synced(node, row.parent, row.name, row.kind, row.place, row.version, row.content)
            for node, row in self.remote.items()
        }
        check_tree(self.local)
        assert len({(row.parent, row.name) for row in self.local.values()}) == len(self.local)
        assert not any(row.name.startswith(".shoal-") for row in self.local.values())

    def contents(self) -> list[bytes]:
        """The digests of all local files, sorted."""
        return sorted(row.content.digest for row in self.local.values() if row.content is not None)

    def paths(self) -> dict[tuple[str, ...], tuple[int, Content | None]]:
        """The local tree by path."""
        return tree_by_path(self.local, self.held)

    def remote_paths(self) -> dict[tuple[str, ...], tuple[int, Content | None]]:
        """The remote tree by path."""
        return tree_by_path(self.remote, lambda node: self.remote[node].content)


def check_tree(tree: dict[NodeId, Local]) -> None:
    """Every node hangs on the top by way of directories."""
    for node in tree:
        path = list(_path(tree, node))
        assert tree[path[-1]].parent == ROOT
        assert all(tree[above].kind == DIRECTORY for above in path[1:])


def tree_by_path(
    tree: dict[NodeId, Row], content: Callable[[NodeId], Content | None]
) -> dict[tuple[str, ...], tuple[int, Content | None]]:
    """Kind and content of each node by its path."""
    return {
        tuple(tree[above].name for above in reversed(list(_path(tree, node)))): (row.kind, content(node))
        for node, row in tree.items()
    }


def _at(tree: dict[NodeId, Row], parent: NodeId, name: str) -> NodeId | None:
    return next((row.node for row in tree.values() if (row.parent, row.name) == (parent, name)), None)


def _path(tree: dict[NodeId, Row], node: NodeId) -> Iterator[NodeId]:
    """The node and those above it."""
    while node != ROOT:
        yield node
        node = tree[node].parent


def _delete(row: Remote, mark: PlaceMark) -> Delete:
    return Delete(node=row.node, base=row.place, mark=mark, content_base=row.version)


# People --------------------


@dataclass
class Person:
    """Somebody who works in the folder on one side. What can't be done is left."""

    world: World
    actions: list[str] = field(default_factory=list)

    def rows(self) -> dict[NodeId, Local] | dict[NodeId, Remote]:
        """What this person sees."""
        raise NotImplementedError

    def content(self, node: NodeId) -> Content | None:
        """What a file holds, as this person sees it."""
        raise NotImplementedError

    def create(self, parent: NodeId, name: str, kind: int, content: Content | None) -> None:
        raise NotImplementedError

    def write(self, node: NodeId, content: Content) -> None:
        raise NotImplementedError

    def move(self, node: NodeId, parent: NodeId, name: str) -> None:
        raise NotImplementedError

    def swap(self, one: NodeId, other: NodeId) -> None:
        raise NotImplementedError

    def take_away(self, node: NodeId) -> None:
        """Without what is inside."""
        raise NotImplementedError

    def act(self, action: str, first: int, second: int, third: int) -> None:
        """Carry out one of `ACTIONS` on a node, a directory and a name that the numbers choose."""
        nodes = sorted(node for node, row in self.rows().items() if not row.name.startswith(".shoal-"))
        directories = [ROOT, *(node for node in nodes if self.rows()[node].kind == DIRECTORY)]
        directory, name = directories[second % len(directories)], NAMES[third % len(NAMES)]
        if action in ADDING:
            self._add(action, directory, name, first)
        elif nodes:
            other = nodes[second % len(nodes)]
            self._change(action, nodes[first % len(nodes)], directory, other, name)

    def _add(self, action: str, parent: NodeId, name: str, number: int) -> None:
        if self.at(parent, name) is not None:
            return
        if action == "add directory":
            self.create(parent, name, DIRECTORY, None)
        else:
            content = self.world.pooled_content(number) if action == "add same" else self.world.new_content()
            self._save(content)
            self.create(parent, name, SYMLINK if action == "add link" else FILE, content)

    def _change(self, action: str, node: NodeId, directory: NodeId, other: NodeId, name: str) -> None:
        row = self.rows()[node]
        if action == "delete":
            self.delete(node)
        elif action == "rename":
            self._move_over(node, row.parent, name)
        elif action == "move":
            self._move_over(node, directory, row.name)
        elif action == "swap":
            self._swap(node, other)
        elif action == "change kind":
            self._change_kind(node)
        elif row.kind != DIRECTORY:
            self._write(action, node)

    def at(self, parent: NodeId, name: str) -> NodeId | None:
        """What this person sees under a name."""
        return next((row.node for row in self.rows().values() if (row.parent, row.name) == (parent, name)), None)

    def above(self, node: NodeId) -> list[NodeId]:
        """The node and the directories above it."""
        out, rows = list[NodeId](), self.rows()
        while node != ROOT:
            out.append(node)
            node = rows[node].parent
        return out

    def delete(self, node: NodeId) -> None:
        """rm -r"""
        for child in [row.node for row in self.rows().values() if row.parent == node]:
            self.delete(child)
        self._overwritten(node)
        self.take_away(node)

    def _move_over(self, node: NodeId, parent: NodeId, name: str) -> None:
        """mv: over a file, too."""
        present = self.at(parent, name)
        if present == node or node in self.above(parent):
            return
        if present is not None:
            if DIRECTORY in (self.rows()[node].kind, self.rows()[present].kind):
                return
            self.delete(present)
        self.move(node, parent, name)

    def _swap(self, one: NodeId, other: NodeId) -> None:
        if one not in self.above(other) and other not in self.above(one):
            self.swap(one, other)

    def _change_kind(self, node: NodeId) -> None:
        row = self.rows()[node]
        self.delete(node)
        self._add("add file" if row.kind == DIRECTORY else "add directory", row.parent, row.name, 0)

    def _write(self, action: str, node: NodeId) -> None:
        before = self.content(node)
        assert before is not None
        if action == "touch":
            content = before._replace(mtime_ns=self.world.new_content().mtime_ns)
        elif action == "chmod":
            if self.rows()[node].kind == SYMLINK:
                return
            content = before._replace(executable=not before.executable)
        else:
            content = self.world.new_content() if action == "edit" else self.world.pooled_content(len(node))
            if before.digest != content.digest:
                self._overwritten(node)
                self._save(content)
        self.write(node, content)

    def _save(self, content: Content) -> None:
        if not content.digest.startswith(b"pool"):
            self.world.saved.add(content.digest)

    def _overwritten(self, node: NodeId) -> None:
        content = self.content(node)
        if content is not None:
            self.world.saved.discard(content.digest)


ADDING = ("add file", "add same", "add link", "add directory")
ACTIONS = (*ADDING, "edit", "edit same", "touch", "chmod", "delete", "rename", "move", "swap", "change kind")


@dataclass
class Here(Person):
    """Works on the disk. Contents are unread until the planner asks for them."""

    read: bool = False

    def rows(self) -> dict[NodeId, Local]:
        return self.world.local

    def content(self, node: NodeId) -> Content | None:
        return self.world.held(node)

    def create(self, parent: NodeId, name: str, kind: int, content: Content | None) -> None:
        read = self.read or kind != FILE
        self.world.put_file(NodeId(self.world.fresh()), parent, name, kind, content, read=read)

    def write(self, node: NodeId, content: Content) -> None:
        row = self.world.local[node]
        self.world.put_file(node, row.parent, row.name, row.kind, content, read=self.read or row.kind != FILE)

    def move(self, node: NodeId, parent: NodeId, name: str) -> None:
        self.world.put_local(self.world.local[node]._replace(parent=parent, name=name))

    def swap(self, one: NodeId, other: NodeId) -> None:
        first, second = self.world.local[one], self.world.local[other]
        self.move(one, second.parent, second.name)
        self.move(other, first.parent, first.name)

    def take_away(self, node: NodeId) -> None:
        self.world.drop_local(node)


@dataclass
class There(Person):
    """Works on other devices, whose commits arrive at once. Deletes of a directory and its content are one commit."""

    def rows(self) -> dict[NodeId, Remote]:
        return self.world.remote

    def content(self, node: NodeId) -> Content | None:
        return self.world.remote[node].content

    def _commit(self, *operations: Operation) -> None:
        assert not self.world.commit(list(operations))

    def create(self, parent: NodeId, name: str, kind: int, content: Content | None) -> None:
        node = NodeId(self.world.fresh())
        sealed = None if content is None else self.world.content(content)
        self._commit(Create(node=node, kind=kind, place=self.world.place(parent, name), content=sealed))

    def write(self, node: NodeId, content: Content) -> None:
        base = self.world.remote[node].version
        assert base is not None
        self._commit(Write(node=node, base=base, content=self.world.content(content)))

    def move(self, node: NodeId, parent: NodeId, name: str) -> None:
        self._commit(self._move(node, parent, name))

    def _move(self, node: NodeId, parent: NodeId, name: str) -> Move:
        row = self.world.remote[node]
        return Move(node=node, base=row.place, place=self.world.place(parent, name), kind=row.kind)

    def swap(self, one: NodeId, other: NodeId) -> None:
        first, second = self.world.remote[one], self.world.remote[other]
        if one != other:
            self._commit(self._move(one, second.parent, second.name), self._move(other, first.parent, first.name))

    def take_away(self, node: NodeId) -> None:
        row = self.world.remote[node]
        mark = PlaceMark(self.world.fresh())
        self._commit(_delete(row, mark))


# Cases --------------------

Path: TypeAlias = str
"""Names with slashes between them, from the top."""


class Case(World):
    """A world to set up by paths. `here` has read all its files."""

    def __init__(self) -> None:
        super().__init__()
        self.here = Here(self, read=True)
        self.there = There(self)

    def both(self, *paths: Path) -> list[NodeId]:
        """Files, and directories with a slash at their end, on which all sides agree."""
        for path in paths:
            self.new(self.there, path)
        self.settle(4 * len(paths) + 4)
        return [self.node(self.there, path) for path in paths]

    def new(self, person: Here | There, path: Path, content: Content | None = None) -> NodeId:
        """Somebody makes a file, or a directory."""
        parent, name = self._place(person, path)
        if path.endswith("/"):
            person.create(parent, name, DIRECTORY, None)
        else:
            person.create(parent, name, FILE, content or self.new_content())
        return self.node(person, path)

    def move(self, person: Here | There, path: Path, to: Path) -> None:
        person.move(self.node(person, path), *self._place(person, to))

    def edit(self, person: Here | There, path: Path, content: Content | None = None) -> None:
        person.write(self.node(person, path), content or self.new_content())

    def delete(self, person: Here | There, path: Path) -> None:
        person.delete(self.node(person, path))

    def node(self, person: Here | There, path: Path) -> NodeId:
        """The node at a path, as that person sees it."""
        node = ROOT
        for name in path.strip("/").split("/") if path.strip("/") else ():
            found = person.at(node, name)
            assert found is not None, f"no {path}"
            node = found
        return node

    def _place(self, person: Here | There, path: Path) -> tuple[NodeId, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        return self.node(person, above), name

    def why(self, node: NodeId) -> str:
        """What a node waits for."""
        step = self.steps()[node]
        assert isinstance(step, Wait)
        return step.why

    def awaits(self, node: NodeId) -> bool:
        """Whether a node waits for the content of its head."""
        head = self.remote[node].version
        return head is not None and self.steps()[node] == Await(node, head)

    def head(self, node: NodeId) -> VersionId:
        """The newest version of a node at the tracker."""
        version = self.remote[node].version
        assert version is not None
        return version

    def end(self) -> list[str]:
        """Work until all agree; the paths that there are then."""
        self.settle(rounds(self))
        self.check_agreed()
        return sorted("/".join(path) for path in self.paths())


def rounds(world: World) -> int:
    """In how many rounds everything must have come to rest."""
    return 4 * len(world.local.keys() | world.remote.keys()) + 10


def store_of(database: Database, world: World) -> TreeStore:
    """The world's three trees, in a workspace of their own."""
    number = database.row("SELECT count(DISTINCT workspace) FROM dirty")[0] + 1
    store = TreeStore(database, WorkspaceId(identifier(number)))
    with database.transaction():
        store.mark_dirty(ROOT)
        for local in world.local.values():
            store.put_local(local)
        for remote in world.remote.values():
            store.put_remote(remote)
        for synced in world.synced.values():
            store.put_synced(synced)
        for version, content in world.versions.items():
            row = (store.workspace, version, b"", b"", b"", b"", content.digest, content.mtime_ns)
            marks = (content.executable, content.private, revision_of(version), 0, False)
            database.run("INSERT INTO versions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", *row, *marks)
    return store
