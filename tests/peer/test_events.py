"""News of change from a real folder."""

import ctypes
import errno
import mmap
import os
import shutil
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


async def test_the_watch_is_in_place_on_entering(tmp_path: Path) -> None:
    for number in range(5):
        async with InotifyEvents().watch(str(tmp_path)) as changes:
            (tmp_path / f"file{number}").write_bytes(b"")
            assert await until(changes, f"file{number}") == {f"file{number}"}


async def test_every_sort_of_change(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        file = tmp_path / "deep" / "er" / "file"
        file.write_bytes(b"new")
        await until(changes, "deep/er/file")
        with file.open("ab") as opened:
            opened.write(b"more")
        await until(changes, "deep/er/file")
        file.chmod(0o600)
        await until(changes, "deep/er/file")
        file.rename(tmp_path / "moved")
        await until(changes, "deep/er/file", "moved")
        (tmp_path / "moved").unlink()
        await until(changes, "moved")
        (tmp_path / "deep" / "er").rmdir()
        await until(changes, "deep/er")


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


async def test_new_directories_are_watched(tmp_path: Path) -> None:
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        (tmp_path / "new").mkdir()
        await until(changes, "new")
        (tmp_path / "new" / "file").write_bytes(b"")
        await until(changes, "new/file")


async def test_names_that_others_hide(tmp_path: Path) -> None:
    names = [".git", "node_modules", "x.pyc", "ü\n"]
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        for name in names:
            (tmp_path / name).write_bytes(b"")
        await until(changes, *names)


async def test_our_own_folder_is_left_out(tmp_path: Path) -> None:
    (tmp_path / ".shoal" / "temp").mkdir(parents=True)
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        (tmp_path / ".shoal" / "temp" / "file").write_bytes(b"")
        (tmp_path / ".shoal" / "temp").chmod(0o755)
        (tmp_path / ".shoalignore").write_bytes(b"")
        assert await until(changes, ".shoalignore") == {".shoalignore"}


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


async def test_leaving_is_instant(tmp_path: Path) -> None:
    with trio.fail_after(1):
        async with InotifyEvents().watch(str(tmp_path)):
            pass
        async with InotifyEvents().watch(str(tmp_path)) as changes:
            with trio.move_on_after(0.01):
                await anext(changes)
        with trio.move_on_after(0.01):
            async with InotifyEvents().watch(str(tmp_path)) as changes:
                await anext(changes)


async def test_an_error_inside_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with InotifyEvents().watch(str(tmp_path)):
            raise ZeroDivisionError


async def test_a_cancelled_wait_loses_nothing(tmp_path: Path) -> None:
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        seen: set[str] = set()
        for number in range(10):
            (tmp_path / f"file{number}").write_bytes(b"")
            with trio.move_on_after(0):
                seen |= (await anext(changes)).paths
        await until(changes, *({f"file{number}" for number in range(10)} - seen))


async def test_a_path_that_is_not_utf8_is_told_with_surrogates(tmp_path: Path) -> None:
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        with open(os.fsencode(tmp_path) + b"/caf\xe9", "wb"):
            pass
        (tmp_path / "fine").write_bytes(b"")
        await until(changes, "caf\udce9", "fine")


async def test_a_folder_that_goes_ends_the_news(tmp_path: Path) -> None:
    for leave in (shutil.rmtree, lambda folder: folder.rename(tmp_path / "elsewhere")):
        folder = tmp_path / "folder"
        folder.mkdir()
        async with InotifyEvents().watch(str(folder)) as changes:
            leave(folder)
            seen: set[str] = set()
            with trio.fail_after(10):
                async for news in changes:
                    seen |= news.paths
            assert "" in seen


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


async def test_a_moved_directory_is_told_of_under_its_new_path(tmp_path: Path) -> None:
    (tmp_path / "a" / "inner").mkdir(parents=True)
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        (tmp_path / "a").rename(tmp_path / "b")
        await until(changes, "a", "b")
        (tmp_path / "b" / "inner" / "file").write_bytes(b"")
        assert await until(changes, "b/inner/file") == {"b/inner/file"}


async def test_an_overflow_means_look_at_everything(tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    async with InotifyEvents().watch(str(tmp_path)) as changes:
        file = tmp_path / "file"
        file.write_bytes(b"")
        for number in range(limit):  # two events each, alternating, as equal ones in a row are told once
            file.chmod(0o600 + number % 2)
            (tmp_path / "other").touch()
        await until(changes, "")
        (tmp_path / "after").write_bytes(b"")
        await until(changes, "after")


async def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with InotifyEvents().watch(str(tmp_path / "missing")):
            pass


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
