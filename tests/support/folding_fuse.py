"""A file system in user space that ignores case and how accents are made up, can't exchange names nor rename without
replacing, and passes all else on to a folder: `python -m tests.support.folding_fuse MOUNTPOINT FOLDER`, as root.

It speaks to /dev/fuse itself (fuse(4); layouts of `linux/fuse.h`, protocol 7.31), one request after the other, and lets
the kernel keep nothing.
"""

import ctypes
import errno
import os
import stat
import struct
import sys
import unicodedata
from collections.abc import Callable
from contextlib import suppress

ROOT_NODE = 1
MAX_WRITE = 1 << 17
_IN, _OUT, _ATTR = struct.Struct("<IIQQIIIHH"), struct.Struct("<IiQ"), struct.Struct("<QQQQQQIIIIIIIIII")
_LINKED, _NO_REPLY = errno.EEXIST, (2, 36, 42)
FATTR_MODE, FATTR_UID, FATTR_GID, FATTR_SIZE, FATTR_ATIME, FATTR_MTIME = 1, 2, 4, 8, 16, 32
FATTR_ATIME_NOW, FATTR_MTIME_NOW = 128, 256


def fold(name: bytes) -> str:
    """Equal for names that are one."""
    return unicodedata.normalize("NFC", os.fsdecode(name)).casefold()


class FoldingFolder:
    """What the kernel asks, answered from a folder. Nodes are paths; a rename renames them."""

    def __init__(self, folder: bytes) -> None:
        self._paths: dict[int, bytes] = {ROOT_NODE: folder}
        self._nodes = {folder: ROOT_NODE}
        self._handles: dict[int, list[tuple[bytes, os.stat_result]]] = {}
        self._calls: dict[int, Callable[[int, bytes], bytes]] = {
            1: self.lookup, 3: self.getattr, 4: self.setattr, 5: self.readlink, 6: self.symlink, 9: self.mkdir,
            10: self.unlink, 11: self.rmdir, 12: self.rename, 13: self.link, 14: self.open, 15: self.read,
            16: self.write, 17: self.statfs, 18: self.release, 20: self.fsync, 25: self.nothing, 26: self.init,
            27: self.opendir, 28: self.readdir, 29: self.nothing, 30: self.nothing, 34: self.nothing,
            35: self.create, 38: self.nothing,
        }  # fmt: skip

    def answer(self, request: bytes) -> bytes | None:
        """The whole reply, or None when none is due."""
        _, opcode, unique, node, *_ = _IN.unpack_from(request)
        if opcode in _NO_REPLY:
            return None
        try:
            call = self._calls.get(opcode)
            if call is None:
                raise OSError(errno.ENOSYS, "")
            body = call(node, request[_IN.size :])
        except OSError as error:
            return _OUT.pack(_OUT.size, -(error.errno or errno.EIO), unique)
        return _OUT.pack(_OUT.size + len(body), 0, unique) + body

    # Names

    def _at(self, parent: int, name: bytes) -> bytes:
        """The path of a name, as it is written if it is there."""
        folder = self._paths[parent]
        exact = os.path.join(folder, name)
        if os.path.lexists(exact):
            return exact
        same = next((each for each in os.listdir(folder) if fold(each) == fold(name)), name)
        return os.path.join(folder, same)

    def _free(self, parent: int, name: bytes) -> bytes:
        path = self._at(parent, name)
        if os.path.lexists(path):
            raise OSError(_LINKED, "")
        return path

    def _entry(self, path: bytes) -> bytes:
        attributes = _attributes(os.lstat(path))
        node = self._nodes.setdefault(path, max(self._paths) + 1)
        self._paths[node] = path
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attributes

    def _forget(self, path: bytes) -> None:
        self._nodes.pop(path, None)  # its number may still be asked for by whoever has it open

    # Calls

    def init(self, _: int, body: bytes) -> bytes:
        return struct.pack("<IIIIHHIIHHI7I", 7, 31, 1 << 16, 0, 12, 9, MAX_WRITE, 1, 0, 0, 0, *[0] * 7)

    def nothing(self, node: int, body: bytes) -> bytes:
        return b""

    def lookup(self, parent: int, body: bytes) -> bytes:
        return self._entry(self._at(parent, body[:-1]))

    def getattr(self, node: int, body: bytes) -> bytes:
        flags, _, handle = struct.unpack_from("<IIQ", body)
        found = os.fstat(handle) if flags & 1 else os.lstat(self._paths[node])
        return struct.pack("<QII", 0, 0, 0) + _attributes(found)

    def setattr(self, node: int, body: bytes) -> bytes:
        valid, _, _, size, _, atime, mtime, _, ansec, mnsec, _, mode, _, _, _, _ = struct.unpack_from(
            "<IIQQQQQQIIIIIIII", body
        )
        path = self._paths[node]
        if valid & FATTR_MODE:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & FATTR_SIZE:
            os.truncate(path, size)
        if valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW):
            now = os.lstat(path)
            times = (
                atime * 10**9 + ansec if valid & FATTR_ATIME else now.st_atime_ns,
                mtime * 10**9 + mnsec if valid & FATTR_MTIME else now.st_mtime_ns,
            )
            os.utime(path, ns=times, follow_symlinks=False)
        return struct.pack("<QII", 0, 0, 0) + _attributes(os.lstat(path))

    def readlink(self, node: int, body: bytes) -> bytes:
        return os.readlink(self._paths[node])

    def symlink(self, parent: int, body: bytes) -> bytes:
        name, target, _ = body.split(b"\0", 2)
        path = self._free(parent, name)
        os.symlink(target, path)
        return self._entry(path)

    def mkdir(self, parent: int, body: bytes) -> bytes:
        mode, umask = struct.unpack_from("<II", body)
        path = self._free(parent, body[8:-1])
        os.mkdir(path, mode & ~umask)
        return self._entry(path)

    def unlink(self, parent: int, body: bytes) -> bytes:
        path = self._at(parent, body[:-1])
        os.unlink(path)
        self._forget(path)
        return b""

    def rmdir(self, parent: int, body: bytes) -> bytes:
        path = self._at(parent, body[:-1])
        os.rmdir(path)
        self._forget(path)
        return b""

    def rename(self, parent: int, body: bytes) -> bytes:
        (target,) = struct.unpack_from("<Q", body)
        old_name, new_name, _ = body[8:].split(b"\0", 2)
        old, new = self._at(parent, old_name), self._at(target, new_name)
        if new == old:  # the same name, perhaps written otherwise
            new = os.path.join(self._paths[target], new_name)
        os.rename(old, new)
        self._forget(new)
        for path, node in list(self._nodes.items()):
            if path == old or path.startswith(old + b"/"):
                del self._nodes[path]
                self._nodes[new + path[len(old) :]] = node
                self._paths[node] = new + path[len(old) :]
        return b""

    def link(self, parent: int, body: bytes) -> bytes:
        (node,) = struct.unpack_from("<Q", body)
        path = self._free(parent, body[8:-1])
        os.link(self._paths[node], path, follow_symlinks=False)
        return self._entry(path)

    def open(self, node: int, body: bytes) -> bytes:
        (flags,) = struct.unpack_from("<I", body)
        return struct.pack("<QII", os.open(self._paths[node], flags & ~os.O_NOFOLLOW), 0, 0)

    def create(self, parent: int, body: bytes) -> bytes:
        flags, mode, umask, _ = struct.unpack_from("<IIII", body)
        path = self._at(parent, body[16:-1])
        handle = os.open(path, flags | os.O_CREAT, mode & ~umask)
        return self._entry(path) + struct.pack("<QII", handle, 0, 0)

    def read(self, node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return os.pread(handle, size, offset)

    def write(self, node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        return struct.pack("<II", os.pwrite(handle, body[40 : 40 + size], offset), 0)

    def release(self, node: int, body: bytes) -> bytes:
        os.close(struct.unpack_from("<Q", body)[0])
        return b""

    def fsync(self, node: int, body: bytes) -> bytes:
        os.fsync(struct.unpack_from("<Q", body)[0])
        return b""

    def statfs(self, node: int, body: bytes) -> bytes:
        found = os.statvfs(self._paths[ROOT_NODE])
        counts = (found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree)
        return struct.pack("<5Q4I6I", *counts, found.f_bsize, 255, found.f_frsize, 0, *[0] * 6)

    def opendir(self, node: int, body: bytes) -> bytes:
        path, handle = self._paths[node], max(self._handles, default=0) + 1
        self._handles[handle] = [(name, os.lstat(os.path.join(path, name))) for name in sorted(os.listdir(path))]
        return struct.pack("<QII", handle, 0, 0)

    def readdir(self, node: int, body: bytes) -> bytes:
        handle, offset, size = struct.unpack_from("<QQI", body)
        out = b""
        for number, (name, found) in enumerate(self._handles[handle][offset:], offset + 1):
            entry = struct.pack("<QQII", found.st_ino, number, len(name), stat.S_IFMT(found.st_mode) >> 12) + name
            entry += bytes(-len(entry) % 8)
            if len(out) + len(entry) > size:
                break
            out += entry
        return out


def _attributes(found: os.stat_result) -> bytes:
    times = [divmod(ns, 10**9) for ns in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
    seconds, rests = [time[0] for time in times], [time[1] for time in times]
    return _ATTR.pack(
        *(found.st_ino, found.st_size, found.st_blocks, *seconds, *rests),
        *(found.st_mode, found.st_nlink, found.st_uid, found.st_gid, 0, 4096, 0),
    )


def main(mountpoint: str, folder: str) -> None:
    """Mount, say so, and answer until unmounted."""
    device = os.open("/dev/fuse", os.O_RDWR)
    libc = ctypes.CDLL(None, use_errno=True)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,default_permissions".encode()
    if libc.mount(b"folding", os.fsencode(mountpoint), b"fuse", 0, options) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    print("mounted", flush=True)
    answers = FoldingFolder(os.fsencode(folder))
    while True:
        try:
            request = os.read(device, MAX_WRITE + 4096)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ECONNABORTED):
                return
            if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                continue
            raise
        reply = answers.answer(request)
        if reply is not None:
            with suppress(FileNotFoundError):  # whoever asked was interrupted
                os.write(device, reply)


if __name__ == "__main__":
    main(*sys.argv[1:])
