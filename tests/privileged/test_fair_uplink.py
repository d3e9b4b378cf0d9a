"""A slow uplink that is busy with a large file: what is told about other files doesn't wait for it.

Two devices that don't exchange anything on the LAN, and the tracker at the far end of a line that they share.
"""

import os
from pathlib import Path

import pytest
import trio

from bench.certificates import self_signed
from bench.network import Line
from tests.support.lan_lab import Network
from tests.support.processes import DeviceProgram, Lab, settled, until

MB = 1_000_000
ROUNDS = 8


async def seconds_until(author: DeviceProgram, reader: DeviceProgram, name: str, content: bytes) -> float:
    """How long a file that is saved now takes to another device."""
    (author.folder / name).write_bytes(content)
    began = trio.current_time()
    await until(lambda: (reader.folder / name).exists(), 60)
    return trio.current_time() - began


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        (Line(rate=20e6, delay=0.02, queue=1.0), 1.0),
        (Line(rate=2e6, delay=0.02, queue=0.5), 1.0),
    ],
    ids=["20 Mbit", "2 Mbit"],
)
async def test_a_small_file_is_told_of_at_once(
    lab: Lab, network: Network, tmp_path: Path, line: Line, allowed: float
) -> None:
    cloud, uplink = network.far_machine("tracker", line)
    tracker = lab.tracker(machine=cloud, certificate=self_signed(tmp_path, cloud.address))
    await tracker.start()
    machines = {name: network.machine(name) for name in ("author", "reader")}
    author, reader = await lab.devices(tracker, *machines, machines=machines)
    for device in (author, reader):
        await device.start()
    await settled(author, reader)
    (author.folder / "film").write_bytes(os.urandom(100 * MB))
    await author.until_status(lambda seen: seen["bytes"]["cloud_out"] > 0, "uploading", 60)
    await trio.sleep(5)
    busy = []
    for number in range(ROUNDS):
        busy.append(await seconds_until(author, reader, f"note {number}", b"small"))
        await trio.sleep(1)
    assert (await author.moved())["cloud_out"] < 100 * MB, "the uplink has come to rest"
    assert sorted(busy)[ROUNDS // 2] <= allowed
    uplink.change(Line(rate=1e9, delay=0.001))
    await settled(author, reader, seconds=60)
