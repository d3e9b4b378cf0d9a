"""The demo: its tree, its comparer, and the whole of it on a small scale."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePath

import pytest
import trio
from rich.console import Console

from bench.compare import changed, differences, listing
from bench.demo.__main__ import demonstrate
from bench.demo.changes import Change, choose, conflict_copies
from bench.demo.scenario import Scenario
from bench.demo.screen import Screen
from bench.demo.tree import (
    BIG_FILE,
    ODD,
    SOURCES,
    Scale,
    lay_out,
    make_big_file,
    make_odd_things,
    make_sources,
    python_sources,
    stdlib_folder,
)
from bench.failures import BenchFailed, printable, tail
from bench.programs import Program, environment, programs, run
from tests.support.leftovers import assert_nothing_is_left

SMALL = Scale(files=60, directories=6, big_bytes=1 << 20)


# The tree ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("files", "directories"), [(3000, 300), (60, 6), (10, 10), (7, 1), (5000, 20)])
def test_exactly_so_many_files_and_directories(files: int, directories: int) -> None:
    targets = [target for _, target in lay_out(python_sources(), files, directories)]
    assert len(set(targets)) == len(targets) == files
    assert len({parent for target in targets for parent in target.parents if parent.name}) == directories


def test_sources_are_the_interpreters_own() -> None:
    sources = python_sources()
    assert PurePath("os.py") in sources
    assert PurePath("asyncio/__init__.py") in sources
    assert not [path for path in sources if path.suffix != ".py" or "site-packages" in path.parts]
    assert sources == python_sources()


def test_sources_that_are_too_few_are_repeated() -> None:
    sources = [PurePath("a.py"), PurePath("b/c.py")]
    pairs = list(lay_out(sources, 9, 4))
    assert {source for source, _ in pairs} == set(sources)
    assert len({target for _, target in pairs}) == 9
    with pytest.raises(BenchFailed):
        list(lay_out([], 1, 1))
    with pytest.raises(BenchFailed):
        list(lay_out(sources, 3, 4))


def test_the_tree_holds_every_sort_of_thing(tmp_path: Path) -> None:
    make_sources(tmp_path, SMALL)
    make_odd_things(tmp_path)
    make_big_file(tmp_path / BIG_FILE, 5 << 20)
    found = listing(tmp_path, contents=True)
    odd = {path: entry for path, entry in found.items() if path.startswith(ODD.encode())}
    assert {entry.type for entry in odd.values()} == {"file", "directory", "symlink"}
    assert {(entry.executable, entry.private) for entry in odd.values() if entry.type == "file"} == {
        (executable, private) for executable in (False, True) for private in (False, True)
    }
    assert any(entry.size == 0 for entry in odd.values())
    assert max(len(path.rpartition(b"/")[2]) for path in odd) == 255
    assert found[BIG_FILE.encode()].size == 5 << 20
    names = {os.fsdecode(path.rpartition(b"/")[2]) for path in odd}
    assert {"caf\u00e9.txt", "cafe\u0301.txt", "README.md", "Readme.md", "-rf", "two\nlines"} <= names


def test_sources_keep_their_times(tmp_path: Path) -> None:
    make_sources(tmp_path, SMALL)
    copy, source = tmp_path / SOURCES / "abc.py", stdlib_folder() / "abc.py"
    assert copy.stat().st_mtime_ns == source.stat().st_mtime_ns


# The comparer --------------------------------------------------------------------------------------------------------


def _tree(folder: Path) -> None:
    (folder / "sub").mkdir(parents=True)
    for name in ("file", "sub/file"):
        (folder / name).write_bytes(b"content")
    (folder / "link").symlink_to("file")
    _stamp(folder)


def _stamp(folder: Path) -> None:
    for path in folder.rglob("*"):
        os.utime(path, ns=(1, 1), follow_symlinks=False)


def _compare(tmp_path: Path, change: Callable[[Path], object]) -> list[str]:
    for name in ("one", "other"):
        _tree(tmp_path / name)
    change(tmp_path / "other")
    one, other = (listing(tmp_path / name, contents=True) for name in ("one", "other"))
    return list(differences(one, other, "one", "other"))


def test_equal_folders_do_not_differ(tmp_path: Path) -> None:
    def our_own_folder(root: Path) -> None:
        (root / ".shoal").mkdir()
        (root / ".shoal" / "root").write_bytes(b"")

    assert _compare(tmp_path, our_own_folder) == []


def _relink(root: Path, target: str) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to(target)
    _stamp(root)


def _file_for_directory(root: Path) -> None:
    (root / "sub" / "file").unlink()
    (root / "sub").rmdir()
    (root / "sub").write_bytes(b"")


def _write(root: Path, name: str, data: bytes) -> None:
    (root / name).write_bytes(data)
    _stamp(root)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda root: _write(root, "sub/file", b"CONTENT"), ["sub/file: content differs"]),
        (lambda root: _write(root, "file", b"longer content"), ["file: size is 7 in one, 14 in other"]),
        (lambda root: os.utime(root / "file", ns=(1, 2)), ["file: mtime_ns is 1 in one, 2 in other"]),
        (
            lambda root: os.utime(root / "link", ns=(1, 2), follow_symlinks=False),
            ["link: mtime_ns is 1 in one, 2 in other"],
        ),
        (lambda root: (root / "file").chmod(0o755), ["file: executable is False in one, True in other"]),
        (lambda root: (root / "file").chmod(0o600), ["file: private is False in one, True in other"]),
        (lambda root: _relink(root, "sub"), ["link: link is b'file' in one, b'sub' in other"]),
        (lambda root: (root / "file").unlink(), ["file: only in one"]),
        (lambda root: (root / "empty").mkdir(), ["empty: only in other"]),
        (_file_for_directory, ["sub: type is 'directory' in one, 'file' in other", "sub/file: only in one"]),
        (lambda root: os.mkfifo(root / "pipe"), ["pipe: only in other"]),
        (lambda root: (root / "file").rename(root / "FILE"), ["FILE: only in other", "file: only in one"]),
        (lambda root: (root / "sub/.shoal").mkdir(), ["sub/.shoal: only in other"]),
    ],
)
def test_each_kind_of_difference_is_told(tmp_path: Path, change: Callable[[Path], object], told: list[str]) -> None:
    assert _compare(tmp_path, change) == told


def test_twins_of_one_name_are_two_names(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "one" / "caf\u00e9").write_bytes(b"")
    (tmp_path / "other" / "cafe\u0301").write_bytes(b"")
    one, other = (listing(tmp_path / name, contents=True) for name in ("one", "other"))
    assert len(list(differences(one, other, "one", "other"))) == 2


def test_a_big_file_is_compared_to_its_last_byte(tmp_path: Path) -> None:
    def flip(root: Path) -> None:
        for folder, last in ((root.parent / "one", b"a"), (root, b"b")):
            _write(folder, "big", bytes(3 << 20) + last)

    assert _compare(tmp_path, flip) == ["big: content differs"]


def test_changed_files_are_counted(tmp_path: Path) -> None:
    _tree(tmp_path)
    before = listing(tmp_path, contents=False)
    assert changed({}, before) == (3, 14)
    (tmp_path / "sub").rename(tmp_path / "moved")
    (tmp_path / "file").write_bytes(b"four")
    assert changed(before, listing(tmp_path, contents=False)) == (3, 11)


def test_names_can_not_steer_a_terminal(tmp_path: Path) -> None:
    assert printable("a\x1b[31m\n\udcff") == "a\\x1b[31m\\n\\xff"
    log = tmp_path / "log"
    log.write_bytes(b"\n".join(b"line \x1b\xff" for _ in range(100)))
    assert set(tail(log)) == {"line \\x1b\\xff"}
    assert tail(tmp_path / "nowhere") == ["(no log: No such file or directory)"]


# What a user does ----------------------------------------------------------------------------------------------------


def test_the_same_changes_make_equal_trees(tmp_path: Path) -> None:
    """Made in either order, as two devices do."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        make_sources(folder, SMALL)
        make_big_file(folder / BIG_FILE, 1000)
        (folder / BIG_FILE).write_bytes(bytes(1000))
        (folder / ODD / "names").mkdir(parents=True)
        for name in ("names/CON", "modes/plain", "links/dangling", "nest/file"):
            _put(folder / ODD / name)
        os.utime(folder / BIG_FILE, ns=(1, 1))
    choice = choose(listing(folders[0], contents=False))
    one, other = (Change(folder, choice) for folder in folders)
    for step in (one.on_second, one.while_off, one.while_first_is_off):
        step()
    for step in (other.on_second, other.while_first_is_off, other.while_off):
        step()
    left, right = (listing(folder, contents=True) for folder in folders)
    assert list(differences(left, right, "one", "other")) == []
    assert (folders[0] / BIG_FILE).read_bytes().count(b"\x01") == 1
    assert conflict_copies({b"a (conflicted copy, x, 2000-01-01).py": left[b"big.bin"], b"a.py": left[b"big.bin"]}) == [
        "a (conflicted copy, x, 2000-01-01).py"
    ]


def _put(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"")
    os.utime(file, ns=(1, 1))


def test_a_tree_without_enough_to_change_is_refused(tmp_path: Path) -> None:
    make_sources(tmp_path, Scale(5, 1, 0))
    with pytest.raises(BenchFailed, match="too small"):
        choose(listing(tmp_path, contents=False))


# Programs ------------------------------------------------------------------------------------------------------------


async def test_a_program_that_ends_is_missed(tmp_path: Path) -> None:
    async with programs(tmp_path / "logs") as running:
        program = await running.start("short", [sys.executable, "-c", "print('oh'); raise SystemExit(3)"])
        await program.process.wait()
        with pytest.raises(BenchFailed, match=r"the short ended by itself \(exit code 3\)"):
            running.check()
        assert tail(program.log) == ["oh"]


async def test_programs_end_with_the_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with programs(tmp_path / "logs") as running:
            started = [await running.start(name, ["sleep", "1000"]) for name in ("one", "two")]
            raise KeyError
    assert [program.process.returncode for program in started] == [-signal.SIGTERM] * 2


async def test_a_program_that_will_not_stop_is_killed_and_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.programs.STOP_SECONDS", 0.1)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    program: Program | None = None
    with pytest.RaisesGroup(BenchFailed, flatten_subgroups=True):
        async with programs(tmp_path / "logs") as running:
            program = await running.start("deaf", [sys.executable, "-c", deaf])
            with trio.fail_after(10):
                while tail(program.log) != ["up"]:  # noqa: ASYNC110  a file has no event
                    await trio.sleep(0.01)
    assert program is not None
    assert program.process.returncode == -signal.SIGKILL


async def test_a_command_that_fails_is_quoted() -> None:
    with pytest.raises(BenchFailed, match="exit code 1: said; the reason"):
        await run(["sh", "-c", "echo said; echo the reason >&2; exit 1"], 10)
    with pytest.raises(BenchFailed, match=r"not done within 0\.1 s"):
        await run(["sleep", "1000"], 0.1)


def test_options_of_the_caller_do_not_reach_the_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_HOME", "/nowhere")
    assert "SHOAL_HOME" not in environment()


# The whole -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_the_whole_demo_on_a_small_scale(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert await demonstrate(SMALL, False, Screen(Console(width=100))) == 0
    said = capsys.readouterr().out
    for words in (
        "both have what should have come of it",
        "shoal status on the laptop: synced, in the cloud",
        "shoal status on the desktop: synced, in the cloud",
        "shoal-tracker check: clean",
        "of what the desktop got came over the LAN",
        "once more with --no-lan",
        "0.0% of what the desktop got came over the LAN",
        "Where the bytes came from",
        "all is well",
    ):
        assert words in said
    assert_nothing_is_left(place)


@pytest.mark.slow
async def test_a_difference_is_one_line_and_leaves_nothing(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def compare_with_another(scenario: Scenario, what: str) -> None:
        (scenario.place / "original" / BIG_FILE).write_bytes(b"")
        await compare(scenario, what)

    compare = Scenario.compare
    monkeypatch.setattr(Scenario, "compare", compare_with_another)
    assert await demonstrate(SMALL, False, Screen(Console(width=100))) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("the demo failed: the laptop does not have what was put in; big.bin: size is 0 in the orig")
    assert_nothing_is_left(place)


@pytest.mark.slow
def test_an_interrupt_ends_everything(place: Path) -> None:
    command = [sys.executable, "-m", "bench.demo", "--files", "60", "--directories", "6", "--big", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(place)}) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "odd things" in line:  # all three programs run
                demo.send_signal(signal.SIGINT)
        assert demo.wait() == 128 + signal.SIGINT
    assert_nothing_is_left(place)
