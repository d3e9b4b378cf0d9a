"""Names and bytes of the simulated file system: what the kernel keeps, without descriptors and without paths.

Follows ext4 where file systems differ: which times a call renews, inode numbers used again from the lowest. Errors
come in the order in which Linux looks for them. Nobody is refused by permission bits: the simulated user is root.
"""

import errno
from collections.abc import Callable
from heapq import heappop, heappush
from random import Random

from peer.ports import EntryKind
from tests.simulation.inodes import Inode, failure, name_bytes
from tests.simulation.power import Journal

MAX_NAME_BYTES = 255
MAX_INODES = 1 << 20
_FIRST_INODE = 2  # the root's, as on ext4


class Volume:
    """One mounted file system. `capacity` is in bytes of file content, None for no limit, and may be changed at any
    time; `on_change` hears the path ("a/b", "" for the root) of every entry that changed, old and new for a move."""

    def __init__(self, now: Callable[[], int], capacity: int | None = None) -> None:
        self.capacity = capacity
        self.journal = Journal()
        self.fold: Callable[[str], str] | None = None
        """Names that it makes equal are one name, written as they were first (a disk that ignores case)."""
        self.on_change: Callable[[str], None] | None = None
        self._now = now
        self._used = 0
        self._inodes = 0
        self._next_number = _FIRST_INODE
        self._free_numbers: list[int] = []
        self.root = self.make(EntryKind.DIRECTORY, 0o755)
        self.root.places.append((self.root, ""))

    @property
    def free_bytes(self) -> int:
        return max(0, (1 << 60 if self.capacity is None else self.capacity) - self._used)

    @property
    def free_inodes(self) -> int:
        return MAX_INODES - self._inodes

    def fill(self, free: int) -> None:
        """Leave so many bytes."""
        self.capacity = self._used + free

    # Inodes

    def make(self, kind: EntryKind, mode: int) -> Inode:
        """A new inode that stands nowhere yet."""
        number = heappop(self._free_numbers) if self._free_numbers else self._next_number
        self._next_number = max(self._next_number, number + 1)
        self._inodes += 1
        now = self._now()
        inode = Inode(number, kind, mode, now, now)
        self.journal.made(inode)
        return inode

    def free_unused(self, inode: Inode) -> None:
        """Give `inode` up when no name and no descriptor is left; the next thing made gets its number."""
        if inode.places or inode.opened:
            return
        self._used -= len(inode.data)
        self._inodes -= 1
        heappush(self._free_numbers, inode.number)
        self.journal.forget(inode)

    def restart(self, rng: Random, kept: float | None = None) -> None:
        """The power was cut, and is back: nothing is open, and the tree is one that may be on the disk. Of operations
        on directories that were not fsynced each is `kept` with this chance, or a drawn one."""
        self.journal.cut(self.root, rng, kept)
        found = [self.root]
        self.root.places = [(self.root, "")]
        for inode in found:  # grows as it goes
            inode.opened = 0
            for name, below in inode.entries.items():
                if below not in found:
                    below.places = []
                    found.append(below)
                below.places.append((inode, name))
        self._used = sum(len(inode.data) for inode in found)
        self._inodes = len(found)
        taken = {inode.number for inode in found}
        highest = max(taken)
        self._free_numbers = sorted(set(range(_FIRST_INODE, highest)) - taken)
        self._next_number = highest + 1

    def write(self, inode: Inode, data: bytes | memoryview, offset: int) -> None:
        """Put `data` at `offset`, zeros before it if need be; what fits is written before ENOSPC is raised."""
        end = min(offset + len(data), len(inode.data) + self.free_bytes)
        fitting = max(0, end - offset)
        if fitting:
            self.journal.changing(inode).writes.append((offset, bytes(data[:fitting])))
            grown = max(0, end - len(inode.data))
            inode.data.extend(bytes(grown))
            self._used += grown
            inode.data[offset:end] = data[:fitting]
            self.modified(inode)
        if fitting < len(data):
            raise failure(errno.ENOSPC)

    def truncate(self, inode: Inode) -> None:
        """Cut a file down to nothing."""
        self.journal.changing(inode).writes.append(None)
        self._used -= len(inode.data)
        inode.data.clear()
        self.modified(inode)

    def modified(self, inode: Inode) -> None:
        """The content changed just now."""
        inode.mtime_ns = inode.ctime_ns = self._now()
        self._report(inode)

    def set_mode(self, inode: Inode, mode: int) -> None:
        self.journal.changing(inode)
        inode.mode = mode & 0o7777
        self._attributes_changed(inode)

    def set_times(self, inode: Inode, mtime_ns: int) -> None:
        self.journal.changing(inode)
        inode.mtime_ns = mtime_ns
        self._attributes_changed(inode)

    def notice_silent_changes(self) -> bool:
        """Somebody finds what a power cut left with other bytes under an old time, and saves it once more; whether
        there is any."""
        found = bool(self.journal.silent)
        for inode in self.journal.silent:
            self.set_times(inode, self._now())
        self.journal.silent.clear()
        return found

    def _attributes_changed(self, inode: Inode) -> None:
        inode.ctime_ns = self._now()
        self._report(inode)

    # Names

    def child(self, directory: Inode, name: str) -> Inode:
        """What `name` stands for in `directory`."""
        found = self.find(directory, name)
        if found is None:
            raise failure(errno.ENOENT)
        return found

    def add(self, directory: Inode, name: str, kind: EntryKind, mode: int, target: str = "") -> Inode:
        """A new thing under a free name."""
        self._require_free(directory, name)
        inode = self.make(kind, mode)
        inode.target = target
        self._attach(directory, name, inode)
        self.journal.arranged((directory, name, None, inode))
        self._report_at(directory, name)
        return inode

    def link(self, inode: Inode, directory: Inode, name: str) -> None:
        """A further name for a file."""
        if inode.is_directory:
            raise failure(errno.EPERM)
        self._require_free(directory, name)
        self._attach(directory, name, inode)
        self.journal.arranged((directory, name, None, inode))
        self._report_at(directory, name)

    def unlink(self, directory: Inode, name: str) -> None:
        """Take the name off anything but a directory."""
        inode = self.child(directory, name)
        if inode.is_directory:
            raise failure(errno.EISDIR)
        self._remove(directory, name, inode)

    def remove_directory(self, directory: Inode, name: str) -> None:
        """Remove an empty directory."""
        inode = self.child(directory, name)
        if not inode.is_directory:
            raise failure(errno.ENOTDIR)
        if inode.entries:
            raise failure(errno.ENOTEMPTY)
        self._remove(directory, name, inode)

    def rename(self, source: Inode, name: str, target: Inode, new_name: str, *, replace: bool = False) -> None:
        """renameat2(2), with RENAME_NOREPLACE unless `replace`."""
        _require_directory(source)
        _require_directory(target)
        inode, name = self.child(source, name), self._spelt(source, name)
        present = self.find(target, new_name)
        if present is not None and not replace:
            raise failure(errno.EEXIST)
        if inode in target.ancestors():
            raise failure(errno.EINVAL)
        _require_living(target)
        if present is inode:
            if self.fold is None or (target is source and name == new_name):
                return
            present = None  # the same name, written otherwise
        if present is not None:
            new_name = self._spelt(target, new_name)
            _require_replaceable(inode, present, source)
            self._detach(target, new_name, present)
        self._detach(source, name, inode)
        self._attach(target, new_name, inode)
        self.journal.arranged((source, name, inode, None), (target, new_name, present, inode))
        self._report_at(source, name)
        self._report_at(target, new_name)
        if present is not None:
            self.free_unused(present)

    def exchange(self, source: Inode, name: str, target: Inode, new_name: str) -> None:
        """renameat2(2) with RENAME_EXCHANGE."""
        _require_directory(source)
        _require_directory(target)
        one, other = self.child(source, name), self.child(target, new_name)
        name, new_name = self._spelt(source, name), self._spelt(target, new_name)
        if one in target.ancestors() or other in source.ancestors():
            raise failure(errno.EINVAL)
        if one is other:
            return
        self._detach(source, name, one)
        self._detach(target, new_name, other)
        self._attach(source, name, other)
        self._attach(target, new_name, one)
        self.journal.arranged((source, name, one, other), (target, new_name, other, one))
        self._report_at(source, name)
        self._report_at(target, new_name)

    def find(self, directory: Inode, name: str) -> Inode | None:
        """What `name` stands for in `directory`, if for anything."""
        _require_directory(directory)
        if len(name) * 4 > MAX_NAME_BYTES and len(name_bytes(name)) > MAX_NAME_BYTES:
            raise failure(errno.ENAMETOOLONG)
        return directory.entries.get(self._spelt(directory, name))

    def _spelt(self, directory: Inode, name: str) -> str:
        """A name as it stands in a directory; as it is when it doesn't."""
        if self.fold is None or name in directory.entries:
            return name
        return next((each for each in directory.entries if self.fold(each) == self.fold(name)), name)

    def _require_free(self, directory: Inode, name: str) -> None:
        if self.find(directory, name) is not None:
            raise failure(errno.EEXIST)
        _require_living(directory)

    def _attach(self, directory: Inode, name: str, inode: Inode) -> None:
        directory.entries[name] = inode
        inode.places.append((directory, name))
        self._touch(directory, inode)

    def _detach(self, directory: Inode, name: str, inode: Inode) -> None:
        del directory.entries[name]
        inode.places.remove((directory, name))
        self._touch(directory, inode)

    def _remove(self, directory: Inode, name: str, inode: Inode) -> None:
        name = self._spelt(directory, name)
        self._detach(directory, name, inode)
        self.journal.arranged((directory, name, inode, None))
        self._report_at(directory, name)
        self.free_unused(inode)

    def _touch(self, directory: Inode, inode: Inode) -> None:
        directory.mtime_ns = directory.ctime_ns = inode.ctime_ns = self._now()

    # Paths

    def path(self, directory: Inode, name: str = "") -> str:
        """Where `name` in `directory` is, from the root."""
        names = [name] if name else []
        names.extend(above.places[0][1] for above in directory.ancestors() if above is not self.root)
        return "/".join(reversed(names))

    def _report(self, inode: Inode) -> None:
        if self.on_change is not None:
            for directory, name in list(inode.places):
                self._report_at(directory, name)

    def _report_at(self, directory: Inode, name: str) -> None:
        if self.on_change is not None:
            self.on_change(self.path(directory, name))


def _require_directory(inode: Inode) -> None:
    if not inode.is_directory:
        raise failure(errno.ENOTDIR)


def _require_living(directory: Inode) -> None:
    """A directory that was removed while open takes no new entries."""
    if not directory.places:
        raise failure(errno.ENOENT)


def _require_replaceable(inode: Inode, present: Inode, source: Inode) -> None:
    """What rename(2) refuses to replace."""
    if present in source.ancestors():
        raise failure(errno.ENOTEMPTY)
    if inode.is_directory and not present.is_directory:
        raise failure(errno.ENOTDIR)
    if present.is_directory and not inode.is_directory:
        raise failure(errno.EISDIR)
    if present.entries:
        raise failure(errno.ENOTEMPTY)
