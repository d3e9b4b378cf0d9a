"""The tracker's notifications: `peer.ports.Notifications` over a WebSocket.

wsproto by itself, not trio-websocket, which is built on it: that waits for its whole time-out when the other side hangs
up during the handshake, leaves sockets open then, and its background task would put the caller's errors into groups.
Without a task of its own, reading happens in `receive`, and so does all that hangs on reading: pings and pongs.
"""

import ssl
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import trio
import wsproto
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    RejectConnection,
    Request,
    TextMessage,
)
from wsproto.utilities import ProtocolError

from peer.system.reasons import unreachable
from protocol.errors import Malformed, TooLarge

MAX_FRAME_BYTES = 4 * 1024 * 1024
CONNECT_SECONDS = 10.0
HEARTBEAT_SECONDS = 20.0
ANSWER_SECONDS = 10.0
_GOODBYE_SECONDS = 1.0
_RECEIVE_BYTES = 64 * 1024
_FAILURES = (OSError, trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError, ProtocolError)


class WebSocketNotifications:
    """See `peer.ports.Notifications`. Keep receiving: only then is the other side's ping answered.

    After 20 s without a byte `receive` sends a ping; 10 s more without one are `Unreachable`. A text frame is
    `Malformed`, one of more than 4 MiB `TooLarge`. Both methods may be cancelled; a frame cut off in sending ends the
    connection. One task may send while another receives.
    """

    def __init__(self, stream: trio.abc.Stream, tracker: str) -> None:
        self._stream = stream
        self._tracker = tracker
        self._protocol = wsproto.WSConnection(wsproto.ConnectionType.CLIENT)
        self._sending = trio.Lock()
        self._frames: deque[bytes] = deque()
        self._begun = bytearray()
        self._accepted = False
        self._end: str | None = None
        self._cut = False

    async def send(self, frame: bytes) -> None:
        with translated(self._tracker, ANSWER_SECONDS), trio.fail_after(ANSWER_SECONDS):
            await self._transmit(BytesMessage(frame))

    async def receive(self) -> bytes:
        with translated(self._tracker, ANSWER_SECONDS):
            await self._digest()
            while not self._frames:
                self._feed(await self._heard())
                await self._digest()
        return self._frames.popleft()

    async def shake_hands(self, host: str, target: str, headers: list[tuple[bytes, bytes]]) -> None:
        """Ask the server at the other end for a WebSocket, and wait until it agrees."""
        await self._transmit(Request(host=host, target=target, extra_headers=headers))
        while not self._accepted:
            self._feed(await self._stream.receive_some(_RECEIVE_BYTES))
            await self._digest()

    async def say_goodbye(self) -> None:
        """Tell the other side, if that is possible at once, and close."""
        with trio.move_on_after(_GOODBYE_SECONDS, shield=True):
            with suppress(*_FAILURES):
                await self._transmit(CloseConnection(code=1000))
        await trio.aclose_forcefully(self._stream)

    async def _heard(self) -> bytes | bytearray:
        """The next bytes, with a ping after long silence."""
        with trio.move_on_after(HEARTBEAT_SECONDS):
            return await self._stream.receive_some(_RECEIVE_BYTES)
        with trio.fail_after(ANSWER_SECONDS):
            await self._transmit(Ping())
            return await self._stream.receive_some(_RECEIVE_BYTES)

    def _feed(self, data: bytes | bytearray) -> None:
        if not data:
            raise trio.BrokenResourceError("connection closed")
        self._protocol.receive_data(bytes(data))

    async def _digest(self) -> None:
        """Handle what was fed, also what an earlier call was cancelled over; an end counts after the last frame."""
        for event in self._protocol.events():
            await self._handle(event)
        if self._end is not None and not self._frames:
            raise trio.BrokenResourceError(self._end)

    async def _handle(self, event: Event) -> None:
        if isinstance(event, AcceptConnection):
            self._accepted = True
        elif isinstance(event, RejectConnection):
            self._end = f"HTTP status {event.status_code} instead of a WebSocket"
        elif isinstance(event, BytesMessage):
            self._gather(event)
        elif isinstance(event, TextMessage):
            raise Malformed("the tracker sent a text frame where a binary one is due")
        elif isinstance(event, Ping):
            await self._transmit(event.response())
        elif isinstance(event, CloseConnection):
            self._end = f"connection closed ({event.code}{f' {event.reason}' if event.reason else ''})"

    def _gather(self, part: BytesMessage) -> None:
        self._begun += part.data
        if len(self._begun) > MAX_FRAME_BYTES:
            raise TooLarge(f"the tracker sent a frame of more than {MAX_FRAME_BYTES} bytes")
        if part.message_finished:
            self._frames.append(bytes(self._begun))
            self._begun.clear()

    async def _transmit(self, event: Event) -> None:
        async with self._sending:
            if self._cut:
                raise trio.BrokenResourceError("an earlier frame was cut off in sending")
            self._cut = True
            await self._stream.send_all(self._protocol.send(event))
            self._cut = False


@contextmanager
def translated(tracker: str, timeout: float) -> Iterator[None]:
    """Every way in which a connection can fail becomes `Unreachable`."""
    try:
        yield
    except _FAILURES as failure:
        raise unreachable(tracker, failure, timeout) from failure


@asynccontextmanager
async def open_notifications(
    address: tuple[str, int],
    tls: ssl.SSLContext | None,
    target: str,
    headers: list[tuple[bytes, bytes]],
    *,
    host: str,
    tracker: str,
) -> AsyncIterator[WebSocketNotifications]:
    """A WebSocket for as long as the context lasts. `host` goes into the request, `tracker` into errors."""
    with translated(tracker, CONNECT_SECONDS), trio.fail_after(CONNECT_SECONDS):
        stream = await _connected(address, tls)
    notifications = WebSocketNotifications(stream, tracker)
    try:
        with translated(tracker, CONNECT_SECONDS), trio.fail_after(CONNECT_SECONDS):
            await notifications.shake_hands(host, target, headers)
        yield notifications
    finally:
        await notifications.say_goodbye()


async def _connected(address: tuple[str, int], tls: ssl.SSLContext | None) -> trio.abc.Stream:
    if tls is None:
        return await trio.open_tcp_stream(*address)
    return await trio.open_ssl_over_tcp_stream(*address, ssl_context=tls, https_compatible=True)
