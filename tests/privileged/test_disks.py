"""Full disks and mounts: one path's problem, said plainly, over as soon as it can be; nothing lost, nothing deleted."""

import os
import subprocess
from typing import Any

import trio

from tests.privileged.conftest import Mount
from tests.support.processes import Lab, settled, write

MB = 1 << 20
SMALL_DISK = "size=8m"


def resize(place: str, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)


async def test_a_disk_smaller_than_the_workspace(lab: Lab, mount: Mount) -> None:
    """Ten megabytes for fifteen: what fits is there, each file that doesn't is a problem of its own, what is saved here
    meanwhile is safe, and once there is room all goes on by itself."""
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    mount(two.folder, "-t", "tmpfs", "-o", "size=10m", "tmpfs")
    large = [f"large {number}" for number in range(5)]
    for path in large:
        write(one.folder / path, os.urandom(3 * MB))
    for number in range(20):
        write(one.folder / f"small/{number}", f"{number}" * 100)
    await one.start()
    await one.wait()
    await two.start()
    for number in range(20):
        await two.until_file(f"small/{number}", f"{number}".encode() * 100)

    def present() -> list[str]:
        return [path for path in large if (two.folder / path).exists()]

    seen = await two.until_status(
        lambda seen: len(large_problems(seen)) == 2 and len(present()) == 3, "short of room for two files of five"
    )
    assert all("no space left" in problem["reason"] for problem in large_problems(seen))
    there = present()
    for path in there:
        assert (two.folder / path).read_bytes() == (one.folder / path).read_bytes()
    assert os.listdir(two.folder / ".shoal" / "temp") == []

    # A full disk is no reason to lose or to hold back what is written on it.
    write(two.folder / "written here", "on the full disk")
    await one.until_file("written here", b"on the full disk")
    write(one.folder / "small/0", "an edit from elsewhere")
    await two.until_file("small/0", b"an edit from elsewhere")
    write(one.folder / there[0], os.urandom(3 * MB))
    await two.until_problem(there[0], "no space left")
    assert (two.folder / there[0]).stat().st_size == 3 * MB

    # Whoever makes room on this disk doesn't have to tell Shoal.
    resize(str(two.folder), "64m")
    await settled(one, two)
    assert (await two.status())["problems"] == []


def large_problems(status: dict[str, Any]) -> list[dict[str, str]]:
    """The problems of the large files."""
    return [problem for problem in status["problems"] if problem["path"].startswith("large")]


async def test_room_made_by_removing_a_file_is_used(lab: Lab, mount: Mount) -> None:
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    mount(two.folder, "-t", "tmpfs", "-o", "size=10m", "tmpfs")
    await one.start()
    await two.start()
    write(one.folder / "first", os.urandom(6 * MB))
    await settled(one, two)
    write(one.folder / "second", os.urandom(6 * MB))
    await two.until_problem("second", "no space left")
    (two.folder / "first").unlink()
    await settled(one, two)
    assert [path.name for path in two.folder.iterdir() if path.name != ".shoal"] == ["second"]
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
