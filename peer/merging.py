"""What a first sync is about to merge: files on both sides, counted by path before anything is touched (design §7)."""

from dataclasses import dataclass

from peer.tree_store import TreeStore
from peer.trees import Local, Remote
from protocol.commits import DIRECTORY
from protocol.identifiers import ROOT, NodeId


@dataclass(slots=True)
class MergeCount:
    """Files and symlinks with the same path and content, the same path only, or on one side only. Of those that are
    `unread` here nobody knows yet whether they are the same."""

    same: int = 0
    differ: int = 0
    only_here: int = 0
    only_there: int = 0
    unread: int = 0

    def __str__(self) -> str:
        """One line for a person."""
        unread = f"{self.unread} not compared yet, " if self.unread else ""
        return (
            f"first sync of this folder: {self.same} the same, {self.differ} differ (both are kept), "
            f"{unread}{self.only_here} only here, {self.only_there} only there"
        )


def count_merge(store: TreeStore) -> MergeCount:
    """Hold the LOCAL tree against REMOTE by path."""
    count = MergeCount()
    _count(store, ROOT, ROOT, count)
    return count


def _count(store: TreeStore, here: NodeId | None, there: NodeId | None, count: MergeCount) -> None:
    local = {} if here is None else store.local_children(here)
    remote = {} if there is None else store.remote_children(there)
    for name in sorted(local.keys() | remote.keys()):
        ours, theirs = local.get(name), remote.get(name)
        folder_here = ours.node if ours is not None and ours.kind == DIRECTORY else None
        folder_there = theirs.node if theirs is not None and theirs.kind == DIRECTORY else None
        if folder_here is not None or folder_there is not None:
            _count(store, folder_here, folder_there, count)
        if ours is not None and folder_here is None and (theirs is None or folder_there is not None):
            count.only_here += 1
        elif theirs is not None and folder_there is None and (ours is None or folder_here is not None):
            count.only_there += 1
        elif ours is not None and theirs is not None and folder_here is None and folder_there is None:
            _compare(ours, theirs, count)


def _compare(ours: Local, theirs: Remote, count: MergeCount) -> None:
    if ours.content is None or theirs.content is None:
        count.unread += 1
    elif ours.content.same_bytes(theirs.content):
        count.same += 1
    else:
        count.differ += 1
