"""Inodes of the simulated file system, and what its calls say when they fail."""

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from peer.ports import EntryKind

UMASK = 0o022
MAX_TARGET_BYTES = 4095
_BLOCK = 4096


def failure(code: int) -> OSError:
    """The OSError (of the fitting subclass) that the kernel's `code` becomes."""
    return OSError(code, os.strerror(code))


def name_bytes(name: str) -> bytes:
    """The bytes of a name, or EINVAL when it can't be one."""
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise failure(errno.EINVAL)
    try:
        return name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise failure(errno.EINVAL) from None


@dataclass(slots=True, eq=False)
class Inode:
    """One file, directory, symlink or other thing. `places` are the directories and names it stands under."""

    number: int
    kind: EntryKind
    mode: int
    mtime_ns: int
    ctime_ns: int
    data: bytearray = field(default_factory=bytearray)
    target: str = ""
    entries: dict[str, "Inode"] = field(default_factory=dict)
    places: list[tuple["Inode", str]] = field(default_factory=list)
    opened: int = 0
    foreign: bool = False  # of another file system, mounted there

    @property
    def is_directory(self) -> bool:
        return self.kind is EntryKind.DIRECTORY

    @property
    def links(self) -> int:
        """Hard links, as st_nlink counts them: a directory's also from its own "." and its children's ".."."""
        if self.is_directory and self.places:
            return 2 + sum(child.is_directory for child in self.entries.values())
        return len(self.places)

    @property
    def size(self) -> int:
        if self.kind is EntryKind.SYMLINK:
            return len(self.target.encode("utf-8", "surrogateescape"))
        return _BLOCK if self.is_directory else len(self.data)

    def ancestors(self) -> Iterator["Inode"]:
        """A directory and those above it, up to the root."""
        directory = self
        yield directory
        while directory.places and directory.places[0][0] is not directory:
            directory = directory.places[0][0]
            yield directory
