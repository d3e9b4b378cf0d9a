"""What the simulated disk does beyond the port: a user, faults, crashes, change events, and the same again."""

import errno
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from peer.ports import EntryKind
from tests.simulation.disk import SimulatedDisk


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def disk(clock: Clock) -> SimulatedDisk:
    return SimulatedDisk(clock, Random(1))


def heard(disk: SimulatedDisk, action: Callable[[], object]) -> list[str]:
    """The changes reported during `action`."""
    changes: list[str] = []
    disk.on_change = changes.append
    action()
    disk.on_change = None
    return changes


def test_a_user_s_day(disk: SimulatedDisk, clock: Clock) -> None:
    user = disk.user
    user.mkdir("/docs")
    user.write("/docs/a", b"one")
    user.append("/docs/a", b", two")
    user.save("/docs/b", b"saved")
    user.chmod("/docs/b", 0o600)
    user.save("/docs/b", b"saved again")
    user.link_to("a", "/docs/link")
    user.move("/docs/a", "/docs/b2")
    user.mkfifo("/fifo")
    user.overwrite("/docs/b2", b"ONE", 0)
    assert user.tree() == {
        "docs": ("directory",),
        "docs/b": ("file", b"saved again", clock.time, 0o600),
        "docs/b2": ("file", b"ONE, two", clock.time, 0o644),
        "docs/link": ("symlink", "a"),
        "fifo": ("other",),
    }
    user.remove("/docs")
    assert user.tree() == {"fifo": ("other",)}
    assert not user.exists("/docs/b")


def test_a_user_meets_the_errors_of_a_shell(disk: SimulatedDisk) -> None:
    disk.user.mkdir("full")
    disk.user.write("full/file", b"")
    disk.user.mkdir("other")
    failing: list[tuple[Callable[[], object], int]] = [
        (lambda: disk.user.write("missing/file", b""), errno.ENOENT),
        (lambda: disk.user.write("full", b""), errno.EISDIR),
        (lambda: disk.user.write("full/file/below", b""), errno.ENOTDIR),
        (lambda: disk.user.remove("missing"), errno.ENOENT),
        (lambda: disk.user.mkdir("full"), errno.EEXIST),
        (lambda: disk.user.move("other", "full"), errno.ENOTEMPTY),
        (lambda: disk.user.move("other", "full/file"), errno.ENOTDIR),
        (lambda: disk.user.move("full/file", "other"), errno.EISDIR),
        (lambda: disk.user.save("other", b""), errno.EISDIR),
        (lambda: disk.user.remove("/"), errno.EBUSY),
    ]
    for action, code in failing:
        with pytest.raises(OSError, match=r".") as caught:
            action()
        assert caught.value.errno == code
    assert list(disk.user.tree()) == ["full", "full/file", "other"]


def test_move_replaces_and_keeps_what_is_open(disk: SimulatedDisk) -> None:
    disk.user.write("old", b"old")
    disk.user.write("new", b"new")
    root = disk.open_root("/")
    descriptor = disk.open_file(root, "old")
    disk.user.move("new", "old")
    assert disk.read_at(descriptor, 10, 0) == b"old"
    assert disk.stat_open(descriptor).links == 0
    assert disk.user.read("old") == b"new"


def test_inode_numbers_come_again_once_nothing_holds_them(disk: SimulatedDisk) -> None:
    root = disk.open_root("/")
    disk.user.write("a", b"")
    number = disk.stat(root, "a").inode
    descriptor = disk.open_file(root, "a")
    disk.user.remove("a")
    disk.user.write("b", b"")
    assert disk.stat(root, "b").inode != number
    disk.close(descriptor)
    disk.user.write("c", b"")
    assert disk.stat(root, "c").inode == number


def test_hard_links(disk: SimulatedDisk) -> None:
    disk.user.write("a", b"one")
    disk.user.hard_link("a", "b")
    root = disk.open_root("/")
    assert disk.stat(root, "a") == disk.stat(root, "b")
    assert disk.stat(root, "a").links == 2
    assert heard(disk, lambda: disk.user.append("a", b"!")) == ["a", "b"]
    assert disk.user.read("b") == b"one!"
    disk.user.remove("a")
    assert disk.stat(root, "b").links == 1


def test_which_times_change(disk: SimulatedDisk, clock: Clock) -> None:
    disk.user.write("file", b"one")
    root = disk.open_root("/")
    made = clock.time
    changes: list[tuple[Callable[[], object], bool]] = [
        (lambda: disk.user.chmod("file", 0o600), False),
        (lambda: disk.rename(root, "file", root, "moved"), False),
        (lambda: disk.user.hard_link("moved", "file"), False),
        (lambda: disk.unlink(root, "moved"), False),
        (lambda: disk.user.append("file", b"two"), True),
    ]
    for change, content in changes:
        clock.time += 10
        change()
        found = disk.stat(root, "file") if disk.user.exists("file") else disk.stat(root, "moved")
        assert (found.mtime_ns, found.ctime_ns) == (clock.time if content else made, clock.time)
    clock.time += 10
    disk.set_times(disk.open_file(root, "file"), 5)
    assert (disk.stat(root, "file").mtime_ns, disk.stat(root, "file").ctime_ns) == (5, clock.time)


def test_a_full_disk_takes_what_fits(clock: Clock) -> None:
    disk = SimulatedDisk(clock, Random(1), capacity=10)
    root = disk.open_root("/")
    descriptor = disk.create_file(root, "file", 0o644)
    disk.write_at(descriptor, b"01234567", 0)
    assert disk.space(root).free_bytes == 2
    with pytest.raises(OSError, match="No space"):
        disk.write_at(descriptor, b"89abcdef", 8)
    assert disk.user.read("file") == b"0123456789"
    disk.write_at(descriptor, b"in place", 0)
    disk.unlink(root, "file")
    assert disk.space(root).free_bytes == 0
    disk.close(descriptor)
    assert disk.space(root).free_bytes == 10


def test_before_each_call(disk: SimulatedDisk) -> None:
    root = disk.open_root("/")
    calls: list[tuple[str, tuple[Any, ...]]] = []

    def interfere(method: str, arguments: tuple[Any, ...]) -> None:
        calls.append((method, arguments))
        if method == "make_directory":
            disk.user.write("name", b"the user was first")
        if method == "fsync":
            raise OSError(errno.EIO, "injected")

    disk.before_call = interfere
    with pytest.raises(FileExistsError):
        disk.make_directory(root, "name", mode=0o755)
    with pytest.raises(OSError, match="injected"):
        disk.fsync(root)
    assert calls == [("make_directory", (root, "name", 0o755)), ("fsync", (root,))]


def test_a_dead_process_leaves_nothing_open(disk: SimulatedDisk, clock: Clock) -> None:
    disk.volume.capacity = 10
    root = disk.open_root("/")
    descriptor = disk.create_file(root, "file", 0o644)
    disk.write_at(descriptor, b"0123456789", 0)
    disk.unlink(root, "file")
    disk.close_all()
    assert disk.descriptors == []
    assert disk.volume.free_bytes == 10
    with pytest.raises(OSError, match="Bad file descriptor"):
        disk.read_at(descriptor, 1, 0)
    assert disk.open_root("/") not in (root, descriptor)


def test_what_changes_are_reported(disk: SimulatedDisk) -> None:
    user = disk.user
    assert heard(disk, lambda: user.mkdir("d")) == ["d"]
    assert heard(disk, lambda: user.append("d/a", b"1")) == ["d/a", "d/a"]
    assert heard(disk, lambda: user.move("d", "e")) == ["d", "e"]
    assert heard(disk, lambda: user.chmod("e/a", 0o600)) == ["e/a"]
    assert heard(disk, lambda: user.chmod("/", 0o700)) == [""]
    root = disk.open_root("e")
    assert heard(disk, lambda: disk.make_symlink("x", root, "link")) == ["e/link"]
    assert heard(disk, lambda: disk.exchange(root, "a", root, "link")) == ["e/a", "e/link"]
    assert heard(disk, lambda: disk.scan(root)) == []
    assert heard(disk, lambda: user.remove("e")) == ["e/a", "e/link", "e"]


def test_the_same_seed_gives_the_same(clock: Clock) -> None:
    def scans(seed: int) -> list[list[str]]:
        disk = SimulatedDisk(clock, Random(seed))
        for name in "abcdefgh":
            disk.user.write(name, b"")
        root = disk.open_root("/")
        return [disk.scan(root) for _ in range(3)]

    assert scans(1) == scans(1)
    assert scans(1) != scans(2)
    assert [sorted(names) for names in scans(1)] == [list("abcdefgh")] * 3


def test_other_kinds_open_but_hold_nothing(disk: SimulatedDisk) -> None:
    disk.user.mkfifo("fifo")
    root = disk.open_root("/")
    fifo = disk.open_file(root, "fifo")
    assert disk.stat_open(fifo).kind is EntryKind.OTHER
    with pytest.raises(OSError, match="Illegal seek"):
        disk.read_at(fifo, 1, 0)
