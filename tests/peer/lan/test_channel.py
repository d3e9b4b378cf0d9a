"""Bytes of a connection come in pieces of any size; no frame may depend on where they end."""

from random import Random

import pytest
import trio
import trio.testing

from peer.lan.channel import Channel, Record, answer_channel, dial_channel
from peer.ports import LanAddress
from protocol.identifiers import DeviceId
from protocol.lan_messages import Ping
from protocol.signing import ExchangeKey

OWN, OTHER = ExchangeKey(b"o" * 32), ExchangeKey(b"t" * 32)
DIALLER, LISTENER = DeviceId(b"d" * 16), DeviceId(b"l" * 16)


class End:
    """One end of a connection. What the other end sends comes when that has nothing more to do, at most `most` bytes
    at a time."""

    remote = LanAddress("127.0.0.1", 1)

    def __init__(self, most: int) -> None:
        self.most = most
        self.arrived = bytearray()
        self.other = self

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()
        self.other.arrived += data

    async def receive_into(self, buffer: memoryview) -> int:
        while not self.arrived:
            await trio.testing.wait_all_tasks_blocked(0.001)
        count = min(self.most, len(self.arrived), len(buffer))
        buffer[:count] = self.arrived[:count]
        del self.arrived[:count]
        return count

    def close(self) -> None:
        """Nothing waits for it."""


async def connected(most: int) -> list[Channel]:
    """The dialler's and the listener's channel, when both have said hello as soon as they could."""
    near, far = End(most), End(most)
    near.other, far.other = far, near
    channels: dict[str, Channel] = {}

    async def dial() -> None:
        channels["near"] = await dial_channel(near, OWN, {LISTENER: OTHER.public}, Random(1).randbytes)
        await channels["near"].greet("near")

    async def answer() -> None:
        channels["far"] = await answer_channel(far, OTHER, {OWN.public: DIALLER}.get, Random(2).randbytes)
        await channels["far"].greet("far")

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dial)
            nursery.start_soon(answer)
    return [channels["near"], channels["far"]]


@pytest.mark.parametrize("most", [7, 1000, 1 << 20])
async def test_frames_of_all_sizes(most: int) -> None:
    """Right behind the handshake and behind one another."""
    near, far = await connected(most)
    assert (near.name, far.name) == ("far", "near")
    chunks = [Random(size).randbytes(size) for size in (100, 16_000, 17_000, 600_000, 50)]
    for number, chunk in enumerate(chunks):
        await far.say(Ping(number=number), Ping(number=number))
        await far.send_record(far.records_out.seal(far.records_out.reserve(), number, [chunk]))
    with trio.fail_after(10):
        for number, chunk in enumerate(chunks):
            assert [await near.receive(), await near.receive()] == [Ping(number=number)] * 2
            record = await near.receive()
            assert isinstance(record, Record)
            request, bodies = near.records_in.open(record.counter, record.body)
            assert (request, *map(bytes, bodies)) == (number, chunk)
