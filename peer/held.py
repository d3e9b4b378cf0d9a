"""What is held, for people and programs."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from typing import Any

import trio

from peer.breaker import Direction, Kind, Mark
from peer.problems import printable
from peer.tree_store import TreeStore
from protocol.identifiers import NodeId

FIRST = 10
"""Paths that are shown of each kind."""
MAX_PAGE = 1 << 19
"""Bytes of paths in one answer: escaped, and with what CBOR adds, they stay well below what an answer may have."""
WORDS = {
    (Direction.OUT, Kind.DELETE): "deleted here",
    (Direction.OUT, Kind.OVERWRITE): "overwritten here",
    (Direction.OUT, Kind.DAMAGE): "found empty after the machine went down",
    (Direction.IN, Kind.DELETE): "deleted elsewhere",
    (Direction.IN, Kind.OVERWRITE): "overwritten elsewhere",
}
"""What has happened to files, for people."""
_WAYS = {Direction.OUT: "outgoing", Direction.IN: "incoming"}
_A_WHILE = 500
"""Paths that are looked up before others have their turn."""

Groups = dict[tuple[Direction, Kind], list[Mark]]


def summary_of(held: Iterable[Mark]) -> list[dict[str, Any]]:
    """A map for each direction and kind of change of files."""
    return [_group(*key, marks) for key, marks in _groups(held).items()]


def _groups(held: Iterable[Mark]) -> Groups:
    groups: defaultdict[tuple[Direction, Kind], list[Mark]] = defaultdict(list)
    for mark in held:
        if mark.kind is not Kind.DIRECTORY:
            groups[mark.direction, mark.kind].append(mark)
    return dict(sorted(groups.items()))


def _group(direction: Direction, kind: Kind, marks: Sequence[Mark]) -> dict[str, Any]:
    return {
        "direction": _WAYS[direction],
        "change": kind.name.lower(),
        "text": WORDS[direction, kind],
        "files": len(marks),
        "since_ms": marks[0].since_ms,
    }


async def told(store: TreeStore, held: Iterable[Mark]) -> list[dict[str, Any]]:
    """The same with the first `paths`, and how many files there are in each of the `folders` at the top ("" for none),
    the fullest first."""
    groups = []
    for key, marks in _groups(held).items():
        paths = [printable(path) for path in await _paths(store, marks)]
        tops = Counter(path.partition("/")[0] if "/" in path else "" for path in paths)
        folders = sorted(tops.items(), key=lambda each: (-each[1], each[0]))
        groups.append(
            _group(*key, marks)
            | {"folders": [{"path": path, "files": files} for path, files in folders], "paths": nsmallest(FIRST, paths)}
        )
    return groups


async def page(store: TreeStore, held: Iterable[Mark], direction: str, change: str, skip: int) -> dict[str, Any]:
    """Some `paths` of one of the groups, in no order, after as many as are to be skipped; `next` is how many to skip
    then, None at the end."""
    marks = [
        mark for (way, kind), marks in _groups(held).items() for mark in marks
        if (_WAYS[way], kind.name.lower()) == (direction, change)
    ]  # fmt: skip
    paths, size = list[str](), 0
    for path in await _paths(store, marks[skip : skip + _A_WHILE]):
        paths.append(printable(path))
        size += len(paths[-1].encode())
        if size > MAX_PAGE:
            break
    after = skip + len(paths)
    return {"paths": paths, "next": after if after < len(marks) else None}


async def _paths(store: TreeStore, marks: Sequence[Mark]) -> list[tuple[str, ...]]:
    """Where the files are, or were; others have their turn now and then."""
    found = []
    for number, mark in enumerate(marks):
        if number % _A_WHILE == _A_WHILE - 1:
            await trio.lowlevel.checkpoint()
        found.append(_path(store, mark.node))
    return found


def _path(store: TreeStore, node: NodeId) -> tuple[str, ...]:
    return store.path(node) or store.remote_path(node) or (f"node {node.hex()}",)
