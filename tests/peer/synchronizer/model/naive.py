"""What anybody would expect of a merge in which nothing conflicts: each node takes from each side what changed there.

The simplest thing that can be right, and nothing of the planner's. It says nothing at all of trees on which both sides
changed one thing, or that don't fit together.
"""

from typing import NamedTuple, TypeAlias

from peer.trees import Content
from protocol.identifiers import ROOT, NodeId


class Entry(NamedTuple):
    """Where a node is, and what it holds; a directory nothing."""

    parent: NodeId
    name: str
    kind: int
    content: Content | None


Tree: TypeAlias = dict[NodeId, Entry]


def merge(base: Tree, here: Tree, there: Tree) -> Tree | None:
    """The merged tree; None where there is a conflict, of whichever kind."""
    merged: Tree = {}
    for node in base.keys() | here.keys() | there.keys():
        before, ours, theirs = base.get(node), here.get(node), there.get(node)
        if before is None:
            merged[node] = here[node] if ours else there[node]
        elif ours is None or theirs is None:
            if (ours or theirs or before) != before:
                return None  # deleted on one side, changed on the other
        elif (entry := _merge_entry(before, ours, theirs)) is not None:
            merged[node] = entry
        else:
            return None
    return merged if _fits_together(merged) else None


def _merge_entry(before: Entry, ours: Entry, theirs: Entry) -> Entry | None:
    places = {(entry.parent, entry.name) for entry in (ours, theirs)} - {(before.parent, before.name)}
    contents = {entry.content for entry in (ours, theirs)} - {before.content}
    if len(places) > 1 or len(contents) > 1:
        return None
    parent, name = places.pop() if places else (before.parent, before.name)
    return Entry(parent, name, before.kind, contents.pop() if contents else before.content)


def _fits_together(tree: Tree) -> bool:
    names = {(entry.parent, entry.name) for entry in tree.values()}
    return len(names) == len(tree) and all(_hangs_on_top(tree, node) for node in tree)


def _hangs_on_top(tree: Tree, node: NodeId) -> bool:
    passed = set[NodeId]()
    while node != ROOT:
        if node in passed or node not in tree or (passed and tree[node].content is not None):
            return False
        passed.add(node)
        node = tree[node].parent
    return True
