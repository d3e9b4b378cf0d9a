"""One LAN connection: the preface, the handshake, then frames in both directions (docs/protocol.md, "The LAN").

    dialler                                listener
       │ ◄────────────── preface ────────────── │   who is this? one of the devices that are known
       │ ─────────────── message 1 ───────────► │   who is that? a device of a member, or nobody
       │ ◄────────────── message 2 ──────────── │
       │ ◄────────────── hello ───────────────► │   the listener believes nothing before it has the dialler's

Who can't be told, or may not be met, is hung up on: nothing is said to strangers.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from peer.ports import LanStream
from protocol.errors import BadSignature, Malformed, Unreachable
from protocol.identifiers import DeviceId
from protocol.lan import (
    MESSAGE_1,
    MESSAGE_2,
    PREFACE_LENGTH,
    Answerer,
    Dialler,
    Keys,
    make_preface,
    preface_is_of,
)
from protocol.lan_frames import (
    CONTROL,
    FRAME_HEADER,
    ControlReceiver,
    ControlSender,
    RecordReceiver,
    RecordSender,
    parse_header,
)
from protocol.lan_messages import LAN_HIGHEST, LAN_LOWEST, Bye, Control, Hello
from protocol.ports import RandomBytes
from protocol.signing import ExchangeKey

READ_AHEAD = 1 << 14
"""Bytes that are received at once if there are so many."""
STALLED_SECONDS = 20.0
"""A frame that the other side doesn't take for so long will not be taken any more."""


@dataclass(frozen=True, slots=True)
class Record:
    """A body as it came, still sealed, with the counter that opens it."""

    counter: int
    body: bytearray


class _Inlet:
    """What comes in on a stream."""

    def __init__(self, stream: LanStream) -> None:
        self.heard_at = trio.current_time()
        self._stream = stream
        self._ahead = memoryview(bytearray(READ_AHEAD))
        self._read, self._taken = 0, 0  # bytes of it

    async def exactly(self, length: int) -> bytearray:
        """The next so many bytes. Small frames that come together are received together."""
        buffer = bytearray(length)
        view, filled = memoryview(buffer), self._take(buffer)
        while filled < length:
            if length - filled < len(self._ahead):
                self._read, self._taken = await self._receive(self._ahead), 0
                filled += self._take(view[filled:])
            else:
                filled += await self._receive(view[filled:])
        return buffer

    def _take(self, room: bytearray | memoryview) -> int:
        count = min(len(room), self._read - self._taken)
        room[:count] = self._ahead[self._taken : self._taken + count]
        self._taken += count
        return count

    async def _receive(self, room: memoryview) -> int:
        count = await self._stream.receive_into(room)
        if count == 0:
            raise Unreachable("it has hung up")
        self.heard_at = trio.current_time()
        return count


class Channel:
    """An established connection to a known device. Frames are sent whole, one after the other, from any task; one task
    receives. When it breaks every method raises `Unreachable`."""

    def __init__(self, stream: LanStream, inlet: _Inlet, device: DeviceId, keys: Keys, *, dialled: bool) -> None:
        """Made by `dial_channel` and `answer_channel`; `inlet` may have read more than the handshake. `dialled` says
        that this side did."""
        self.device = device
        self.address = stream.remote
        self.dialled = dialled
        self.records_out = RecordSender(keys.send)
        self.records_in = RecordReceiver(keys.receive)
        self.said_at = trio.current_time()
        """When a frame was last sent."""
        self.version = LAN_LOWEST
        """Of the LAN protocol: the highest that both sides speak."""
        self.name = ""
        """What the device calls itself, for people to read."""
        self._stream = stream
        self._inlet = inlet
        self._control_out = ControlSender(keys.send)
        self._control_in = ControlReceiver(keys.receive)
        self._sending = trio.Lock()

    @property
    def heard_at(self) -> float:
        """When anything was last received, by `trio.current_time()`."""
        return self._inlet.heard_at

    async def say(self, *messages: Control) -> None:
        """Send control messages."""
        async with self._sending:
            await self._send(b"".join(map(self._control_out.frame, messages)))

    async def send_record(self, frame: bytes | memoryview) -> None:
        """Send a frame made by `records_out.seal`; those of lower counters must have been sent."""
        async with self._sending:
            await self._send(frame)

    async def _send(self, frame: bytes | memoryview) -> None:
        # Half a frame would be the end of the connection, so only closing it cuts this short.
        with trio.move_on_after(STALLED_SECONDS, shield=True) as patience:
            await self._stream.send_all(frame)
        if patience.cancelled_caught:
            self.close()
            raise Unreachable("it takes nothing any more")
        self.said_at = trio.current_time()

    async def receive(self) -> Control | Record:
        """The next frame. `Malformed` or `CannotOpen` for what no honest path or device sends."""
        kind, length = parse_header(await self._inlet.exactly(FRAME_HEADER))
        body = await self._inlet.exactly(length)
        if kind == CONTROL:
            return self._control_in.open(body)
        return Record(self.records_in.reserve(), body)

    async def greet(self, name: str) -> None:
        """Exchange hellos, each side's first message. `Malformed` without a protocol version in common."""
        await self.say(Hello(lowest=LAN_LOWEST, highest=LAN_HIGHEST, name=name))
        hello = await self.receive()
        if not isinstance(hello, Hello):
            raise Malformed("its first message is no hello")
        if hello.lowest > LAN_HIGHEST or hello.highest < LAN_LOWEST:
            await self.say(Bye(reason="no LAN protocol in common: the one with the lower version needs a newer Shoal"))
            raise Malformed(f"no LAN protocol in common: it speaks {hello.lowest} to {hello.highest}")
        self.name = one_line(hello.name)
        self.version = min(hello.highest, LAN_HIGHEST)

    def close(self) -> None:
        """Hang up; whoever waits for the other side gets an `Unreachable`."""
        self._stream.close()


def one_line(text: str) -> str:
    """Another's words, fit for a log."""
    return "".join(c if c.isprintable() else "?" for c in text)


async def dial_channel(
    stream: LanStream, own: ExchangeKey, known: Mapping[DeviceId, bytes], random_bytes: RandomBytes
) -> Channel:
    """Find out which of the `known` devices (with their exchange keys) listens there, and establish a connection.

    `BadSignature` when it is none of them, or can't show that it is; `Malformed` for nonsense, `Unreachable`.
    """
    inlet = _Inlet(stream)
    preface = bytes(await inlet.exactly(PREFACE_LENGTH))
    device = next((id for id, key in known.items() if preface_is_of(preface, key)), None)
    if device is None:
        raise BadSignature("no device that this one knows")
    dialler = Dialler(own, known[device], preface, random_bytes)
    await stream.send_all(dialler.first())
    keys = dialler.finish(bytes(await inlet.exactly(MESSAGE_2)))
    return Channel(stream, inlet, device, keys, dialled=True)


async def answer_channel(
    stream: LanStream, own: ExchangeKey, whose: Callable[[bytes], DeviceId | None], random_bytes: RandomBytes
) -> Channel:
    """Let a device that dials establish a connection; `whose` tells who has an exchange key.

    `BadSignature` for a stranger, `CannotOpen` or `Malformed` for nonsense, `Unreachable`.
    """
    preface = make_preface(own.public, random_bytes)
    await stream.send_all(preface)
    answerer = Answerer(own, preface, random_bytes)
    inlet = _Inlet(stream)
    device = whose(answerer.take(bytes(await inlet.exactly(MESSAGE_1))))
    if device is None:
        raise BadSignature("a stranger")
    message, keys = answerer.answer()
    await stream.send_all(message)
    return Channel(stream, inlet, device, keys, dialled=False)
