"""Two folders held against each other: content, type, link text, executable and private bit, modification time."""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from blake3 import blake3

from bench.failures import printable

RESERVED = b".shoal"
_BIG = 1 << 20
"""Bytes from which a file is hashed by several threads."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One path. What does not apply to its type is None, and so is a content that was not read."""

    type: str
    size: int | None = None  # bytes
    mtime_ns: int | None = None  # of files and symlinks
    executable: bool | None = None
    private: bool | None = None  # no access for group and others
    link: bytes | None = None
    content: bytes | None = None  # BLAKE3


Listing = Mapping[bytes, Entry]
"""Paths relative to the folder, as bytes; no two encodings of a name are taken for one."""


def listing(folder: Path, *, contents: bool) -> Listing:
    """All that is in a folder, but for Shoal's own `.shoal`. `OSError` when something can't be read or vanishes."""
    found: dict[bytes, Entry] = {}
    _list(os.fsencode(folder), b"", contents, found)
    return found


def _list(folder: bytes, prefix: bytes, contents: bool, found: dict[bytes, Entry]) -> None:
    with os.scandir(folder) as entries:
        for item in entries:
            path = prefix + item.name
            if path == RESERVED:
                continue
            found[path] = _entry(item, contents)
            if item.is_dir(follow_symlinks=False):
                _list(item.path, path + b"/", contents, found)


def _entry(item: os.DirEntry[bytes], contents: bool) -> Entry:
    status = item.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        return Entry("directory")
    if stat.S_ISLNK(status.st_mode):
        return Entry("symlink", mtime_ns=status.st_mtime_ns, link=os.readlink(item.path))
    if not stat.S_ISREG(status.st_mode):
        return Entry("something else")
    return Entry(
        "file",
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        executable=bool(status.st_mode & stat.S_IXUSR),
        private=not status.st_mode & 0o077,
        content=content_hash(item.path) if contents else None,
    )


def content_hash(path: bytes | Path) -> bytes:
    """The BLAKE3 of a file."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size < _BIG:
            return blake3(file.read()).digest()
    return blake3(max_threads=blake3.AUTO).update_mmap(os.fsdecode(path)).digest()


def differences(left: Listing, right: Listing, left_name: str, right_name: str) -> Iterator[str]:
    """A line for each path that is not the same on both sides; none when they are equal."""
    for path in sorted(left.keys() | right.keys()):
        one, other = left.get(path), right.get(path)
        if one is None or other is None:
            yield f"{shown(path)}: only in {left_name if other is None else right_name}"
        elif one != other:
            yield f"{shown(path)}: {_field_that_differs(one, other, left_name, right_name)}"


def _field_that_differs(one: Entry, other: Entry, left_name: str, right_name: str) -> str:
    for field in fields(Entry):
        mine, theirs = getattr(one, field.name), getattr(other, field.name)
        if mine != theirs:
            if field.name == "content":
                return "content differs"
            return f"{field.name} is {mine!r} in {left_name}, {theirs!r} in {right_name}"
    raise AssertionError("equal entries")


def changed(before: Listing, after: Listing) -> tuple[int, int]:
    """How many files and symlinks came, went or changed in place, by path, and the bytes of those that are there."""
    paths = [path for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    entries = [after.get(path) or before[path] for path in paths]
    count = sum(1 for entry in entries if entry.type != "directory")
    return count, sum(after[path].size or 0 for path in paths if path in after)


def shown(path: bytes) -> str:
    """A path for people."""
    return printable(os.fsdecode(path))
