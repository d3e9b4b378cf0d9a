"""LOCAL, REMOTE and SYNCED as dicts, and the small things that rows are made of."""

from collections.abc import Callable, Iterator
from itertools import count
from typing import TypeVar

from peer.trees import Content, Fingerprint, Local, Remote, Synced
from protocol.commits import DIRECTORY
from protocol.identifiers import ID_LENGTH, ROOT, NodeId, VersionId

POOL = 3
"""Contents that may be saved more than once, on both sides."""
Row = TypeVar("Row", Local, Remote)


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


class Trees:
    """One device's three trees, and what its unread files really hold."""

    def __init__(self) -> None:
        self.local: dict[NodeId, Local] = {}
        self.remote: dict[NodeId, Remote] = {}
        self.synced: dict[NodeId, Synced] = {}
        self.dirty: dict[NodeId, None] = {}
        self.hidden: dict[NodeId, Content] = {}
        """What unread files really hold."""
        self.versions: dict[VersionId, Content] = {}
        self.saved: set[bytes] = set()
        self.was: dict[NodeId, NodeId] = {}
        """Under which id a node was known before it got a new one."""
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
        return at(self.local, parent, name)

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
        path = list(path_up(tree, node))
        assert tree[path[-1]].parent == ROOT
        assert all(tree[above].kind == DIRECTORY for above in path[1:])


def nodes_by_path(tree: dict[NodeId, Row]) -> dict[tuple[str, ...], NodeId]:
    """Which node a path leads to."""
    return {tuple(tree[above].name for above in reversed(list(path_up(tree, node)))): node for node in tree}


def tree_by_path(
    tree: dict[NodeId, Row], content: Callable[[NodeId], Content | None]
) -> dict[tuple[str, ...], tuple[int, Content | None]]:
    """Kind and content of each node by its path."""
    return {path: (tree[node].kind, content(node)) for path, node in nodes_by_path(tree).items()}


def at(tree: dict[NodeId, Row], parent: NodeId, name: str) -> NodeId | None:
    return next((row.node for row in tree.values() if (row.parent, row.name) == (parent, name)), None)


def path_up(tree: dict[NodeId, Row], node: NodeId) -> Iterator[NodeId]:
    """The node and those above it."""
    while node != ROOT:
        yield node
        node = tree[node].parent
