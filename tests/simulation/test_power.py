"""What a power cut may leave: everything fsynced, and of the rest only what a disk may have written."""

from collections.abc import Callable
from random import Random

import pytest

from peer.ports import Descriptor
from tests.simulation.disk import SimulatedDisk
from tests.simulation.ledger import Ledger
from tests.simulation.user import Entry

SEEDS = 60
BIG = b"x" * 10_000


def disk_of(seed: int) -> SimulatedDisk:
    times = iter(range(1, 10_000))
    return SimulatedDisk(lambda: next(times), Random(seed))


def file(disk: SimulatedDisk, parent: Descriptor, name: str, content: bytes) -> Descriptor:
    descriptor = disk.create_file(parent, name, 0o644)
    disk.write_at(descriptor, content, 0)
    return descriptor


def after_cuts(act: Callable[[SimulatedDisk], object]) -> list[dict[str, Entry]]:
    """What different power cuts leave after the same acts."""
    trees = []
    for seed in range(SEEDS):
        disk = disk_of(seed)
        act(disk)
        disk.cut_power()
        assert disk.descriptors == []
        trees.append(disk.user.tree())
    return trees


def files(tree: dict[str, Entry]) -> dict[str, bytes]:
    return {path: entry[1] for path, entry in tree.items() if entry[0] == "file"}


def test_what_is_fsynced_with_its_folder_stays() -> None:
    def act(disk: SimulatedDisk) -> None:
        root = disk.open_root("/")
        disk.make_directory(root, "d", 0o755)
        folder = disk.open_directory(root, "d")
        disk.fsync(file(disk, folder, "f", b"one"))
        disk.fsync(folder)

    assert all(files(tree) == {"d/f": b"one"} for tree in after_cuts(act))


def test_a_barrier_keeps_everything() -> None:
    def act(disk: SimulatedDisk) -> None:
        root = disk.open_root("/")
        file(disk, root, "f", b"one")
        disk.user.save("g", b"two")
        disk.sync_file_system(root)

    assert all(files(tree) == {"f": b"one", "g": b"two"} for tree in after_cuts(act))


def test_what_is_not_fsynced_may_be_there_or_not() -> None:
    left = [files(tree) for tree in after_cuts(lambda disk: disk.user.write("f", b"one"))]
    assert {"f": b"one"} in left
    assert {} in left
    assert {"f": b""} in left


def test_the_bytes_without_the_name_and_the_name_without_the_bytes() -> None:
    def name_only(disk: SimulatedDisk) -> None:
        root = disk.open_root("/")
        file(disk, root, "f", b"one")
        disk.fsync(root)

    def bytes_only(disk: SimulatedDisk) -> None:
        disk.fsync(file(disk, disk.open_root("/"), "f", b"one"))

    assert {files(tree).get("f") for tree in after_cuts(name_only)} == {b"one", b""}
    assert {files(tree).get("f") for tree in after_cuts(bytes_only)} == {b"one", None}


def test_a_write_may_be_torn() -> None:
    def act(disk: SimulatedDisk) -> None:
        root = disk.open_root("/")
        descriptor = file(disk, root, "f", b"")
        disk.fsync(root)
        disk.write_at(descriptor, BIG, 0)

    assert {len(files(tree)["f"]) for tree in after_cuts(act)} == {0, 4096, 8192, len(BIG)}


def test_an_exchange_is_done_in_both_folders_or_in_neither() -> None:
    def act(disk: SimulatedDisk) -> None:
        root = disk.open_root("/")
        disk.user.mkdir("d")
        disk.user.write("d/new", b"new")
        disk.user.write("old", b"old")
        disk.sync_file_system(root)
        disk.exchange(disk.open_directory(root, "d"), "new", root, "old")

    left = [files(tree) for tree in after_cuts(act)]
    swapped, before = {"d/new": b"old", "old": b"new"}, {"d/new": b"new", "old": b"old"}
    assert {tuple(sorted(each.items())) for each in left} == {tuple(sorted(each.items())) for each in (swapped, before)}


def test_either_folder_s_fsync_keeps_an_exchange() -> None:
    def act(disk: SimulatedDisk) -> None:
        root = disk.open_root("/")
        disk.user.mkdir("d")
        disk.user.write("d/new", b"new")
        disk.user.write("old", b"old")
        disk.sync_file_system(root)
        disk.exchange(disk.open_directory(root, "d"), "new", root, "old")
        disk.fsync(root)

    assert all(files(tree) == {"d/new": b"old", "old": b"new"} for tree in after_cuts(act))


def test_a_tree_stays_a_tree() -> None:
    """Whatever of many moves is lost."""

    def act(disk: SimulatedDisk) -> None:
        user, rng = disk.user, Random(1)
        for name in "abc":
            user.mkdir(name)
            user.write(f"{name}/f", name.encode())
        disk.sync_file_system(disk.open_root("/"))
        for number in range(40):
            paths = list(user.tree())
            try:
                user.move(rng.choice(paths), f"{rng.choice(['', *(path + '/' for path in paths)])}{number % 4}")
            except OSError:
                user.write(f"{number}", b"")

    for tree in after_cuts(act):
        assert {content for content in files(tree).values() if content} <= {b"a", b"b", b"c"}
        assert all(path.rpartition("/")[0] in ("", *tree) for path in tree)


def test_inode_numbers_stay_unique() -> None:
    for seed in range(SEEDS):
        disk = disk_of(seed)
        for name in "abcdef":
            disk.user.write(name, b"")
        disk.sync_file_system(disk.open_root("/"))
        for name in "abc":
            disk.user.remove(name)
            disk.user.write(name + "2", b"")
        disk.cut_power()
        root = disk.open_root("/")
        numbers = [disk.stat(root, name).inode for name in disk.user.tree()]
        disk.user.write("another", b"")
        assert len({*numbers, disk.stat(root, "another").inode}) == len(numbers) + 1


def test_space_is_counted_anew() -> None:
    disk = disk_of(1)
    disk.volume.capacity = 100
    root = disk.open_root("/")
    disk.fsync(file(disk, root, "f", b"0123456789"))
    disk.fsync(root)
    disk.user.remove("f")
    disk.cut_power()
    assert disk.volume.free_bytes == 100 - sum(map(len, files(disk.user.tree()).values()))


@pytest.mark.parametrize("seed", range(20))
def test_a_database_goes_back_to_a_commit(seed: int) -> None:
    ledger = Ledger()
    for number in range(30):
        ledger.execute("BEGIN IMMEDIATE")
        ledger.execute("INSERT INTO settings VALUES (?, ?)", (f"one {number}", b""))
        ledger.executemany("INSERT INTO settings VALUES (?, ?)", [(f"two {number}", b"")])
        ledger.execute("COMMIT")
    ledger.execute("BEGIN IMMEDIATE")
    ledger.execute("INSERT INTO settings VALUES ('unfinished', '')")
    lost = ledger.cut_power(Random(seed))
    kept = {key for (key,) in ledger.connection.execute("SELECT key FROM settings")}
    assert kept == {f"{word} {number}" for word in ("one", "two") for number in range(30 - lost)}


def test_a_database_goes_back_no_further_than_to_the_last_power_cut() -> None:
    losses = set()
    for seed in range(40):
        ledger = Ledger()
        ledger.execute("INSERT INTO settings VALUES ('a', '')")
        ledger.cut_power(Random(7))
        kept = ledger.connection.execute("SELECT count(*) FROM settings").fetchone()
        ledger.execute("INSERT INTO settings VALUES ('b', '')")
        losses.add(ledger.cut_power(Random(seed)))
        assert ledger.connection.execute("SELECT count(*) FROM settings WHERE key = 'a'").fetchone() == kept
    assert losses == {0, 1}


def test_a_lost_database_is_an_empty_one() -> None:
    ledger = Ledger()
    ledger.execute("INSERT INTO settings VALUES ('a', '')")
    ledger.lose()
    assert ledger.connection.execute("SELECT count(*) FROM settings").fetchone() == (0,)
    ledger.execute("INSERT INTO settings VALUES ('a', '')")
