"""What a device keeps: ignore rules, exclude and include, and moving the folder, with the real commands."""

import json
from pathlib import Path

from tests.support.processes import DeviceProgram, Lab, TrackerProgram, contents, settled, until, write


def said(device: DeviceProgram, *arguments: str, code: int = 0) -> str:
    done = device.command(*arguments)
    assert done.returncode == code, (arguments, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def here(device: DeviceProgram) -> set[str]:
    return {path.rstrip("/") for path in contents(device.folder)}


async def test_ignore_exclude_include_and_move(lab: Lab, shared_tracker: TrackerProgram, tmp_path: Path) -> None:
    one, two = await lab.devices(shared_tracker, "one", "two")
    write(one.folder / "photos" / "a.jpg", "a" * 5000)
    write(one.folder / "project" / "main.c", "main")
    write(one.folder / "project" / "build" / "main.o", "object")
    write(one.folder / "project" / ".shoalignore", "build/\n[\n")
    write(one.folder / "notes.txt", "notes")
    await one.start()
    await two.start()
    await two.until_file("notes.txt")
    await one.wait()
    await two.wait()
    everything = {"photos/a.jpg", "project/main.c", "project/.shoalignore", "notes.txt"}
    assert here(two) == everything
    assert here(one) == everything | {"project/build/main.o"}
    assert "project/.shoalignore: line 2 is no pattern" in said(one, "status")
    assert "line 1 of project/.shoalignore: build/" in said(one, "explain", str(one.folder / "project/build/main.o"))

    # Exclude: off this disk only, what is new in it doesn't come.
    assert said(two, "exclude") == "nothing is excluded on this device\n"
    said(two, "exclude", str(two.folder / "photos"))
    await until(lambda: not (two.folder / "photos").exists())
    write(one.folder / "photos" / "b.jpg", "b" * 5000)
    write(one.folder / "last", "last")
    await two.until_file("last")
    await two.wait()
    assert here(two) == everything - {"photos/a.jpg"} | {"last"}
    assert "excluded photos\n" in said(two, "status")
    assert json.loads(said(two, "exclude", "--json")) == [{"path": "photos", "here": 0, "files_here": []}]
    link = tmp_path / "link to the folder"
    link.symlink_to(two.folder)
    assert "not here: it is excluded on this device\n" in said(two, "explain", str(link / "photos"))

    # Move, with the daemon running: it goes on at the new place, and what was excluded still is.
    new = tmp_path / "elsewhere" / "Shoal"
    assert "no such file" in said(two, "move", str(new), code=1)
    new.parent.mkdir()
    old, two.folder = two.folder, new
    assert said(two, "move", str(new)) == f"the folder is at {new} now\n"
    assert not old.exists()
    write(new / "from two", "two")
    await one.until_file("from two")
    await two.wait()
    assert (one.folder / "photos" / "a.jpg").exists()
    assert not (new / "photos").exists()

    # Move again, with no daemon; without a folder run takes the one that there is.
    await two.stop()
    two.folder = tmp_path / "third"
    said(two, "move", str(two.folder))
    await two.launch("--home", str(two.home_path), "run", "--no-lan", ready="syncing ")
    said(two, "include", str(two.folder / "photos"))
    await two.until_file("photos/b.jpg")
    await two.wait()
    assert here(two) == everything | {"photos/b.jpg", "last", "from two"}
    assert "not excluded" in said(two, "include", str(two.folder / "photos"), code=1)


async def test_a_move_that_a_crash_interrupts(lab: Lab, shared_tracker: TrackerProgram, tmp_path: Path) -> None:
    """At each other point: `tests/peer/test_moving.py`."""
    one, two = await lab.devices(shared_tracker, "one", "two")
    write(one.folder / "file", "content")
    await one.start()
    await two.start(failpoint="peer.move.renamed:1")
    await two.until_file("file")
    await two.wait()
    old, new = two.folder, tmp_path / "new"
    said(two, "move", str(new), code=1)
    await two.died_at_failpoint()
    await two.launch("--home", str(two.home_path), "run", "--no-lan", ready="syncing ")
    two.folder = new
    assert not old.exists()
    write(two.folder / "more", "more")
    assert set(await settled(one, two)) == {b"file", b"more"}
