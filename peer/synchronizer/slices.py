"""A slice of the three trees: all that the planner may look at to decide about some nodes.

It is closed over what the decisions read: the dirty nodes in all three trees; the ancestors of each place they have;
what stands under the names they have or want, with all three rows of those; and everything below a directory that is
to be deleted. `plan(slice)` is then `plan(whole)` restricted to the dirty nodes, which a property test shows.

Of heads that are not in the cloud it says beside what else is known of them: who offers them, whether they have
stalled, and in which order versions came; and of nodes at the tracker, which are wanted here.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from peer.trees import Local, Remote, Synced
from protocol.identifiers import ROOT, NodeId, VersionId

Placed = Local | Remote


@dataclass
class Slice:
    """Rows of the three trees by node id, with look-ups by place."""

    dirty: list[NodeId]
    local: dict[NodeId, Local] = field(default_factory=dict)
    remote: dict[NodeId, Remote] = field(default_factory=dict)
    synced: dict[NodeId, Synced] = field(default_factory=dict)
    offered: set[VersionId] = field(default_factory=set)
    """Heads not in the cloud that a device on the LAN offers."""
    stalled: set[VersionId] = field(default_factory=set)
    """Heads not in the cloud that have been on their way for so long that the tracker lets them be passed over."""
    unwanted: set[NodeId] = field(default_factory=set)
    """Nodes at the tracker that this device doesn't follow: excluded or ignored, or in a folder that is."""
    ruleless: set[NodeId] = field(default_factory=set)
    """Nodes at the tracker in a folder whose ignore rules are still to come."""
    revisions: dict[VersionId, int] = field(default_factory=dict)
    """When they came, of the versions of nodes whose head is not in the cloud."""

    def __post_init__(self) -> None:
        """Index by place."""
        self._local_names = {(row.parent, row.name): row.node for row in self.local.values()}
        self._remote_names = {(row.parent, row.name): row.node for row in self.remote.values()}
        self._local_children = _children(self.local.values())
        self._remote_children = _children(self.remote.values())

    def local_at(self, parent: NodeId, name: str) -> NodeId | None:
        """The node with this name on the disk."""
        return self._local_names.get((parent, name))

    def remote_at(self, parent: NodeId, name: str) -> NodeId | None:
        """The node with this name at the tracker."""
        return self._remote_names.get((parent, name))

    def local_children(self, node: NodeId) -> list[NodeId]:
        """What is in this directory on the disk."""
        return self._local_children.get(node, [])

    def remote_children(self, node: NodeId) -> list[NodeId]:
        """What is in this directory at the tracker."""
        return self._remote_children.get(node, [])

    def local_path(self, node: NodeId) -> Iterator[NodeId]:
        """The node and its ancestors on the disk, the top excluded."""
        return _upwards(self.local, node)

    def remote_path(self, node: NodeId) -> Iterator[NodeId]:
        """The node and its ancestors at the tracker, the top excluded."""
        return _upwards(self.remote, node)


def _children(rows: Iterable[Placed]) -> dict[NodeId, list[NodeId]]:
    out: dict[NodeId, list[NodeId]] = {}
    for row in rows:
        out.setdefault(row.parent, []).append(row.node)
    return out


def _upwards(tree: dict[NodeId, Local] | dict[NodeId, Remote], node: NodeId) -> Iterator[NodeId]:
    seen = 0
    while node != ROOT and seen <= len(tree):
        yield node
        row = tree.get(node)
        if row is None:
            return
        node, seen = row.parent, seen + 1
