"""The devices' counters while something is measured."""

from collections import Counter
from typing import cast

import trio
from trio.testing import MockClock

from bench.failures import BenchFailed
from bench.parts import Device
from bench.sampling import EVERY_SECONDS, sampling


class Moving:
    """Has moved a hundred bytes more each time it is asked. While it is busy it doesn't answer in time."""

    def __init__(self, name: str) -> None:
        self.name, self.moved = name, Counter[str]()
        self.busy = False

    async def status(self) -> None:
        if self.busy:
            await trio.sleep(30)
            raise BenchFailed(f"{self.name} did not answer")
        self.moved["lan_in"] += 100


async def test_a_device_that_does_not_answer_holds_up_no_other(autojump_clock: MockClock) -> None:
    quick, slow = Moving("quick"), Moving("slow")
    async with sampling([cast(Device, quick), cast(Device, slow)]) as samples:
        slow.busy = True
        await trio.sleep(10.25 * EVERY_SECONDS)
        newest = samples.taken[-1].moved
        assert newest["quick"]["lan_in"] >= 900
        assert newest["slow"]["lan_in"] == 0
        slow.busy = False
    assert samples.taken[-1].moved["slow"]["lan_in"] == 100
    assert samples.taken[0].moved["quick"] == dict.fromkeys(("lan_in", "lan_out", "cloud_in", "cloud_out"), 0)
    assert [sample.at for sample in samples.taken] == sorted(sample.at for sample in samples.taken)
