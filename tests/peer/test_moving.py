"""Moving the sync folder: one rename, and after a crash one of the two places."""

import errno
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from peer.database import Database, open_database
from peer.moving import FOLDER_SETTING, MOVING_SETTING, ROOT_SETTING, chosen_folder, move_folder, settle
from peer.ports import Disk
from peer.root import SyncRoot, claim_root, open_folder
from peer.system.disk import LinuxDisk
from protocol.errors import Problem, Usage, WrongRoot
from tests.simulation.disk import SimulatedDisk

HOME = "/home/shoal"


class Crashed(BaseException):
    pass


def chosen(disk: Disk, folder: str) -> Database:
    """The database of a home that syncs `folder`."""
    database = open_database(":memory:")
    root = claim_root(disk, folder, HOME, None, Random(1).randbytes)
    database.set_setting(FOLDER_SETTING, folder.encode())
    database.set_setting(ROOT_SETTING, root.id)
    return database


def simulated() -> SimulatedDisk:
    disk = SimulatedDisk(count(1).__next__, Random(1))
    for path in ("/a", "/b"):
        disk.user.mkdir(path)
    return disk


def opens(disk: Disk, database: Database, path: str) -> bool:
    try:
        with open_folder(disk, SyncRoot(path, database.get_setting(ROOT_SETTING) or b"")):
            return True
    except WrongRoot:
        return False


@pytest.mark.parametrize("kind", ["linux", "simulated"])
def test_a_folder_moves_with_all_that_is_in_it(kind: str, tmp_path: Path) -> None:
    disk: Disk
    if kind == "linux":
        (tmp_path / "b").mkdir()
        disk, old, new = LinuxDisk(), str(tmp_path / "old"), str(tmp_path / "b" / "new")
    else:
        disk, old, new = simulated(), "/a/old", "/b/new"
    database = chosen(disk, old)
    move_folder(disk, database, HOME, new)
    assert chosen_folder(database) == new
    assert database.get_setting(MOVING_SETTING) is None
    assert (opens(disk, database, old), opens(disk, database, new)) == (False, True)


def test_a_crash_anywhere_leaves_one_place_and_the_next_start_knows_it() -> None:
    ends = set()
    for after in range(60):
        disk = simulated()
        database = chosen(disk, "/a/old")
        calls = count()

        def crash(_: str, __: object, calls: Any = calls, after: int = after) -> None:
            if next(calls) >= after:
                raise Crashed

        disk.before_call = crash
        try:
            move_folder(disk, database, HOME, "/b/new")
        except Crashed:
            pass
        else:
            ends.add("done")
        disk.before_call = None
        disk.close_all()
        settle(disk, database)
        place = chosen_folder(database)
        assert place is not None
        ends.add(place)
        assert database.get_setting(MOVING_SETTING) is None
        assert opens(disk, database, place)
        assert not opens(disk, database, {"/a/old": "/b/new", "/b/new": "/a/old"}[place])
    assert ends == {"/a/old", "/b/new", "done"}


def test_while_neither_place_is_there_the_move_stays_open() -> None:
    disk = simulated()
    database = chosen(disk, "/a/old")
    database.set_setting(MOVING_SETTING, b"/b/new")
    disk.user.move("/a/old", "/b/hidden")
    settle(disk, database)
    assert chosen_folder(database) == "/a/old"
    disk.user.move("/b/hidden", "/b/new")
    settle(disk, database)
    assert chosen_folder(database) == "/b/new"


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("/a/old", "is at /a/old already"),
        ("/a/old/in", "is in the folder itself"),
        ("/b", "something at /b already"),
        ("/nowhere/new", "can't be moved to /nowhere/new: no such file"),
        ("/b/other/in/new", "is inside /b/other, which is synced already"),
    ],
)
def test_what_can_not_be(new: str, reason: str) -> None:
    disk = simulated()
    claim_root(disk, "/b/other", "/another/home", None, Random(2).randbytes)
    disk.user.mkdir("/b/other/in")
    database = chosen(disk, "/a/old")
    with pytest.raises((Usage, Problem), match=reason):
        move_folder(disk, database, HOME, new)
    assert chosen_folder(database) == "/a/old"
    assert database.get_setting(MOVING_SETTING) is None
    assert opens(disk, database, "/a/old")


def test_a_home_in_the_folder_keeps_it_where_it_is() -> None:
    disk = simulated()
    with pytest.raises(Usage, match="would move with it"):
        move_folder(disk, chosen(disk, "/a/old"), "/a/old/home", "/b/new")


def test_a_home_without_a_folder_has_none_to_move() -> None:
    with pytest.raises(Usage, match="syncs no folder yet"):
        move_folder(simulated(), open_database(":memory:"), HOME, "/b/new")


def test_a_symlink_to_the_folder_is_not_what_moves(tmp_path: Path) -> None:
    disk = LinuxDisk()
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    database = chosen(disk, str(tmp_path / "link"))
    with pytest.raises(Usage, match="is a symlink"):
        move_folder(disk, database, HOME, str(tmp_path / "new"))
    assert opens(disk, database, str(tmp_path / "link"))


def refusing(code: int) -> Callable[[str, object], None]:
    def before(method: str, _: object) -> None:
        if method == "rename":
            raise OSError(code, os.strerror(code))

    return before


def test_another_file_system_is_refused_with_what_to_do() -> None:
    disk = simulated()
    database = chosen(disk, "/a/old")
    disk.before_call = refusing(errno.EXDEV)
    with pytest.raises(Problem, match=r"another file system.*mv /a/old /b/new.*shoal move /b/new"):
        move_folder(disk, database, HOME, "/b/new")
    assert chosen_folder(database) == "/a/old"


def test_what_a_person_has_moved_is_taken_over_and_nothing_counts_as_deleted() -> None:
    disk = simulated()
    database = chosen(disk, "/a/old")
    database.run("INSERT INTO synced VALUES (?,?,?,?,?,?,?)", b"w", b"n", b"p", "name", 1, b"m", b"v")
    database.run("INSERT INTO remote VALUES (?,?,?,?,?,?,?,?)", b"w", b"n", b"p", "name", 1, b"m", b"v", b"v")
    disk.user.move("/a/old", "/b/new")
    move_folder(disk, database, HOME, "/b/new")
    assert chosen_folder(database) == "/b/new"
    assert database.rows("SELECT * FROM synced") == []
    assert database.rows("SELECT workspace, node FROM dirty") == [(b"w", b"n")]


def test_a_folder_that_is_missing_can_not_be_moved() -> None:
    disk = simulated()
    database = chosen(disk, "/a/old")
    disk.user.move("/a/old", "/b/elsewhere")
    with pytest.raises(WrongRoot, match="is not there"):
        move_folder(disk, database, HOME, "/b/new")
