"""What is inotify's own in the news of change; the rest is in `tests/peer/test_folder_events.py`."""

import ctypes
import errno
import mmap
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import trio

from peer.ports import Changes
from peer.system import inotify
from peer.system.events import InotifyEvents
from protocol.errors import WatchLimit


async def until(changes: AsyncIterator[Changes], *wanted: str) -> set[str]:
    """All paths up to the set that completes `wanted`."""
    seen: set[str] = set()
    with trio.fail_after(10):
        while not seen.issuperset(wanted):
            seen |= (await anext(changes)).paths
    return seen


async def test_a_file_is_closed_when_its_writer_lets_it_go(tmp_path: Path) -> None:
    """Not when it is only read, and not when it is written to once more before anybody has heard."""
    file = tmp_path / "file"
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        with file.open("wb") as opened:
            opened.write(b"new")
            opened.flush()
            assert (await anext(changes)).closed == set()
            with file.open("rb"):
                pass
            opened.write(b"more")
        assert (await anext(changes)).closed == {"file"}
        file.write_bytes(b"again")
        with file.open("ab", buffering=0) as opened:
            opened.write(b"and again")
            assert (await anext(changes)).closed == set()


async def test_a_file_that_is_mapped_is_not_closed(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        with file.open("r+b") as opened:
            mapped = mmap.mmap(opened.fileno(), 0)
        file.chmod(0o600)
        assert (await anext(changes)).closed == set()
        mapped.close()
        assert (await anext(changes)).closed == {"file"}


async def test_a_folder_named_by_a_symlink(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "name").symlink_to("real")
    async with InotifyEvents().watch(str(tmp_path / "name")) as changes:
        (tmp_path / "real" / "file").write_bytes(b"")
        assert await until(changes, "file") == {"file"}


async def test_a_trailing_slash(tmp_path: Path) -> None:
    async with InotifyEvents().watch(f"{tmp_path}/") as changes:
        (tmp_path / "file").write_bytes(b"")
        assert await until(changes, "file") == {"file"}


async def test_an_error_inside_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with InotifyEvents().watch(str(tmp_path)):
            raise ZeroDivisionError


async def test_a_symlink_hides_nothing_and_leads_nowhere(tmp_path: Path) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "folder"
    outside.mkdir()
    (folder / "lib").mkdir(parents=True)
    (folder / "lib64").symlink_to("lib")
    (folder / "away").symlink_to(outside)
    async with InotifyEvents().watch(str(folder)) as changes:
        (folder / "later").symlink_to(outside)
        (outside / "not ours").write_bytes(b"")
        (folder / "lib" / "file").write_bytes(b"")
        assert await until(changes, "lib/file") == {"later", "lib/file"}


@pytest.mark.parametrize(
    ("call", "code", "sysctl"),
    [
        ("inotify_init1", errno.EMFILE, "max_user_instances"),
        ("inotify_add_watch", errno.ENOSPC, "max_user_watches"),
    ],
)
async def test_limits_name_the_sysctl(
    call: str, code: int, sysctl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        ctypes.set_errno(code)
        return -1

    monkeypatch.setattr(inotify, "_libc", SimpleLibc(refuse, call))
    with pytest.raises(WatchLimit, match=rf"fs\.inotify\.{sysctl} \(sysctl\), now \d+"):
        async with InotifyEvents().watch(str(tmp_path)):
            pass


class SimpleLibc:
    """The C library with one call refused."""

    def __init__(self, refuse: Callable[..., int], call: str) -> None:
        self._refuse, self._call = refuse, call

    def __getattr__(self, name: str) -> Callable[..., int]:
        return self._refuse if name == self._call else getattr(ctypes.CDLL(None, use_errno=True), name)
