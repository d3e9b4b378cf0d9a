"""What somebody at the keyboard does to a simulated disk, by path, between any two system calls of Shoal's.

Paths are "a/b" from the root of the file system, with or without a slash in front. Errors are the `OSError`s that a
shell would meet. A symlink on the way or at the end is not followed.
"""

import errno
from collections.abc import Iterator
from random import Random
from typing import Literal, TypeAlias

from peer.ports import EntryKind
from tests.simulation.inodes import UMASK, Inode, failure, name_bytes
from tests.simulation.volume import Volume

Entry: TypeAlias = (
    tuple[Literal["file"], bytes, int, int]
    | tuple[Literal["directory"]]
    | tuple[Literal["symlink"], str]
    | tuple[Literal["other"]]
)
"""("file", content, mtime_ns, mode), ("directory",), ("symlink", target) or ("other",)."""

TEMPORARY = ".goutputstream-"
"""What the names of a user's temporary files begin with, and which Shoal ignores."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class User:
    """Whole actions, as the programs of a user perform them."""

    def __init__(self, volume: Volume, rng: Random) -> None:
        self._volume = volume
        self._rng = rng

    def find(self, path: str) -> Inode:
        """What stands at `path`. ENOENT, ENOTDIR as the kernel has it."""
        inode = self._volume.root
        for name in _names(path):
            inode = self._volume.child(inode, name)
        return inode

    def exists(self, path: str) -> bool:
        """Whether anything stands at `path`."""
        try:
            self.find(path)
        except OSError:
            return False
        return True

    def entry(self, path: str) -> Entry:
        """What stands at `path`, as `tree` has it."""
        return _entry(self.find(path))

    def read(self, path: str) -> bytes:
        """The content of a file."""
        return bytes(_file(self.find(path)).data)

    def mkdir(self, path: str, mode: int = 0o777) -> None:
        """Make one directory."""
        directory, name = self._place(path)
        self._volume.add(directory, name, EntryKind.DIRECTORY, mode & ~UMASK)

    def write(self, path: str, data: bytes) -> None:
        """`> path`: create, or cut down in place and write anew."""
        inode = self._created(path)
        self._volume.truncate(inode)
        self._volume.write(inode, data, 0)

    def append(self, path: str, data: bytes) -> None:
        """`>> path`."""
        inode = self._created(path)
        self._volume.write(inode, data, len(inode.data))

    def overwrite(self, path: str, data: bytes, offset: int) -> None:
        """Write into the middle of an existing file, as databases do."""
        self._volume.write(_file(self.find(path)), data, offset)

    def save(self, path: str, data: bytes) -> None:
        """Write a temporary file beside and rename it over, as editors do; the mode stays."""
        directory, name = self._place(path)
        present = self._volume.find(directory, name)
        mode = 0o666 & ~UMASK if present is None else present.mode
        temporary = TEMPORARY + "".join(self._rng.choices(_LETTERS, k=6))
        inode = self._volume.add(directory, temporary, EntryKind.FILE, mode)
        try:
            self._volume.write(inode, data, 0)
            self._volume.rename(directory, temporary, directory, name, replace=True)
        except OSError:
            self._volume.unlink(directory, temporary)
            raise

    def remove(self, path: str) -> None:
        """`rm -rf path`, but ENOENT when there is nothing."""
        directory, name = self._place(path)
        inode = self._volume.child(directory, name)
        if not inode.is_directory:
            self._volume.unlink(directory, name)
            return
        for below in list(inode.entries):
            self.remove(f"{path}/{below}")
        self._volume.remove_directory(directory, name)

    def move(self, source: str, target: str) -> None:
        """rename(2): onto a file it replaces it, onto an empty directory too if it moves a directory."""
        self._volume.rename(*self._place(source), *self._place(target), replace=True)

    def link_to(self, target: str, path: str) -> None:
        """Make a symlink at `path`."""
        directory, name = self._place(path)
        self._volume.add(directory, name, EntryKind.SYMLINK, 0o777, target)

    def hard_link(self, path: str, further: str) -> None:
        """Give a file a further name."""
        self._volume.link(self.find(path), *self._place(further))

    def mkfifo(self, path: str) -> None:
        """Make something that is neither file nor directory nor symlink."""
        directory, name = self._place(path)
        self._volume.add(directory, name, EntryKind.OTHER, 0o666 & ~UMASK)

    def chmod(self, path: str, mode: int) -> None:
        self._volume.set_mode(self.find(path), mode)

    def touch(self, path: str, mtime_ns: int) -> None:
        """Set the modification time, as `tar` and `cp -p` do."""
        self._volume.set_times(self.find(path), mtime_ns)

    def tree(self, path: str = "") -> dict[str, Entry]:
        """All that is below `path`, by path relative to it, in order."""
        return dict(sorted(_walk(self.find(path), "")))

    def _place(self, path: str) -> tuple[Inode, str]:
        """The directory and the name in it. EBUSY for the root, which can't be replaced."""
        *above, name = _names(path) or [""]
        if not name:
            raise failure(errno.EBUSY)
        directory = self.find("/".join(above))
        if not directory.is_directory:
            raise failure(errno.ENOTDIR)
        return directory, name

    def _created(self, path: str) -> Inode:
        directory, name = self._place(path)
        present = self._volume.find(directory, name)
        if present is not None:
            return _file(present)
        return self._volume.add(directory, name, EntryKind.FILE, 0o666 & ~UMASK)


def _names(path: str) -> list[str]:
    names = [name for name in path.split("/") if name]
    for name in names:
        name_bytes(name)
    return names


def _file(inode: Inode) -> Inode:
    if inode.kind is not EntryKind.FILE:
        raise failure(errno.EISDIR if inode.is_directory else errno.ELOOP)
    return inode


def _walk(directory: Inode, prefix: str) -> Iterator[tuple[str, Entry]]:
    for name, inode in directory.entries.items():
        yield prefix + name, _entry(inode)
        yield from _walk(inode, f"{prefix}{name}/")


def _entry(inode: Inode) -> Entry:
    if inode.kind is EntryKind.FILE:
        return "file", bytes(inode.data), inode.mtime_ns, inode.mode
    if inode.kind is EntryKind.SYMLINK:
        return "symlink", inode.target
    return ("directory",) if inode.is_directory else ("other",)


def contents(user: User, path: str) -> set[bytes]:
    """What is in the files below `path`."""
    return {entry[1] for entry in user.tree(path).values() if entry[0] == "file"}
