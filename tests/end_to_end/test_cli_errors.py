"""What goes wrong is told in one line on stderr, with exit code 1 and no traceback; SIGTERM stops both programs."""

import shutil
import sqlite3
import subprocess
from pathlib import Path

import trio

from peer.database import SCHEMA_VERSION
from tests.support.processes import DeviceProgram, Lab, Program, TrackerProgram, settled, write

NO_TRACKER = "http://127.0.0.1:1"


def line_of(done: subprocess.CompletedProcess[str]) -> str:
    """The one line in which a command failed."""
    assert done.returncode == 1, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    return done.stderr.strip()


async def test_logging_in(lab: Lab, shared_tracker: TrackerProgram) -> None:
    (one,) = await lab.devices(shared_tracker, "one")
    email, tracker = one.home.credentials().email, ("--tracker", shared_tracker.url)
    two = lab.device("two")
    wrong = line_of(two.command("login", email, *tracker, SHOAL_PASSWORD="not the password"))
    unknown = line_of(two.command("login", "nobody@example.org", *tracker))
    assert wrong == unknown
    assert "password" in wrong
    assert "no answer from tracker" in line_of(two.command("login", email, "--tracker", NO_TRACKER))
    assert "there is an account with this address" in line_of(two.command("signup", email, *tracker))
    assert "has an account" in line_of(one.command("login", email, *tracker))
    assert not two.home.has_account()


async def test_running_without_an_account(lab: Lab) -> None:
    one = lab.device("one")
    assert "run shoal signup or shoal login" in line_of(one.command("run", str(one.folder)))
    assert "start it with shoal run" in line_of(one.command("status"))


async def test_whose_folder_it_is(pair: tuple[DeviceProgram, DeviceProgram], tmp_path: Path) -> None:
    one, two = pair
    write(one.folder / "file", "file")
    before = await settled(one, two)
    await two.stop()
    assert str(two.folder) in line_of(two.command("run", str(one.folder)))
    shutil.copytree(two.home_path, tmp_path / "third.home", ignore=lambda *_: ["peer.db", "control"])
    third = two.command("--home", str(tmp_path / "third.home"), "run", str(one.folder))
    assert line_of(third) == f"shoal: the folder {one.folder} belongs to another home: {one.home_path}"
    await two.start()
    assert await settled(one, two) == before


async def test_a_home_is_in_no_synced_folder(lab: Lab, shared_tracker: TrackerProgram, tmp_path: Path) -> None:
    """Its keys would go to the tracker and to all devices."""
    (one,) = await lab.devices(shared_tracker, "one")
    (tmp_path / "link").symlink_to(one.home_path.parent)
    for folder in (one.home_path, one.home_path.parent, tmp_path / "link"):
        said = line_of(one.command("run", str(folder)))
        assert said.startswith(f"shoal: the home {one.home_path}, with this device's keys, is in {folder}: ")
        assert not (folder / ".shoal").exists()
    assert "which is for Shoal alone" in line_of(one.command("run", str(one.home_path / "log")))
    await one.start()
    inside = one.home_path / "folder"
    for _ in ("running", "stopped"):
        said = line_of(one.command("move", str(inside)))
        assert said.startswith(f"shoal: {inside} is in the home {one.home_path}, which is for Shoal alone: ")
        await one.stop()


async def test_a_second_daemon(pair: tuple[DeviceProgram, DeviceProgram]) -> None:
    one, _ = pair
    said = line_of(one.command("run", str(one.folder)))
    assert said == f"shoal: another shoal (process {one.pid}) is at work on {one.home_path}"
    await one.wait()


async def test_a_newer_database(lab: Lab, shared_tracker: TrackerProgram) -> None:
    (one,) = await lab.devices(shared_tracker, "one")
    await one.start()
    await one.wait()
    await one.stop()
    connection = sqlite3.connect(one.home_path / "peer.db")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    said = line_of(one.command("run", str(one.folder)))
    assert f"written by a newer Shoal (schema {SCHEMA_VERSION + 1}); upgrade this one" in said


async def test_waiting_begins_before_the_daemon_does(lab: Lab, shared_tracker: TrackerProgram) -> None:
    (one,) = await lab.devices(shared_tracker, "one")
    write(one.folder / "file", "file")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.start)
        waited = await trio.to_thread.run_sync(one.command, "status", "--wait-durable", "--timeout", "20")
    assert waited.returncode == 0, waited.stderr
    assert waited.stdout.startswith("synced, in the cloud\n")


async def test_waiting_for_a_paused_daemon(pair: tuple[DeviceProgram, DeviceProgram]) -> None:
    one, two = pair
    assert one.command("pause").returncode == 0
    write(one.folder / "file", "file")
    assert "paused" in line_of(one.command("status", "--wait-synced", "--timeout", "20"))
    assert (await one.status())["state"] == "paused"
    assert one.command("resume").returncode == 0
    await settled(one, two)
    assert (two.folder / "file").exists()


async def test_sigterm_in_the_middle_of_work(lab: Lab, tracker: TrackerProgram) -> None:
    one, two = await lab.devices(tracker, "one", "two")
    for number in range(200):
        write(one.folder / f"{number}", f"{number}" * 5000)
    for device in (one, two):
        await device.start()
    await two.until_file("0")
    programs: list[Program] = [one, two, tracker]
    for program in programs:
        program.ask_to_stop()
    for program in programs:
        assert await program.ended(10) == 0, program.logged()
        assert "Traceback" not in program.logged()
    await tracker.start()
    for device in (one, two):
        await device.start()
    await settled(one, two)
    await tracker.check()
