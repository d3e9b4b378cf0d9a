"""The sync root: who owns it, what must be there, and what is reached through it (laws 2 and 14)."""

import errno
import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from peer.ports import Disk
from peer.root import MAX_OPEN, SyncRoot, claim_root, open_folder
from peer.system.disk import LinuxDisk
from protocol.errors import Problem, WrongRoot
from tests.simulation.disk import SimulatedDisk

HOME, OTHER_HOME = "/home/ann/.local/share/shoal", "/home/ben/.local/share/shoal"


class Place:
    """A disk and a path on it where there is nothing yet."""

    def __init__(self, disk: Disk, path: str) -> None:
        self.disk = disk
        self.path = path
        self._random = Random(3)

    def claim(self, home: str = HOME, known: bytes | None = None) -> SyncRoot:
        return claim_root(self.disk, self.path, home, known, self._random.randbytes)

    def write(self, name: str, data: bytes) -> None:
        if isinstance(self.disk, SimulatedDisk):
            self.disk.user.write(f"{self.path}/{name}", data)
        else:
            Path(self.path, name).write_bytes(data)

    def remove(self, name: str = "") -> None:
        if isinstance(self.disk, SimulatedDisk):
            self.disk.user.remove(f"{self.path}/{name}".rstrip("/"))
        elif name:
            Path(self.path, name).unlink()
        else:
            Path(self.path).rename(f"{self.path}.away")

    def names(self, path: str) -> set[str]:
        if isinstance(self.disk, SimulatedDisk):
            return set(self.disk.user.find(f"{self.path}/{path}").entries)
        return set(os.listdir(Path(self.path, path)))


def simulated() -> Place:
    return Place(SimulatedDisk(count(1_700_000_000_000_000_000).__next__, Random(7)), "/some/where")


@pytest.fixture(params=["linux", "simulated"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    opened = len(os.listdir("/proc/self/fd"))
    made = simulated() if request.param == "simulated" else Place(LinuxDisk(), str(tmp_path / "some" / "where"))
    yield made
    assert len(os.listdir("/proc/self/fd")) == opened
    if isinstance(made.disk, SimulatedDisk):
        assert made.disk.descriptors == []


def test_a_folder_is_made_and_claimed(place: Place) -> None:
    root = place.claim()
    assert root.path == place.path
    assert place.names("") == {".shoal"}
    assert place.names(".shoal") == {"root", "temp", "outgoing"}
    with open_folder(place.disk, root) as folder:
        modes = {name: place.disk.stat(folder.directory((".shoal",)), name).mode for name in ("temp", "outgoing")}
        assert place.disk.stat(folder.directory(()), ".shoal").mode == 0o700
        assert modes == {"temp": 0o700, "outgoing": 0o700}
        assert folder.device == place.disk.stat_open(folder.directory(())).device


def test_an_existing_folder_keeps_what_is_in_it(place: Place) -> None:
    place.disk.make_root(place.path)
    place.write("mine", b"content")
    place.claim()
    assert place.names("") == {".shoal", "mine"}


def test_a_folder_inside_a_synced_one_is_refused(place: Place) -> None:
    place.claim()
    inside = Place(place.disk, f"{place.path}/some/where/inside")
    with pytest.raises(WrongRoot, match=f"inside {place.path}, which is synced already"):
        inside.claim("/another/home")
    assert place.names("") == {".shoal"}


def test_it_is_claimed_once(place: Place) -> None:
    root = place.claim()
    assert place.claim(known=root.id) == root
    assert place.claim() == root  # its database was lost, but the home is the same


def test_two_folders_are_never_taken_for_one_another(tmp_path: Path) -> None:
    one, other = (Place(LinuxDisk(), str(tmp_path / name)) for name in ("one", "other"))
    first = one.claim()
    other._random = one._random
    assert other.claim().id != first.id


def test_another_homes_folder_is_refused_naming_it(place: Place) -> None:
    place.claim(OTHER_HOME)
    before = place.names(".shoal/temp")
    with pytest.raises(WrongRoot, match=OTHER_HOME):
        place.claim(HOME)
    assert place.names(".shoal/temp") == before


@pytest.mark.parametrize("loss", ["folder", "marker", "other marker", "everything"])
def test_a_folder_that_is_known_must_be_there(place: Place, loss: str) -> None:
    """Nothing is made in its stead: an empty folder would look like one whose files were all deleted."""
    root = place.claim()
    if loss in ("folder", "everything"):
        place.remove()
    if loss == "everything":
        place.disk.make_root(place.path)
    if loss == "marker":
        place.remove(".shoal/root")
    if loss == "other marker":
        place.write(".shoal/root", b"not what Shoal writes")
    with pytest.raises(WrongRoot, match=place.path if loss != "other marker" else "damaged"):
        place.claim(known=root.id)
    with pytest.raises(WrongRoot), open_folder(place.disk, root):
        pass
    if loss == "everything":
        assert place.names("") == set()


def test_a_marker_of_another_folder(place: Place) -> None:
    root = place.claim()
    with pytest.raises(WrongRoot, match="Nothing was deleted"), open_folder(place.disk, SyncRoot(root.path, bytes(16))):
        pass


def test_the_marker_is_not_read_through_a_symlink(tmp_path: Path) -> None:
    """Nor is `.shoal` itself."""
    place = Place(LinuxDisk(), str(tmp_path / "folder"))
    root = place.claim()
    os.rename(tmp_path / "folder" / ".shoal", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "folder" / ".shoal")
    with pytest.raises(WrongRoot), open_folder(place.disk, root):
        pass


def test_a_new_claim_does_not_make_its_rooms_behind_a_symlink(tmp_path: Path) -> None:
    """Law 14."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / ".shoal").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Problem):
        Place(LinuxDisk(), str(tmp_path / "folder")).claim()
    assert os.listdir(tmp_path / "elsewhere") == []


def test_what_an_earlier_run_was_assembling_is_cleared(place: Place) -> None:
    """But not what waits in `outgoing`."""
    root = place.claim()
    place.write(".shoal/temp/half", b"")
    place.write(".shoal/outgoing/old", b"")
    place.claim(known=root.id)
    assert place.names(".shoal/temp") == set()
    assert place.names(".shoal/outgoing") == {"old"}


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_folder_that_can_not_be_written_to(code: int) -> None:
    place = simulated()
    disk = place.disk
    assert isinstance(disk, SimulatedDisk)

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if method in ("make_directory", "create_file"):
            raise OSError(code, os.strerror(code))

    disk.before_call = before
    with pytest.raises(Problem, match=f"the folder /some/where can't be used: {os.strerror(code).lower()}"):
        place.claim()
    assert disk.descriptors == []


@pytest.mark.parametrize("call", range(1, 20))
def test_a_claim_that_is_cut_off_can_be_made_again(call: int) -> None:
    """Killed before any of its system calls: no marker, or a whole one."""
    place = simulated()
    disk, calls = place.disk, count(1)
    assert isinstance(disk, SimulatedDisk)

    def before(method: str, arguments: tuple[Any, ...]) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt

    disk.before_call = before
    try:
        place.claim()
    except KeyboardInterrupt:
        disk.before_call = None
        disk.close_all()
    disk.before_call = None
    root = place.claim()
    with open_folder(disk, root):
        pass
    assert place.names(".shoal") == {"root", "temp", "outgoing"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Problem, match="can't be used"):
        Place(LinuxDisk(), str(tmp_path / "file")).claim()


def test_directories_stay_open_up_to_a_bound(place: Place) -> None:
    root = place.claim()
    with open_folder(place.disk, root) as folder:
        for number in range(MAX_OPEN + 1):
            place.disk.make_directory(folder.directory(()), f"d{number}", 0o755)
            folder.directory((f"d{number}",))
            assert folder.directory((f"d{number}",)) == folder.directory((f"d{number}",))
        folder.trim()
        assert folder._open.keys() == {()}
        assert folder.directory(("d0",))


def test_a_disk_that_fails_is_said_in_one_line() -> None:
    """Found by the simulation: a start on a failing disk ended in a traceback."""
    place = simulated()
    root = place.claim()

    def before(method: str, _: tuple[Any, ...]) -> None:
        if method == "stat_open":
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    assert isinstance(place.disk, SimulatedDisk)
    place.disk.before_call = before
    with pytest.raises(WrongRoot, match="can't be looked at: input/output error"):
        place.claim(known=root.id)
    assert place.disk.descriptors == []
