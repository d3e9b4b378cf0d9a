"""News of change from a real folder."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import pytest
import trio

from peer.system import events
from peer.system.events import WatchfilesEvents
from protocol.errors import WatchLimit


async def until(changes: AsyncIterator[set[str]], *wanted: str) -> set[str]:
    """All paths up to the set that completes `wanted`."""
    seen: set[str] = set()
    with trio.fail_after(10):
        while not seen.issuperset(wanted):
            seen |= await anext(changes)
    return seen


async def test_the_watch_is_in_place_on_entering(tmp_path: Path) -> None:
    for number in range(5):
        async with WatchfilesEvents().watch(str(tmp_path)) as changes:
            (tmp_path / f"file{number}").write_bytes(b"")
            assert await until(changes, f"file{number}") == {f"file{number}"}


async def test_every_sort_of_change(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    async with WatchfilesEvents().watch(str(tmp_path)) as changes:
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


async def test_new_directories_are_watched(tmp_path: Path) -> None:
    async with WatchfilesEvents().watch(str(tmp_path)) as changes:
        (tmp_path / "new").mkdir()
        await until(changes, "new")
        (tmp_path / "new" / "file").write_bytes(b"")
        await until(changes, "new/file")


async def test_names_that_others_hide(tmp_path: Path) -> None:
    names = [".git", "node_modules", "x.pyc", "ü\n"]
    async with WatchfilesEvents().watch(str(tmp_path)) as changes:
        for name in names:
            (tmp_path / name).write_bytes(b"")
        await until(changes, *names)


async def test_our_own_folder_is_left_out(tmp_path: Path) -> None:
    (tmp_path / ".shoal" / "temp").mkdir(parents=True)
    async with WatchfilesEvents().watch(str(tmp_path)) as changes:
        (tmp_path / ".shoal" / "temp" / "file").write_bytes(b"")
        (tmp_path / ".shoal" / "temp").chmod(0o755)
        (tmp_path / ".shoalignore").write_bytes(b"")
        assert await until(changes, ".shoalignore") == {".shoalignore"}


async def test_a_trailing_slash(tmp_path: Path) -> None:
    async with WatchfilesEvents().watch(f"{tmp_path}/") as changes:
        (tmp_path / "file").write_bytes(b"")
        assert await until(changes, "file") == {"file"}


async def test_leaving_is_instant(tmp_path: Path) -> None:
    with trio.fail_after(1):
        async with WatchfilesEvents().watch(str(tmp_path)):
            pass
        async with WatchfilesEvents().watch(str(tmp_path)) as changes:
            with trio.move_on_after(0.01):
                await anext(changes)
        with trio.move_on_after(0.01):
            async with WatchfilesEvents().watch(str(tmp_path)) as changes:
                await anext(changes)


async def test_an_error_inside_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with WatchfilesEvents().watch(str(tmp_path)):
            raise ZeroDivisionError


async def test_a_cancelled_wait_loses_nothing(tmp_path: Path) -> None:
    async with WatchfilesEvents().watch(str(tmp_path)) as changes:
        seen: set[str] = set()
        for number in range(10):
            (tmp_path / f"file{number}").write_bytes(b"")
            with trio.move_on_after(0):
                seen |= await anext(changes)
        await until(changes, *({f"file{number}" for number in range(10)} - seen))


async def test_a_path_that_is_not_utf8_is_survived(tmp_path: Path) -> None:
    async with WatchfilesEvents().watch(str(tmp_path)) as changes:
        with open(os.fsencode(tmp_path) + b"/caf\xe9", "wb"):
            pass
        await until(changes, "")
        (tmp_path / "fine").write_bytes(b"")
        await until(changes, "fine")


async def test_a_folder_that_is_gone_and_comes_back(tmp_path: Path) -> None:
    """The watch is lost with the folder, which inotify doesn't tell; made anew for any reason, it looks on."""
    folder = tmp_path / "folder"
    folder.mkdir()
    async with WatchfilesEvents().watch(str(folder)) as changes:
        with open(os.fsencode(folder) + b"/caf\xe9", "wb"):
            pass
        shutil.rmtree(folder)
        await until(changes, "")
        folder.mkdir()
        await until(changes, "")
        (folder / "file").write_bytes(b"")
        await until(changes, "file")


async def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        async with WatchfilesEvents().watch(str(tmp_path / "missing")):
            pass


@pytest.mark.parametrize(
    ("failure", "sysctl"),
    [
        # As RustNotify raised them with user.max_inotify_watches and max_inotify_instances lowered in a user namespace.
        (OSError('OS file watch limit reached. about ["/x"] (Error { kind: MaxFilesWatch })'), "max_user_watches"),
        (RuntimeError("Error creating recommended watcher: Too many open files (os error 24)"), "max_user_instances"),
    ],
)
async def test_limits_name_the_sysctl(
    failure: Exception, sysctl: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise failure

    monkeypatch.setattr(events, "RustNotify", refuse)
    with pytest.raises(WatchLimit, match=rf"fs\.inotify\.{sysctl} \(sysctl\), now \d+"):
        async with WatchfilesEvents().watch(str(tmp_path)):
            pass
