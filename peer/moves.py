"""Telling a move from a save: whether a node has left the place where LOCAL last saw it.

A name keeps its node when a file is saved anew under it, by whatever dance of temporary and backup files. So what has a
new inode is a moved node only if nothing of its kind has taken its old name; or if what has taken it is a moved node as
well, and so on round to the first: names that were swapped.
"""

from peer.ports import EntryKind, Stat
from peer.root import Names, is_speakable
from peer.scanner import KINDS, Look, Seen
from peer.tree_store import TreeStore
from peer.trees import Local
from protocol.commits import DIRECTORY
from protocol.identifiers import NodeId


def is_unchanged(row: Local, stat: Stat) -> bool:
    """Whether what has a node's inode may be the node: inode numbers are used again."""
    return row.kind == DIRECTORY or (row.print.size, row.print.mtime_ns) == (stat.size, stat.mtime_ns)


class Moves:
    """What one look at the disk tells of moves, while LOCAL is brought up to date from it."""

    def __init__(self, store: TreeStore, seen: Look) -> None:
        """LOCAL is as it was before the look."""
        self._store = store
        self._seen = seen
        self._swapped: set[NodeId] = set()  # each found while LOCAL still had the first of them at its old place

    def has_left(self, row: Local) -> bool:
        """Whether a node is no longer where it was, as far as the look tells."""
        path = self._store.path(row.parent)
        if path is None:
            return False
        if self._folder_went(path):
            return True
        if path not in self._seen.listings or (*path, row.name) in self._seen.unseen:
            return False
        entry = self._entry_at(path, row)
        return entry is None or self.changed_places(row, entry)

    def changed_places(self, row: Local, entry: Seen) -> bool:
        """Whether what stands at a node's place is another, unchanged, at whose place stands another, and so on round
        to the first."""
        if row.node not in self._swapped and entry.stat.inode != row.print.inode:
            self._swapped |= self._ring(row, entry)
        return row.node in self._swapped

    def _ring(self, row: Local, entry: Seen) -> set[NodeId]:
        """The nodes that have changed places, or none."""
        first, ring = row.node, set[NodeId]()
        while row.node not in ring and entry.stat.inode != row.print.inode:
            ring.add(row.node)
            holder, place = self._known_as(entry.stat), self._store.path(row.parent)
            if holder is None or place is None or not self._is_same(holder, (*place, row.name)):
                return set()
            if holder.node == first:
                return ring
            path = self._store.path(holder.parent)
            following = None if path is None else self._entry_at(path, holder)
            if following is None:
                break
            row, entry = holder, following
        return set()

    def _known_as(self, stat: Stat) -> Local | None:
        """The node that was last seen with an inode, and is unchanged."""
        rows = (row for row, _ in self._store.locals_by_inode(stat.device, stat.inode))
        return next((row for row in rows if row.kind == KINDS.get(stat.kind) and is_unchanged(row, stat)), None)

    def _is_same(self, row: Local, place: Names) -> bool:
        """Of a folder the inode alone says too little; something that was in it must be in it."""
        if row.kind != DIRECTORY:
            return True
        known = self._store.local_children(row.node)
        return any(
            entry.name in known and known[entry.name].print.inode == entry.stat.inode
            for entry in self._seen.listings.get(place, ())
        )

    def goes_on(self, row: Local, place: Names, stat: Stat) -> bool:
        """Whether what has a gone node's inode is the node. A file system gives the inode of a folder that was removed
        to the next that is made: so a folder must be just as it was, or have something of a name that was in it."""
        listing = self._seen.listings.get(place)
        if row.kind != DIRECTORY or listing is None or row.print.mtime_ns == stat.mtime_ns:
            return True
        return any(self._was_in(row, entry) for entry in listing)

    def _was_in(self, folder: Local, entry: Seen) -> bool:
        kind = KINDS.get(entry.stat.kind)
        if kind is None or not is_speakable([entry.name]):
            return False
        there = self._store.local_at(folder.node, entry.name)
        return there is not None or self._store.gone_at(folder.node, entry.name, kind) is not None

    def _entry_at(self, path: Names, row: Local) -> Seen | None:
        """What has a node's name and kind now."""
        found = (entry for entry in self._seen.listings.get(path, ()) if entry.name == row.name)
        return next((entry for entry in found if KINDS.get(entry.stat.kind) == row.kind), None)

    def _folder_went(self, path: Names) -> bool:
        """Whether one of the folders on a path is seen to be there no longer."""
        return any(self._lacks(path[:depth], path[depth]) for depth in range(len(path)))

    def _lacks(self, above: Names, folder: str) -> bool:
        listing = self._seen.listings.get(above)
        if listing is None or (*above, folder) in self._seen.unseen:
            return False
        return not any(entry.name == folder and entry.stat.kind is EntryKind.DIRECTORY for entry in listing)
