"""Paths that a person gives, as names below the folder."""

from collections.abc import Iterable

from peer.root import Names
from peer.tree_store import TreeStore
from protocol.errors import Usage
from protocol.identifiers import ROOT, NodeId


def names_in(folder: str, path: str) -> Names:
    """The names of an absolute path below the sync folder, by the name that it has; `Usage` when it isn't in it."""
    root = folder.rstrip("/")
    if path != root and not path.startswith(root + "/"):
        raise Usage(f"{path} is not in the folder {folder}, and nothing outside it is synced")
    return tuple(name for name in path[len(root) :].split("/") if name)


def find_remote(store: TreeStore, names: Iterable[str]) -> NodeId | None:
    """The node that the tracker has at a path."""
    node = ROOT
    for name in names:
        row = store.remote_at(node, name)
        if row is None:
            return None
        node = row.node
    return node
