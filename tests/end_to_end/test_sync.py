"""What travels between two devices, and how edits on both sides come together."""

import os
import re
import shutil
import unicodedata
from pathlib import Path

import pytest
import trio

from peer.ports import Descriptor
from peer.system.disk import LinuxDisk
from tests.support.processes import (
    DeviceProgram,
    Lab,
    TrackerProgram,
    contents,
    entry,
    replace,
    settled,
    snapshot,
    write,
)

Pair = tuple[DeviceProgram, DeviceProgram]
MIB = 1 << 20
COPY = r"^{} \(conflicted copy, {}, \d{{4}}-\d\d-\d\d\){}$"


@pytest.fixture(scope="session")
def together(shared_lab: Lab, shared_tracker: TrackerProgram) -> Pair:
    """Two running devices that tests share which stop neither: each test works in a folder of its own."""

    async def made() -> Pair:
        one, two = await shared_lab.devices(shared_tracker, "left", "right")
        await one.start()
        await two.start()
        return one, two

    return trio.run(made)


def exchange(parent: Path, one: str, other: str) -> None:
    """Two names change places in one step."""
    descriptor = os.open(parent, os.O_RDONLY)
    try:
        LinuxDisk().exchange(Descriptor(descriptor), one, Descriptor(descriptor), other)
    finally:
        os.close(descriptor)


def copies(folder: Path) -> list[str]:
    """The conflict copies below a folder."""
    return sorted(os.fsdecode(path) for path in snapshot(folder) if b"(conflicted copy" in path)


# What a person does --------------------------------------------------------------------------------------------------


async def test_changes_travel_both_ways(together: Pair) -> None:
    left, right = together
    for author, name in ((left, "a"), (right, "b")):
        mine = author.folder / "ways" / name
        write(mine / "edited", "first")
        write(mine / "careful", "first")
        write(mine / "renamed", "renamed" * 500)
        write(mine / "deleted", "deleted")
        write(mine / "folder/deep/leaf", "leaf")
        write(mine / "doomed/deep/leaf", "leaf")
        (mine / "elsewhere").mkdir()
    await settled(left, right, inside="ways")
    for editor, name in ((left, "b"), (right, "a")):
        theirs = editor.folder / "ways" / name
        (theirs / "edited").write_text("second")
        replace(theirs / "careful", "second")
        (theirs / "renamed").rename(theirs / "elsewhere/named anew")
        (theirs / "folder").rename(theirs / "elsewhere/folder")
        (theirs / "deleted").unlink()
        shutil.rmtree(theirs / "doomed")
    await settled(left, right, inside="ways")
    expected = {
        "edited": b"second",
        "careful": b"second",
        "elsewhere/named anew": b"renamed" * 500,
        "elsewhere/folder/deep/leaf": b"leaf",
    }
    for device in together:
        for name in "ab":
            assert contents(device.folder / "ways" / name) == expected


async def test_to_wait_means_what_is_on_the_disk_now(together: Pair) -> None:
    """Also when no news of it has come yet."""
    left, _ = together
    for number in range(10):
        write(left.folder / f"wait/{number}", f"{number}")
        await left.wait("synced")
        assert "at the tracker: yes" in await left.explain(f"wait/{number}")


async def test_every_size(together: Pair) -> None:
    left, right = together
    for size in (0, 1, 1023, 1024, 1025, 16 << 10, 300_000, 4 * MIB + 1, 17 * MIB):
        write(left.folder / f"sizes/{size}", os.urandom(size))
    await settled(left, right, inside="sizes")
    grown = right.folder / "sizes" / str(17 * MIB)
    with grown.open("r+b") as file:
        file.seek(9 * MIB)
        file.write(b"changed in the middle")
    (right.folder / "sizes/0").write_bytes(bytes(5000))
    (right.folder / "sizes/1025").write_bytes(b"")
    await settled(left, right, inside="sizes")
    assert (left.folder / "sizes/0").stat().st_size == 5000


async def test_a_small_edit_of_a_large_file_moves_little(together: Pair) -> None:
    left, right = together
    data = os.urandom(4 * MIB)
    write(left.folder / "little/large", data)
    await settled(left, right, inside="little")
    sent = (await left.status())["bytes"]["cloud_out"]
    received = (await right.status())["bytes"]["cloud_in"]
    replace(left.folder / "little/large", b"x" + data)
    await settled(left, right, inside="little")
    assert (await left.status())["bytes"]["cloud_out"] - sent < 200_000
    assert (await right.status())["bytes"]["cloud_in"] - received < 200_000


async def test_symlinks_travel_as_links(together: Pair, tmp_path: Path) -> None:
    left, right = together
    links = left.folder / "links"
    write(links / "target", "target")
    write(tmp_path / "outside/secret", "not synced")
    texts = {
        "file": "target",
        "dangling": "nowhere/at all",
        "up": "../..",
        "out": str(tmp_path / "outside"),
        "ü": "ä/ö",
    }
    for name, text in texts.items():
        (links / name).symlink_to(text)
    await settled(left, right, inside="links")
    assert {name: os.readlink(right.folder / "links" / name) for name in texts} == texts
    (right.folder / "links/file").unlink()
    (right.folder / "links/file").symlink_to("elsewhere")
    (right.folder / "links/up").rename(right.folder / "links/moved")
    await settled(left, right, inside="links")
    assert os.readlink(links / "file") == "elsewhere"
    assert contents(tmp_path / "outside") == {"secret": b"not synced"}


async def test_permission_bits_travel_and_move_no_content(together: Pair) -> None:
    left, right = together
    bits = left.folder / "bits"
    modes = {"plain": 0o644, "tool": 0o755, "private": 0o600, "private tool": 0o700}
    for name, mode in modes.items():
        write(bits / name, name * 1000)
        (bits / name).chmod(mode)
    await settled(left, right, inside="bits")
    assert {name: (right.folder / "bits" / name).stat().st_mode & 0o777 for name in modes} == modes
    before = [(await device.status())["bytes"] for device in together]
    (right.folder / "bits/plain").chmod(0o700)
    (right.folder / "bits/tool").chmod(0o644)
    (right.folder / "bits/private").chmod(0o640)
    await settled(left, right, inside="bits")
    after = [(await device.status())["bytes"] for device in together]
    assert after == before
    assert (bits / "plain").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mtime_ns", [0, 1, 1_234_567_890_123_456_789, 4_102_444_800_999_999_999, -86_400_000_000_001])
async def test_times_travel_to_the_nanosecond(together: Pair, mtime_ns: int) -> None:
    left, right = together
    folder = f"times {mtime_ns}"
    write(left.folder / folder / "file", "when")
    os.utime(left.folder / folder / "file", ns=(mtime_ns, mtime_ns))
    (left.folder / folder / "link").symlink_to("when")
    os.utime(left.folder / folder / "link", ns=(mtime_ns, mtime_ns), follow_symlinks=False)
    await settled(left, right, inside=folder)
    assert entry(right.folder / folder / "file").mtime_ns == mtime_ns
    os.utime(right.folder / folder / "file", ns=(5, 5))
    await settled(left, right, inside=folder)
    assert entry(left.folder / folder / "file").mtime_ns == 5


async def test_empty_folders(together: Pair) -> None:
    left, right = together
    (left.folder / "empty/in/side").mkdir(parents=True)
    (left.folder / "empty/other").mkdir()
    await settled(left, right, inside="empty")
    (right.folder / "empty/in/side").rmdir()
    (right.folder / "empty/other").rename(right.folder / "empty/named anew")
    await settled(left, right, inside="empty")
    assert set(snapshot(left.folder / "empty")) == {b"in", b"named anew"}


NAMES = [
    unicodedata.normalize("NFC", "café"),
    unicodedata.normalize("NFD", "café"),
    "README",
    "readme",
    "ReadMe",
    "名前",
    "🐟" * 63,
    "n" * 255,
    "two\nlines",
    "quotes \"' and \\",
    " leading and trailing ",
    "-rf",
    "~",
    "…",
    "con.",
    ".hidden",
    ".shoal",
    "a:b*c?d",
    "\u202eright to left",
    "\x01\x7f",
]


async def test_names(together: Pair) -> None:
    left, right = together
    for name in NAMES:
        write(left.folder / "names/files" / name, name)
        write(left.folder / "names/folders" / name / name, name)
    await settled(left, right, inside="names")
    assert sorted(os.listdir(right.folder / "names/files")) == sorted(NAMES)
    for name in NAMES:
        (right.folder / "names/files" / name).write_text("edited " + name)
    await settled(left, right, inside="names")
    assert {(left.folder / "names/files" / name).read_text() for name in NAMES} == {"edited " + name for name in NAMES}


async def test_a_name_changes_only_its_case(together: Pair) -> None:
    left, right = together
    write(left.folder / "case/Report", "report")
    await settled(left, right, inside="case")
    (right.folder / "case/Report").rename(right.folder / "case/report")
    await settled(left, right, inside="case")
    assert contents(left.folder / "case") == {"report": b"report"}


# Turning things around -----------------------------------------------------------------------------------------------


async def test_names_change_places(together: Pair) -> None:
    left, right = together
    swap = left.folder / "swap"
    for name in ("a", "b", "x", "y", "z"):
        write(swap / name, name)
    write(swap / "one/inside", "one")
    write(swap / "two/inside", "two")
    await settled(left, right, inside="swap")
    exchange(swap, "a", "b")
    exchange(swap, "one", "two")
    (swap / "x").rename(swap / "spare")
    (swap / "z").rename(swap / "x")
    (swap / "y").rename(swap / "z")
    (swap / "spare").rename(swap / "y")
    await settled(left, right, inside="swap")
    expected = {"a": b"b", "b": b"a", "x": b"z", "y": b"x", "z": b"y", "one/inside": b"two", "two/inside": b"one"}
    assert contents(right.folder / "swap") == expected


async def test_a_folder_takes_the_place_of_its_parent(together: Pair) -> None:
    left, right = together
    inside = left.folder / "inside out"
    write(inside / "outer/inner/leaf", "leaf")
    write(inside / "outer/other", "other")
    await settled(left, right, inside="inside out")
    (inside / "outer/inner").rename(inside / "inner")
    (inside / "outer").rename(inside / "inner/outer")
    await settled(left, right, inside="inside out")
    assert contents(right.folder / "inside out") == {"inner/leaf": b"leaf", "inner/outer/other": b"other"}


async def test_a_path_changes_its_kind(together: Pair) -> None:
    left, right = together
    kinds = left.folder / "kinds"
    write(kinds / "file", "was a file")
    write(kinds / "folder/leaf", "leaf")
    (kinds / "link").symlink_to("file")
    await settled(left, right, inside="kinds")
    (kinds / "file").unlink()
    write(kinds / "file/leaf", "now a folder")
    shutil.rmtree(kinds / "folder")
    (kinds / "folder").symlink_to("file")
    (kinds / "link").unlink()
    write(kinds / "link", "now a file")
    await settled(left, right, inside="kinds")
    assert contents(right.folder / "kinds") == {
        "file/leaf": b"now a folder",
        "folder": b"-> file",
        "link": b"now a file",
    }
    back = right.folder / "kinds"
    shutil.rmtree(back / "file")
    write(back / "file", "a file again")
    (back / "folder").unlink()
    write(back / "folder/leaf", "a folder again")
    await settled(left, right, inside="kinds")
    assert contents(kinds) == {"file": b"a file again", "folder/leaf": b"a folder again", "link": b"now a file"}
    assert copies(kinds) == []


async def test_hard_links_become_files(together: Pair) -> None:
    left, right = together
    write(left.folder / "hard/one", "the same bytes" * 1000)
    os.link(left.folder / "hard/one", left.folder / "hard/two")
    await settled(left, right, inside="hard")
    there = right.folder / "hard"
    assert (there / "one").stat().st_ino != (there / "two").stat().st_ino
    (there / "one").write_text("edited by itself")
    await settled(left, right, inside="hard")
    assert contents(left.folder / "hard") == {"one": b"edited by itself", "two": b"the same bytes" * 1000}


async def test_a_copied_tree_and_a_busy_file(together: Pair) -> None:
    """A tree appears while its files are written; one file is written in many steps."""
    left, right = together
    for number in range(300):
        write(left.folder / f"tree/{number % 20}/{number}", f"file {number}" * (number % 7) * 30)
    with (left.folder / "tree/slow").open("wb", buffering=0) as file:
        for step in range(200):
            file.write(f"step {step}\n".encode())
            await trio.lowlevel.checkpoint()
    found = await settled(left, right, inside="tree")
    assert len(found) == 321


# Edits on both sides -------------------------------------------------------------------------------------------------


async def test_the_same_file_edited_on_both_sides(pair: Pair) -> None:
    one, two = pair
    write(one.folder / "notes.txt", "base")
    write(one.folder / "folder/no suffix", "base")
    write(one.folder / "agreed", "base")
    await settled(one, two)
    await two.stop()
    for device, name in ((one, "one"), (two, "two")):
        (device.folder / "notes.txt").write_text(f"by {name}")
        replace(device.folder / "folder/no suffix", f"by {name}")
        (device.folder / "agreed").write_text("the same on both")
    await one.wait()
    await two.start()
    await settled(one, two)
    found = contents(one.folder)
    (notes,) = [path for path in found if re.match(COPY.format("notes", "two", r"\.txt"), path)]
    (other,) = [path for path in found if re.match(COPY.format("folder/no suffix", "two", ""), path)]
    assert found == {
        "notes.txt": b"by one",
        notes: b"by two",
        "folder/no suffix": b"by one",
        other: b"by two",
        "agreed": b"the same on both",
    }


async def test_an_edit_beats_a_delete(pair: Pair) -> None:
    one, two = pair
    for name in ("edited there", "edited here", "untouched", "folder here/edited", "folder here/other"):
        write(one.folder / name, "base")
    await settled(one, two)
    await two.stop()
    (one.folder / "edited there").unlink()
    (one.folder / "untouched").unlink()
    shutil.rmtree(one.folder / "folder here")
    (one.folder / "edited here").write_text("edited by one")
    (two.folder / "edited there").write_text("edited by two")
    (two.folder / "folder here/edited").write_text("edited by two")
    (two.folder / "edited here").unlink()
    await one.wait()
    await two.start()
    await settled(one, two)
    assert contents(two.folder) == {
        "edited there": b"edited by two",
        "edited here": b"edited by one",
        "folder here/edited": b"edited by two",
    }


async def test_the_same_new_name_on_both_sides(pair: Pair) -> None:
    one, two = pair
    await two.stop()
    for device, name in ((one, "one"), (two, "two")):
        write(device.folder / "new", f"by {name}")
        write(device.folder / "same", "alike")
        write(device.folder / f"shared/by {name}", "alone")
    await one.wait()
    await two.start()
    await settled(one, two)
    found = contents(one.folder)
    (copy,) = copies(one.folder)
    assert re.match(COPY.format("new", "two", ""), copy)
    assert found == {
        "new": b"by one",
        copy: b"by two",
        "same": b"alike",
        "shared/by one": b"alone",
        "shared/by two": b"alone",
    }


async def test_both_move_one_file(pair: Pair) -> None:
    one, two = pair
    write(one.folder / "file", "content")
    write(one.folder / "folder/inside", "inside")
    await settled(one, two)
    await two.stop()
    (one.folder / "file").rename(one.folder / "moved by one")
    (one.folder / "folder").rename(one.folder / "folder of one")
    (two.folder / "file").rename(two.folder / "moved by two")
    (two.folder / "folder/inside").write_text("edited by two")
    await one.wait()
    await two.start()
    await settled(one, two)
    assert contents(one.folder) == {"moved by one": b"content", "folder of one/inside": b"edited by two"}


async def test_nothing_happens_after_convergence(pair: Pair) -> None:
    """Restarts and rescans cause no commit and move no byte (law 13)."""
    one, two = pair
    for number in range(50):
        write(one.folder / f"{number % 5}/{number}", f"{number}" * 1000)
    (one.folder / "link").symlink_to("0/0")
    await settled(one, two)
    revision = (await one.status())["workspaces"][0]["revision"]
    for device in pair:
        await device.stop()
        await device.start()
    await settled(one, two)
    for device in pair:
        status = await device.status()
        assert status["workspaces"][0]["revision"] == revision
        assert status["bytes"]["cloud_in"] == status["bytes"]["cloud_out"] == 0
        assert status["problems"] == []


# The tracker is away -------------------------------------------------------------------------------------------------


async def test_offline_edits_go_up_when_the_tracker_returns(lab: Lab, tracker: TrackerProgram) -> None:
    one, two = await lab.devices(tracker, "one", "two")
    for device in (one, two):
        await device.start()
    write(one.folder / "before", "before")
    await settled(one, two)
    tracker.kill()
    await one.until_state("offline")
    await two.until_state("offline")
    write(one.folder / "offline", "written offline" * 1000)
    (one.folder / "before").write_text("edited offline")
    write(two.folder / "other/offline", "there as well")
    spent, start = one.cpu_seconds(), trio.current_time()
    while trio.current_time() - start < 2:
        assert (await one.status())["state"] == "offline"
        await trio.sleep(0.2)
    assert one.cpu_seconds() - spent < 0.7, "a device whose tracker is away keeps the processor busy"
    await tracker.start()
    await settled(one, two)
    assert contents(two.folder) == {
        "offline": b"written offline" * 1000,
        "before": b"edited offline",
        "other/offline": b"there as well",
    }
