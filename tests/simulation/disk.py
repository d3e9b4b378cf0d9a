"""`SimulatedDisk`: the port `peer.ports.Disk` in memory, the same for the same seed and calls.

    before_call ─→ port call ─→ Volume ─→ on_change, after_call
                   disk.user ─→ Volume ─→ on_change

The simulation does what a user, a fault or a crash would do inside `before_call`: act through `disk.user`, which does
not come back here, or raise. `tests/peer/test_disk.py` holds it to what the real disk does.
"""

import errno
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from random import Random
from typing import Any, Concatenate, ParamSpec, TypeVar

from peer.ports import Descriptor, EntryKind, Space, Stat
from tests.simulation.inodes import MAX_TARGET_BYTES, UMASK, Inode, failure, name_bytes
from tests.simulation.user import User
from tests.simulation.volume import Volume

P = ParamSpec("P")
R = TypeVar("R")

_FIRST_DESCRIPTOR = 3


def _port_call(
    method: Callable[Concatenate["SimulatedDisk", P], R],
) -> Callable[Concatenate["SimulatedDisk", P], R]:
    """Announce the call to `before_call` first, and that it was carried out to `after_call`."""

    @wraps(method)
    def call(disk: "SimulatedDisk", /, *args: P.args, **kwargs: P.kwargs) -> R:
        if disk.before_call is not None:
            disk.before_call(method.__name__, (*args, *kwargs.values()))
        result = method(disk, *args, **kwargs)
        if disk.after_call is not None:
            disk.after_call(method.__name__, (*args, *kwargs.values()))
        return result

    return call


class SimulatedDisk:
    """A file system of its own with one process's descriptors on it.

    `now` gives the time in nanoseconds, `rng` the order of `scan` and the names of the user's temporary files;
    `capacity` is in bytes of file content. Descriptors are never used again, so that one kept too long is EBADF.
    """

    def __init__(self, now: Callable[[], int], rng: Random, *, capacity: int | None = None) -> None:
        self.volume = Volume(now, capacity)
        self.user = User(self.volume, rng)
        self.device = 2049
        """What `Stat.device` says; set another, and the file system looks like a different one mounted."""
        self.kind = "ext4"
        """What `file_system` says."""
        self.exchanges = True
        """Whether it can exchange two names."""
        self.root_instead: str | None = None
        """What `open_root` finds at any path."""
        self.before_call: Callable[[str, tuple[Any, ...]], None] | None = None
        self.after_call: Callable[[str, tuple[Any, ...]], None] | None = None
        self._rng = rng
        self._open: dict[Descriptor, tuple[Inode, bool]] = {}
        self._next = _FIRST_DESCRIPTOR

    @property
    def on_change(self) -> Callable[[str], None] | None:
        """Called after every change, the user's or through the port, with the path of each changed entry."""
        return self.volume.on_change

    @on_change.setter
    def on_change(self, listener: Callable[[str], None] | None) -> None:
        self.volume.on_change = listener

    @property
    def descriptors(self) -> list[Descriptor]:
        """Those open now."""
        return list(self._open)

    def close_all(self) -> None:
        """The process died: its descriptors close, and what stood only by them is freed."""
        for descriptor in self.descriptors:
            self._release(descriptor)

    def cut_power(self) -> None:
        """The machine stops. What is on the disk when it starts again is drawn from what may be."""
        self._open.clear()
        self.volume.restart(self._rng)

    def path(self, directory: Descriptor, name: str = "") -> str | None:
        """Where `name` in an open directory is, from the root of the file system; None in a directory that is gone."""
        inode = self._inode(directory)
        return self.volume.path(inode, name) if all(above.places for above in inode.ancestors()) else None

    def opened(self, descriptor: Descriptor) -> tuple[str | None, bytes]:
        """What is open: its path from the root of the file system, None if it has none any more, and its bytes."""
        inode = self._inode(descriptor)
        return self.volume.path(*inode.places[0]) if inode.places else None, bytes(inode.data)

    # The port

    @_port_call
    def open_root(self, path: str) -> Descriptor:
        return self._opened(_directory(self.user.find(self.root_instead or path)))

    @_port_call
    def make_root(self, path: str) -> None:
        made = ""
        for name in path.strip("/").split("/"):
            made += f"/{name}"
            with suppress(FileExistsError):
                self.user.mkdir(made)

    @_port_call
    def open_directory(self, parent: Descriptor, name: str) -> Descriptor:
        return self._opened(_directory(self._child(parent, name)))

    @_port_call
    def open_file(self, parent: Descriptor, name: str) -> Descriptor:
        inode = self._child(parent, name)
        if inode.kind is EntryKind.SYMLINK:
            raise failure(errno.ELOOP)
        return self._opened(inode)

    @_port_call
    def create_file(self, parent: Descriptor, name: str, mode: int) -> Descriptor:
        directory = self._at(parent, name)
        return self._opened(self.volume.add(directory, name, EntryKind.FILE, mode & ~UMASK), writable=True)

    @_port_call
    def open_for_writing(self, parent: Descriptor, name: str) -> Descriptor:
        inode = self._child(parent, name)
        if inode.kind is EntryKind.SYMLINK:
            raise failure(errno.ELOOP)
        return self._opened(inode, writable=True)

    @_port_call
    def close(self, descriptor: Descriptor) -> None:
        self._inode(descriptor)
        self._release(descriptor)

    @_port_call
    def read_at(self, descriptor: Descriptor, length: int, offset: int) -> bytes:
        return bytes(self._content(descriptor)[offset : offset + length])

    @_port_call
    def read_into(self, descriptor: Descriptor, buffer: memoryview, offset: int) -> int:
        data = self._content(descriptor)[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        return len(data)

    @_port_call
    def write_at(self, descriptor: Descriptor, data: bytes | memoryview, offset: int) -> None:
        raw = memoryview(data).cast("B")
        if not raw:
            return
        inode = self._inode(descriptor)
        if not self._open[descriptor][1]:
            raise failure(errno.EBADF)
        self.volume.write(inode, raw, offset)

    @_port_call
    def fsync(self, descriptor: Descriptor) -> None:
        if self._inode(descriptor).kind is EntryKind.OTHER:
            raise failure(errno.EINVAL)
        self.volume.journal.fsync(self._inode(descriptor))

    @_port_call
    def sync_file_system(self, descriptor: Descriptor) -> None:
        self._inode(descriptor)
        self.volume.journal.sync()

    @_port_call
    def scan(self, directory: Descriptor) -> list[str]:
        names = list(_directory(self._inode(directory)).entries)
        self._rng.shuffle(names)
        return names

    @_port_call
    def stat(self, parent: Descriptor, name: str) -> Stat:
        return self._stat(self._child(parent, name))

    @_port_call
    def stat_open(self, descriptor: Descriptor) -> Stat:
        return self._stat(self._inode(descriptor))

    @_port_call
    def read_link(self, parent: Descriptor, name: str) -> str:
        inode = self._child(parent, name)
        if inode.kind is not EntryKind.SYMLINK:
            raise failure(errno.EINVAL)
        return inode.target

    @_port_call
    def make_directory(self, parent: Descriptor, name: str, mode: int) -> None:
        self.volume.add(self._at(parent, name), name, EntryKind.DIRECTORY, mode & ~UMASK)

    @_port_call
    def make_symlink(self, target: str, parent: Descriptor, name: str) -> None:
        directory = self._at(parent, name)
        _check_target(target)
        self.volume.add(directory, name, EntryKind.SYMLINK, 0o777, target)

    @_port_call
    def rename(self, from_parent: Descriptor, from_name: str, to_parent: Descriptor, to_name: str) -> None:
        source, target = self._at(from_parent, from_name), self._at(to_parent, to_name)
        self.volume.rename(source, from_name, target, to_name)

    @_port_call
    def exchange(self, from_parent: Descriptor, from_name: str, to_parent: Descriptor, to_name: str) -> None:
        if not self.exchanges:
            raise failure(errno.EINVAL)
        source, target = self._at(from_parent, from_name), self._at(to_parent, to_name)
        self.volume.exchange(source, from_name, target, to_name)

    @_port_call
    def unlink(self, parent: Descriptor, name: str) -> None:
        self.volume.unlink(self._at(parent, name), name)

    @_port_call
    def remove_directory(self, parent: Descriptor, name: str) -> None:
        self.volume.remove_directory(self._at(parent, name), name)

    @_port_call
    def set_times(self, descriptor: Descriptor, mtime_ns: int) -> None:
        self.volume.set_times(self._inode(descriptor), mtime_ns)

    @_port_call
    def set_link_times(self, parent: Descriptor, name: str, mtime_ns: int) -> None:
        self.volume.set_times(self._child(parent, name), mtime_ns)

    @_port_call
    def set_mode(self, descriptor: Descriptor, mode: int) -> None:
        self.volume.set_mode(self._inode(descriptor), mode)

    @_port_call
    def space(self, descriptor: Descriptor) -> Space:
        self._inode(descriptor)
        return Space(free_bytes=self.volume.free_bytes, free_inodes=self.volume.free_inodes)

    @_port_call
    def file_system(self, descriptor: Descriptor) -> str:
        self._inode(descriptor)
        return self.kind

    # Descriptors

    def _opened(self, inode: Inode, *, writable: bool = False) -> Descriptor:
        descriptor = Descriptor(self._next)
        self._next += 1
        inode.opened += 1
        self._open[descriptor] = inode, writable
        return descriptor

    def _release(self, descriptor: Descriptor) -> None:
        inode, _writable = self._open.pop(descriptor)
        inode.opened -= 1
        self.volume.free_unused(inode)

    def _inode(self, descriptor: Descriptor) -> Inode:
        if descriptor not in self._open:
            raise failure(errno.EBADF)
        return self._open[descriptor][0]

    def _content(self, descriptor: Descriptor) -> memoryview:
        inode = self._inode(descriptor)
        if inode.kind is not EntryKind.FILE:
            raise failure(errno.EISDIR if inode.is_directory else errno.ESPIPE)
        return memoryview(inode.data)

    def _at(self, parent: Descriptor, name: str) -> Inode:
        """The directory that `name` is looked for in."""
        name_bytes(name)
        return self._inode(parent)

    def _child(self, parent: Descriptor, name: str) -> Inode:
        return self.volume.child(self._at(parent, name), name)

    def _stat(self, inode: Inode) -> Stat:
        return Stat(
            kind=inode.kind,
            device=self.device + inode.foreign,
            inode=inode.number,
            size=inode.size,
            mtime_ns=inode.mtime_ns,
            ctime_ns=inode.ctime_ns,
            mode=inode.mode,
            links=inode.links,
        )


def _directory(inode: Inode) -> Inode:
    if not inode.is_directory:
        raise failure(errno.ENOTDIR)
    return inode


def _check_target(target: str) -> None:
    if "\0" in target:
        raise failure(errno.EINVAL)
    if not target:
        raise failure(errno.ENOENT)
    if len(target.encode("utf-8", "surrogateescape")) > MAX_TARGET_BYTES:
        raise failure(errno.ENAMETOOLONG)
