"""`shoal exclude` and `shoal include`: what of a workspace is kept on this device (docs/sync-engine.md, "Excluding").

These only say what is wanted; the planner takes the rest off the disk, or brings it back (cases 11 and 3).
"""

from typing import Any

from peer.paths import find_remote, names_in
from peer.problems import printable
from peer.root import Names
from peer.synchronizer.context import Context
from protocol.commits import DIRECTORY
from protocol.errors import Usage
from protocol.identifiers import NodeId

MOST_NAMED = 100
"""Of files that are still here, so many are named at most."""


def exclude(context: Context, path: str) -> dict[str, Any]:
    """Exclude a file or folder by its absolute path. Returns its line of `excluded`; `Usage` when it can't be."""
    names = names_in(context.root.path, path)
    node = _excludable(context, path, names)
    context.selection.exclude(node)
    context.problems.settled_below(names)
    context.postponed.clear()  # there may be room on the disk for the others
    context.wake.set()
    return _line(context, node)


def include(context: Context, path: str) -> None:
    """Have it here again; `Usage` when it was not excluded."""
    names, selection = names_in(context.root.path, path), context.selection
    node = find_remote(context.store, names)
    if node is None or node not in selection.excluded():
        above = set() if node is None else selection.excluded_of([node])
        raise Usage(f"{path} is in a folder that is excluded: include that" if above else f"{path} is not excluded")
    selection.include(node)
    context.wake.set()


def excluded(context: Context) -> list[dict[str, Any]]:
    """What is excluded, by path, each with the paths of files in it that are still here, as they are not synced yet."""
    there = context.store.remotes(context.selection.excluded())
    return sorted((_line(context, node) for node in there), key=lambda line: str(line["path"]))


def _excludable(context: Context, path: str, names: Names) -> NodeId:
    store = context.store
    node = store.find(names) or find_remote(store, names)
    if not names:
        raise Usage("the folder as a whole can't be excluded: exclude what is in it")
    if node is None:
        raise Usage(f"{path} is not known to Shoal")
    if store.remote(node) is None:
        raise Usage(f"{path} is not at the tracker yet, and would be nowhere else: wait until it is synced")
    if node not in context.selection.excluded() and context.selection.excluded_of([node]):
        raise Usage(f"{path} is in a folder that is excluded already")
    return node


def _line(context: Context, node: NodeId) -> dict[str, Any]:
    store = context.store
    inside = store.locals([node, *store.below_here(node)])
    files = (store.path(row.node) for row in inside.values() if row.kind != DIRECTORY)
    left = sorted(printable(path) for path in files if path is not None)
    return {"path": printable(store.remote_path(node) or ()), "here": len(left), "files_here": left[:MOST_NAMED]}
