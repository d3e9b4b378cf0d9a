"""The way between simulated peers and the real tracker: its ASGI app, called without sockets.

peer ─ SimulatedTransport ─→ delays, cuts, lost answers ─→ TrackerHost ─→ tracker app (from tracker.assembly)
"""

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import trio

from peer.ports import Response
from protocol.api import COMMIT, PROTOCOL_HEADER, PROTOCOL_RANGE, Refusal
from protocol.codec import decode
from protocol.errors import Code, TooLarge, Unreachable
from tests.simulation.counts import UPLOAD_RESUMED
from tests.simulation.exchange import Exchange, Message
from tests.simulation.host import HTTP_OK, TRACKER, TrackerHost
from tests.simulation.log import EventLog, brief
from tests.simulation.nonsense import Nonsense

_STRAY = 0.5
"""Chance that a request which the device takes for lost reaches the tracker after all, later."""
NONSENSE = frozenset((Code.MALFORMED, Code.TOO_LARGE, Code.WRONG_ID, Code.BAD_SIGNATURE))
"""What only a faulty program is told."""
HEARTBEAT = 30.0
"""Seconds after which a dead connection that looks alive is noticed, as `peer/system/websocket.py` does."""


@dataclass
class Weather:
    """How bad the network is: chances for each request."""

    refused: float = 0.0  # cut before the tracker has it
    lost: float = 0.0  # carried out, but the answer doesn't arrive
    silent: float = 0.0  # as either, and noticed only after the caller's patience
    delay: float = 0.01  # seconds one way, on average
    straggling: float = 0.0  # takes seconds, and others overtake it
    slow: dict[str, float] = field(default_factory=dict)
    """When the answer to the next commit of a device arrives."""
    parted: frozenset[str] = frozenset()  # devices that don't reach the tracker at all
    nonsense: float = 0.0  # answered, but not as any tracker would
    strays: Callable[[str, str, bytes], float] = lambda *_: 0.0
    """In how many seconds this device's request of a path, with this body, arrives after the device has given it up,
    infinite for never; 0 if it is as all others."""


class _Request(Exchange):
    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.body = body
        self._left: bytes | None = body
        self.answer = bytearray()
        self.whole = False

    async def receive_up(self) -> Message:
        await trio.lowlevel.checkpoint()
        if self._left is not None:
            body, self._left = self._left, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def take(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self.answer += message.get("body", b"")
            if not message.get("more_body", False):
                self.whole = True
                self.over.set()


class _Socket(Exchange):
    """A WebSocket; the device's end is a `peer.ports.Notifications`."""

    def __init__(self, transport: "SimulatedTransport") -> None:
        super().__init__()
        self._transport = transport
        self._up, self._requests = trio.open_memory_channel[Message](math.inf)
        self._frames, self._down = trio.open_memory_channel[tuple[float, bytes] | None](math.inf)
        self.accepted = trio.Event()
        self._last_due = 0.0
        self._up.send_nowait({"type": "websocket.connect"})

    # The tracker's end

    async def receive_up(self) -> Message:
        try:
            return await self._requests.receive()
        except trio.EndOfChannel:
            return {"type": "websocket.disconnect", "code": 1006}

    async def take(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if message["type"] == "websocket.accept":
            self.accepted.set()
        elif message["type"] == "websocket.send" and not self.gone.is_set():
            due = trio.current_time() + self._transport.delay()
            self._last_due = max(self._last_due, due)
            self._frames.send_nowait((self._last_due, message["bytes"]))
        elif message["type"] == "websocket.close":
            self.end()

    def end(self) -> None:
        super().end()
        self.accepted.set()
        self._frames.close()

    # The device's end

    def cut(self, *, silently: bool) -> None:
        """The connection dies; the device notices at once, or by its heartbeat."""
        if not self.gone.is_set():
            self.gone.set()
            if silently and not self.over.is_set():
                self._frames.send_nowait(None)
            self._up.close()
            self._frames.close()

    async def send(self, frame: bytes) -> None:
        self._transport.alive()
        await trio.sleep(self._transport.delay())
        if self.gone.is_set() or self.over.is_set():
            raise Unreachable("the connection to the tracker broke")
        self._transport.note(f"sends a frame {brief(frame)}")
        self._up.send_nowait({"type": "websocket.receive", "bytes": frame, "text": None})

    async def receive(self) -> bytes:
        self._transport.alive()
        try:
            frame = await self._down.receive()
        except trio.EndOfChannel:
            raise Unreachable("the tracker closed the connection") from None
        if frame is None:
            await trio.sleep(HEARTBEAT)
            raise Unreachable("no answer from the tracker")
        due, data = frame
        await trio.sleep_until(max(due, trio.current_time()))
        if self.gone.is_set():
            raise Unreachable("the connection to the tracker broke")
        return self._transport.heard(data)


class SimulatedTransport:
    """`peer.ports.TrackerTransport` of one process. `alive` raises when that process is dead."""

    def __init__(
        self,
        host: TrackerHost,
        weather: Weather,
        rng: Random,
        log: EventLog,
        name: str,
        alive: Callable[[], None],
        nonsense: Random | None = None,
    ) -> None:
        self.alive = alive
        self.cut_off = frozenset[str]()
        """Paths at which nothing is reached, until somebody says otherwise."""
        self.broken_off = False
        """Whether an upload was, and none has come through since."""
        self.requests = 0
        self.moved = 0
        """Requests that made a commit or moved chunks."""
        self._host = host
        self._weather = weather
        self._rng = rng
        self._log = log
        self._name = name
        self._nonsense = Nonsense(Random() if nonsense is None else nonsense, log, name)
        self._sockets: list[_Socket] = []

    def note(self, text: str) -> None:
        self._log.note(self._name, text)

    def delay(self) -> float:
        """Seconds one way, this time."""
        seconds = self._rng.expovariate(1 / self._weather.delay)
        if self._weather.straggling and self._rng.random() < self._weather.straggling:
            seconds += self._rng.uniform(0.5, 5.0)
        return seconds

    def cut(self, *, silently: bool) -> None:
        """Every open WebSocket dies."""
        for socket in self._sockets:
            socket.cut(silently=silently)

    async def request(
        self, path: str, body: bytes, *, token: str | None, patience: float, response_limit: int
    ) -> Response:
        try:
            response = await self._request(path, body, token=token, patience=patience, response_limit=response_limit)
        except Unreachable:
            self.broken_off |= path == "/v1/pack"
            raise
        if path == "/v1/pack" and self.broken_off:
            self.broken_off = False
            self._log.happened[UPLOAD_RESUMED] += 1
        return response

    async def _request(
        self, path: str, body: bytes, *, token: str | None, patience: float, response_limit: int
    ) -> Response:
        self.alive()
        self.requests += 1
        self.moved += path in ("/v1/commit", "/v1/pack", "/v1/chunks")
        self.note(f"asks {path} {brief(body)}")
        await trio.sleep(self.delay())
        if path in self.cut_off:
            raise Unreachable("this path is cut off")
        self._require_way()
        exchange = _Request(body)
        scope = _scope("http", path, token, len(body))
        late = self._weather.strays(self._name, path, body)
        if late:
            self.note("is cut off at the worst moment")
            if late < math.inf:
                self._host.serve_later(late, scope, exchange)
            raise Unreachable("the connection broke")
        try:
            await self._perhaps_fail(self._weather.refused, patience)
        except Unreachable:
            if self._rng.random() < _STRAY:
                self._host.serve_later(self._rng.uniform(0.0, 5.0), scope, exchange)
            raise
        refusal = self._nonsense.instead(path, self._weather.nonsense)
        if refusal is not None:
            return refusal
        self._host.serve(scope, exchange)
        try:
            with trio.move_on_after(patience):
                await exchange.over.wait()
        finally:
            exchange.gone.set()
        self.alive()
        if not exchange.whole or exchange.status is None:
            raise Unreachable("the tracker hung up")
        if path == COMMIT.path and self._name in self._weather.slow:
            await trio.sleep_until(max(trio.current_time(), self._weather.slow.pop(self._name)))
        await trio.sleep(self.delay())
        self._require_way()
        await self._perhaps_fail(self._weather.lost, patience)
        if len(exchange.answer) > response_limit:
            raise TooLarge("a longer answer than was asked for")
        self.note(f"is answered {exchange.status} {brief(exchange.answer)}")
        self._judge_request(path, exchange.status, bytes(exchange.answer))
        return self._nonsense.of(path, Response(exchange.status, bytes(exchange.answer)), self._weather.nonsense)

    def heard(self, frame: bytes) -> bytes:
        """What arrives of a notice."""
        self.note(f"gets a frame {brief(frame)}")
        return self._nonsense.frame(frame, self._weather.nonsense)

    def _judge_request(self, path: str, status: int, answer: bytes) -> None:
        """What an honest program sends makes sense, and is what it says."""
        code = decode(Refusal, answer, len(answer)).code if status != HTTP_OK else ""
        if code in NONSENSE:
            self._log.errors.append(f"{self._name}: {path} was refused as {code}")

    def _require_way(self) -> None:
        if self._name in self._weather.parted:
            raise Unreachable("no way to the tracker")

    async def _perhaps_fail(self, chance: float, patience: float) -> None:
        self.alive()
        draw = self._rng.random()
        if draw < chance:
            self.note("is cut off")
            raise Unreachable("the connection broke")
        if draw < chance + self._weather.silent:
            self.note("gets no answer")
            await trio.sleep(patience)
            self.alive()
            raise Unreachable("no answer")

    @asynccontextmanager
    async def notifications(self, path: str, *, token: str) -> AsyncIterator[_Socket]:
        self.alive()
        self.note("opens a WebSocket")
        await trio.sleep(self.delay())
        self._require_way()
        await self._perhaps_fail(self._weather.refused, HEARTBEAT)
        socket = _Socket(self)
        self._host.serve(_scope("websocket", path, token, None), socket)
        self._sockets.append(socket)
        try:
            await socket.accepted.wait()
            self.alive()
            if socket.over.is_set():
                raise Unreachable("the tracker took no WebSocket")
            yield socket
        finally:
            self._sockets.remove(socket)
            socket.cut(silently=False)


def _scope(kind: str, path: str, token: str | None, length: int | None) -> Message:
    headers = [(b"host", b"tracker"), (PROTOCOL_HEADER.lower().encode(), PROTOCOL_RANGE.encode())]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http" if kind == "http" else "ws",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("192.0.2.1", 1),
        "server": (TRACKER, 80),
        "subprotocols": [],
        "extensions": {},
    }
