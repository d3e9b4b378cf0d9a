"""Objects as files: `ROOT/FOLDER/first two characters of NAME/NAME`, each written once.

A put writes a temporary file, fsyncs it, links it to its final name (which never replaces anything) and fsyncs the
directory: a crash leaves the whole object or a stray file in `ROOT/.temporary`, which the next `sweep` removes.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from protocol.ports import Machine
from storage.errors import AlreadyThere, Full, Missing, StorageDown
from storage.interface import PAGE, Stored, check_key, check_range

T = TypeVar("T")

TEMPORARY = ".temporary"
THREADS = 8
"""Blocking calls at a time: more only make a disk seek."""


class FilesystemStorage:
    """A `Storage` in one directory of a local file system."""

    def __init__(self, machine: Machine, root: Path) -> None:
        """`root` is made when the first object is put."""
        self._machine = machine
        self._root = root
        self._limiter = trio.CapacityLimiter(THREADS)

    async def put(self, key: str, data: bytes) -> None:
        temporary = self._root / TEMPORARY / self._machine.random_bytes(16).hex()
        await self._run(partial(_put, self._path(key), temporary, key, data))

    async def get(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        check_range(offset, length)
        return await self._run(partial(_get, self._path(key), key, offset, length))

    async def size(self, key: str) -> int:
        return await self._run(partial(_size, self._path(key)))

    async def delete(self, key: str) -> None:
        await self._run(partial(_delete, self._path(key)))

    async def page(self, prefix: str = "", after: str = "", limit: int = PAGE) -> list[Stored]:
        return await self._run(partial(_page, self._root, prefix, after, limit))

    async def sweep(self) -> None:
        """Remove what crashes left behind. Only for the one process that puts, before its first put."""
        await self._run(partial(_sweep, self._root / TEMPORARY))

    def _path(self, key: str) -> Path:
        check_key(key)
        folder, name = key.split("/")
        return self._root / folder / name[:2] / name

    async def _run(self, function: Callable[[], T]) -> T:
        return await self._machine.offload(partial(_translated, function), self._limiter)


def _translated(function: Callable[[], T]) -> T:
    """The one place where the kernel's errors become this package's."""
    try:
        return function()
    except FileNotFoundError as error:
        raise Missing(f"there is no object {Path(str(error.filename)).name}") from None
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Full("the storage's disk is full") from error
        raise StorageDown(f"the storage does not work: {error.strerror}") from error


@contextmanager
def _opened(path: Path, flags: int, mode: int = 0o600) -> Iterator[int]:
    descriptor = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync_directory(path: Path) -> None:
    with _opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)


def _make_directories(path: Path) -> None:
    """mkdir -p, each new directory durable in its parent."""
    if path.is_dir():
        return
    _make_directories(path.parent)
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    _sync_directory(path.parent)


def _put(path: Path, temporary: Path, key: str, data: bytes) -> None:
    _make_directories(temporary.parent)
    _make_directories(path.parent)
    try:
        _write(temporary, data)
        os.link(temporary, path)
    except FileExistsError:
        if path.read_bytes() != data:
            raise AlreadyThere(f"object {key} is there with other bytes") from None
        _sync_file(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    _sync_directory(path.parent)


def _write(path: Path, data: bytes) -> None:
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as descriptor:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)


def _sync_file(path: Path) -> None:
    with _opened(path, os.O_RDONLY) as descriptor:
        os.fsync(descriptor)


def _get(path: Path, key: str, offset: int, length: int | None) -> bytes:
    with _opened(path, os.O_RDONLY) as descriptor:
        size = os.fstat(descriptor).st_size
        end = size if length is None else offset + length
        if offset > size or end > size:
            raise Missing(f"object {key} has {size} bytes, not {end}")
        return _read_exactly(descriptor, offset, end)


def _read_exactly(descriptor: int, offset: int, end: int) -> bytes:
    parts = []
    while offset < end:
        part = os.pread(descriptor, end - offset, offset)
        if not part:
            raise StorageDown("an object shrank while it was read")
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _size(path: Path) -> int:
    return path.stat().st_size


def _delete(path: Path) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
        _sync_directory(path.parent)


def _names(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except FileNotFoundError:
        return []


def _page(root: Path, prefix: str, after: str, limit: int) -> list[Stored]:
    out: list[Stored] = []
    for key, path in _walk(root, prefix, after):
        if len(out) == limit:
            break
        with suppress(FileNotFoundError):
            out.append(Stored(key, path.stat().st_size))
    return out


def _may_hold(start: str, prefix: str, after: str) -> bool:
    """Whether a key beginning with `start` can have this prefix and sort after `after`."""
    return (start.startswith(prefix) or prefix.startswith(start)) and (start > after or after.startswith(start))


def _walk(root: Path, prefix: str, after: str) -> Iterator[tuple[str, Path]]:
    """Keys in order: a shard's name is how its objects' names begin, so directory order is key order."""
    for folder in _names(root):
        if folder == TEMPORARY or not _may_hold(folder + "/", prefix, after):
            continue
        for shard in _names(root / folder):
            if not _may_hold(f"{folder}/{shard}", prefix, after):
                continue
            for name in _names(root / folder / shard):
                key = f"{folder}/{name}"
                if key.startswith(prefix) and key > after:
                    yield key, root / folder / shard / name


def _sweep(temporary: Path) -> None:
    for name in _names(temporary):
        with suppress(FileNotFoundError):
            (temporary / name).unlink()
