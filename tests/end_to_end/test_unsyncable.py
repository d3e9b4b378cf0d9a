"""What can't be synced is reported with a reason, left alone, and stops nothing else (law 15)."""

import os
import socket
from pathlib import Path
from typing import Any

from tests.support.processes import DeviceProgram, Lab, TrackerProgram, contents, settled, write

Pair = tuple[DeviceProgram, DeviceProgram]
GIB = 1 << 30


def problems(status: dict[str, Any]) -> dict[str, str]:
    """Reason by path."""
    return {problem["path"]: problem["reason"] for problem in status["problems"]}


def make_socket(path: Path) -> None:
    """A socket, made from inside its folder: socket paths are short."""
    with socket.socket(socket.AF_UNIX) as made:
        back = os.getcwd()
        os.chdir(path.parent)
        try:
            made.bind(path.name)
        finally:
            os.chdir(back)


async def test_what_cannot_be_synced_is_reported_and_left_alone(pair: Pair) -> None:
    one, two = pair
    folder = one.folder / "odd"
    write(folder / "fine", "fine")
    os.mkfifo(folder / "fifo")
    make_socket(folder / "socket")
    write(Path(os.fsdecode(os.fsencode(folder) + b"/latin-\xe4")), "not UTF-8")
    os.symlink(b"latin-\xe4", os.fsencode(folder / "link"))
    with (folder / "huge").open("wb") as file:
        file.truncate(GIB + 1)
    write(one.folder / "after", "after")
    for device in pair:
        await device.wait()
    assert contents(two.folder) == {"odd/fine": b"fine", "after": b"after"}
    assert problems(await one.status()) == {
        "odd/fifo": "a socket, pipe or device",
        "odd/socket": "a socket, pipe or device",
        "odd/latin-\\xe4": "its name is not valid UTF-8",
        "odd/link": "a symlink whose text is not valid UTF-8",
        "odd/huge": "larger than 1 GiB",
    }
    assert sorted(os.listdir(os.fsencode(folder))) == [b"fifo", b"fine", b"huge", b"latin-\xe4", b"link", b"socket"]
    assert problems(await two.status()) == {}
    printed = one.command("status").stdout
    assert all(path in printed and reason in printed for path, reason in problems(await one.status()).items())

    (folder / "fifo").unlink()
    (folder / "socket").unlink()
    os.rename(os.fsencode(folder) + b"/latin-\xe4", os.fsencode(folder / "latin-1"))
    (folder / "link").unlink()
    os.truncate(folder / "huge", 5)
    await settled(one, two)
    assert problems(await one.status()) == {}
    assert contents(two.folder)["odd/huge"] == bytes(5)
    assert contents(two.folder)["odd/latin-1"] == b"not UTF-8"


async def test_a_file_that_grows_too_large_keeps_its_last_version_elsewhere(pair: Pair) -> None:
    one, two = pair
    write(one.folder / "grows", "small")
    await settled(one, two)
    os.truncate(one.folder / "grows", GIB + 1)
    status = await one.until_state("error")
    assert problems(status) == {"grows": "larger than 1 GiB"}
    refused = one.command("status", "--wait-synced", "--timeout", "20")
    assert refused.returncode == 1
    assert refused.stderr == "shoal: error: 1 path can't be synced: see the problems\n"
    write(one.folder / "other", "others go on")
    await two.until_file("other")
    assert contents(two.folder) == {"grows": b"small", "other": b"others go on"}
    os.truncate(one.folder / "grows", 3)
    await settled(one, two)
    assert (two.folder / "grows").read_bytes() == b"sma"
    assert problems(await one.status()) == {}


async def test_shoals_own_folder_is_never_synced(pair: Pair) -> None:
    one, two = pair
    write(one.folder / ".shoal/mine", "put here by somebody")
    write(one.folder / "below/.shoal/mine", "an ordinary folder")
    await settled(one, two)
    assert contents(two.folder) == {"below/.shoal/mine": b"an ordinary folder"}
    assert not (two.folder / ".shoal/mine").exists()
    assert (one.folder / ".shoal/mine").read_text() == "put here by somebody"


async def test_a_folder_that_may_not_be_written_to(lab: Lab, shared_tracker: TrackerProgram) -> None:
    """Nothing in it is touched, everything else comes; as soon as it may be, what was refused comes too."""
    one, two = await lab.devices(shared_tracker, "one", "two", module=("-m", "tests.support.unprivileged", "peer"))
    for device in (one, two):
        await device.start()
    write(one.folder / "shut/old", "first")
    await settled(one, two)
    (two.folder / "shut").chmod(0o500)
    write(one.folder / "shut/old", "second")
    write(one.folder / "shut/new", "new")
    write(one.folder / "open/new", "comes")
    await two.until_file("open/new", b"comes")
    for path in ("shut/old", "shut/new"):
        await two.until_problem(path, "permission denied")
    lines = await two.explain("shut/old")
    assert "not synced: permission denied" in lines
    assert "because: permission denied; give Shoal permission to write there; it is tried again" in lines
    assert contents(two.folder) == {"shut/old": b"first", "open/new": b"comes"}
    (two.folder / "shut").chmod(0o700)
    await settled(one, two)
    assert problems(await two.status()) == {}
