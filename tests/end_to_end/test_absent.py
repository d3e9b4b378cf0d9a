"""Absent is not deleted (law 2): a folder that isn't there, can't be listed, or lost its database deletes nothing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import DeviceProgram, Lab, TrackerProgram, contents, settled, snapshot, write

Pair = tuple[DeviceProgram, DeviceProgram]


def fill(folder: Path) -> None:
    for number in range(60):
        write(folder / f"folder {number % 6}/{number}", f"content of {number} " * (1 + number % 3 * 50))
    (folder / "link").symlink_to("folder 0/0")
    write(folder / "top", "top")


@pytest.mark.parametrize(
    ("daemon", "leave"),
    [
        ("running", "an empty folder"),
        ("running", "nothing"),
        ("running", "another home's folder"),
        pytest.param("stopped", "an empty folder", marks=pytest.mark.soak),
        pytest.param("stopped", "nothing", marks=pytest.mark.soak),
    ],
)
async def test_the_folder_is_moved_away(pair: Pair, tmp_path: Path, daemon: str, leave: str) -> None:
    one, two = pair
    fill(one.folder)
    before = await settled(one, two)
    revision = (await two.status())["workspaces"][0]["revision"]
    if daemon == "stopped":
        await one.stop()
    aside = tmp_path / "moved away"
    one.folder.rename(aside)
    if leave != "nothing":
        one.folder.mkdir()
    if leave == "another home's folder":
        shutil.copytree(two.folder / ".shoal", one.folder / ".shoal")
    if daemon == "stopped":
        await one.start()
    status = await one.until_state("error")
    assert str(one.folder) in status["detail"]
    assert "\n" not in status["detail"]
    shown = one.command("status")
    assert shown.returncode == 1
    assert shown.stderr == f"shoal: error: {status['detail']}\n"

    write(two.folder / "meanwhile", "written while it was away")
    await two.wait()
    assert (await two.status())["workspaces"][0]["revision"] == revision + 1
    assert {path: found for path, found in snapshot(two.folder).items() if path != b"meanwhile"} == before
    assert snapshot(aside) == before
    if leave != "nothing":
        assert snapshot(one.folder) == {}
        shutil.rmtree(one.folder)

    aside.rename(one.folder)
    after = await settled(one, two)
    assert after == {**before, b"meanwhile": after[b"meanwhile"]}


async def test_a_marker_that_is_removed_stops_everything(pair: Pair) -> None:
    one, two = pair
    fill(one.folder)
    before = await settled(one, two)
    marker = one.folder / ".shoal/root"
    kept = marker.read_bytes()
    marker.unlink()
    (one.folder / "top").unlink()
    shutil.rmtree(one.folder / "folder 1")
    await one.until_state("error")
    assert snapshot(two.folder) == before
    marker.write_bytes(kept)
    await settled(one, two)
    assert b"top" not in snapshot(two.folder)


# Folders that can't be listed ----------------------------------------------------------------------------------------


@contextmanager
def shut(folder: Path) -> Iterator[None]:
    """Nobody may list or enter the folder while the context lasts."""
    folder.chmod(0)
    try:
        yield
    finally:
        folder.chmod(0o755)


@pytest.mark.parametrize("locked_at", ["run", "start"])
async def test_a_folder_that_cannot_be_listed(lab: Lab, shared_tracker: TrackerProgram, locked_at: str) -> None:
    one, two = await lab.devices(shared_tracker, "one", "two", module=("-m", "tests.support.unprivileged", "peer"))
    await one.start()
    await two.start()
    locked = one.folder / "locked"
    fill(two.folder / "locked/inner")
    write(two.folder / "free", "free")
    before = await settled(one, two)
    if locked_at == "start":
        await one.stop()
    with shut(locked):
        if locked_at == "start":
            await one.start()
        write(two.folder / "free", "edited")
        await one.until_file("free", b"edited")
        await one.until_problem("locked", "the folder can't be listed: permission denied")
        write(two.folder / "also", "another look at the folder around it")
        await one.until_file("also")
        await one.wait()
        await one.until_problem("locked")
        assert snapshot(two.folder).keys() == {*before, b"also"}
    await one.wait()
    assert (await one.status())["problems"] == []
    (two.folder / "locked/inner/top").write_text("edited there")
    after = await settled(one, two)
    assert after.keys() == {*before, b"also"}
    assert (locked / "inner/top").read_text() == "edited there"


# A lost database -----------------------------------------------------------------------------------------------------


def lose_database(device: DeviceProgram) -> None:
    for path in device.home_path.glob("peer.db*"):
        path.unlink()


async def test_a_lost_database_is_rebuilt_by_merging(pair: Pair) -> None:
    one, two = pair
    fill(one.folder)
    write(two.folder / "large", os.urandom(2 << 20))
    os.link(two.folder / "large", two.folder / "hard link")
    before = await settled(one, two)
    revision = (await two.status())["workspaces"][0]["revision"]
    await one.stop()
    lose_database(one)
    await one.start()
    assert await settled(one, two) == before
    for device in pair:
        status = await device.status()
        assert status["workspaces"][0]["revision"] == revision
        assert status["problems"] == []
    moved = (await one.status())["bytes"]
    assert moved["cloud_out"] == moved["cloud_in"] == 0


async def test_a_device_without_its_database_may_create_and_conflict_but_never_delete(pair: Pair) -> None:
    one, two = pair
    fill(one.folder)
    await settled(one, two)
    await one.stop()
    lose_database(one)
    (one.folder / "top").unlink()
    shutil.rmtree(one.folder / "folder 1")
    write(one.folder / "folder 2/2", "edited while nobody looked")
    (one.folder / "folder 3").rename(one.folder / "folder three")
    write(one.folder / "new", "new")
    write(two.folder / "folder 4/4", "edited there")
    await two.wait()
    old = contents(two.folder)
    await one.start()
    await settled(one, two)
    found = contents(two.folder)
    copies = [path for path in found if "(conflicted copy, one" in path]
    assert {path: found[path] for path in old} == old
    assert sorted(found[path] for path in copies) == sorted(
        [b"edited while nobody looked", b"content of 4 " * (1 + 4 % 3 * 50)]
    )
    renamed = {path.replace("folder 3/", "folder three/"): data for path, data in old.items() if "folder 3/" in path}
    assert found == {**old, **renamed, "new": b"new", **{path: found[path] for path in copies}}
