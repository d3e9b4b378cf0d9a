"""What only the store on a file system can get wrong: durability, leftovers, the kernel's errors."""

import errno
import os
from pathlib import Path

import pytest

from protocol.system import real_machine
from storage.errors import Full, StorageDown
from storage.filesystem import TEMPORARY, FilesystemStorage

KEY = "abc/0123456789"


@pytest.fixture
def storage(tmp_path: Path) -> FilesystemStorage:
    return FilesystemStorage(real_machine(), tmp_path / "objects")


def _files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


async def test_the_layout_on_disk(storage: FilesystemStorage, tmp_path: Path) -> None:
    await storage.put(KEY, b"bytes")
    assert _files(tmp_path) == ["objects/abc/01/0123456789"]


async def test_file_then_directories_are_synced(
    storage: FilesystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    await storage.put(KEY, b"bytes")
    assert synced[:4] == [".", "objects", "objects", "objects/abc"]
    assert synced[4].startswith(f"objects/{TEMPORARY}/")
    assert synced[5:] == ["objects/abc/01"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ENOSPC, Full), (errno.EDQUOT, Full), (errno.EIO, StorageDown), (errno.EROFS, StorageDown)],
)
async def test_a_failed_write_is_named_and_leaves_nothing(
    storage: FilesystemStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[Exception]
) -> None:
    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    await storage.put("abc/aaaa", b"")
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(expected):
            await storage.put("abc/aabb", b"bytes")
    assert _files(tmp_path) == ["objects/abc/aa/aaaa"]
    await storage.put("abc/aabb", b"bytes")


async def test_sweep_removes_leftovers_and_nothing_else(storage: FilesystemStorage, tmp_path: Path) -> None:
    await storage.sweep()
    await storage.put(KEY, b"bytes")
    (tmp_path / "objects" / TEMPORARY / "stray").write_bytes(b"half")
    assert [stored.key for stored in await storage.page()] == [KEY]
    await storage.sweep()
    assert _files(tmp_path) == ["objects/abc/01/0123456789"]
