"""The LAN of a simulation: `peer.ports.Lan` without sockets.

    SimulatedLan ── dial ─► Air ─► listener of the other ── two pipes of bytes, delayed, cut at any moment
                 ── announce ─► Air ─► beacons of all others, late or never; told again every now and then

Bytes come in order, as TCP's do; between connections, and between LAN and tracker, everything overtakes everything.
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import trio

from peer.ports import Advertisement, LanAddress
from protocol.errors import Unreachable
from tests.simulation.log import EventLog
from tests.simulation.oracle import Violation

ANNOUNCED_AGAIN = 20.0
"""Seconds until who listens hears of everybody again."""
MOST = 2 << 20
"""Bytes that anybody may wait for in one piece, whatever the other side says is to come."""
REGISTERING = 0.1
"""Seconds that announcing takes. zeroconf needs some 1.7, in which a short drama would be over."""


@dataclass
class LanWeather:
    """How bad the LAN is."""

    up: bool = True  # whether anybody reaches anybody
    unheard: float = 0.0  # chance that an advertisement is not heard
    refused: float = 0.0  # chance that a dial fails
    broken: float = 0.0  # chance that a connection breaks with a piece of data that is sent
    delay: float = 0.002  # seconds one way, on average


@dataclass
class Air:
    """What all devices share."""

    weather: LanWeather = field(default_factory=LanWeather)
    listeners: dict[str, "_Listener"] = field(default_factory=dict)  # by host
    beacons: dict[str, "_Beacons"] = field(default_factory=dict)
    streams: list["_Stream"] = field(default_factory=list)
    carried: list[bytes] = field(default_factory=list)
    """All that went over it, if anybody wants to look."""
    recording: bool = False

    def cut(self, rng: Random) -> None:
        """One connection breaks."""
        if self.streams:
            rng.choice(self.streams).break_off()

    def cut_all(self) -> None:
        """All break."""
        for stream in list(self.streams):
            stream.break_off()


class _Stream:
    """One end of a connection."""

    def __init__(self, lan: "SimulatedLan", remote: LanAddress) -> None:
        self.remote = remote
        self.other: _Stream | None = None
        self._lan = lan
        self._data, self._incoming = trio.open_memory_channel[tuple[float, bytes]](math.inf)
        self._rest = memoryview(b"")
        self._last_due = 0.0
        self._closed = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._lan.alive()
        await trio.lowlevel.checkpoint()
        other = self.other
        if self._closed or other is None or other._closed:
            raise Unreachable("the connection broke")
        if self._lan.rng.random() < self._lan.air.weather.broken:
            self.break_off()
            raise Unreachable("the connection broke")
        if self._lan.air.recording:
            self._lan.air.carried.append(bytes(data))
        other._last_due = max(other._last_due, trio.current_time() + self._lan.delay())
        other._data.send_nowait((other._last_due, bytes(data)))

    async def receive_into(self, buffer: memoryview) -> int:
        self._lan.alive()
        if len(buffer) > MOST:
            raise Violation("what comes over the LAN is bounded", f"room for {len(buffer)} bytes")
        if not self._rest:
            try:
                due, data = await self._incoming.receive()
            except (trio.EndOfChannel, trio.ClosedResourceError):
                if self._closed:
                    raise Unreachable("the connection broke") from None
                return 0
            await trio.sleep_until(max(due, trio.current_time()))
            self._lan.alive()
            if self._closed:
                raise Unreachable("the connection broke")
            self._lan.note(f"hears {len(data)} bytes from {self.remote.host}")
            self._rest = memoryview(data)
        else:
            await trio.lowlevel.checkpoint()
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._incoming.close()
            self._data.close()
            if self in self._lan.air.streams:
                self._lan.air.streams.remove(self)
            if self.other is not None:
                self.other._data.close()  # what is under way still arrives

    def break_off(self) -> None:
        """Both ends are gone."""
        self.close()
        if self.other is not None:
            self.other.close()


class _Listener:
    def __init__(self, lan: "SimulatedLan") -> None:
        self.port = 4000
        self.lan = lan
        self.calls, self._incoming = trio.open_memory_channel[_Stream](math.inf)

    async def accept(self) -> _Stream:
        self.lan.alive()
        stream = await self._incoming.receive()
        self.lan.alive()
        return stream


class _Beacons:
    def __init__(self, lan: "SimulatedLan") -> None:
        self.own: Advertisement | None = None
        self._lan = lan
        self._heard, self._incoming = trio.open_memory_channel[Advertisement](math.inf)

    async def announce(self, name: str, tag: bytes, port: int) -> None:
        self._lan.alive()
        await trio.sleep(REGISTERING)
        self._lan.alive()
        if self.own is not None:
            self._tell(Advertisement(self.own.name, self.own.tag, ()))
        self.own = Advertisement(name, tag, (LanAddress(self._lan.host, port),))
        self._tell(self.own)

    def _tell(self, word: Advertisement) -> None:
        for other in self._lan.air.beacons.values():
            other.hear(word)

    def hear(self, word: Advertisement) -> None:
        """An advertisement is sent; it may be heard."""
        weather = self._lan.air.weather
        if weather.up and self._lan.rng.random() >= weather.unheard:
            self._heard.send_nowait(word)

    async def receive(self) -> Advertisement:
        while True:
            with trio.move_on_after(ANNOUNCED_AGAIN):
                word = await self._incoming.receive()
                await trio.sleep(self._lan.delay())
                self._lan.alive()
                return word
            for other in self._lan.air.beacons.values():
                if other.own is not None:
                    self.hear(other.own)


class SimulatedLan:
    """`peer.ports.Lan` of one process. `alive` raises when that process is dead."""

    def __init__(self, air: Air, host: str, rng: Random, log: EventLog, name: str, alive: Callable[[], None]) -> None:
        self.air = air
        self.host = host
        self.rng = rng
        self.alive = alive
        self._log = log
        self._name = name

    def note(self, text: str) -> None:
        self._log.note(self._name, text)

    def delay(self) -> float:
        """Seconds one way, this time."""
        return self.rng.expovariate(1 / self.air.weather.delay)

    async def interfaces(self) -> frozenset[str]:
        self.alive()
        await trio.lowlevel.checkpoint()
        return frozenset({f"{self.host}/24"})

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[_Listener]:
        self.alive()
        listener = self.air.listeners[self.host] = _Listener(self)
        try:
            yield listener
        finally:
            if self.air.listeners.get(self.host) is listener:
                del self.air.listeners[self.host]

    async def dial(self, address: LanAddress, *, configured: bool = False) -> _Stream:
        self.alive()
        await trio.sleep(self.delay())
        self.alive()
        listener = self.air.listeners.get(address.host)
        weather = self.air.weather
        if listener is None or not weather.up or self.rng.random() < weather.refused:
            raise Unreachable(f"nobody answers at {address.host}")
        here, there = _Stream(self, address), _Stream(listener.lan, LanAddress(self.host, 50_000))
        here.other, there.other = there, here
        self.air.streams += (here, there)
        listener.calls.send_nowait(there)
        self.note(f"dials {address.host}")
        return here

    @asynccontextmanager
    async def beacons(self) -> AsyncIterator[_Beacons]:
        self.alive()
        beacons = self.air.beacons[self.host] = _Beacons(self)
        for other in self.air.beacons.values():
            if other.own is not None:
                beacons.hear(other.own)
        try:
            yield beacons
        finally:
            if self.air.beacons.get(self.host) is beacons:
                del self.air.beacons[self.host]
