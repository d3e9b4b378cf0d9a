"""What a power cut leaves of a file system: all that was fsynced, and of the rest whatever a disk may have written.

    Volume ─ every change ─► Journal ─ cut ─► a legal state
             fsync, syncfs ─►

Directories are changed by operations that are atomic, like the transactions of ext4's journal: a rename is done in both
directories or in neither. Those that were not fsynced are kept or lost each for itself, as POSIX allows, but one that
needs another, as it is in a directory that the other made or takes a name that the other gave up, is lost with it. A
file's writes since its last fsync are kept, lost or torn. Its times may be newer or older than bytes that were
overwritten in place, as ext4 in ordered mode doesn't order these before the inode; one that was cut down to nothing
first has the time of that, in the same transaction. Other bytes of the same length under the time of before nobody can
see without reading them: `silent` has the files that a cut left so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from tests.simulation.inodes import Inode

Change: TypeAlias = tuple[Inode, str, Inode | None, Inode | None]
"""A directory, a name in it, what stood there before and what stands there after."""
_Token: TypeAlias = tuple[str, int, str]

BLOCK = 4096
"""A write is torn between two blocks of so many bytes, if anywhere."""


@dataclass(eq=False)
class _Operation:
    """One atomic change of directories."""

    changes: tuple[Change, ...]

    def touches(self) -> set[_Token]:
        """What an operation after this one builds on, if it touches it too."""
        tokens: set[_Token] = set()
        for directory, name, before, after in self.changes:
            tokens |= {("name", id(directory), name), ("in", id(directory), "")}
            for inode in (before, after):
                if inode is not None:
                    tokens |= {("number", inode.number, ""), ("place", id(inode), "")}
        return tokens

    def needs(self) -> set[_Token]:
        """Which touches of operations before it this one builds on."""
        return {token for token in self.touches() if token[0] != "in"} | {
            ("place", id(directory), "") for directory, _, _, _ in self.changes
        }


@dataclass(slots=True)
class _Image:
    """What is on the disk of a file that was changed since, and how it was changed."""

    data: bytes
    mode: int
    mtime_ns: int
    ctime_ns: int
    writes: list[tuple[int, bytes] | None] = field(default_factory=list)  # None: cut down to nothing


class Journal:
    """What of one volume is not on its disk yet."""

    def __init__(self) -> None:
        self._operations: list[_Operation] = []
        self._images: dict[Inode, _Image] = {}
        self.silent: dict[Inode, None] = {}

    # Told by the volume

    def made(self, inode: Inode) -> None:
        """A file that has nothing on the disk yet."""
        self._images[inode] = _Image(b"", inode.mode, inode.mtime_ns, inode.ctime_ns)

    def changing(self, inode: Inode) -> _Image:
        """Call before a file's bytes, times or permissions change."""
        image = self._images.get(inode)
        if image is None:
            image = _Image(bytes(inode.data), inode.mode, inode.mtime_ns, inode.ctime_ns)
            self._images[inode] = image
        return image

    def arranged(self, *changes: Change) -> None:
        """Directories were changed, all of this at once."""
        self._operations.append(_Operation(changes))

    def forget(self, inode: Inode) -> None:
        """The last name of a file, and the last hold on it, are gone."""
        if not any(inode in (before, after) for each in self._operations for _, _, before, after in each.changes):
            self._images.pop(inode, None)

    # What is made durable

    def fsync(self, inode: Inode) -> None:
        """A file's bytes and attributes; of a directory all that was done in it, with what that builds on."""
        self._images.pop(inode, None)
        if not inode.is_directory:
            return
        needed: set[_Token] = {("in", id(inode), ""), ("place", id(inode), "")}
        left: list[_Operation] = []
        for operation in reversed(self._operations):
            if needed.isdisjoint(operation.touches()):
                left.append(operation)
            else:
                needed |= operation.needs()
        self._operations = left[::-1]

    def sync(self) -> None:
        """Everything."""
        self._operations.clear()
        self._images.clear()

    # The power cut

    def cut(self, root: Inode, rng: Random, kept: float | None = None) -> None:
        """Leave the tree below `root` as a power cut may; each operation is `kept` with this chance. Links between
        inodes are mended by `Volume.restart`."""
        operations, self._operations = self._operations, []
        for operation in reversed(operations):
            for directory, name, before, _ in operation.changes:
                _set(directory, name, before)
        kept = rng.choice((0.0, 0.5, 0.9, 1.0)) if kept is None else kept
        for operation in operations:
            if rng.random() < kept and _can(operation, root):
                for directory, name, _, after in operation.changes:
                    _set(directory, name, after)
        for inode, image in self._images.items():
            _tear(inode, image, rng)
            if bytes(inode.data) != image.data and _looks_like(inode, image):
                self.silent[inode] = None
        self._images.clear()


def _set(directory: Inode, name: str, inode: Inode | None) -> None:
    directory.entries.pop(name, None)
    if inode is not None:
        directory.entries[name] = inode


def _can(operation: _Operation, root: Inode) -> bool:
    """Whether an operation fits on what was kept of those before it."""
    linked = _linked(root)
    numbers = {inode.number: inode for inode in linked}
    out = {before for _, _, before, _ in operation.changes if before is not None}
    into = {after for _, _, _, after in operation.changes if after is not None}
    for directory, name, before, after in operation.changes:
        if directory not in linked or directory.entries.get(name) is not before:
            return False
        if after is not None and numbers.get(after.number, after) is not after:
            return False  # its number is another's still
        if after is not None and after.is_directory and directory in _linked(after):
            return False
        if after is not None and after.is_directory and after not in out and after in linked:
            return False
    return not any(inode.is_directory and inode.entries for inode in out - into)


def _linked(top: Inode) -> dict[Inode, None]:
    """`top` and all below it."""
    found: dict[Inode, None] = {top: None}
    waiting = [top]
    while waiting:
        for inode in waiting.pop().entries.values():
            if inode not in found:
                found[inode] = None
                waiting.append(inode)
    return found


def _looks_like(inode: Inode, image: _Image) -> bool:
    return (len(inode.data), inode.mtime_ns, inode.ctime_ns) == (len(image.data), image.mtime_ns, image.ctime_ns)


def _tear(inode: Inode, image: _Image, rng: Random) -> None:
    """What is found of a file that was not fsynced."""
    draw = rng.random()
    if draw < 0.4:
        return
    live = bytes(inode.data)
    in_place = None not in image.writes and len(image.data) == len(live)
    newer = in_place and rng.random() < 0.3
    data = bytearray(image.data)
    if draw < 0.6:
        writes: Sequence[tuple[int, bytes] | None] = ()
    elif draw < 0.8:
        count = rng.randrange(len(image.writes) + 1)
        writes = [*image.writes[:count], *(_torn(write, rng) for write in image.writes[count : count + 1])]
    else:
        writes = [write for write in image.writes if rng.random() < 0.5]
    for write in writes:
        _apply(data, write)
    inode.data[:] = data
    newer = newer or (None in writes and bytes(data) == live)
    if not newer:
        inode.mode, inode.mtime_ns, inode.ctime_ns = image.mode, image.mtime_ns, image.ctime_ns
        if bytes(data) not in (live, image.data):  # a state of its own has a time of its own
            inode.mtime_ns = inode.ctime_ns = inode.ctime_ns + 1


def _torn(write: tuple[int, bytes] | None, rng: Random) -> tuple[int, bytes] | None:
    if write is None:
        return None
    offset, data = write
    return offset, data[: rng.randrange(len(data) // BLOCK + 1) * BLOCK]


def _apply(data: bytearray, write: tuple[int, bytes] | None) -> None:
    if write is None:
        data.clear()
        return
    offset, written = write
    if written:
        data.extend(bytes(max(0, offset + len(written) - len(data))))
        data[offset : offset + len(written)] = written
