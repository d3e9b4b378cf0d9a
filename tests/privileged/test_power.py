"""A power cut: what was said to be in the cloud, and what was put in place, is there afterwards (law 5)."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.power import PowerDisk
from tests.support.processes import Lab, settled, snapshot, write

MakeDisk = Callable[[Path], PowerDisk]


@pytest.fixture
def disk(lab: Lab, tmp_path: Path) -> Iterator[MakeDisk]:
    """Mounts a disk that may lose its power; it is gone when all programs have ended."""
    made: list[PowerDisk] = []

    def make(place: Path) -> PowerDisk:
        made.append(PowerDisk(tmp_path / f"{len(made)}.img", place))
        made[-1].mount()
        return made[-1]

    yield make
    lab.close()
    for each in made:
        each.unmount()


def fill(folder: Path) -> None:
    for number in range(40):
        write(folder / f"folder {number % 4}" / f"{number}", os.urandom(3000 + 40 * number))
    write(folder / "large", os.urandom(6 << 20))


async def test_the_tracker_loses_nothing_that_it_called_durable(lab: Lab, disk: MakeDisk) -> None:
    tracker = lab.tracker()
    drive = disk(tracker.data)
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    await one.start()
    fill(one.folder)
    await one.wait("durable")
    before = snapshot(one.folder)
    tracker.freeze()
    drive.cut()
    tracker.kill()
    await one.stop()
    drive.boot()
    await tracker.start()
    await tracker.check()
    await two.start()
    await two.wait("durable")
    assert snapshot(two.folder) == before


async def test_a_device_comes_back_with_whole_files(lab: Lab, disk: MakeDisk) -> None:
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    drive = disk(two.folder)
    (two.folder / "lost+found").rmdir()
    await one.start()
    await two.start()
    fill(one.folder)
    before = await settled(one, two)
    write(one.folder / "arrives as the power goes", os.urandom(2 << 20))
    await two.until_file("arrives as the power goes")
    two.freeze()
    drive.cut()
    two.kill()
    drive.boot()
    found, sent = snapshot(two.folder), snapshot(one.folder)
    for path, entry in found.items():
        assert entry == sent[path], f"{path!r} came back other than it was put in place"
    assert before.keys() <= found.keys()
    await two.start()
    await settled(one, two)
