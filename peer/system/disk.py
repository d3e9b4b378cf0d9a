"""The real disk: `peer.ports.Disk` over the system calls of Linux.

Stateless, so any number of threads may use one `LinuxDisk`. The os functions and ctypes both release the GIL
while the kernel works. renameat2 and syncfs, which the os module lacks, need glibc 2.28.
"""

import ctypes
import errno
import os
import stat
import sys

from peer.ports import Descriptor, EntryKind, Space, Stat
from peer.system.file_systems import file_system_of

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOREPLACE = 1
_EXCHANGE = 2
_UNLIMITED = (1 << 63) - 1
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EMLINK)
_FOREIGN_LOCALE = sys.getfilesystemencoding() != "utf-8"
_TYPE = 0o170000
_KINDS = {
    stat.S_IFREG: EntryKind.FILE,
    stat.S_IFDIR: EntryKind.DIRECTORY,
    stat.S_IFLNK: EntryKind.SYMLINK,
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.renameat2.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
_libc.syncfs.argtypes = (ctypes.c_int,)


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _name(name: str) -> bytes:
    """The bytes of one name. EINVAL for what could lead out of its directory (law 14)."""
    if name in ("", ".", "..") or "/" in name:
        raise _error(errno.EINVAL)
    return _text(name)


def _text(text: str) -> bytes:
    """UTF-8 whatever the locale says, lone surrogates standing for the bytes that are not (PEP 383)."""
    try:
        raw = text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise _error(errno.EINVAL) from None
    if b"\0" in raw:
        raise _error(errno.EINVAL)
    return raw


def _listed(name: str) -> str:
    """A name as the os module decoded it, decoded as `_text` would have it."""
    return os.fsencode(name).decode("utf-8", "surrogateescape") if _FOREIGN_LOCALE else name


def _stat(found: os.stat_result) -> Stat:
    mode = found.st_mode
    return Stat(  # by position: this is done for every file
        _KINDS.get(mode & _TYPE, EntryKind.OTHER),
        found.st_dev,
        found.st_ino,
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
        mode & ~_TYPE,
        found.st_nlink,
    )


def _renameat2(from_parent: int, from_name: bytes, to_parent: int, to_name: bytes, flags: int) -> None:
    if _libc.renameat2(from_parent, from_name, to_parent, to_name, flags) != 0:
        raise _error(ctypes.get_errno())


def _rename_by_link(from_parent: int, from_name: bytes, to_parent: int, to_name: bytes) -> None:
    """Rename anything but a directory without replacing, on a file system that has no RENAME_NOREPLACE.

    Whoever replaces the old name after the link keeps what he put there, as if he had come after the rename;
    only between the last look and the unlink is there a gap. EOPNOTSUPP where there are no links either.
    """
    try:
        os.link(from_name, to_name, src_dir_fd=from_parent, dst_dir_fd=to_parent, follow_symlinks=False)
    except OSError as failure:
        raise _error(errno.EOPNOTSUPP) if failure.errno in _NO_LINKS else failure from None
    old = os.stat(from_name, dir_fd=from_parent, follow_symlinks=False)
    new = os.stat(to_name, dir_fd=to_parent, follow_symlinks=False)
    if (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino):
        os.unlink(from_name, dir_fd=from_parent)


def _rename_directory(from_parent: int, from_name: bytes, to_parent: int, to_name: bytes) -> None:
    """The same for a directory, which can't be linked.

    The slash makes the kernel refuse anything but a directory, and a directory replaces nothing but an empty
    directory, so what comes between the look and the rename loses no data.
    """
    try:
        os.stat(to_name, dir_fd=to_parent, follow_symlinks=False)
    except FileNotFoundError:
        os.rename(from_name + b"/", to_name, src_dir_fd=from_parent, dst_dir_fd=to_parent)
    else:
        raise _error(errno.EEXIST)


class LinuxDisk:
    """See `peer.ports.Disk`. Besides: a name that is empty, ".", "..", has a "/" or a NUL in it or stands for no
    bytes is EINVAL; a mode given at creation loses the bits of the process's umask, as ever; a symlink in place
    of a directory is ENOTDIR; `exchange` is EINVAL where the file system has no such thing."""

    def open_root(self, path: str) -> Descriptor:
        return Descriptor(os.open(_text(path), _DIRECTORY))

    def make_root(self, path: str) -> None:
        os.makedirs(path, exist_ok=True)

    def open_directory(self, parent: Descriptor, name: str) -> Descriptor:
        return Descriptor(os.open(_name(name), _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent))

    def open_file(self, parent: Descriptor, name: str) -> Descriptor:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return Descriptor(os.open(_name(name), flags, dir_fd=parent))

    def create_file(self, parent: Descriptor, name: str, mode: int) -> Descriptor:
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return Descriptor(os.open(_name(name), flags, mode, dir_fd=parent))

    def open_for_writing(self, parent: Descriptor, name: str) -> Descriptor:
        return Descriptor(os.open(_name(name), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent))

    def close(self, descriptor: Descriptor) -> None:
        os.close(descriptor)

    def read_at(self, descriptor: Descriptor, length: int, offset: int) -> bytes:
        data = os.pread(descriptor, length, offset)
        while 0 < len(data) < length:
            more = os.pread(descriptor, length - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def read_into(self, descriptor: Descriptor, buffer: memoryview, offset: int) -> int:
        filled = os.preadv(descriptor, [buffer], offset)
        while 0 < filled < len(buffer):
            more = os.preadv(descriptor, [buffer[filled:]], offset + filled)
            if not more:
                break
            filled += more
        return filled

    def write_at(self, descriptor: Descriptor, data: bytes | memoryview, offset: int) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            written = os.pwrite(descriptor, rest, offset)
            rest = rest[written:]
            offset += written

    def fsync(self, descriptor: Descriptor) -> None:
        os.fsync(descriptor)

    def sync_file_system(self, descriptor: Descriptor) -> None:
        if _libc.syncfs(descriptor) != 0:
            raise _error(ctypes.get_errno())

    def scan(self, directory: Descriptor) -> list[str]:
        # Opened anew: two threads listing through one descriptor would share its position and each miss names.
        own = os.open(".", _DIRECTORY, dir_fd=directory)
        try:
            return [_listed(name) for name in os.listdir(own)]
        finally:
            os.close(own)

    def stat(self, parent: Descriptor, name: str) -> Stat:
        return _stat(os.stat(_name(name), dir_fd=parent, follow_symlinks=False))

    def stat_open(self, descriptor: Descriptor) -> Stat:
        return _stat(os.fstat(descriptor))

    def read_link(self, parent: Descriptor, name: str) -> str:
        return os.readlink(_name(name), dir_fd=parent).decode("utf-8", "surrogateescape")

    def make_directory(self, parent: Descriptor, name: str, mode: int) -> None:
        os.mkdir(_name(name), mode, dir_fd=parent)

    def make_symlink(self, target: str, parent: Descriptor, name: str) -> None:
        os.symlink(_text(target), _name(name), dir_fd=parent)

    def rename(self, from_parent: Descriptor, from_name: str, to_parent: Descriptor, to_name: str) -> None:
        names = from_parent, _name(from_name), to_parent, _name(to_name)
        try:
            _renameat2(*names, _NOREPLACE)
        except OSError as failure:
            # EINVAL also means a directory moved into itself, which the other way refuses alike.
            if failure.errno not in (errno.EINVAL, errno.ENOSYS):
                raise
            if self.stat(from_parent, from_name).kind is EntryKind.DIRECTORY:
                _rename_directory(*names)
            else:
                _rename_by_link(*names)

    def exchange(self, from_parent: Descriptor, from_name: str, to_parent: Descriptor, to_name: str) -> None:
        _renameat2(from_parent, _name(from_name), to_parent, _name(to_name), _EXCHANGE)

    def unlink(self, parent: Descriptor, name: str) -> None:
        os.unlink(_name(name), dir_fd=parent)

    def remove_directory(self, parent: Descriptor, name: str) -> None:
        os.rmdir(_name(name), dir_fd=parent)

    def set_times(self, descriptor: Descriptor, mtime_ns: int) -> None:
        os.utime(descriptor, ns=(mtime_ns, mtime_ns))

    def set_link_times(self, parent: Descriptor, name: str, mtime_ns: int) -> None:
        os.utime(_name(name), ns=(mtime_ns, mtime_ns), dir_fd=parent, follow_symlinks=False)

    def set_mode(self, descriptor: Descriptor, mode: int) -> None:
        os.fchmod(descriptor, mode)

    def space(self, descriptor: Descriptor) -> Space:
        found = os.fstatvfs(descriptor)
        # Btrfs and others have no table of inodes to run out of, and say 0 of 0.
        free_inodes = found.f_favail if found.f_files else _UNLIMITED
        return Space(free_bytes=found.f_bavail * found.f_frsize, free_inodes=free_inodes)

    def file_system(self, descriptor: Descriptor) -> str:
        return file_system_of(descriptor)
