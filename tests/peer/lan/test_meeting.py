"""Devices that find each other, lose each other, and find each other again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from peer.lan import candidates, meeting
from peer.ports import Advertisement, Beacons, LanAddress
from protocol.lan import beacon_tag, hour_of
from tests.peer.lan.household import LOOPBACK, Household, Resident, residents, until

HOUR_NS = 3600 * 10**9


class Board:
    """Beacons of one device in a test's hands."""

    def __init__(self) -> None:
        self.announced: list[tuple[str, bytes, int]] = []
        self._put, self._seen = trio.open_memory_channel[Advertisement](100)

    async def announce(self, name: str, tag: bytes, port: int) -> None:
        await trio.lowlevel.checkpoint()
        self.announced.append((name, tag, port))

    async def receive(self) -> Advertisement:
        return await self._seen.receive()

    def show(self, advertisement: Advertisement) -> None:
        self._put.send_nowait(advertisement)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "NETWORK_TICK", 0.02)
    monkeypatch.setattr(meeting, "COURTESY", 0.2)
    monkeypatch.setattr(candidates, "FIRST_PAUSE", 0.05)


@asynccontextmanager
async def boards(*devices: Resident) -> AsyncIterator[list[Board]]:
    """Give each device a board in place of its beacons, from now on."""
    made = [Board() for _ in devices]
    for device, board in zip(devices, made, strict=True):
        device.network.board = board
        device.network.address = f"{LOOPBACK}/moved"
    await until(lambda: all(board.announced for board in made))
    yield made


def advertisement(device: Resident, name: str = "a" * 32, hours: int = 0) -> Advertisement:
    """What a device's beacon says, that many hours ago or ahead."""
    hour = hour_of(device.folder.context.machine.now()) + hours
    return Advertisement(name, beacon_tag(device.device.exchange.public, name, hour), (device.address,))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("hours", [-1, 0, 1])
async def test_one_that_is_seen_is_dialled_by_either(tmp_path: Path, hours: int) -> None:
    async with residents(Household(), tmp_path, "laptop", "desktop", strangers=True) as (laptop, desktop):
        async with boards(laptop, desktop) as (first, second):
            first.show(advertisement(desktop, hours=hours))
            await laptop.until_linked(desktop)
            await desktop.until_linked(laptop)
            (link,) = laptop.links
            second.show(advertisement(laptop, hours=hours))
            await until(lambda: desktop.meeting._candidates.seen)
            assert laptop.links == [link]


@pytest.mark.usefixtures("quick")
async def test_both_dial_and_one_link_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "COURTESY", 0.0)
    async with residents(Household(), tmp_path, "laptop", "desktop", strangers=True) as (laptop, desktop):
        async with boards(laptop, desktop) as (first, second):
            first.show(advertisement(desktop))
            second.show(advertisement(laptop))
            smaller, larger = sorted((laptop, desktop), key=lambda each: each.device.id)
            await until(lambda: [link.channel.dialled for link in smaller.links] == [True])
            await until(lambda: [link.channel.dialled for link in larger.links] == [False])


@pytest.mark.usefixtures("quick")
async def test_who_can_not_be_told_is_not_dialled(tmp_path: Path) -> None:
    """Another's tag, one of hours ago, one for another name; and oneself."""
    async with residents(Household(), tmp_path, "laptop", "desktop", strangers=True) as (laptop, desktop):
        async with boards(laptop, desktop) as (board, _):
            good = advertisement(desktop)
            board.show(Advertisement("d" * 32, bytes(16), good.addresses))
            board.show(advertisement(desktop, "e" * 32, hours=-2))
            board.show(Advertisement("b" * 32, good.tag, good.addresses))
            board.show(advertisement(laptop, "f" * 32))
            board.show(good)
            await laptop.until_linked(desktop)
            assert list(laptop.meeting._candidates.seen) == [good.name]


@pytest.mark.usefixtures("quick")
async def test_another_network_is_another_beginning(tmp_path: Path) -> None:
    """Links end, beacons begin anew, and whoever is seen there is dialled at once."""
    async with residents(Household(), tmp_path, "laptop", "desktop", strangers=True) as (laptop, desktop):
        async with boards(laptop, desktop) as (board, _):
            board.show(advertisement(desktop))
            await laptop.until_linked(desktop)
            (old,) = laptop.links
            names = [name for name, _, _ in board.announced]
            laptop.network.address = f"{LOOPBACK}/elsewhere"
            await until(lambda: old.ended is not None)
            await until(lambda: len(board.announced) > len(names))
            assert board.announced[-1][0] not in names
            board.show(advertisement(desktop, "c" * 32))
            await until(lambda: laptop.links and laptop.links[0] is not old)


@pytest.mark.usefixtures("quick")
async def test_a_machine_that_slept_begins_anew(tmp_path: Path) -> None:
    async with residents(Household(), tmp_path, "laptop", "desktop") as (laptop, desktop):
        await desktop.until_linked(laptop)
        (old,) = desktop.links
        desktop.meeting.renew()
        await until(lambda: old.ended is not None)
        await until(lambda: desktop.links and desktop.links[0] is not old)


async def test_an_address_that_nobody_answers_is_tried_again(tmp_path: Path) -> None:
    """A device that is started later is linked within seconds."""
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        away = LanAddress(LOOPBACK, laptop.address.port)
        async with residents(household, tmp_path, "desktop", knowing=(away,)) as (desktop,):
            await laptop.members.refresh()
            await desktop.until_linked(laptop)


async def test_it_is_told_where_nobody_answers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once in the log; in the status until somebody does. That others are linked changes nothing about it."""
    nobody = LanAddress(LOOPBACK, 1)
    async with residents(Household(), tmp_path, "laptop", "desktop", knowing=(nobody,)) as (laptop, _):
        await until(lambda: laptop.meeting.unreachable)
    assert laptop.meeting.unreachable == {nobody: "no answer from 127.0.0.1:1: connection refused"}
    assert caplog.text.count("no answer from 127.0.0.1:1") <= 2, "once for each of the two devices"


def test_beacons_are_the_ports(tmp_path: Path) -> None:
    board: Beacons = Board()
    assert board is not None
