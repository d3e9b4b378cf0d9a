"""`shoal history`, `restore` and `rewind` as a person or a script meets them; the daemon is told its answers."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trio

from peer.control import serve_control
from peer.system.home_files import open_home
from protocol.errors import Usage
from tests.peer.test_cli import shoal

ROW = {
    "version": 1,
    "what": "created",
    "kind": "file",
    "time": "2026-11-29T14:30:00.250Z",
    "revision": 3,
    "device": "laptop",
    "device_id": "00" * 16,
    "path": "d/f",
    "size": 2048,
    "in_the_cloud": True,
    "current": False,
}
HISTORY = {
    "path": "d/f",
    "kind": "file",
    "there": False,
    "rows": [
        ROW,
        {**ROW, "version": 2, "what": "changed", "path": None, "in_the_cloud": False},
        {**ROW, "version": None, "what": "deleted", "path": None, "size": None, "device": "desk\x1b[2Jtop"},
    ],
}
PREVIEW = {
    "folder": "d",
    "time": "2026-11-29T14:30:00.250Z",
    "revision": 7,
    "counts": {"restored": 1, "changed": 0, "moved": 2, "deleted": 0},
    "left": 1,
    "paths": [{"what": "restored", "path": "d/f"}],
    "unsynced": 2,
    "plan": "abc",
    "done": False,
}
NOTHING = {**PREVIEW, "counts": dict.fromkeys(("restored", "changed", "moved", "deleted"), 0), "paths": [], "left": 0}


class Daemon:
    """Answers as it is told, and remembers what it was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[dict[str, Any]] = []

    async def handle(self, command: str, arguments: dict[str, Any]) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked.append({"command": command, **arguments})
        answer = self.answers["applied" if arguments.get("apply") else command]
        if isinstance(answer, Exception):
            raise answer
        return answer


@asynccontextmanager
async def daemon(home: Path, **answers: Any) -> AsyncIterator[Daemon]:
    made = open_home(str(home))
    made.prepare()
    answering = Daemon(**answers)
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_control, made.control_socket, answering.handle)
        yield answering
        nursery.cancel_scope.cancel()


async def run(home: Path, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    with mock.patch("sys.stdin", io.StringIO(typed)):
        done = await trio.to_thread.run_sync(partial(shoal, home, *arguments))
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize("arguments", [("history", "f"), ("restore", "f"), ("rewind", "--to", "1 hour ago")])
async def test_without_a_daemon(home: Path, arguments: tuple[str, ...]) -> None:
    open_home(str(home)).prepare()
    code, out, err = await run(home, *arguments)
    assert (code, out) == (1, "")
    assert err.startswith("shoal: no daemon is running for ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("history",), ("restore", "f", "--version", "0"), ("restore", "f", "--version", "x"), ("rewind",),
        ("rewind", "--to", "whenever"), ("rewind", "--to", "1h", "a", "b"),
    ],
)  # fmt: skip
async def test_bad_usage(home: Path, arguments: tuple[str, ...]) -> None:
    assert (await run(home, *arguments))[0] == 2


async def test_a_listing(home: Path, tmp_path: Path) -> None:
    async with daemon(home, history=HISTORY) as answering:
        code, out, err = await run(home, "history", "d/f")
        assert (code, err) == (0, "")
        first, second, third = out.splitlines()
        assert first.startswith("   1  2026-")
        assert first.endswith("created   by laptop  (2.0 KiB, as d/f)")
        assert second.endswith("(2.0 KiB, not in the cloud: can't be restored)")
        assert third.endswith("deleted   by desk\\x1b[2Jtop")
        assert answering.asked == [{"command": "history", "path": str(tmp_path / "d/f")}]
        assert json.loads((await run(home, "history", "d/f", "--json"))[1]) == HISTORY


async def test_of_what_was_a_folder_and_is_a_file(home: Path) -> None:
    rows = [{**ROW, "version": None, "kind": "folder", "size": None}, ROW]
    async with daemon(home, history={**HISTORY, "rows": rows}):
        first, second = (await run(home, "history", "d/f"))[1].splitlines()
    assert first.endswith("(a folder, as d/f)")
    assert second.endswith("(2.0 KiB, as d/f)")


async def test_a_folders_listing(home: Path) -> None:
    gone = {"name": "sub", "kind": "folder", "time": ROW["time"], "device": "laptop", "size": None}
    async with daemon(home, history={"path": "", "kind": "folder", "there": True, "rows": [], "deleted": [gone]}):
        _, out, _ = await run(home, "history", ".")
        assert out.splitlines()[-1].endswith("  sub/  by laptop")
    async with daemon(home, history={"path": "", "kind": "folder", "there": True, "rows": [], "deleted": []}):
        assert (await run(home, "history", "."))[1] == "nothing was deleted in it\n"


async def test_restoring(home: Path, tmp_path: Path) -> None:
    done = {"paths": ["d", "d/f"], "path": "d/f", "files": 1, "revision": 9, "not_here": None}
    async with daemon(home, restore=done) as answering:
        assert (await run(home, "restore", "d/f", "--version", "2"))[:2] == (0, "restored d/f (1 file)\n")
        assert answering.asked == [{"command": "restore", "path": str(tmp_path / "d/f"), "version": 2}]
        assert json.loads((await run(home, "restore", "d/f", "--json"))[1]) == done
    ignored = "it is ignored here, by line 1 of .shoalignore: f"
    async with daemon(home, restore={"paths": [], "files": 0, "revision": None, "not_here": ignored}):
        lines = ["nothing to do: that is what is there", f"but not on this device: {ignored}"]
        assert (await run(home, "restore", "f"))[1].splitlines() == lines
    async with daemon(home, restore=Usage("there are versions 1 to 4 of f")):
        assert await run(home, "restore", "f", "--version", "9") == (1, "", "shoal: there are versions 1 to 4 of f\n")


async def test_a_rewind_shows_and_asks(home: Path, tmp_path: Path) -> None:
    applied = {**PREVIEW, "done": True, "undo": "@12", "at": 13}
    async with daemon(home, rewind=PREVIEW, applied=applied) as answering:
        code, out, _ = await run(home, "rewind", "--to", "10 minutes ago", "d", typed="y\n")
        assert code == 0
        assert "  1 item comes back\n  2 items are moved\n    restored  d/f\n    and 2 more\n" in out
        assert "  1 item stays as it is: " in out
        assert "2 changes here not synced yet" in out
        assert out.endswith("done; to take it back: shoal rewind --to @12 d\n")
        where = {"command": "rewind", "path": str(tmp_path / "d")}
        assert answering.asked == [
            {**where, "ago_ms": 600_000},
            {**where, "revision": 7, "agreed": "abc", "apply": True},
        ]


@pytest.mark.parametrize("typed", ["n\n", "\n", ""])
async def test_a_rewind_that_nobody_agrees_to(home: Path, typed: str) -> None:
    async with daemon(home, rewind=PREVIEW) as answering:
        code, _, err = await run(home, "rewind", "--to", "@3", typed=typed)
        assert (code, err) == (1, "shoal: nothing was changed\n")
        assert len(answering.asked) == 1


async def test_a_rewind_without_a_question(home: Path) -> None:
    applied = {**PREVIEW, "done": True, "undo": "@12", "at": 13}
    async with daemon(home, rewind=PREVIEW, applied=applied):
        assert (await run(home, "rewind", "--to", "@3", "--yes"))[1].endswith("shoal rewind --to @12\n")
        assert json.loads((await run(home, "rewind", "--to", "@3", "--yes", "--json"))[1]) == applied
        assert json.loads((await run(home, "rewind", "--to", "@3", "--json"))[1]) == PREVIEW


async def test_a_rewind_that_changes_nothing(home: Path) -> None:
    async with daemon(home, rewind=NOTHING) as answering:
        for more in ((), ("--yes",)):
            code, out, _ = await run(home, "rewind", "--to", "@3", *more)
            assert (code, out.startswith("nothing to change")) == (0, True)
        assert len(answering.asked) == 2
