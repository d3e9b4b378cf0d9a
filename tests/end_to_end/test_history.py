"""The past with real programs: the commands, the daemon, the tracker."""

import json

from tests.support.processes import DeviceProgram, Lab, TrackerProgram, settled, snapshot, write


def said(device: DeviceProgram, *arguments: str) -> str:
    done = device.command(*arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_versions_folders_and_everything_come_back(lab: Lab, tracker: TrackerProgram) -> None:
    one, two = await lab.devices(tracker, "one", "two")
    none = one.command("history", str(one.folder / "file"))
    assert (none.returncode, "no daemon is running" in none.stderr) == (1, True)
    await one.start()
    await two.start()
    large = bytes(range(256)) * 4000
    write(one.folder / "file", large)
    write(one.folder / "d/sub/inner", b"inner")
    await settled(one, two)
    write(two.folder / "file", b"second")
    await settled(two, one)

    file = str(one.folder / "file")
    rows = json.loads(said(one, "history", file, "--json"))["rows"]
    assert [(row["version"], row["device"], row["size"]) for row in rows] == [(1, "one", len(large)), (2, "two", 6)]
    assert "what is there now" in said(two, "history", str(two.folder / "file"))
    said(one, "restore", file, "--version", "1")
    await settled(one, two)
    assert (two.folder / "file").read_bytes() == large

    before = snapshot(one.folder)
    for path in ("d/sub/inner", "file"):
        (two.folder / path).unlink()
    for path in ("d/sub", "d"):
        (two.folder / path).rmdir()
    await settled(two, one)
    assert "d/  by two" in said(one, "history", str(one.folder))
    assert said(one, "restore", str(one.folder / "d")) == "restored d (1 file)\n"
    await settled(one, two)
    assert (two.folder / "d/sub/inner").read_bytes() == b"inner"

    refused = one.command("rewind", "--to", "1 hour ago")
    assert (refused.returncode, "nothing yet at that time" in refused.stderr) == (1, True)
    revision = json.loads(said(one, "history", file, "--json"))["rows"][2]["revision"]
    asked = one.command("rewind", "--to", f"@{revision}")
    assert (asked.returncode, "nothing was changed" in asked.stderr) == (1, True)
    assert "file" in asked.stdout
    out = said(one, "rewind", "--to", f"@{revision}", "--yes")
    await settled(one, two)
    assert snapshot(two.folder) == snapshot(one.folder) == before
    undo = out.split("--to ")[-1].strip()
    said(two, "rewind", "--to", undo, "--yes")
    await settled(two, one)
    assert not (one.folder / "file").exists()
    assert (one.folder / "d/sub/inner").exists()
