"""Those who may not be met, and those who may and mean no good: they get nothing, and hold up nobody."""

import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest
import trio
import trio.testing

from peer.lan import link as links
from peer.lan import meeting
from peer.lan.channel import Channel, Record
from peer.members import Members
from peer.ports import LanAddress
from protocol.errors import ShoalError, Unreachable
from protocol.identifiers import VersionId, WorkspaceId
from protocol.lan_messages import Ask, Done, Get, Hello, Holding, Ping, Pong
from tests.peer.lan.household import LOOPBACK, Household, Resident, false_device, intruder, residents, until
from tests.support.tracker import Device, new_account

SIZE = 3 << 20
DATA = Random(5).randbytes(SIZE)
HOME = Household().account.home


async def said(channel: Channel, kind: type) -> object:
    """The next message of a kind."""
    with trio.fail_after(10):
        while True:
            frame = await channel.receive()
            if isinstance(frame, kind):
                return frame


async def hung_up(channel: Channel) -> None:
    """Wait for the other side to end it."""
    with trio.fail_after(10), pytest.raises(Unreachable):
        while True:
            await channel.receive()


async def given(channel: Channel, version: VersionId, workspace: WorkspaceId, count: int = 1) -> list[bytes]:
    """What a request for the first chunks of a version is answered with."""
    await channel.say(Get(request=7, workspace=workspace, parts=((version, 0, count),)))
    record = await said(channel, Record)
    assert isinstance(record, Record)
    number, chunks = channel.records_in.open(record.counter, record.body)
    assert number == 7
    return [bytes(chunk) for chunk in chunks]


# Who may not be met --------------------------------------------------------------------------------------------------


async def test_a_stranger_is_hung_up_on(tmp_path: Path) -> None:
    async with residents(Household(), tmp_path, "laptop") as (laptop,):
        stranger = new_account("eve@example.org").first
        with pytest.raises(Unreachable):
            async with intruder(laptop, stranger):
                pass
        assert laptop.links == []
        await until(lambda: not laptop.meeting._half_open)


async def test_a_device_that_was_logged_out_gets_nothing(tmp_path: Path) -> None:
    """Its link ends as soon as the list says so, and it is not let in again."""
    household = Household()
    async with residents(household, tmp_path, "laptop", "desktop") as (laptop, desktop):
        version = laptop.save("film", DATA)
        await laptop.until_linked(desktop)
        household.retired.add(desktop.device.id)
        await laptop.members.refresh()
        await laptop.until_linked()
        with pytest.raises(Unreachable):
            async with intruder(laptop, desktop.device):
                pass
        assert not laptop.members.may_read(desktop.device.id, HOME)
        assert laptop.counters.get("lan_out", 0) == 0
        assert version.id in laptop.folder.context.holdings.places([version.id])  # it was there to be had


async def test_a_request_is_held_against_the_list_of_now(tmp_path: Path) -> None:
    """Also in the moment before the link ends."""
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        version = laptop.save("film", DATA)
        thief = household.new_device()
        await laptop.members.refresh()
        async with intruder(laptop, thief) as channel:
            assert await given(channel, version.id, HOME) != [b""]
            laptop.members.may_read = lambda *_: False  # type: ignore[method-assign]
            assert await given(channel, version.id, HOME) == [b""]
            await channel.say(Ask(workspace=HOME, versions=(version.id,)))
            assert await said(channel, Holding) == Holding(workspace=HOME, absent=(version.id,))


async def test_another_workspace_is_as_if_it_were_not(tmp_path: Path) -> None:
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        version = laptop.save("film", DATA)
        friend = household.new_device()
        await laptop.members.refresh()
        async with intruder(laptop, friend) as channel:
            other = WorkspaceId(b"another".ljust(16, b"\0"))
            await channel.say(Ask(workspace=other, versions=(version.id,)))
            assert await said(channel, Holding) == Holding(workspace=other, absent=(version.id,))
            assert await given(channel, version.id, other) == [b""]


@pytest.mark.parametrize("way", ["ask", "get"])
async def test_who_does_not_stop_asking_for_what_is_not_his_is_cut_off(tmp_path: Path, way: str) -> None:
    """With a reason, and left alone for a while; nobody else notices."""
    household = Household()
    async with residents(household, tmp_path, "laptop", "desktop") as (laptop, desktop):
        version = laptop.save("film", DATA)
        thief = household.new_device()
        await laptop.members.refresh()
        await laptop.until_linked(desktop)
        other = WorkspaceId(b"another".ljust(16, b"\0"))
        message = (
            Ask(workspace=other, versions=(version.id,))
            if way == "ask"
            else Get(request=1, workspace=other, parts=((version.id, 0, 1),))
        )
        async with intruder(laptop, thief) as channel:
            for _ in range(links.TRESPASSES):
                await channel.say(message)
                await said(channel, Holding if way == "ask" else Record)
            assert laptop.meeting.dropped == {}
            await channel.say(message)
            await hung_up(channel)
        await until(lambda: laptop.meeting.dropped)
        assert laptop.meeting.dropped == {"it asks for what its user may not have": 1}
        assert laptop.meeting._is_set_aside(thief.id)
        await laptop.until_linked(desktop)
        assert laptop.counters.get("lan_out", 0) == 0


async def test_who_asks_while_the_list_here_is_too_old_does_no_wrong(tmp_path: Path) -> None:
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        version = laptop.save("film", DATA)
        friend = household.new_device()
        await laptop.members.refresh()
        async with intruder(laptop, friend) as channel:
            household.reachable = False
            laptop.members._heard_at = None
            for _ in range(links.TRESPASSES + 1):
                assert await given(channel, version.id, HOME) == [b""]
        assert laptop.meeting.dropped == {}


async def test_a_list_that_is_too_old_lets_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meeting, "NETWORK_TICK", 0.05)
    household = Household()
    async with residents(household, tmp_path, "laptop", "desktop") as (laptop, desktop):
        await laptop.until_linked(desktop)
        household.reachable = False
        laptop.members._heard_at = None
        await laptop.until_linked()
        assert laptop.members.others() == {}


@pytest.mark.parametrize(("wall", "steady"), [(3700.0, 1.0), (-3700.0, 1.0), (1.0, 3700.0)])
async def test_a_list_is_too_old_by_either_clock(tmp_path: Path, wall: float, steady: float) -> None:
    """A clock that is set back makes nothing young, and neither does one that stood still while the machine slept."""
    async with residents(Household(), tmp_path, "laptop") as (laptop,):
        members: Members = laptop.members
        assert members.fresh
        now_wall, now_steady = members._clocks()
        members._heard_at = (now_wall - wall, now_steady - steady)
        assert not members.fresh


# Who can't tell what it is -------------------------------------------------------------------------------------------


async def test_a_recorded_connection_can_not_be_played_back(tmp_path: Path) -> None:
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        friend = household.new_device()
        await laptop.members.refresh()
        sent = await recorded(laptop, friend)
        assert len(sent) > 96
        stream = await laptop.network.dial(laptop.address)
        await stream.send_all(sent)
        with trio.fail_after(10), pytest.raises(Unreachable):
            heard = 0
            while True:
                count = await stream.receive_into(memoryview(bytearray(4096)))
                heard += count
                if count == 0:
                    raise Unreachable("it hung up")
        assert heard == 33  # the preface, and no word more
        stream.close()
        assert laptop.links == []


async def recorded(laptop: Resident, friend: Device) -> bytes:
    """All that a device sends over a whole connection."""
    sent = bytearray()
    async with relay(laptop.address, lambda data, up: sent.extend(data) if up else None) as address:
        async with intruder(laptop, friend, address) as channel:
            await channel.say(Ping(number=1))
            await said(channel, Pong)
        return bytes(sent)


@asynccontextmanager
async def relay(address: LanAddress, touch: Callable[[bytearray, bool], object]) -> AsyncIterator[LanAddress]:
    """A listener before another that passes on what it hears; `touch(data, up)` may look at it or alter it."""

    async def pump(source: trio.SocketStream, sink: trio.SocketStream, up: bool, end: trio.CancelScope) -> None:
        try:
            while data := bytearray(await source.receive_some()):
                touch(data, up)
                await sink.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        end.cancel()

    async def pass_on(near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream(address.host, address.port)
        async with near, far, trio.open_nursery() as nursery:
            nursery.start_soon(pump, near, far, True, nursery.cancel_scope)
            nursery.start_soon(pump, far, near, False, nursery.cancel_scope)

    (listener,) = await trio.open_tcp_listeners(0, host=LOOPBACK)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, pass_on, [listener])
        yield LanAddress(LOOPBACK, listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


async def test_bytes_altered_on_the_way_blame_the_way(tmp_path: Path) -> None:
    """The link ends, and the device is dialled again a little later, not set aside for long."""
    household, done = Household(), 0

    def alter(data: bytearray, up: bool) -> None:
        nonlocal done
        if not up and len(data) > 10_000 and not done:
            data[len(data) // 2] ^= 1
            done += 1

    async with residents(household, tmp_path, "laptop") as (laptop,):
        version = laptop.save("film", DATA)
        async with relay(laptop.address, alter) as address:
            async with residents(household, tmp_path, "desktop", knowing=(address,)) as (desktop,):
                await laptop.members.refresh()
                await desktop.until_linked(laptop)
                desktop.learn("film", version, laptop.runs_of(version))
                await desktop.fetch(version)
                assert done == 1
                assert desktop.folder.hand.names() == []
                assert len(desktop.meeting.dropped) == 1
                assert desktop.meeting._set_aside[laptop.device.id] - trio.current_time() <= 10
                desktop.meeting._set_aside.clear()
                await desktop.until_linked(laptop)
                assert (await desktop.fetch(version)).placed


# Members that mean no good -------------------------------------------------------------------------------------------


async def with_false_one(
    tmp_path: Path,
    answers: Callable[[Channel], Awaitable[None]],
    then: Callable[[Resident, Resident, Device], Awaitable[None]],
) -> None:
    """A laptop that has a film, a desktop that will want it, and a false device between them that says it has it."""
    household = Household()
    false = household.new_device()
    async with false_device(false, answers) as address:
        async with residents(household, tmp_path, "laptop", "desktop", knowing=(address,)) as (laptop, desktop):
            await until(lambda: len(desktop.links) == 2)
            await then(laptop, desktop, false)


async def fetches_all_the_same(laptop: Resident, desktop: Resident, false: Device) -> None:
    version = laptop.save("film", DATA)
    desktop.learn("film", version, laptop.runs_of(version))
    with trio.fail_after(10):
        assert (await desktop.fetch(version)).placed
    assert desktop.folder.hand.read("film") == DATA


async def takes_the_bait(laptop: Resident, desktop: Resident) -> None:
    """Fetch what only the false device says it has, and get nothing in place."""
    version = laptop.save("bait", DATA)
    desktop.learn("bait", version, laptop.runs_of(version))
    laptop.folder.hand.remove("bait")
    with trio.fail_after(10):
        assert not (await desktop.fetch(version)).placed


def claiming(then: Callable[[Channel, Get], Awaitable[None]]) -> Callable[[Channel], Awaitable[None]]:
    """A device that says it holds whatever it is asked for, and does `then` when that is to be had."""

    async def answers(channel: Channel) -> None:
        while True:
            frame = await channel.receive()
            if isinstance(frame, Ask):
                await channel.say(Holding(workspace=frame.workspace, held=frame.versions))
            elif isinstance(frame, Get):
                await then(channel, frame)

    return answers


async def send(channel: Channel, request: int, chunks: list[bytes]) -> None:
    await channel.send_record(channel.records_out.seal(channel.records_out.reserve(), request, chunks))


async def lie(channel: Channel, get: Get) -> None:
    await send(channel, get.request, [b"x" * 40 for _, _, count in get.parts for _ in range(count)])


async def answer_another(channel: Channel, get: Get) -> None:
    await send(channel, get.request + 1, [b"" for _, _, count in get.parts for _ in range(count)])


async def answer_short(channel: Channel, get: Get) -> None:
    await send(channel, get.request, [])


async def answer_unasked(channel: Channel, get: Get) -> None:
    for _ in range(20):
        await send(channel, get.request, [])


async def talk_nonsense(channel: Channel, get: Get) -> None:
    await channel.say(Hello(lowest=1, highest=1))


async def flood(channel: Channel, get: Get) -> None:
    for number in range(5000):
        await channel.say(Ping(number=number))


async def ask_for_all_at_once(channel: Channel, get: Get) -> None:
    for _ in range(200):
        await channel.say(get)


@pytest.mark.parametrize(
    "trick", [lie, answer_another, answer_short, answer_unasked, talk_nonsense, flood, ask_for_all_at_once]
)
async def test_who_cheats_is_left_alone_for_a_while(
    tmp_path: Path, trick: Callable[[Channel, Get], Awaitable[None]]
) -> None:
    async def then(laptop: Resident, desktop: Resident, false: Device) -> None:
        await takes_the_bait(laptop, desktop)
        await desktop.until_linked(laptop)
        await fetches_all_the_same(laptop, desktop, false)
        assert desktop.meeting._is_set_aside(false.id)
        assert desktop.meeting._set_aside[false.id] - trio.current_time() > 500
        assert sum(desktop.meeting.dropped.values()) == 1
        with pytest.raises(Unreachable):
            async with intruder(desktop, false):
                pass

    await with_false_one(tmp_path, claiming(trick), then)


async def stall(channel: Channel, get: Get) -> None:
    await trio.sleep_forever()


async def trickle(channel: Channel, get: Get) -> None:
    for number in range(1000):
        await channel.say(Ping(number=number))
        await trio.sleep(0.02)


@pytest.mark.parametrize("trick", [stall, trickle])
async def test_who_stalls_holds_up_nobody(tmp_path: Path, trick: Callable[[Channel, Get], Awaitable[None]]) -> None:
    """What it was asked for comes from another meanwhile."""
    await with_false_one(tmp_path, claiming(trick), fetches_all_the_same)


async def test_who_owes_an_answer_for_too_long_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "PATIENCE", 0.2)

    async def then(laptop: Resident, desktop: Resident, false: Device) -> None:
        await takes_the_bait(laptop, desktop)
        await until(lambda: desktop.meeting.dropped)
        assert set(desktop.meeting.dropped) == {"it owes an answer"}

    await with_false_one(tmp_path, claiming(stall), then)


async def test_who_only_trickles_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says something all the time, and never what is waited for."""
    monkeypatch.setattr(links, "PATIENCE", 0.2)
    monkeypatch.setattr(links, "LONGEST_ANSWER", 1.0)

    async def then(laptop: Resident, desktop: Resident, false: Device) -> None:
        await takes_the_bait(laptop, desktop)
        await until(lambda: desktop.meeting.dropped)
        assert desktop.meeting.dropped == {"it is too slow": 1}

    await with_false_one(tmp_path, claiming(trickle), then)


async def test_who_is_silent_is_taken_to_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "QUIET", 0.05)
    monkeypatch.setattr(links, "SILENT", 0.3)

    async def silent(channel: Channel) -> None:
        await trio.sleep_forever()

    async def then(laptop: Resident, desktop: Resident, false: Device) -> None:
        await desktop.until_linked(laptop)
        assert "it is silent" in desktop.meeting.dropped

    await with_false_one(tmp_path, silent, then)


async def test_who_takes_nothing_costs_a_bounded_amount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for megabytes and reads none of them: at most two answers are made for it."""
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        version = laptop.save("film", DATA)
        greedy = household.new_device()
        await laptop.members.refresh()
        async with intruder(laptop, greedy) as channel:
            for _ in range(links.MOST_REQUESTS):
                await channel.say(Get(request=1, workspace=HOME, parts=((version.id, 0, 30),)))
            await until(lambda: laptop.counters.get("lan_out", 0) > 0)
            await trio.testing.wait_all_tasks_blocked(0.2)
            assert laptop.counters["lan_out"] < 8 << 20


async def test_requests_past_the_bounds_end_the_link(tmp_path: Path) -> None:
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        version = laptop.save("film", DATA)
        greedy = household.new_device()
        await laptop.members.refresh()
        async with intruder(laptop, greedy) as channel:
            await channel.say(Get(request=1, workspace=HOME, parts=((version.id, 0, 1000),)))
            await hung_up(channel)
            await until(lambda: set(laptop.meeting.dropped) == {"it asks for too much at once"})


async def test_what_was_never_there_is_not_held(tmp_path: Path) -> None:
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        version = laptop.save("film", DATA)
        friend = household.new_device()
        await laptop.members.refresh()
        async with intruder(laptop, friend) as channel:
            assert await given(channel, VersionId(bytes(16)), HOME, 3) == [b"", b"", b""]
            count = len(laptop.folder.context.versions.chunks(version))
            await channel.say(Get(request=7, workspace=HOME, parts=((version.id, count, 2), (version.id, 1 << 20, 1))))
            record = await said(channel, Record)
            assert isinstance(record, Record)
            assert [bytes(each) for each in channel.records_in.open(record.counter, record.body)[1]] == [b"", b"", b""]
            await channel.say(Done(workspace=HOME, versions=(VersionId(bytes(16)),)))


# Too many ------------------------------------------------------------------------------------------------------------


async def test_who_dials_and_says_nothing_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for some such connections from one address; they are given up after a while."""
    monkeypatch.setattr(meeting, "HANDSHAKE_SECONDS", 0.5)
    household = Household()
    async with residents(household, tmp_path, "laptop") as (laptop,):
        friend = household.new_device()
        await laptop.members.refresh()
        idle = [await laptop.network.dial(laptop.address) for _ in range(3 * meeting.HALF_OPEN_EACH)]
        await until(lambda: laptop.meeting._half_open.total() == meeting.HALF_OPEN_EACH)
        await until(lambda: not laptop.meeting._half_open)
        async with intruder(laptop, friend):
            await until(lambda: len(laptop.links) == 1)
            for stream in idle:
                stream.close()


@pytest.mark.parametrize(
    "junk", [b"", b"GET / HTTP/1.1\r\n\r\n" * 10, bytes(96), bytes(range(256)) * 4096, struct.pack(">BI", 9, 1 << 31)]
)
async def test_junk_is_hung_up_on(tmp_path: Path, junk: bytes) -> None:
    async with residents(Household(), tmp_path, "laptop") as (laptop,):
        stream = await laptop.network.dial(laptop.address)
        try:
            with trio.fail_after(10):
                await stream.send_all(junk)
                if len(junk) >= 96:
                    while await stream.receive_into(memoryview(bytearray(100))):
                        pass
        except ShoalError:
            pass
        stream.close()
        await until(lambda: not laptop.meeting._half_open)
        assert laptop.links == []
