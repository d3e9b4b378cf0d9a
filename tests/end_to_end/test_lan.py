"""Devices on one LAN, which here is loopback: they find each other, and give each other what they have."""

import os
from functools import partial

from peer.account import log_out
from peer.system.http import HttpTransport
from peer.tracker_client import TrackerClient
from protocol.system import real_machine
from tests.support.processes import (
    DeviceProgram,
    Lab,
    TrackerProgram,
    contents,
    not_durable,
    settled,
    snapshot,
    until,
    write,
)
from tests.support.relay import Relay, free_port

MIB = 1 << 20
FILM = 3 * MIB
SLOW = 30_000
"""Bytes a second over the author's line to the tracker: a pack takes it more than a minute."""
SILENT = ("-m", "tests.support.silent", "peer")


async def started(*devices: DeviceProgram) -> None:
    """Start devices on the LAN and wait until all have met."""
    for device in devices:
        await device.start(lan=True)
    for device in devices:
        await device.until_met(*(other for other in devices if other is not device))


def alike(one: DeviceProgram, other: DeviceProgram) -> bool:
    """Whether two folders hold the same."""
    return snapshot(one.folder) == snapshot(other.folder)


async def give(author: DeviceProgram, name: str, *devices: DeviceProgram) -> int:
    """Write a file that is too large to travel with its metadata, and wait until all have it; its size."""
    content = os.urandom(200_000)
    write(author.folder / name, content)
    for device in devices:
        await device.until_file(name, content)
    return len(content)


async def test_what_one_has_the_others_get_from_it(lab: Lab, tracker: TrackerProgram, uplink: Relay) -> None:
    """And not from the cloud, which has nothing for longer than the test takes."""
    one, two, three = await lab.devices(tracker, "one", "two", "three", via={"one": uplink.url})
    await started(one, two, three)
    uplink.rate = SLOW
    write(one.folder / "film", os.urandom(FILM))
    total = FILM
    for number in range(40):
        size = 2_000 + 1_000 * number
        write(one.folder / f"tree/{number % 5}/{number % 3}/{number}", os.urandom(size))
        total += size
    for device in (two, three):
        await until(partial(alike, one, device))
        assert (await device.moved())["lan_in"] >= total
    uplink.rate = None
    await settled(one, two, three)
    for device in (two, three):
        moved = await device.moved()
        assert moved["cloud_in"] == moved["cloud_out"] == 0
        for path, size in (("film", FILM), ("tree/0/0/0", 2_000)):
            (line,) = [line for line in await device.explain(path) if line.startswith("bytes from: ")]
            assert line.endswith(f", on the LAN ({size:,} bytes)")
            assert any(other.name in line for other in (one, two, three) if other is not device)
    given = [(await device.moved())["lan_out"] for device in (one, two, three)]
    assert given[0] >= total, "nobody else had it at first"
    assert sum(given) >= 2 * total
    assert (await one.moved())["cloud_out"] >= total
    assert "bytes from: this device" in await one.explain("film")


async def test_a_device_that_wants_no_lan_gets_all_from_the_cloud(lab: Lab, shared_tracker: TrackerProgram) -> None:
    one, two, apart = await lab.devices(shared_tracker, "one", "two", "apart")
    await apart.start()
    await started(one, two)
    size = await give(one, "file", two, apart)
    assert (await two.moved())["lan_in"] >= size
    status = await apart.status()
    assert (status["lan"], status["peers"]) == ("off", [])
    assert status["bytes"]["lan_in"] == status["bytes"]["lan_out"] == 0
    assert status["bytes"]["cloud_in"] >= size
    assert f"bytes from: the cloud ({size:,} bytes)" in await apart.explain("file")


async def test_a_device_that_was_killed_is_found_again(lab: Lab, shared_tracker: TrackerProgram) -> None:
    one, two = await lab.devices(shared_tracker, "one", "two")
    await started(one, two)
    for victim, other in ((two, one), (one, two)):
        victim.kill()
        await other.until_met()
        await started_again(victim, other)
        size = await give(other, f"after {victim.name} was killed", victim)
        assert (await victim.moved())["lan_in"] >= size


async def started_again(device: DeviceProgram, other: DeviceProgram) -> None:
    await device.start(lan=True)
    await device.until_met(other)
    await other.until_met(device)


async def test_a_device_that_was_logged_out_is_dropped(lab: Lab, shared_tracker: TrackerProgram) -> None:
    one, two, former = await lab.devices(shared_tracker, "one", "two", "former")
    await started(one, two, former)
    before = await former.moved()
    # By somebody with a copy of its home: the program itself runs on, and would take all it can get.
    async with HttpTransport(shared_tracker.url, ca_file=None, insecure_http=False) as transport:
        await log_out(TrackerClient(transport, real_machine()), former.home.credentials())
    await one.until_met(two)
    await two.until_met(one)
    await former.until_met()
    size = await give(one, "not for everybody", two)
    assert (await two.moved())["lan_in"] >= size
    write(former.folder / "nor from just anybody", os.urandom(200_000))
    await settled(one, two)
    assert contents(one.folder).keys() == {"not for everybody"}
    assert contents(former.folder).keys() == {"nor from just anybody"}
    status = await former.until_state("error")
    assert status["peers"] == []
    assert status["bytes"] == before
    assert [each["name"] for each in (await one.status())["peers"]] == ["two"]


async def test_a_device_is_found_where_a_person_says_it_is(lab: Lab, shared_tracker: TrackerProgram) -> None:
    """Without a single advertisement; a device of which nobody was told is not met."""
    port = free_port()
    one, two, three = await lab.devices(shared_tracker, "one", "two", "three", module=SILENT)
    await one.start("--lan-port", str(port), lan=True)
    await two.start("--lan-peer", f"127.0.0.1:{port}", lan=True)
    await three.start(lan=True)
    await one.until_met(two)
    await two.until_met(one)
    size = await give(one, "file", two, three)
    assert (await two.moved())["lan_in"] >= size
    status = await three.status()
    assert (status["lan"], status["peers"], status["bytes"]["lan_in"]) == ("on", [], 0)
    one.kill()
    await two.until_met()
    await one.start("--lan-port", str(port), lan=True)
    await two.until_met(one)


async def test_on_the_lan_is_not_in_the_cloud(lab: Lab, tracker: TrackerProgram, uplink: Relay) -> None:
    one, two = await lab.devices(tracker, "one", "two", via={"one": uplink.url})
    await started(one, two)
    await settled(one, two)
    uplink.rate = SLOW
    content = os.urandom(2 * MIB)
    write(one.folder / "slow", content)
    await two.until_file("slow", content)
    for device, holders in ((one, "this device, two"), (two, "this device, one")):
        await device.wait("synced")
        status = await device.status()
        assert status["state"] == "synced"
        assert not_durable(status) == 1
        shown = device.command("status")
        assert "synced on your LAN, 1 file not in the cloud yet: keep this device on" in shown.stdout
        lines = await device.explain("slow")
        assert "in the cloud: not yet: keep the device that has it on" in lines
        assert f"on your LAN: {holders}" in lines
    assert (await tracker.stats())["versions_not_durable"] == 1
    await one.stop()
    refused = one.command("logout")
    assert refused.returncode != 0
    assert "1 file of this device not in the cloud yet" in refused.stderr
    await started_again(one, two)
    uplink.rate = None
    await settled(one, two)
    for device in (one, two):
        lines = await device.explain("slow")
        assert "in the cloud: yes" in lines
        assert not [line for line in lines if line.startswith("on your LAN")]
        assert "synced, in the cloud" in device.command("status").stdout
    assert (await two.moved())["cloud_in"] == 0
    assert (await tracker.stats())["versions_not_durable"] == 0
