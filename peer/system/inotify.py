"""inotify(7), as much of it as a watcher needs. Paths are bytes, relative to the watched folder; b"" is itself.

One watch a directory, set without following a symlink, so that nothing outside the folder is ever watched and each
directory has one path only. What inotify can't tell (its queue overflowed, the folder itself went) is told plainly.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from protocol.errors import WatchLimit
from protocol.names import RESERVED

_MODIFY, _ATTRIB, _CLOSE_WRITE = 0x0002, 0x0004, 0x0008
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x0040, 0x0080, 0x0100, 0x0200
_DELETE_SELF, _MOVE_SELF = 0x0400, 0x0800
_UNMOUNT, _Q_OVERFLOW, _IGNORED, _ISDIR = 0x2000, 0x4000, 0x8000, 0x40000000
_ONLYDIR, _DONT_FOLLOW, _EXCL_UNLINK = 0x01000000, 0x02000000, 0x04000000
_MASK = (
    _MODIFY | _ATTRIB | _CLOSE_WRITE | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE | _DELETE_SELF | _MOVE_SELF
    | _ONLYDIR | _DONT_FOLLOW | _EXCL_UNLINK
)  # fmt: skip
_HEADER = struct.Struct("iIII")
_BUFFER = 1 << 18
_COMING_AND_GOING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
_RESERVED = os.fsencode(RESERVED)

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class News:
    """What one reading of the queue told. `closed`: those of `paths` that were open for writing, and that were closed.
    `lost`: some of it is missing, look everywhere. `over`: the folder itself is gone or was moved, and this watch will
    tell nothing more."""

    paths: frozenset[bytes]
    closed: frozenset[bytes]
    lost: bool
    over: bool


class FolderWatch:
    """A folder and all directories below it, but for Shoal's own. Use it from one thread at a time."""

    def __init__(self, folder: bytes) -> None:
        """An empty watch; `add_tree(b"")` puts it in place. The folder may be named by a symlink. `WatchLimit` when
        there are too many inotify instances."""
        self._folder = os.path.realpath(folder)
        self._directories: dict[int, bytes] = {}
        self._over = False
        self.descriptor: int = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.descriptor < 0:
            raise _failure("max_user_instances", "can't watch for changes")

    def close(self) -> None:
        """End the watch."""
        os.close(self.descriptor)

    def add_tree(self, path: bytes) -> None:
        """Watch a directory and all below it. `WatchLimit` past the kernel's limit; an `OSError` for the folder itself.
        What comes and goes meanwhile, or may not be read, is passed over."""
        pending = [path]
        while pending:
            directory = pending.pop()
            try:
                self._add(directory)
                pending.extend(self._below(directory))
            except OSError as error:
                if not directory or error.errno not in _COMING_AND_GOING:
                    raise

    def _add(self, path: bytes) -> None:
        watch = _libc.inotify_add_watch(self.descriptor, os.path.join(self._folder, path), _MASK)
        if watch < 0:
            raise _failure("max_user_watches", "can't watch all folders for changes")
        self._directories[watch] = path

    def _below(self, path: bytes) -> Iterator[bytes]:
        with os.scandir(os.path.join(self._folder, path)) as entries:
            for entry in entries:
                child = os.path.join(path, entry.name)
                if child != _RESERVED and entry.is_dir(follow_symlinks=False):
                    yield child

    def _forget_tree(self, path: bytes) -> None:
        """A directory was moved away: its watches would go on telling of it under a path that it no longer has."""
        inside = path + b"/"
        for watch, directory in list(self._directories.items()):
            if directory == path or directory.startswith(inside):
                del self._directories[watch]
                _libc.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> News:
        """Everything in the queue; returns at once. New directories are watched before this returns."""
        paths, closed, lost = set[bytes](), set[bytes](), False
        for watch, mask, name in self._queue():
            if mask & _Q_OVERFLOW:
                lost = True
                continue
            directory = self._directories.get(watch)
            if directory is None:
                continue
            if mask & (_DELETE_SELF | _MOVE_SELF | _UNMOUNT | _IGNORED):
                self._over = self._over or not directory
                if mask & _IGNORED:
                    del self._directories[watch]
                continue
            path = os.path.join(directory, name)
            if path != _RESERVED:
                self._follow(path, mask)
                paths.add(path)
                if mask & _CLOSE_WRITE:
                    closed.add(path)
                elif mask & _MODIFY:
                    closed.discard(path)
        if lost:
            self.add_tree(b"")
        return News(frozenset(paths), frozenset(closed), lost, self._over)

    def _follow(self, path: bytes, mask: int) -> None:
        if mask & _ISDIR and mask & _MOVED_FROM:
            self._forget_tree(path)
        elif mask & _ISDIR and mask & (_CREATE | _MOVED_TO):
            self.add_tree(path)

    def _queue(self) -> Iterator[tuple[int, int, bytes]]:
        while True:
            try:
                data = os.read(self.descriptor, _BUFFER)
            except BlockingIOError:
                return
            at = 0
            while at < len(data):
                watch, mask, _, length = _HEADER.unpack_from(data, at)
                at += _HEADER.size
                yield watch, mask, data[at : at + length].rstrip(b"\0")
                at += length


def _failure(sysctl: str, what: str) -> Exception:
    code = ctypes.get_errno()
    if code in (errno.ENOSPC, errno.EMFILE):
        return WatchLimit(f"{what}: raise fs.inotify.{sysctl} (sysctl), now {_sysctl(sysctl)}")
    return OSError(code, os.strerror(code))


def _sysctl(name: str) -> str:
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return "unknown"
