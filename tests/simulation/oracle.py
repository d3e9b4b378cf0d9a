"""What must hold at the end of a simulation, whatever happened in it.

The rule of Hughes, Pierce, Arts and Norell ("Mysteries of Dropbox", ICST 2016), by contents instead of by file: every
content a user saved is still there, unless a user wrote over it or removed it while it stood there for them to see.
Every write has content of its own, so contents tell who wrote them.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import trio
from blake3 import blake3

from peer.synchronizer.local_steps import NAMELESS
from tests.simulation.user import TEMPORARY, Entry, User

Tree: TypeAlias = Mapping[str, Entry]

_CONFLICT = re.compile(r" \(conflicted copy, [^,()]+, \d{4}-\d\d-\d\d(?: \d+)?\)")
_OWNER_EXECUTES, _OTHERS = 0o100, 0o077


class Violation(AssertionError):
    """A rule of the oracle is broken: `rule` names it."""

    def __init__(self, rule: str, text: str) -> None:
        super().__init__(f"{rule}: {text}")
        self.rule = rule


@dataclass
class Oracle:
    """Told by the simulated people what they do; judges the folders afterwards."""

    saved: dict[bytes, str] = field(default_factory=dict)
    """Contents by hash, with where each was saved and by whom."""
    superseded: dict[bytes, str] = field(default_factory=dict)
    """Contents that a user wrote over or removed, seeing them."""
    names: set[str] = field(default_factory=set)
    links: set[str] = field(default_factory=set)
    moved: set[bytes] = field(default_factory=set)
    """Contents that a user gave another place, perhaps the old one again."""
    moved_over: set[bytes] = field(default_factory=set)
    """Those of them that took the place of something: that is a save of what was there, and the old place goes."""
    memory_lost: bool = False
    """Whether a device or the tracker has forgotten something: then it may come back, or be there twice."""
    in_turns: bool = False
    """Whether nobody acts before everybody has seen what the last one did: then every move is known for one."""
    taken_back: bool = False
    """Whether somebody has rejected what was done: then it comes back."""
    half_seen: bool = False
    """Whether a device may see that something went and not where it went to, and so not know it for the same."""
    replaced_alone: set[bytes] = field(default_factory=set)
    """Contents that a user replaced when nobody else did anything."""
    verdict: Violation | None = None
    """Of what happened on the way."""

    def save(self, who: str, path: str, content: bytes) -> None:
        """A user made a file hold this."""
        self.saved[_hash(content)] = f"{_when()} by {who} in {path} ({len(content)} bytes)"
        self.name(path)

    def name(self, path: str) -> None:
        """A user gave this name. Part of it may be Shoal's: that of something beside a conflict copy."""
        self.names.update(_CONFLICT.sub("", name) for name in path.split("/"))

    def supersede(self, who: str, entries: Iterable[Entry], why: str) -> None:
        """A user saw these and put something else in their place, or nothing."""
        for entry in entries:
            if entry[0] == "file":
                self.superseded.setdefault(_hash(entry[1]), f"{_when()} by {who}: {why}")

    def move(self, entries: Iterable[Entry], *, over: bool = False) -> None:
        """A user moved these, perhaps over something."""
        contents = [_hash(entry[1]) for entry in entries if entry[0] == "file"]
        self.moved.update(contents)
        self.moved_over.update(contents if over else ())

    def replace_alone(self, content: bytes) -> None:
        """A user is about to put something in the place of this, which everybody knows, and nobody else acts."""
        self.replaced_alone.add(_hash(content))

    def power_cut(self, who: str, gone: set[bytes], left: Iterable[Entry], published: Callable[[bytes], bool]) -> None:
        """A disk lost what was not fsynced. What nobody but its user knew of may be gone, and what is there instead
        was left by the power cut; all that was published must have been fsynced."""
        for content in sorted(gone):
            if not published(content):
                self.superseded.setdefault(_hash(content), f"{_when()} by a power cut of {who}")
        for content in sorted(entry[1] for entry in left if entry[0] == "file"):
            if _hash(content) not in self.saved:
                self.saved[_hash(content)] = f"{_when()} by a power cut of {who} ({len(content)} bytes)"
                self.superseded[_hash(content)] = f"{_when()} by a power cut of {who}"

    # Judging

    def judge_removal(
        self, what: str, user: User, others: Iterable[User], path: str, ordered: Callable[[bytes], bool]
    ) -> None:
        """A peer is about to take a file off its folder. Nobody removed what still stands, as it is, under the same
        path elsewhere, or what the tracker's order still has: `ordered` tells that of a content (law 2). What was moved
        may stand there anew, as another node."""
        content = _content(user, path)
        if content is None or _hash(content) in self.superseded:
            return
        if self.in_turns and _hash(content) not in self.moved_over:
            self.verdict = self.verdict or Violation("a move is no delete", f"{_when()} {what}, which nobody removed")
        if _hash(content) in self.moved:
            return
        if any(_content(other, path) == content for other in others) or ordered(content):
            self.verdict = self.verdict or Violation("absent is not deleted", f"{_when()} {what}, nobody else did")

    def judge(self, trees: Mapping[str, Tree]) -> None:
        """Raise the first `Violation`."""
        if self.verdict is not None:
            raise self.verdict
        (one, first), *others = _synced(trees).items()
        for other, tree in others:
            self._judge_equal(one, first, other, tree)
        self._judge_nothing_lost(trees.values())
        if not self.memory_lost and not self.taken_back:
            self._judge_no_copies(first)
            self._judge_no_resurrection(first)
        self._judge_nothing_invented(first)

    def _judge_equal(self, one: str, first: Tree, other: str, second: Tree) -> None:
        differences = []
        for path in sorted(first.keys() | second.keys()):
            ours, theirs = first.get(path), second.get(path)
            if _comparable(ours) != _comparable(theirs):
                differences.append(f"{path}: {one} has {describe(ours)}, {other} {describe(theirs)}")
        if differences:
            raise Violation("the folders are equal", "; ".join(differences))

    def _judge_nothing_lost(self, trees: Iterable[Tree]) -> None:
        """The folders are equal, but for what is ignored: that is only where it was saved."""
        there = {_hash(entry[1]) for tree in trees for entry in tree.values() if entry[0] == "file"}
        for content, where in self.saved.items():
            if content not in there and content not in self.superseded:
                raise Violation("nothing is lost", f"what was saved {where} is nowhere ({content.hex()[:8]})")

    def _judge_no_copies(self, tree: Tree) -> None:
        """Nobody copies anything, so what stands there twice was made by Shoal for nothing (law 11). Not what was moved
        out of a device's sight and elsewhere by somebody else: it was given two places."""
        places: dict[bytes, str] = {}
        for path, entry in tree.items():
            if entry[0] == "file" and not (self.half_seen and _hash(entry[1]) in self.moved):
                other = places.setdefault(_hash(entry[1]), path)
                if other != path:
                    raise Violation("no needless copies", f"{path} holds the same as {other}: {describe(entry)}")

    def _judge_no_resurrection(self, tree: Tree) -> None:
        """What a user removed, seeing it, doesn't come back (law 11). Another may have moved it at the same time, and
        with it the name of something else: that is left out."""
        for path, entry in tree.items():
            if entry[0] == "file" and _hash(entry[1]) in self.replaced_alone:
                raise Violation("an edit alone is no conflict", f"{path} holds {describe(entry)}")
            if entry[0] != "file" or _hash(entry[1]) in self.moved:
                continue
            why = self.superseded.get(_hash(entry[1]), "")
            if " removed " in why:
                raise Violation("what is gone stays gone", f"{path} holds {describe(entry)}, superseded {why}")

    def _judge_nothing_invented(self, tree: Tree) -> None:
        for path, entry in tree.items():
            if entry[0] == "file" and _hash(entry[1]) not in self.saved:
                raise Violation("nothing is invented", f"{path} holds {describe(entry)}, which nobody saved")
            if entry[0] == "symlink" and entry[1] not in self.links:
                raise Violation("nothing is invented", f"{path} leads to {entry[1]!r}, which nobody asked for")
            name = path.rpartition("/")[2]
            if _CONFLICT.sub("", name) not in (*self.names, NAMELESS):
                raise Violation("nothing is invented", f"nobody gave the name of {path}")


def _synced(trees: Mapping[str, Tree]) -> dict[str, Tree]:
    """The trees without what is ignored, and without the folders that may be kept for it: a power cut may lose the
    renaming of somebody's temporary file."""
    litter = {path for tree in trees.values() for path in tree if path.rpartition("/")[2].startswith(TEMPORARY)}
    keeping = {path[:end] for path in litter for end in range(len(path)) if path[end] == "/"}
    return {
        name: {path: entry for path, entry in tree.items() if path not in litter and path not in keeping}
        for name, tree in trees.items()
    }


def equal(one: Tree, other: Tree) -> bool:
    """Whether two folders hold the same."""
    return one.keys() == other.keys() and all(_comparable(one[path]) == _comparable(other[path]) for path in one)


def describe(entry: Entry | None) -> str:
    """An entry, short."""
    if entry is None:
        return "nothing"
    if entry[0] == "file":
        return f"a file {_hash(entry[1]).hex()[:8]} of {len(entry[1])} bytes, mode {entry[3]:o}, time {entry[2]}"
    return f"a symlink to {entry[1]!r}" if entry[0] == "symlink" else f"a {entry[0]}"


def _comparable(entry: Entry | None) -> object:
    """What two devices must agree on."""
    if entry is not None and entry[0] == "file":
        _, content, mtime_ns, mode = entry
        return "file", content, mtime_ns, bool(mode & _OWNER_EXECUTES), not mode & _OTHERS
    return entry


def _content(user: User, path: str) -> bytes | None:
    try:
        return user.read(path)
    except OSError:
        return None


def _hash(content: bytes) -> bytes:
    return blake3(content).digest()


def _when() -> str:
    return f"at {trio.current_time():.3f}"
