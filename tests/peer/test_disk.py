"""What `peer.ports.Disk` promises, held against the real disk and the simulated one, and the two against each other.

CI runs as root, so nothing here depends on permission bits being enforced.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import peer.system.disk
from peer.ports import Descriptor, Disk, EntryKind
from peer.system.disk import LinuxDisk
from tests.peer.folders import Hand, RealHand, SimulatedHand
from tests.simulation.disk import SimulatedDisk

LONGEST = "ü" * 127 + "x"  # 255 bytes


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def simulated(**options: Any) -> SimulatedDisk:
    return SimulatedDisk(count(1_700_000_000_000_000_000).__next__, Random(7), **options)


def without_noreplace(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that knows no flags to rename."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, "flags")

    monkeypatch.setattr(peer.system.disk, "_renameat2", refuse)


@dataclass
class Folder:
    """A disk and an empty directory on it."""

    disk: Disk
    root: Descriptor
    hand: Hand
    """Somebody else's programs in it, which don't go through the port."""

    def put(self, name: str, data: bytes = b"", parent: Descriptor | None = None) -> None:
        descriptor = self.disk.create_file(self.root if parent is None else parent, name, 0o644)
        self.disk.write_at(descriptor, data, 0)
        self.disk.close(descriptor)

    def directory(self, name: str) -> Descriptor:
        self.disk.make_directory(self.root, name, 0o755)
        return self.disk.open_directory(self.root, name)

    def content(self, name: str, parent: Descriptor | None = None) -> bytes:
        descriptor = self.disk.open_file(self.root if parent is None else parent, name)
        try:
            return self.disk.read_at(descriptor, 1 << 20, 0)
        finally:
            self.disk.close(descriptor)

    def names(self) -> list[str]:
        return sorted(self.disk.scan(self.root))


@pytest.fixture(params=["linux", "linux without RENAME_NOREPLACE", "simulated"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Folder]:
    if request.param == "simulated":
        disk = simulated()
        disk.user.mkdir("folder")
        yield Folder(disk, disk.open_root("/folder"), SimulatedHand(disk))
        return
    if "without" in request.param:
        without_noreplace(monkeypatch)
    real = LinuxDisk()
    opened = set(os.listdir("/proc/self/fd"))
    yield Folder(real, real.open_root(str(tmp_path)), RealHand(tmp_path))
    for left in set(os.listdir("/proc/self/fd")) - opened:
        if os.path.islink(f"/proc/self/fd/{left}"):
            os.close(int(left))


@contextmanager
def fails(code: int) -> Iterator[None]:
    with pytest.raises(OSError, match=r".") as caught:
        yield
    assert errno.errorcode.get(caught.value.errno or 0) == errno.errorcode[code]


# Opening and closing


def test_a_missing_root(folder: Folder) -> None:
    with fails(errno.ENOENT):
        folder.disk.open_root("/surely not here")


def test_open_directory_takes_nothing_else(folder: Folder) -> None:
    folder.put("file")
    folder.directory("directory")
    folder.disk.make_symlink("directory", folder.root, "link")
    for name in ("file", "link"):
        with fails(errno.ENOTDIR):
            folder.disk.open_directory(folder.root, name)
    with fails(errno.ENOENT):
        folder.disk.open_directory(folder.root, "missing")


def test_open_file_follows_no_symlink(folder: Folder) -> None:
    folder.put("file", b"secret")
    folder.disk.make_symlink("file", folder.root, "link")
    folder.disk.make_symlink("missing", folder.root, "dangling")
    for name in ("link", "dangling"):
        with fails(errno.ELOOP):
            folder.disk.open_file(folder.root, name)
    with fails(errno.ENOENT):
        folder.disk.open_file(folder.root, "missing")


def test_a_file_is_no_parent(folder: Folder) -> None:
    folder.put("file")
    file = folder.disk.open_file(folder.root, "file")
    with fails(errno.ENOTDIR):
        folder.disk.stat(file, "below")
    with fails(errno.ENOTDIR):
        folder.disk.scan(file)


def test_a_directory_opened_as_a_file_can_not_be_read(folder: Folder) -> None:
    folder.directory("directory")
    descriptor = folder.disk.open_file(folder.root, "directory")
    assert folder.disk.stat_open(descriptor).kind is EntryKind.DIRECTORY
    with fails(errno.EISDIR):
        folder.disk.read_at(descriptor, 10, 0)
    with fails(errno.EISDIR):
        folder.disk.read_into(descriptor, memoryview(bytearray(10)), 0)


def test_create_file_replaces_nothing(folder: Folder) -> None:
    folder.put("file", b"old")
    folder.directory("directory")
    folder.disk.make_symlink("elsewhere", folder.root, "dangling")
    for name in ("file", "directory", "dangling"):
        with fails(errno.EEXIST):
            folder.disk.create_file(folder.root, name, 0o644)
    assert folder.content("file") == b"old"
    assert folder.names() == ["dangling", "directory", "file"]


def test_a_closed_descriptor(folder: Folder) -> None:
    descriptor = folder.disk.create_file(folder.root, "file", 0o644)
    folder.disk.close(descriptor)
    calls: list[Callable[[], object]] = [
        lambda: folder.disk.close(descriptor),
        lambda: folder.disk.read_at(descriptor, 1, 0),
        lambda: folder.disk.write_at(descriptor, b"x", 0),
        lambda: folder.disk.stat_open(descriptor),
        lambda: folder.disk.sync_file_system(descriptor),
        lambda: folder.disk.scan(descriptor),
    ]
    for call in calls:
        with fails(errno.EBADF):
            call()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "nul\0", "\ud800"])
def test_what_can_not_be_a_name(folder: Folder, name: str) -> None:
    folder.put("file")
    calls: list[Callable[[], object]] = [
        lambda: folder.disk.open_directory(folder.root, name),
        lambda: folder.disk.create_file(folder.root, name, 0o644),
        lambda: folder.disk.stat(folder.root, name),
        lambda: folder.disk.rename(folder.root, "file", folder.root, name),
        lambda: folder.disk.rename(folder.root, name, folder.root, "new"),
        lambda: folder.disk.unlink(folder.root, name),
        lambda: folder.disk.make_symlink("target", folder.root, name),
    ]
    for call in calls:
        with fails(errno.EINVAL):
            call()
    assert folder.names() == ["file"]


def test_names_have_255_bytes_at_most(folder: Folder) -> None:
    folder.put(LONGEST)
    assert folder.names() == [LONGEST]
    for call in (folder.disk.stat, folder.disk.open_file, folder.disk.unlink):
        with fails(errno.ENAMETOOLONG):
            call(folder.root, LONGEST + "x")
    with fails(errno.ENAMETOOLONG):
        folder.disk.create_file(folder.root, LONGEST + "x", 0o644)
    with fails(errno.ENAMETOOLONG):
        folder.disk.rename(folder.root, LONGEST, folder.root, LONGEST + "x")


def test_names_that_are_not_utf8(folder: Folder) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    folder.put(name, b"content")
    folder.disk.make_symlink(name, folder.root, "link")
    assert folder.names() == sorted([name, "link"])
    assert folder.content(name) == b"content"
    assert folder.disk.read_link(folder.root, "link") == name
    assert folder.disk.stat(folder.root, "link").size == 4


# Content


def test_reading_around_the_end(folder: Folder) -> None:
    folder.put("file", b"0123456789")
    descriptor = folder.disk.open_file(folder.root, "file")
    assert folder.disk.read_at(descriptor, 4, 2) == b"2345"
    assert folder.disk.read_at(descriptor, 100, 8) == b"89"
    assert folder.disk.read_at(descriptor, 100, 10) == b""
    assert folder.disk.read_at(descriptor, 100, 1000) == b""
    assert folder.disk.read_at(descriptor, 0, 0) == b""


def test_reading_into_a_buffer(folder: Folder) -> None:
    folder.put("file", b"0123456789")
    descriptor = folder.disk.open_file(folder.root, "file")
    buffer = bytearray(6)
    whole = memoryview(buffer)
    assert folder.disk.read_into(descriptor, whole[1:5], 2) == 4
    assert buffer == b"\0002345\0"
    assert folder.disk.read_into(descriptor, whole, 8) == 2
    assert buffer == b"89345\0"
    assert [folder.disk.read_into(descriptor, whole, at) for at in (10, 1000)] == [0, 0]
    assert folder.disk.read_into(descriptor, whole[:0], 0) == 0
    assert buffer == b"89345\0"


def test_writing_beyond_the_end_leaves_zeros(folder: Folder) -> None:
    descriptor = folder.disk.create_file(folder.root, "file", 0o600)
    folder.disk.write_at(descriptor, memoryview(b"tail"), 4)
    folder.disk.write_at(descriptor, b"", 100)
    folder.disk.write_at(descriptor, b"h", 0)
    assert folder.disk.read_at(descriptor, 100, 0) == b"h\0\0\0tail"
    assert folder.disk.stat_open(descriptor).size == 8


def test_open_file_is_for_reading(folder: Folder) -> None:
    folder.put("file", b"old")
    descriptor = folder.disk.open_file(folder.root, "file")
    with fails(errno.EBADF):
        folder.disk.write_at(descriptor, b"new", 0)


def test_syncing(folder: Folder) -> None:
    folder.put("file", b"content")
    folder.disk.fsync(folder.disk.open_file(folder.root, "file"))
    folder.disk.fsync(folder.root)
    folder.disk.sync_file_system(folder.root)


def test_descriptors_outlive_names(folder: Folder) -> None:
    inner = folder.directory("inner")
    descriptor = folder.disk.create_file(folder.root, "file", 0o644)
    folder.disk.rename(folder.root, "file", inner, "moved")
    folder.disk.write_at(descriptor, b"after the move", 0)
    assert folder.content("moved", inner) == b"after the move"
    folder.disk.unlink(inner, "moved")
    folder.disk.write_at(descriptor, b"AFTER", 0)
    assert folder.disk.read_at(descriptor, 100, 0) == b"AFTER the move"
    assert folder.disk.stat_open(descriptor).links == 0


def test_a_removed_directory_takes_nothing(folder: Folder) -> None:
    inner = folder.directory("inner")
    folder.put("file")
    folder.disk.remove_directory(folder.root, "inner")
    assert folder.disk.scan(inner) == []
    for call in (
        lambda: folder.disk.create_file(inner, "new", 0o644),
        lambda: folder.disk.rename(folder.root, "file", inner, "new"),
        lambda: folder.disk.stat(inner, "new"),
    ):
        with fails(errno.ENOENT):
            call()
    assert folder.names() == ["file"]


# Attributes


def test_stat_of_each_kind(folder: Folder) -> None:
    folder.put("file", b"12345")
    folder.directory("directory")
    folder.disk.make_symlink("where", folder.root, "link")
    stats = {name: folder.disk.stat(folder.root, name) for name in folder.names()}
    assert {name: found.kind.name for name, found in stats.items()} == {
        "directory": "DIRECTORY",
        "file": "FILE",
        "link": "SYMLINK",
    }
    assert (stats["file"].size, stats["file"].mode, stats["file"].links) == (5, 0o644, 1)
    assert (stats["link"].size, stats["link"].mode) == (5, 0o777)
    assert stats["directory"].mode == 0o755
    assert len({found.device for found in stats.values()}) == 1
    assert len({found.inode for found in stats.values()}) == 3


def test_stat_by_name_and_by_descriptor_agree(folder: Folder) -> None:
    folder.put("file", b"12345")
    descriptor = folder.disk.open_file(folder.root, "file")
    assert folder.disk.stat(folder.root, "file") == folder.disk.stat_open(descriptor)


def test_modes(folder: Folder) -> None:
    descriptor = folder.disk.create_file(folder.root, "file", 0o777)
    assert folder.disk.stat_open(descriptor).mode == 0o755
    folder.disk.set_mode(descriptor, 0o4711)
    assert folder.disk.stat(folder.root, "file").mode == 0o4711


def test_times(folder: Folder) -> None:
    descriptor = folder.disk.create_file(folder.root, "file", 0o644)
    folder.disk.make_symlink("where", folder.root, "link")
    folder.disk.set_times(descriptor, 1_234_567_890_123_456_789)
    folder.disk.set_link_times(folder.root, "link", 987_654_321)
    assert folder.disk.stat(folder.root, "file").mtime_ns == 1_234_567_890_123_456_789
    assert folder.disk.stat(folder.root, "link").mtime_ns == 987_654_321
    with fails(errno.ENOENT):
        folder.disk.set_link_times(folder.root, "missing", 0)


def test_an_inode_and_its_mtime_survive_renames(folder: Folder) -> None:
    folder.put("file", b"12345")
    before = folder.disk.stat(folder.root, "file")
    folder.disk.rename(folder.root, "file", folder.root, "moved")
    after = folder.disk.stat(folder.root, "moved")
    assert (before.inode, before.mtime_ns) == (after.inode, after.mtime_ns)
    assert after.ctime_ns >= before.ctime_ns


def test_read_link_of_something_else(folder: Folder) -> None:
    folder.put("file")
    with fails(errno.EINVAL):
        folder.disk.read_link(folder.root, "file")
    with fails(errno.ENOENT):
        folder.disk.read_link(folder.root, "missing")


def test_symlink_targets(folder: Folder) -> None:
    for target, code in (("", errno.ENOENT), ("x" * 4096, errno.ENAMETOOLONG), ("a\0", errno.EINVAL)):
        with fails(code):
            folder.disk.make_symlink(target, folder.root, "link")
    folder.disk.make_symlink("../../etc/passwd", folder.root, "link")
    assert folder.disk.read_link(folder.root, "link") == "../../etc/passwd"
    with fails(errno.EEXIST):
        folder.disk.make_symlink("other", folder.root, "link")


def test_space(folder: Folder) -> None:
    space = folder.disk.space(folder.root)
    assert space.free_bytes > 0
    assert space.free_inodes > 0


def test_the_file_system_has_a_name(folder: Folder) -> None:
    kind = folder.disk.file_system(folder.root)
    assert kind.isidentifier() or int(kind, 16)
    with pytest.raises(OSError, match="Bad file descriptor"):
        folder.disk.file_system(Descriptor(12345))


# Names


def test_rename_replaces_nothing(folder: Folder) -> None:
    folder.put("file", b"file")
    folder.put("other", b"other")
    folder.directory("empty")
    folder.directory("directory")
    folder.disk.make_symlink("nowhere", folder.root, "dangling")
    for source, target in (
        ("file", "other"),
        ("file", "file"),
        ("file", "empty"),
        ("file", "dangling"),
        ("directory", "empty"),
        ("directory", "file"),
        ("directory", "directory"),
    ):
        with fails(errno.EEXIST):
            folder.disk.rename(folder.root, source, folder.root, target)
    assert folder.names() == ["dangling", "directory", "empty", "file", "other"]
    assert folder.content("other") == b"other"


def test_rename_of_each_kind(folder: Folder) -> None:
    inner = folder.directory("inner")
    folder.put("file", b"file")
    folder.disk.make_directory(folder.root, "directory", 0o755)
    folder.disk.make_symlink("missing", folder.root, "link")
    for name in ("file", "directory", "link"):
        kind = folder.disk.stat(folder.root, name).kind
        folder.disk.rename(folder.root, name, inner, f"new {name}")
        assert folder.disk.stat(inner, f"new {name}").kind is kind
    assert folder.names() == ["inner"]
    assert folder.disk.read_link(inner, "new link") == "missing"


def test_rename_of_what_is_missing(folder: Folder) -> None:
    with fails(errno.ENOENT):
        folder.disk.rename(folder.root, "missing", folder.root, "new")


def test_a_directory_can_not_move_into_itself(folder: Folder) -> None:
    outer = folder.directory("outer")
    folder.disk.make_directory(outer, "inner", 0o755)
    inner = folder.disk.open_directory(outer, "inner")
    for below in (outer, inner):
        with fails(errno.EINVAL):
            folder.disk.rename(folder.root, "outer", below, "new")


@pytest.mark.parametrize("folder", ["linux", "simulated"], indirect=True)
def test_exchange(folder: Folder) -> None:
    inner = folder.directory("inner")
    folder.put("file", b"one")
    folder.put("file", b"other", inner)
    before = folder.disk.stat(folder.root, "file").inode, folder.disk.stat(inner, "file").inode
    folder.disk.exchange(folder.root, "file", inner, "file")
    after = folder.disk.stat(inner, "file").inode, folder.disk.stat(folder.root, "file").inode
    assert before == after
    assert folder.content("file") == b"other"
    folder.disk.exchange(folder.root, "file", folder.root, "file")
    folder.directory("directory")
    folder.disk.exchange(folder.root, "file", folder.root, "directory")
    assert folder.disk.stat(folder.root, "file").kind is EntryKind.DIRECTORY
    for source, target in (("file", "missing"), ("missing", "file")):
        with fails(errno.ENOENT):
            folder.disk.exchange(folder.root, source, folder.root, target)
    with fails(errno.EINVAL):
        folder.disk.exchange(folder.root, "inner", inner, "file")


@pytest.mark.parametrize("folder", ["linux", "simulated"], indirect=True)
def test_exchange_takes_a_full_directory_and_what_is_open(folder: Folder) -> None:
    inner = folder.directory("inner")
    folder.put("below", b"below", inner)
    folder.put("file", b"file")
    file = folder.disk.open_file(folder.root, "file")
    folder.disk.exchange(folder.root, "file", folder.root, "inner")
    assert folder.content("inner") == b"file"
    assert folder.disk.scan(inner) == ["below"]
    assert folder.content("below", folder.disk.open_directory(folder.root, "file")) == b"below"
    assert folder.disk.stat_open(file) == folder.disk.stat(folder.root, "inner")


def test_what_the_rename_of_others_replaces(folder: Folder) -> None:
    """rename(2) without flags, as editors and shells call it."""
    hand = folder.hand
    for name in ("directory", "empty", "full"):
        hand.mkdir(name)
    for name in ("full/below", "one", "other"):
        hand.write(name, name.encode())
    for source, target, code in (
        ("directory", "full", errno.ENOTEMPTY),
        ("directory", "one", errno.ENOTDIR),
        ("one", "empty", errno.EISDIR),
        ("one", "full", errno.EISDIR),
        ("full", "full/inside", errno.EINVAL),
        ("missing", "one", errno.ENOENT),
    ):
        with fails(code):
            hand.move(source, target)
    assert folder.names() == ["directory", "empty", "full", "one", "other"]
    opened = folder.disk.open_file(folder.root, "other")
    hand.move("one", "other")
    hand.move("full", "empty")
    assert folder.names() == ["directory", "empty", "other"]
    assert folder.content("other") == b"one"
    assert hand.read("empty/below") == b"full/below"
    assert folder.disk.read_at(opened, 10, 0) == b"other"
    assert folder.disk.stat_open(opened).links == 0


def test_an_inode_is_one_thing_s_own_for_as_long_as_anything_holds_it(folder: Folder) -> None:
    """Then the next may get its number, which says nothing by itself any more."""
    folder.put("file", b"first")
    held = folder.disk.open_file(folder.root, "file")
    number = folder.disk.stat_open(held).inode
    folder.disk.unlink(folder.root, "file")
    folder.put("second")
    folder.hand.save("third", b"third")
    assert number not in {folder.disk.stat(folder.root, name).inode for name in folder.names()}
    assert folder.disk.read_at(held, 10, 0) == b"first"
    folder.disk.close(held)
    folder.put("file", b"new")
    assert folder.content("file") == b"new"


def test_removing(folder: Folder) -> None:
    inner = folder.directory("inner")
    folder.put("file", b"", inner)
    folder.disk.make_symlink("inner", folder.root, "link")
    with fails(errno.EISDIR):
        folder.disk.unlink(folder.root, "inner")
    with fails(errno.ENOTEMPTY):
        folder.disk.remove_directory(folder.root, "inner")
    for parent, name in ((folder.root, "link"), (inner, "file")):
        with fails(errno.ENOTDIR):
            folder.disk.remove_directory(parent, name)
        folder.disk.unlink(parent, name)
        with fails(errno.ENOENT):
            folder.disk.unlink(parent, name)
    folder.disk.remove_directory(folder.root, "inner")
    with fails(errno.ENOENT):
        folder.disk.remove_directory(folder.root, "inner")
    assert folder.names() == []


def test_make_directory_replaces_nothing(folder: Folder) -> None:
    folder.put("file")
    folder.disk.make_symlink("missing", folder.root, "link")
    for name in ("file", "link"):
        with fails(errno.EEXIST):
            folder.disk.make_directory(folder.root, name, 0o755)


# The real disk alone


def test_special_files(tmp_path: Path) -> None:
    disk = LinuxDisk()
    root = disk.open_root(str(tmp_path))
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
    assert {disk.stat(root, name).kind for name in ("fifo", "socket")} == {EntryKind.OTHER}
    fifo = disk.open_file(root, "fifo")  # doesn't wait for a writer
    with fails(errno.ESPIPE):
        disk.read_at(fifo, 1, 0)
    with fails(errno.ENXIO):
        disk.open_file(root, "socket")
    disk.close(fifo)
    disk.close(root)


def test_descriptors_are_not_inherited(tmp_path: Path) -> None:
    disk = LinuxDisk()
    root = disk.open_root(str(tmp_path))
    disk.make_directory(root, "directory", 0o755)
    opened = [root, disk.create_file(root, "file", 0o644), disk.open_file(root, "file")]
    opened.append(disk.open_directory(root, "directory"))
    assert not any(os.get_inheritable(descriptor) for descriptor in opened)
    for descriptor in opened:
        disk.close(descriptor)


def test_a_file_system_without_links_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    without_noreplace(monkeypatch)
    disk = LinuxDisk()
    root = disk.open_root(str(tmp_path))
    (tmp_path / "old").write_bytes(b"old")
    with monkeypatch.context() as inner:
        inner.setattr(os, "link", refuse)
        with fails(errno.EOPNOTSUPP):
            disk.rename(root, "old", root, "new")
    disk.close(root)
    assert os.listdir(tmp_path) == ["old"]


def test_rename_by_link_spares_what_came_to_the_old_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editor saves anew between the link and the unlink."""
    without_noreplace(monkeypatch)
    (tmp_path / "old").write_bytes(b"published")
    real_link = os.link

    def link_then_save(*args: Any, **kwargs: Any) -> None:
        real_link(*args, **kwargs)
        (tmp_path / "temporary").write_bytes(b"edited")
        os.rename(tmp_path / "temporary", tmp_path / "old")

    monkeypatch.setattr(os, "link", link_then_save)
    disk = LinuxDisk()
    root = disk.open_root(str(tmp_path))
    disk.rename(root, "old", root, "new")
    disk.close(root)
    assert (tmp_path / "new").read_bytes() == b"published"
    assert (tmp_path / "old").read_bytes() == b"edited"


# The two side by side

NAMES = st.sampled_from(["a", "b", "c"])
INDEX = st.integers(0, 7)
BY_NAME = ["open_directory", "open_file", "stat", "read_link", "unlink", "remove_directory"]
BUFFERS = st.integers(1, 9).map(lambda length: memoryview(bytearray(length)))
CALLS = st.one_of(
    st.tuples(st.sampled_from(BY_NAME), INDEX, NAMES),
    st.tuples(st.sampled_from(["create_file", "make_directory"]), INDEX, NAMES, st.sampled_from([0o600, 0o777])),
    st.tuples(st.just("make_symlink"), st.sampled_from(["", "a", "../b"]), INDEX, NAMES),
    st.tuples(st.sampled_from(["rename", "exchange"]), INDEX, NAMES, INDEX, NAMES),
    st.tuples(st.sampled_from(["scan", "stat_open", "fsync", "sync_file_system"]), INDEX),
    st.tuples(st.just("read_at"), INDEX, st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("read_into"), INDEX, BUFFERS, st.integers(0, 9)),
    st.tuples(st.just("write_at"), INDEX, st.binary(max_size=5), st.integers(0, 9)),
    st.tuples(st.just("set_mode"), INDEX, st.sampled_from([0o600, 0o755, 0o444])),
    st.tuples(st.just("set_times"), INDEX, st.integers(0, 1 << 60)),
    st.tuples(st.just("set_link_times"), INDEX, NAMES, st.integers(0, 1 << 60)),
)
DESCRIPTORS = {"rename": (0, 2), "exchange": (0, 2), "make_symlink": (1,)}


class Replay:
    """Runs a sequence of calls whose descriptor arguments count those opened so far, modulo their number."""

    def __init__(self, disk: Disk, root: Descriptor) -> None:
        self.disk = disk
        self.open = [root]

    def call(self, method: str, arguments: tuple[Any, ...]) -> object:
        real = list(arguments)
        for position in DESCRIPTORS.get(method, (0,)):
            real[position] = self.open[real[position] % len(self.open)]
        try:
            result = getattr(self.disk, method)(*real)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
        return self.comparable(method, result)

    def comparable(self, method: str, result: Any) -> object:
        if method in ("open_directory", "open_file", "create_file"):
            self.open.append(result)
            return "opened"
        if method == "scan":
            return sorted(result)
        if method in ("stat", "stat_open"):
            is_directory = result.kind is EntryKind.DIRECTORY
            return result.kind, result.mode, is_directory or (result.size, result.links)
        return result

    def tree(self, directory: Descriptor) -> dict[str, object]:
        found: dict[str, object] = {}
        for name in sorted(self.disk.scan(directory)):
            kind = self.disk.stat(directory, name).kind
            if kind is EntryKind.DIRECTORY:
                below = self.disk.open_directory(directory, name)
                found[name] = self.tree(below)
                self.disk.close(below)
            elif kind is EntryKind.FILE:
                file = self.disk.open_file(directory, name)
                found[name] = self.disk.read_at(file, 100, 0)
                self.disk.close(file)
        return found


@settings(max_examples=200, deadline=None)
@given(calls=st.lists(CALLS, min_size=5, max_size=60))
def test_simulated_and_real_agree(calls: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
    linux, model = LinuxDisk(), simulated()
    real = Replay(linux, linux.open_root(mkdtemp(dir=tmp_path_factory.getbasetemp())))
    model_replay = Replay(model, model.open_root("/"))
    for replay in (real, model_replay):
        replay.disk.set_mode(replay.open[0], 0o700)
    try:
        for method, *arguments in calls:
            expected = real.call(method, tuple(arguments))
            assert (method, model_replay.call(method, tuple(arguments))) == (method, expected)
        assert model_replay.tree(model_replay.open[0]) == real.tree(real.open[0])
    finally:
        for descriptor in real.open:
            linux.close(descriptor)
