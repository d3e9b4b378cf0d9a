"""The indexer, on the real disk and the simulated one: what LOCAL is after a look (design §7; laws 2, 13, 15)."""

import errno
import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio

from peer.ports import Descriptor
from peer.quiet import CLOSED, LONG, SMALL
from protocol.commits import DIRECTORY, FILE, SYMLINK
from protocol.errors import WrongRoot
from protocol.hashing import digest
from protocol.identifiers import MAX_FILE_SIZE
from protocol.manifests import MAX_MTIME_NS
from tests.peer.folders import RealHand, SyncFolder, sync_folder


@pytest.fixture(params=["linux", "simulated"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder(request.param, tmp_path) as opened:
        yield opened


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("simulated", tmp_path) as opened:
        yield opened


@pytest.fixture
def linux(tmp_path: Path) -> Iterator[SyncFolder]:
    with sync_folder("linux", tmp_path) as opened:
        yield opened


async def filled(folder: SyncFolder) -> SyncFolder:
    """d/e/f, d/g, h and an empty directory; known, and all files read."""
    for path in ("d", "d/e", "empty"):
        folder.hand.mkdir(path)
    for path in ("d/e/f", "d/g", "h"):
        folder.hand.write(path, f"content of {path}".encode())
    await folder.indexer.scan_everything()
    folder.now_read()
    return folder


ALL = {"d", "d/e", "d/e/f", "d/g", "h", "empty"}

# What appears, changes and goes --------------------


async def test_what_is_new(folder: SyncFolder) -> None:
    folder.hand.mkdir("d")
    folder.hand.write("d/f", b"content")
    folder.hand.chmod("d/f", 0o700)
    folder.hand.link_to("anywhere/at all", "link")
    await folder.indexer.scan_everything()
    assert folder.paths() == {"d", "d/f", "link"}
    assert [folder.row(path).kind for path in ("d", "d/f", "link")] == [DIRECTORY, FILE, SYMLINK]
    row, link = folder.row("d/f"), folder.row("link")
    assert row.content is None  # until it is read
    assert (row.print.size, row.print.mode) == (7, 0o700)
    assert link.content is not None
    assert link.content.digest == digest(b"anywhere/at all")
    assert link.content.mtime_ns == link.print.mtime_ns
    assert folder.dirty() == {folder.node(path) for path in folder.paths()}
    assert folder.problems() == {}


async def test_a_new_file_is_read_once_it_is_quiet(folder: SyncFolder, autojump_clock: object) -> None:
    folder.hand.write("f", b"content")
    await folder.indexer.scan_everything()
    now = trio.current_time()
    assert folder.context.quiet.due(folder.node("f"), now) > 0


async def test_a_large_file_is_read_soon_after_it_was_closed(folder: SyncFolder, autojump_clock: object) -> None:
    """Whether the look that this leads to is the first at it or finds it as it was."""
    now, quiet = trio.current_time(), folder.context.quiet
    folder.hand.write("f", bytes(SMALL + 1))
    folder.hand.mkdir("d")
    folder.hand.write("d/f", bytes(SMALL + 1))
    quiet.closed(("d",), "f")
    await folder.indexer.scan([()])
    assert [quiet.due(folder.node(path), now) for path in ("f", "d/f")] == pytest.approx([LONG, CLOSED])
    quiet.closed((), "f")
    await folder.indexer.scan([()])
    assert quiet.due(folder.node("f"), now) == pytest.approx(CLOSED)


async def test_nothing_changed(folder: SyncFolder) -> None:
    await filled(folder)
    await folder.indexer.scan_everything()
    await folder.indexer.scan([(), ("d",), ("d", "e")])
    assert folder.paths() == ALL
    assert folder.dirty() == set()


@pytest.mark.parametrize("how", ["write", "append", "save"])
async def test_an_edit_keeps_the_node(folder: SyncFolder, how: str) -> None:
    """Also one that writes another file and renames it over."""
    await filled(folder)
    node = folder.node("d/g")
    getattr(folder.hand, how)("d/g", b"and now something longer")
    await folder.indexer.scan([("d",)])
    assert folder.node("d/g") == node
    assert folder.row("d/g").content is None
    assert folder.dirty() == {node}
    assert folder.paths() == ALL


@pytest.mark.parametrize("change", ["chmod", "touch"])
async def test_attributes(folder: SyncFolder, change: str) -> None:
    await filled(folder)
    node = folder.node("h")
    if change == "chmod":
        folder.hand.chmod("h", 0o600)
    else:
        folder.hand.touch("h", 5_000_000_123)
    await folder.indexer.scan_everything()
    assert folder.dirty() == {node}
    assert folder.row("h").print.mode == (0o600 if change == "chmod" else 0o644)
    assert (folder.row("h").print.mtime_ns == 5_000_000_123) == (change == "touch")


async def test_a_changed_symlink_is_known_at_once(folder: SyncFolder) -> None:
    folder.hand.link_to("one", "link")
    await folder.indexer.scan_everything()
    node = folder.node("link")
    folder.hand.remove("link")
    folder.hand.link_to("other", "link")
    await folder.indexer.scan_everything()
    content = folder.row("link").content
    assert content is not None
    assert content.digest == digest(b"other")
    assert folder.node("link") == node


async def test_gone(folder: SyncFolder) -> None:
    await filled(folder)
    file, inside, directory = folder.node("h"), folder.node("d/e/f"), folder.node("d")
    assert folder.indexer.vanished_at == float("-inf")
    folder.hand.remove("h")
    folder.hand.remove("d")
    await folder.indexer.scan([()])
    assert folder.paths() == {"empty"}
    assert {file, inside, directory} <= folder.dirty()
    assert folder.indexer.vanished_at > float("-inf")


async def test_what_comes_back_under_its_name_is_the_same_node(folder: SyncFolder) -> None:
    await filled(folder)
    node = folder.node("h")
    folder.hand.remove("h")
    await folder.indexer.scan_everything()
    folder.hand.write("h", b"something quite different")
    await folder.indexer.scan_everything()
    assert folder.node("h") == node


async def test_what_comes_back_with_another_inode_is_the_same_node(simulated: SyncFolder) -> None:
    """Which one a real file system takes depends on who else makes files."""
    await filled(simulated)
    node, inode = simulated.node("h"), simulated.row("h").print.inode
    simulated.hand.remove("h")
    await simulated.indexer.scan_everything()
    for name in ("i", "h"):  # the first of them gets the inode that is free
        simulated.hand.write(name, b"something quite different")
    await simulated.indexer.scan_everything()
    assert simulated.row("h").print.inode != inode
    assert simulated.node("h") == node


async def test_a_new_file_with_an_old_inode_number_is_a_new_node(simulated: SyncFolder) -> None:
    """File systems use inode numbers again."""
    await filled(simulated)
    node, inode = simulated.node("h"), simulated.row("h").print.inode
    simulated.hand.remove("h")
    simulated.hand.write("i", b"longer than before, or later")
    await simulated.indexer.scan_everything()
    assert simulated.row("i").print.inode == inode
    assert simulated.node("i") != node


@pytest.mark.parametrize("to", ["directory", "symlink", "file"])
async def test_another_kind_is_another_node(folder: SyncFolder, to: str) -> None:
    await filled(folder)
    path = "d" if to == "file" else "h"
    node = folder.node(path)
    folder.hand.remove(path)
    if to == "directory":
        folder.hand.mkdir("h")
        folder.hand.write("h/inside", b"")
    elif to == "symlink":
        folder.hand.link_to("d/g", "h")
    else:
        folder.hand.write("d", b"a file now")
    await folder.indexer.scan_everything()
    expected = {"directory": ALL | {"h/inside"}, "symlink": ALL, "file": {"d", "h", "empty"}}[to]
    assert folder.paths() == expected
    assert folder.node(path) != node
    assert folder.row(path).kind == {"directory": DIRECTORY, "symlink": SYMLINK, "file": FILE}[to]
    assert node in folder.dirty()


# Moves --------------------


@pytest.mark.parametrize("looked_at", [[("d",)], [("d", "e")], [("d",), ("d", "e")], None])
async def test_a_moved_file_keeps_its_node(folder: SyncFolder, looked_at: list[tuple[str, ...]] | None) -> None:
    """Whichever of the two folders is looked at first."""
    await filled(folder)
    node = folder.node("d/g")
    folder.hand.move("d/g", "d/e/g2")
    if looked_at is None:
        await folder.indexer.scan_everything()
    else:
        await folder.indexer.scan(looked_at)
        await folder.indexer.scan([("d",), ("d", "e")])
    assert folder.node("d/e/g2") == node
    assert folder.paths() == ALL - {"d/g"} | {"d/e/g2"}


async def test_a_renamed_file_keeps_its_node(folder: SyncFolder) -> None:
    await filled(folder)
    node = folder.node("h")
    folder.hand.move("h", "A")
    await folder.indexer.scan([()])
    assert folder.node("A") == node
    assert folder.paths() == ALL - {"h"} | {"A"}


@pytest.mark.parametrize("deep", [True, False])
async def test_a_moved_directory_keeps_all_nodes_and_is_not_read_again(folder: SyncFolder, deep: bool) -> None:
    await filled(folder)
    nodes = {path: folder.node(path) for path in ("d", "d/e", "d/e/f", "d/g")}
    rows = {path: folder.row(path) for path in ("d/e/f", "d/g")}
    folder.hand.move("d", "empty/D")
    if deep:
        await folder.indexer.scan_everything()
    else:
        await folder.indexer.scan([("empty",)])
    assert {path: folder.node(f"empty/D{path[1:]}") for path in nodes} == nodes
    assert {path: folder.row(f"empty/D{path[1:]}") for path in rows} == rows
    assert folder.dirty() == {nodes["d"]}
    assert folder.paths() == {"empty", "h", "empty/D", "empty/D/e", "empty/D/e/f", "empty/D/g"}


async def test_a_directory_moved_while_nobody_looked_at_where_it_went(folder: SyncFolder) -> None:
    await filled(folder)
    nodes = {path: folder.node(path) for path in ("d", "d/e", "d/e/f", "d/g")}
    folder.hand.move("d", "empty/D")
    await folder.indexer.scan([()])
    assert folder.paths() == {"empty", "h"}
    await folder.indexer.scan([("empty",)])
    assert {path: folder.node(f"empty/D{path[1:]}") for path in nodes} == nodes


async def test_moved_and_edited_is_two_things(folder: SyncFolder) -> None:
    """Nobody can tell that the content came from there."""
    await filled(folder)
    node = folder.node("h")
    folder.hand.move("h", "i")
    folder.hand.write("i", b"something quite different")
    await folder.indexer.scan_everything()
    assert folder.node("i") != node


async def test_hard_links_are_two_nodes(folder: SyncFolder) -> None:
    await filled(folder)
    node = folder.node("h")
    folder.hand.hard_link("h", "A")
    folder.hand.hard_link("h", "d/h")
    await folder.indexer.scan_everything()
    nodes = [folder.node(path) for path in ("h", "A", "d/h")]
    assert nodes[0] == node
    assert len(set(nodes)) == 3
    folder.now_read()
    await folder.indexer.scan_everything()
    assert [folder.node(path) for path in ("h", "A", "d/h")] == nodes
    assert folder.dirty() == set()


async def test_hard_links_are_seen_when_only_one_folder_is_looked_at(folder: SyncFolder) -> None:
    await filled(folder)
    node = folder.node("h")
    folder.hand.hard_link("h", "d/h")
    await folder.indexer.scan([("d",)])
    assert folder.node("h") == node
    assert folder.node("d/h") != node


@pytest.mark.parametrize("backup", ["h~", "#h"])
async def test_a_save_that_keeps_the_old_file_as_a_backup(folder: SyncFolder, backup: str) -> None:
    """The name keeps the node, wherever the backup's name comes in the order."""
    await filled(folder)
    node = folder.node("h")
    folder.hand.move("h", backup)
    folder.hand.write("h", b"the new text")
    await folder.indexer.scan([()])
    assert folder.paths() == ALL | {backup}
    assert folder.node("h") == node
    assert folder.node(backup) != node
    folder.now_read()
    await folder.indexer.scan_everything()
    assert folder.dirty() == set()


@pytest.mark.parametrize("names", [("h", "d/g"), ("d/g", "d/e/f"), ("h", "d/g", "d/e/f"), ("d/e/f", "h", "d/g")])
async def test_files_that_change_names_keep_their_nodes(folder: SyncFolder, names: tuple[str, ...]) -> None:
    """Found by a scenario: each was taken for the other, saved anew."""
    await filled(folder)
    nodes = [folder.node(name) for name in names]
    folder.hand.move(names[0], "between")
    for name, following in pairwise(names):
        folder.hand.move(following, name)
    folder.hand.move("between", names[-1])
    await folder.indexer.scan_everything()
    assert folder.paths() == ALL
    assert [folder.node(name) for name in names] == [*nodes[1:], nodes[0]]
    folder.now_read()
    await folder.indexer.scan_everything()
    assert folder.dirty() == set()


async def test_folders_that_change_names_keep_all_nodes(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.mkdir("i")
    folder.hand.mkdir("i/e")
    folder.hand.write("i/e/j", b"in the other")
    await folder.indexer.scan_everything()
    folder.now_read()
    nodes = {path: folder.node(path) for path in ("d", "d/e", "d/e/f", "i", "i/e", "i/e/j")}
    folder.hand.move("d", "between")
    folder.hand.move("i", "d")
    folder.hand.move("between", "i")
    await folder.indexer.scan([()])
    assert folder.paths() == {"i", "i/e", "i/e/f", "i/g", "d", "d/e", "d/e/j", "h", "empty"}
    exchanged = {path: folder.node({"d": "i", "i": "d"}[path[0]] + path[1:]) for path in nodes}
    assert exchanged == nodes


async def test_folders_made_anew_with_each_others_inodes_have_not_changed_names(simulated: SyncFolder) -> None:
    await filled(simulated)
    simulated.hand.mkdir("empty/inside")
    await simulated.indexer.scan_everything()
    nodes = {path: simulated.node(path) for path in ("d", "empty")}
    inodes = {path: simulated.row(path).print.inode for path in nodes}
    simulated.hand.remove("d")
    simulated.hand.remove("empty")
    for number in range(10):  # the lowest number is the next
        simulated.hand.mkdir(f"{number}")
    by_inode = {simulated.simulated.user.find(f"folder/{number}").number: f"{number}" for number in range(10)}
    simulated.hand.move(by_inode[inodes["d"]], "empty")
    simulated.hand.move(by_inode[inodes["empty"]], "d")
    await simulated.indexer.scan_everything()
    assert {path: simulated.node(path) for path in nodes} == nodes


async def test_a_file_moved_over_another_is_the_other_saved_anew(folder: SyncFolder) -> None:
    await filled(folder)
    node = folder.node("d/g")
    folder.hand.move("h", "d/g")
    await folder.indexer.scan_everything()
    assert folder.node("d/g") == node
    assert folder.paths() == ALL - {"h"}


@pytest.mark.parametrize("deep", [True, False])
async def test_moved_out_of_a_folder_that_is_no_longer_there(folder: SyncFolder, deep: bool) -> None:
    """Found by a scenario: as nobody could look into the folder, what had been in it was taken for new."""
    await filled(folder)
    node, inner = folder.node("d/g"), folder.node("d/e/f")
    folder.hand.move("d/g", "A")
    folder.hand.move("d/e/f", "empty/f")
    folder.hand.remove("d")
    if deep:
        await folder.indexer.scan_everything()
    else:
        await folder.indexer.scan([(), ("empty",)])
    assert folder.paths() == {"A", "empty", "empty/f", "h"}
    assert (folder.node("A"), folder.node("empty/f")) == (node, inner)


async def test_a_file_and_a_directory_change_names(folder: SyncFolder) -> None:
    """Found by the simulation: the file was found under the directory's name, and then given up under its own."""
    await filled(folder)
    file, directory = folder.node("h"), folder.node("d")
    folder.hand.move("h", "x")
    folder.hand.move("d", "h")
    folder.hand.move("x", "d")
    await folder.indexer.scan([()])
    assert (folder.node("d"), folder.node("h")) == (file, directory)
    assert folder.paths() == {"d", "h", "h/e", "h/e/f", "h/g", "empty"}


# What can't be seen is not gone --------------------


def refuse(folder: SyncFolder, call: str, path: str, code: int) -> None:
    """From now on that system call fails for one path."""
    disk = folder.simulated
    above, _, name = f"folder/{path}".rstrip("/").rpartition("/")
    parent, opened = disk.user.find(above), disk.user.find(f"folder/{path}")

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method == call and _meant(folder, arguments, parent if call == "stat" else opened, name):
            raise OSError(code, os.strerror(code))

    disk.before_call = before


def _meant(folder: SyncFolder, arguments: tuple[Any, ...], inode: object, name: str) -> bool:
    directory: Descriptor = arguments[0]
    found = folder.simulated._open[directory][0]
    return found is inode and (len(arguments) == 1 or arguments[1] == name)


@pytest.mark.parametrize("code", [errno.EIO, errno.EACCES, errno.ESTALE])
async def test_an_unreadable_directory(simulated: SyncFolder, code: int) -> None:
    await filled(simulated)
    refuse(simulated, "scan", "d", code)
    simulated.hand.remove("h")
    await simulated.indexer.scan_everything()
    assert simulated.paths() == ALL - {"h"}  # law 15: the rest is looked at as ever
    assert "the folder can't be listed" in simulated.problems()["d"]
    simulated.simulated.before_call = None
    await simulated.indexer.scan_everything()
    assert simulated.paths() == ALL - {"h"}
    assert simulated.problems() == {}


async def test_an_unreadable_directory_that_went_with_the_one_above(simulated: SyncFolder) -> None:
    """Found by the simulation: it stayed a problem, and was looked for every minute."""
    await filled(simulated)
    refuse(simulated, "scan", "d/e", errno.EIO)
    await simulated.indexer.scan_everything()
    assert simulated.indexer.unlisted == {("d", "e")}
    simulated.hand.remove("d")
    await simulated.indexer.scan([()])
    assert simulated.indexer.unlisted == set()
    assert simulated.problems() == {}


async def test_an_entry_that_can_not_be_looked_at(simulated: SyncFolder) -> None:
    await filled(simulated)
    refuse(simulated, "stat", "d/e", errno.ENOTCONN)  # as a mount whose other end is away
    simulated.hand.write("d/new", b"new")
    simulated.hand.remove("d/g")
    await simulated.indexer.scan_everything()
    assert simulated.paths() == ALL - {"d/g"} | {"d/new"}  # law 15: what is beside it is looked at as ever
    assert "it can't be looked at" in simulated.problems()["d/e"]
    assert simulated.indexer.unseen == {("d", "e")}
    simulated.simulated.before_call = None
    await simulated.indexer.scan([("d",)])
    assert simulated.paths() == ALL - {"d/g"} | {"d/new"}
    assert simulated.problems() == {}
    assert simulated.indexer.unseen == set()


async def test_a_folder_in_which_nothing_can_be_looked_at(simulated: SyncFolder) -> None:
    await filled(simulated)
    refuse(simulated, "stat", "d/e/f", errno.EACCES)  # all there is in it: the folder itself can't be entered
    await simulated.indexer.scan_everything()
    assert simulated.paths() == ALL
    assert "the folder can't be listed" in simulated.problems()["d/e"]


async def test_a_folder_that_can_not_be_listed_at_all(simulated: SyncFolder) -> None:
    await filled(simulated)
    refuse(simulated, "scan", "", errno.EIO)
    with pytest.raises(WrongRoot, match="can't be listed"):
        await simulated.indexer.scan_everything()
    assert simulated.paths() == ALL
    assert simulated.dirty() == set()


async def test_a_directory_that_goes_between_two_calls(simulated: SyncFolder) -> None:
    """It was listed in its parent, but can't be opened any more."""
    await filled(simulated)

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "open_directory" and arguments[1] == "d":
            simulated.simulated.before_call = None
            simulated.hand.remove("d")

    simulated.simulated.before_call = before
    await simulated.indexer.scan_everything()
    await simulated.indexer.scan_everything()
    assert simulated.paths() == {"h", "empty"}
    assert simulated.problems() == {}


async def test_a_directory_that_a_file_replaces_between_two_looks(simulated: SyncFolder) -> None:
    """Found by the simulation: what had been in it was taken for what is in the file, and never missed."""
    await filled(simulated)
    simulated.hand.move("h", "d/h")  # so that after "d" the folder above is looked at too
    scans = list[Any]()

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method == "scan":
            scans.append(arguments)
            if len(scans) == 2:
                simulated.hand.remove("d")
                simulated.hand.write("d", b"a file")

    simulated.simulated.before_call = before
    await simulated.indexer.scan([("d",)])
    assert len(scans) == 2
    assert simulated.paths() == {"d", "empty"}
    assert simulated.row("d").kind == FILE


async def test_a_file_system_mounted_inside(simulated: SyncFolder) -> None:
    """What the mount hides is not gone, what is in it is not ours."""
    await filled(simulated)
    disk = simulated.simulated

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        disk.device = 77 if method == "stat" and arguments[1] == "d" else 2049

    disk.before_call = before
    simulated.hand.remove("d")
    simulated.hand.mkdir("d")
    simulated.hand.write("d/on the other disk", b"")
    await simulated.indexer.scan_everything()
    assert simulated.paths() == ALL
    assert simulated.problems() == {"d": "another file system is mounted here"}


async def test_a_directory_that_became_a_symlink(folder: SyncFolder) -> None:
    """It is not looked through."""
    await filled(folder)
    folder.hand.move("d", "elsewhere")
    folder.hand.link_to("elsewhere", "d")
    await folder.indexer.scan([("d",), ("d", "e"), ()])
    assert folder.row("d").kind == SYMLINK
    assert {path for path in folder.paths() if path.startswith("d/")} == set()
    assert "elsewhere/e/f" in folder.paths()


@pytest.mark.parametrize("damage", ["gone", "of another folder", "root gone", "root replaced"])
async def test_the_marker(folder: SyncFolder, damage: str, tmp_path: Path) -> None:
    """A folder without its marker says nothing about what is gone (law 2)."""
    await filled(folder)
    path = folder.context.root.path
    if damage == "gone":
        folder.hand.remove(".shoal/root")
    elif damage == "of another folder":
        folder.hand.write(".shoal/root", folder.hand.read(".shoal/root").replace(folder.context.root.id, bytes(16)))
    else:
        _rename_root(folder, path)
        if damage == "root replaced":
            folder.disk.make_root(path)
    for look in (folder.indexer.scan_everything, lambda: folder.indexer.scan([(), ("d",)])):
        with pytest.raises(WrongRoot):
            await look()
    assert folder.paths() == ALL
    assert folder.dirty() == set()


def _rename_root(folder: SyncFolder, path: str) -> None:
    if isinstance(folder.hand, RealHand):
        folder.hand.root.rename(f"{path} moved away")
    else:
        folder.simulated.user.move(path, f"{path} moved away")


# What isn't synced --------------------


async def test_a_pipe(folder: SyncFolder) -> None:
    folder.hand.mkfifo("pipe")
    await folder.indexer.scan_everything()
    assert folder.paths() == set()
    assert folder.problems() == {"pipe": "a socket, pipe or device"}
    folder.hand.remove("pipe")
    await folder.indexer.scan_everything()
    assert folder.problems() == {}


async def test_a_file_that_becomes_a_pipe_is_gone(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.remove("h")
    folder.hand.mkfifo("h")
    await folder.indexer.scan_everything()
    assert folder.paths() == ALL - {"h"}


async def test_a_name_that_is_not_utf8(folder: SyncFolder) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    folder.hand.write(name, b"")
    folder.hand.mkdir("d")
    folder.hand.mkdir(f"d/{name}")
    folder.hand.write(f"d/{name}/inside", b"")
    await folder.indexer.scan_everything()
    assert folder.paths() == {"d"}
    assert folder.problems()["caf\\xe9"] == folder.problems()["d/caf\\xe9"] == "its name is not valid UTF-8"
    await folder.indexer.scan([("d", name), ("d", name, "deeper")])  # as events from in there would have it
    assert folder.paths() == {"d"}


@pytest.mark.parametrize("name", ["ü" * 127, "NFC ü", "NFD ü", "a\nb", "\u202e", "CON", "trailing ", "\\", "-rf *"])
async def test_odd_names(folder: SyncFolder, name: str) -> None:
    folder.hand.write(name, b"")
    await folder.indexer.scan_everything()
    assert folder.paths() == {name}
    assert folder.problems() == {}


async def test_names_that_differ_in_case_or_composition_are_two(folder: SyncFolder) -> None:
    names = {"ü", "A", "a"}
    for name in names:
        folder.hand.write(name, b"")
    await folder.indexer.scan_everything()
    assert folder.paths() == names


async def test_a_symlink_whose_text_is_not_utf8(folder: SyncFolder) -> None:
    folder.hand.link_to(b"\xff".decode("utf-8", "surrogateescape"), "link")
    await folder.indexer.scan_everything()
    assert folder.paths() == set()
    assert folder.problems() == {"link": "a symlink whose text is not valid UTF-8"}


async def test_a_file_that_is_too_large(linux: SyncFolder, tmp_path: Path) -> None:
    path = tmp_path / "folder" / "large"
    path.touch()
    os.truncate(path, MAX_FILE_SIZE + 1)
    await linux.indexer.scan_everything()
    node = linux.node("large")
    assert linux.row("large").blocked
    assert linux.problems() == {"large": "larger than 1 GiB"}
    assert linux.store.all_unread_files() == []
    await linux.indexer.scan_everything()
    assert linux.problems() == {"large": "larger than 1 GiB"}
    os.truncate(path, MAX_FILE_SIZE)
    await linux.indexer.scan_everything()
    assert not linux.row("large").blocked
    assert linux.problems() == {}
    assert linux.store.all_unread_files() == [node]


async def test_times_that_can_not_be_kept(folder: SyncFolder) -> None:
    """Disks know the year 2400 and beyond; SQLite ends with 2262, a manifest with 2116."""
    await filled(folder)
    folder.hand.write("new", b"")
    for path, mtime_ns in (("h", 1 << 63), ("new", MAX_MTIME_NS + 1), ("d", 1 << 63), ("d/g", MAX_MTIME_NS)):
        folder.hand.touch(path, mtime_ns)
    await folder.indexer.scan_everything()
    assert folder.paths() == ALL
    assert folder.problems() == dict.fromkeys(("h", "new"), "its modification time is before 1824 or after 2116")
    assert folder.row("d/g").print.mtime_ns == MAX_MTIME_NS
    for path in ("h", "new"):
        folder.hand.touch(path, 1)
    await folder.indexer.scan_everything()
    assert folder.paths() == ALL | {"new"}
    assert folder.problems() == {}


async def test_shoals_own_folder(folder: SyncFolder) -> None:
    """At the top, and only there."""
    folder.hand.write(".shoal/temp/half", b"")
    folder.hand.mkdir("d")
    folder.hand.mkdir("d/.shoal")
    folder.hand.write("d/.shoal/root", b"")
    folder.hand.write(".shoalignore", b"")
    await folder.indexer.scan_everything()
    assert folder.paths() == {"d", "d/.shoal", "d/.shoal/root", ".shoalignore"}


# Where to look --------------------


async def test_new_directories_are_told_for_a_second_look(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.mkdir("d/new")
    folder.hand.mkdir("d/new/inside")
    assert await folder.indexer.scan([("d",)]) == {("d", "new"), ("d", "new", "inside")}
    folder.hand.write("d/new/inside/late", b"")
    assert await folder.indexer.scan([("d", "new", "inside")]) == set()
    assert "d/new/inside/late" in folder.paths()


async def test_a_look_at_some_directories_says_nothing_of_others(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.remove("h")
    folder.hand.remove("d/g")
    await folder.indexer.scan([("d",)])
    assert folder.paths() == ALL - {"d/g"}


async def test_a_directory_that_is_no_longer_there_is_looked_for_above(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.remove("d")
    await folder.indexer.scan([("d", "e")])
    assert folder.paths() == {"h", "empty"}


async def test_a_directory_nobody_knows_yet(folder: SyncFolder) -> None:
    """An event may come from inside a folder before the folder itself was seen."""
    folder.hand.mkdir("new")
    folder.hand.mkdir("new/inside")
    folder.hand.write("new/inside/f", b"")
    await folder.indexer.scan([("new", "inside")])
    await folder.indexer.scan([()])
    assert folder.paths() == {"new", "new/inside", "new/inside/f"}


# Names that events have told of --------------------


@pytest.mark.parametrize("change", ["nothing", "write", "save", "new", "gone", "chmod", "touch", "mkdir", "not a file"])
async def test_whether_names_are_as_known(folder: SyncFolder, change: str) -> None:
    """`unlike` finds whatever a look would find, but not what is the same."""
    await filled(folder)
    name = "g"
    match change:
        case "write" | "save":
            getattr(folder.hand, change)("d/g", b"and now something longer")
        case "new":
            name = "new"
            folder.hand.write("d/new", b"content")
        case "gone":
            folder.hand.remove("d/g")
        case "chmod":
            folder.hand.chmod("d/g", 0o600)
        case "touch":
            folder.hand.touch("d/g", 5_000_000_123)
        case "mkdir":
            name = "new"
            folder.hand.mkdir("d/new")
        case "not a file":
            name = "e"
    changed = {("d",): {name, "was never there"}, (): {"h"}}
    assert await folder.indexer.unlike(changed) == (set() if change == "nothing" else {("d",)})
    assert folder.dirty() == set()


async def test_a_directory_that_is_not_known_is_unlike(folder: SyncFolder) -> None:
    await filled(folder)
    folder.hand.move("d", "moved")
    changed: dict[tuple[str, ...], set[str]] = {("moved",): {"g"}, ("d",): {"g"}, ("no", "\udcff"): {"f"}}
    assert await folder.indexer.unlike(changed) == set(changed)


async def test_a_folder_that_is_made_with_the_inode_of_one_that_was_removed_is_another(folder: SyncFolder) -> None:
    """File systems give an inode to the next that is made."""
    folder.hand.mkdir("photos")
    folder.hand.write("photos/one", b"one")
    await folder.indexer.scan_everything()
    photos, one = folder.node("photos"), folder.node("photos/one")
    folder.hand.remove("photos/one")
    folder.hand.remove("photos")
    folder.hand.mkdir("unrelated")
    folder.hand.write("unrelated/two", b"two")
    await folder.indexer.scan_everything()
    assert folder.node("unrelated") != photos
    assert folder.node("unrelated/two") != one


async def test_an_empty_folder_that_is_moved_is_recognised(folder: SyncFolder) -> None:
    folder.hand.mkdir("empty")
    await folder.indexer.scan_everything()
    node = folder.node("empty")
    folder.hand.move("empty", "moved")
    await folder.indexer.scan_everything()
    assert folder.node("moved") == node
