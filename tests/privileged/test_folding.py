"""A folder on a file system in user space that ignores case, and neither exchanges names nor spares what has one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.privileged.conftest import Mount
from tests.support.processes import Lab, contents, settled, until, write

TWINS = ("Readme", "README")


@pytest.fixture
def folding(tmp_path: Path, mounted: list[Path]) -> Iterator[Mount]:
    """`folding(place)`: mount it there until the test ends."""
    servers: list[subprocess.Popen[str]] = []

    def make(place: Path, *_: str) -> None:
        place.mkdir(exist_ok=True, parents=True)
        behind = tmp_path / "behind"
        behind.mkdir()
        command = (sys.executable, "-m", "tests.support.folding_fuse", str(place), str(behind))
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "mounted\n"
        mounted.append(place)

    yield make
    for server in servers:
        server.kill()
        server.communicate()


async def test_a_folder_on_a_file_system_in_user_space(lab: Lab, folding: Mount) -> None:
    tracker = lab.tracker()
    await tracker.start()
    one, two = await lab.devices(tracker, "one", "two")
    folding(two.folder)
    await one.start()
    await two.start()
    for path in ("folder/a", "folder/b", "large", "swapped"):
        write(one.folder / path, os.urandom(200_000))
    await settled(one, two)
    status = await two.status()
    assert status["watch"].startswith("the folder is on fuse: changes made on other machines are found by scanning")
    write(one.folder / "large", os.urandom(300_000))
    (one.folder / "folder").rename(one.folder / "Folder")
    (one.folder / "swapped").rename(one.folder / "SWAPPED")
    await settled(one, two)
    assert sorted(os.listdir(two.folder)) == [".shoal", "Folder", "SWAPPED", "large"]
    write(two.folder / "large", "edited here")
    await one.until_file("large", b"edited here")
    for name in TWINS:
        write(one.folder / name, name)
    await until(lambda: any((two.folder / name).name in os.listdir(two.folder) for name in TWINS))
    came = next(name for name in os.listdir(two.folder) if name in TWINS)
    other = next(name for name in TWINS if name != came)
    await two.until_problem(other, f"this disk can't tell its name from that of {came}")
    assert (two.folder / came).read_text() == came
    (one.folder / came).unlink()
    await settled(one, two)
    assert contents(two.folder) == contents(one.folder)
    assert (await two.status())["problems"] == []
