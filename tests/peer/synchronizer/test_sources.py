"""How much a device on the LAN is asked for at once."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from peer.lan.channel import Record
from peer.synchronizer.jobs import Wanted
from peer.synchronizer.sources import AT_ONCE, FAST, LanSource
from protocol.chunks import OVERHEAD, ChunkRef
from protocol.identifiers import ChunkId, VersionId
from protocol.lan_messages import MAX_GET_BYTES, Part

VERSION = VersionId(bytes(16))


class Device:
    """A link that answers after a while."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked: list[list[Part]] = []

    async def get(self, requests: Sequence[Sequence[Part]]) -> list[tuple[int, Record]]:
        await trio.sleep(self.seconds)
        self.asked += map(list, requests)
        return []


def source(device: Device, links: int = 1) -> LanSource:
    link: Any = device
    neighbours: Any = SimpleNamespace(links=[device] * links)
    return LanSource(link, neighbours)


def wanted(*lengths: int) -> list[Wanted]:
    refs = [ChunkRef(ChunkId(bytes(32)), bytes(32), length) for length in lengths]
    return [Wanted(ref, VERSION, number, False) for number, ref in enumerate(refs)]


async def test_no_request_is_for_more_than_an_answer_may_hold() -> None:
    half = MAX_GET_BYTES // 2 - OVERHEAD
    device = Device()
    await source(device).ask(wanted(half, half, half, MAX_GET_BYTES, 1, half, half))
    assert device.asked == [
        [(VERSION, 0, 2)],
        [(VERSION, 2, 1)],
        [(VERSION, 3, 1)],
        [(VERSION, 4, 2)],
        [(VERSION, 6, 1)],
    ]


@pytest.mark.parametrize(("links", "highest"), [(1, AT_ONCE), (2, AT_ONCE // 2), (9, 1)])
async def test_a_fast_device_is_asked_for_more(links: int, highest: int, autojump_clock: object) -> None:
    """Until it is slow, and for less where there are several."""
    device = Device()
    asked = source(device, links)
    assert asked.most == MAX_GET_BYTES
    for _ in range(5):
        await asked.ask(wanted(1))
    assert asked.most == highest * MAX_GET_BYTES
    device.seconds = FAST
    await asked.ask(wanted(1))
    assert asked.most == MAX_GET_BYTES
