"""What is held, for people and programs."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from peer.breaker import Direction, Kind, Mark
from peer.problems import printable
from peer.tree_store import TreeStore
from protocol.identifiers import NodeId

FIRST = 10
"""Paths that are shown of each kind."""
WORDS = {
    (Direction.OUT, Kind.DELETE): "deleted here",
    (Direction.OUT, Kind.OVERWRITE): "overwritten here",
    (Direction.OUT, Kind.DAMAGE): "found empty after the machine went down",
    (Direction.IN, Kind.DELETE): "deleted elsewhere",
    (Direction.IN, Kind.OVERWRITE): "overwritten elsewhere",
}
"""What has happened to files, for people."""


def summary_of(store: TreeStore, held: Iterable[Mark]) -> list[dict[str, Any]]:
    """A map for each direction and kind of change of files, as `shoal held --json` prints it."""
    groups: defaultdict[tuple[Direction, Kind], list[Mark]] = defaultdict(list)
    for mark in held:
        if mark.kind is not Kind.DIRECTORY:
            groups[mark.direction, mark.kind].append(mark)
    return [_group(store, *key, marks) for key, marks in sorted(groups.items())]


def _group(store: TreeStore, direction: Direction, kind: Kind, marks: list[Mark]) -> dict[str, Any]:
    return {
        "direction": "outgoing" if direction is Direction.OUT else "incoming",
        "change": kind.name.lower(),
        "text": WORDS[direction, kind],
        "files": len(marks),
        "since_ms": marks[0].since_ms,
        "paths": sorted(_path(store, mark.node) for mark in marks[:FIRST]),
    }


def _path(store: TreeStore, node: NodeId) -> str:
    path = store.path(node) or store.remote_path(node)
    return f"node {node.hex()}" if path is None else printable(path)
