"""A power cut: what was said to be in the cloud, and what was put in place, is there afterwards (law 5)."""

import fcntl
import os
import struct
import subprocess
from pathlib import Path

from tests.privileged.conftest import Mount
from tests.support.processes import Lab, settled, snapshot, write

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, _IOR('X', 125, __u32)
_NO_LOG_FLUSH = 2


def make_disk(image: Path, megabytes: int = 192) -> None:
    subprocess.run(["truncate", "-s", f"{megabytes}M", str(image)], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)


def cut_power(place: Path) -> None:
    """Stop the file system as it is: what was not flushed is gone."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(descriptor)


def fill(folder: Path) -> None:
    for number in range(40):
        write(folder / f"folder {number % 4}" / f"{number}", os.urandom(3000 + 40 * number))
    write(folder / "large", os.urandom(6 << 20))


async def test_the_tracker_loses_nothing_that_it_called_durable(lab: Lab, mount: Mount, tmp_path: Path) -> None:
    image = tmp_path / "tracker.img"
    make_disk(image)
    tracker = lab.tracker()
    mount(tracker.data, "-o", "loop", str(image))
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    await one.start()
    fill(one.folder)
    await one.wait("durable")
    before = snapshot(one.folder)
    cut_power(tracker.data)
    tracker.kill()
    await one.stop()
    subprocess.run(["umount", str(tracker.data)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(tracker.data)], check=True)
    await tracker.start()
    await tracker.check()
    await two.start()
    await two.wait("durable")
    assert snapshot(two.folder) == before


async def test_a_device_comes_back_with_whole_files(lab: Lab, mount: Mount, tmp_path: Path) -> None:
    image = tmp_path / "device.img"
    make_disk(image)
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    mount(two.folder, "-o", "loop", str(image))
    (two.folder / "lost+found").rmdir()
    await one.start()
    await two.start()
    fill(one.folder)
    before = await settled(one, two)
    write(one.folder / "arrives as the power goes", os.urandom(2 << 20))
    await two.until_file("arrives as the power goes")
    cut_power(two.folder)
    two.kill()
    subprocess.run(["umount", str(two.folder)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(two.folder)], check=True)
    found, sent = snapshot(two.folder), snapshot(one.folder)
    for path, entry in found.items():
        assert entry == sent[path], f"{path!r} came back other than it was put in place"
    assert before.keys() <= found.keys()
    await two.start()
    await settled(one, two)
