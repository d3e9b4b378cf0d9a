"""Announced first, in the cloud later: the five rules of docs/sync-engine.md, with real programs and a line to the
tracker that breaks when chunks are brought over it.

What takes a day or a week is reached by starting programs again with their clocks put forward. More of these rules, as
scenes: tests/simulation/test_announced.py.
"""

import os
import re
from pathlib import Path

import pytest

from tests.support.processes import (
    DeviceProgram,
    Lab,
    Program,
    TrackerProgram,
    contents,
    not_durable,
    replace,
    settled,
    until,
    write,
)
from tests.support.relay import UPLOAD, Relay

SIZE = 60_000
MINUTE, HOUR, DAY = 60, 3600, 24 * 3600
WAITING = "pending: waiting: its content is neither in the cloud nor on the LAN yet"


def made() -> bytes:
    """A content that shares no chunk with another, and doesn't travel with its metadata."""
    return os.urandom(SIZE)


@pytest.fixture
async def team(lab: Lab, tracker: TrackerProgram, uplink: Relay) -> list[DeviceProgram]:
    """A laptop whose line to the tracker can break, and a desktop and a phone with lines of their own; not running."""
    return await lab.devices(tracker, "laptop", "desktop", "phone", via={"laptop": uplink.url})


def put_clocks_forward(seconds: int, *programs: Program) -> None:
    """End programs at once; when they start again, their clocks are so far ahead."""
    for program in programs:
        program.kill()
        program.set_clock(seconds)


def spooled(device: DeviceProgram) -> list[Path]:
    """What it keeps of the files that were replaced or removed."""
    return sorted((device.folder / ".shoal/outgoing").iterdir())


async def announced(*devices: DeviceProgram, count: int = 1) -> None:
    """Wait until devices know of so many files that are not in the cloud."""
    for device in devices:
        await device.until_not_durable(count)


def conflict_copy(device: DeviceProgram, author: str) -> bytes:
    """What is in the only conflict copy in a folder."""
    pattern = rf"f \(conflicted copy, {author}, \d{{4}}-\d\d-\d\d\)"
    (copy,) = (content for name, content in contents(device.folder).items() if re.fullmatch(pattern, name))
    return copy


# a. What can be had is had


@pytest.mark.soak  # tests/simulation/test_announced.py has the scenes
async def test_the_newest_in_the_cloud_does_until_the_newest_can_be_had(
    tracker: TrackerProgram, uplink: Relay, team: list[DeviceProgram]
) -> None:
    laptop, desktop, _ = team
    first, second, third = made(), made(), made()
    write(laptop.folder / "f", first)
    await laptop.start()
    await desktop.start()
    await settled(laptop, desktop)
    await desktop.stop()
    replace(laptop.folder / "f", second)
    await laptop.wait()
    uplink.cut = UPLOAD
    replace(laptop.folder / "f", third)
    await announced(laptop)
    await desktop.start()
    await desktop.until_file("f", second)
    await announced(desktop)
    lines = await desktop.until_explained("f", WAITING)
    assert "in the cloud: not yet: keep the device that has it on" in lines
    assert "on your LAN: no device that has it is linked" in lines
    assert await desktop.state() == "syncing"
    assert uplink.cuts
    uplink.cut = None
    await settled(laptop, desktop)
    assert contents(desktop.folder) == {"f": third}
    await tracker.check()


# b. Nothing is thrown away that may be the last copy


async def test_what_is_replaced_or_removed_too_early_still_reaches_the_cloud(
    lab: Lab, tracker: TrackerProgram, uplink: Relay
) -> None:
    laptop, desktop = await lab.devices(tracker, "laptop", "desktop", via={"laptop": uplink.url, "desktop": uplink.url})
    for device in (laptop, desktop):
        await device.start(lan=True)
    await laptop.until_met(desktop)
    uplink.cut = UPLOAD
    replaced, removed, kept = made(), made(), made()
    write(laptop.folder / "replaced", replaced)
    write(laptop.folder / "removed", removed)
    await desktop.until_file("replaced", replaced)
    await desktop.until_file("removed", removed)
    replace(desktop.folder / "replaced", kept)
    (desktop.folder / "removed").unlink()
    await laptop.until_file("replaced", kept)
    await until(lambda: not (laptop.folder / "removed").exists())
    await until(lambda: len(spooled(laptop)) == 2)
    # Anything else goes after a minute, when the room is looked through, which a start begins with.
    put_clocks_forward(2 * MINUTE, tracker, laptop)
    await tracker.start()
    await laptop.start(lan=True)
    await laptop.until_met(desktop)
    await laptop.wait("synced")
    assert sorted(file.read_bytes() for file in spooled(laptop)) == sorted([replaced, removed])
    assert (await tracker.stats())["versions_not_durable"] == 3
    uplink.cut = None
    for device in (laptop, desktop):  # which saves the pause that they make after so many failures
        await device.stop()
        await device.start(lan=True)
    await tracker.until_all_durable()
    assert (await tracker.stats())["chunk_bytes"] > 3 * SIZE
    await settled(laptop, desktop)
    assert contents(laptop.folder) == {"replaced": kept}
    await tracker.check()


# c. One device brings it to the cloud


async def test_another_device_finishes_what_the_author_began(
    tracker: TrackerProgram, uplink: Relay, team: list[DeviceProgram]
) -> None:
    laptop, desktop, phone = team
    for device in (laptop, desktop):
        await device.start(lan=True)
    await laptop.until_met(desktop)
    uplink.cut = UPLOAD
    content = made()
    write(laptop.folder / "f", content)
    await desktop.until_file("f", content)
    await desktop.wait("synced")
    await announced(desktop)
    laptop.kill()
    assert (await tracker.stats())["versions_not_durable"] == 1
    assert (await desktop.moved())["cloud_out"] == 0
    put_clocks_forward(2 * MINUTE, tracker, desktop)
    await tracker.start()
    await desktop.start(lan=True)
    await desktop.wait()
    assert (await desktop.moved())["cloud_out"] > SIZE
    assert (await tracker.stats())["versions_not_durable"] == 0
    await phone.start()
    await phone.until_file("f", content)
    await tracker.check()
    laptop.set_clock(2 * MINUTE)
    await laptop.start(lan=True)
    await settled(laptop, desktop, phone)
    assert (await laptop.moved())["cloud_out"] == 0


# d. Nothing stays announced for ever


@pytest.mark.soak  # as above
async def test_what_nobody_brings_is_withdrawn_after_a_week_and_lost_by_nobody(
    tracker: TrackerProgram, uplink: Relay, team: list[DeviceProgram]
) -> None:
    laptop, desktop, _ = team
    first, second, third = made(), made(), made()
    write(laptop.folder / "old", first)
    await laptop.start()
    await desktop.start()
    await settled(laptop, desktop)
    uplink.cut = UPLOAD
    replace(laptop.folder / "old", second)
    write(laptop.folder / "new", third)
    await announced(laptop, desktop, count=2)
    put_clocks_forward(8 * DAY, tracker, laptop, desktop)
    await tracker.start()
    await desktop.start()
    await desktop.wait()
    assert contents(desktop.folder) == {"old": first}
    assert (await tracker.stats())["versions_not_durable"] == 0
    uplink.cut = None
    await laptop.start()
    await desktop.until_file("new", third)
    await settled(laptop, desktop)
    assert contents(desktop.folder) == {"old": second, "new": third}
    await tracker.check()


# e. Nobody waits for ever either


@pytest.mark.soak  # the simulation plays the same scene
async def test_a_stalled_head_is_passed_over_after_a_day(
    tracker: TrackerProgram, uplink: Relay, team: list[DeviceProgram]
) -> None:
    laptop, desktop, _ = team
    first, second, third = made(), made(), made()
    write(laptop.folder / "f", first)
    await laptop.start()
    await desktop.start()
    await settled(laptop, desktop)
    uplink.cut = UPLOAD
    replace(laptop.folder / "f", second)
    await announced(laptop, desktop)
    laptop.kill()
    replace(desktop.folder / "f", third)
    put_clocks_forward(23 * HOUR, tracker, desktop)
    await tracker.start()
    await desktop.start()
    await desktop.until_status(lambda seen: seen["state"] == "syncing" and not_durable(seen) == 1, "held up")
    await desktop.until_explained("f", WAITING)
    assert (await tracker.stats())["versions_not_durable"] == 1
    put_clocks_forward(25 * HOUR, tracker, desktop)
    await tracker.start()
    await desktop.start()
    await desktop.wait()
    assert contents(desktop.folder) == {"f": third}
    uplink.cut = None
    laptop.set_clock(25 * HOUR)
    await laptop.start()
    await laptop.until_file("f", third)
    await until(lambda: len(contents(desktop.folder)) == 2)
    await settled(laptop, desktop)
    assert contents(desktop.folder)["f"] == third
    assert conflict_copy(desktop, "laptop") == second
    await tracker.check()
