"""Full disks and mounts: one path's problem, said plainly, over as soon as it can be; nothing lost, nothing deleted."""

import os
import subprocess

import trio

from tests.privileged.conftest import Mount
from tests.support.processes import Lab, settled, write

MB = 1 << 20
SMALL_DISK = "size=8m"


def resize(place: str, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


async def test_a_full_disk_stops_only_the_file_that_does_not_fit(lab: Lab, mount: Mount) -> None:
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    mount(two.folder, "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs")
    await one.start()
    await two.start()
    write(one.folder / "too large for two", os.urandom(12 * MB))
    write(one.folder / "small", "fits")
    await two.until_file("small", b"fits")
    await two.until_problem("too large for two", "no space left")
    assert not (two.folder / "too large for two").exists()
    assert await two.state() == "error"
    resize(str(two.folder), "64m")
    await settled(one, two)
    assert (await two.status())["problems"] == []


async def test_a_full_tracker_says_so_and_goes_on_once_it_has_room(lab: Lab, mount: Mount) -> None:
    tracker = lab.tracker()
    mount(tracker.data, "-t", "tmpfs", "-o", SMALL_DISK, "tmpfs")
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    await one.start()
    await two.start()
    write(one.folder / "large", os.urandom(12 * MB))
    await one.until_problem("", "storage is full")
    assert (one.folder / "large").stat().st_size == 12 * MB
    assert tracker.running
    resize(str(tracker.data), "128m")
    await settled(one, two)
    await tracker.check()


async def test_a_mount_inside_the_folder_is_left_alone(lab: Lab, mount: Mount) -> None:
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    await one.start()
    await two.start()
    write(one.folder / "inside" / "hidden by the mount", "still there")
    write(one.folder / "beside", "beside")
    before = await settled(one, two)
    mount(one.folder / "inside", "-t", "tmpfs", "tmpfs")
    write(one.folder / "inside" / "not Shoal's", "on another file system")
    write(one.folder / "beside", "changed")
    await two.until_file("beside", b"changed")
    await one.until_problem("inside", "another file system")
    await two.wait()
    assert {path for path in before if path.startswith(b"inside")} <= {
        os.fsencode(path.relative_to(two.folder)) for path in two.folder.rglob("*")
    }
    assert not (two.folder / "inside" / "not Shoal's").exists()


async def test_a_read_only_folder_is_a_problem_and_not_a_delete(lab: Lab, mount: Mount) -> None:
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    mount(two.folder, "-t", "tmpfs", "tmpfs")
    await one.start()
    await two.start()
    write(one.folder / "first", "first")
    await settled(one, two)
    subprocess.run(["mount", "-o", "remount,ro", str(two.folder)], check=True)
    write(one.folder / "second", "second")
    await two.until_problem("second", "read-only")
    assert (one.folder / "first").exists()
    subprocess.run(["mount", "-o", "remount,rw", str(two.folder)], check=True)
    with trio.fail_after(60):
        await settled(one, two)


async def test_a_disk_that_keeps_whole_seconds_only(lab: Lab, mount: Mount) -> None:
    """As ext3 does, and ext4 with small inodes: both sides agree on what it can hold, and that is all."""
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    image = two.folder.with_name("image")
    with image.open("wb") as file:
        file.truncate(32 * MB)
    subprocess.run(["mkfs.ext4", "-q", "-I", "128", str(image)], check=True)
    mount(two.folder, "-o", "loop", str(image))
    (two.folder / "lost+found").rmdir()
    await one.start()
    await two.start()
    write(one.folder / "f", "first")
    os.utime(one.folder / "f", ns=(1_700_000_000_123_456_789,) * 2)
    await settled(one, two)
    revision = (await one.status())["workspaces"][0]["revision"]
    assert (two.folder / "f").stat().st_mtime_ns == 1_700_000_000 * 10**9
    for device in (one, two):
        await device.wait()
    assert (await one.status())["workspaces"][0]["revision"] == revision
    write(two.folder / "f", "second, made there")
    await one.until_file("f", b"second, made there")
    await settled(one, two)


async def test_past_the_limit_of_watches_changes_are_found_by_scanning(lab: Lab) -> None:
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two", module=("-m", "tests.support.few_watches", "peer"))
    for number in range(5):
        write(one.folder / f"folder {number}" / "f", "there at the start")
    await one.start()
    await two.start()
    await one.until_problem("", "raise fs.inotify.max_user_watches (sysctl)")
    write(one.folder / "folder 4" / "f", "changed")
    await two.until_file("folder 4/f", b"changed")
    await settled(one, two)
