"""A TCP relay on loopback, in the test's own process: a line that can be slow, broken for uploads, and listened to."""

import random
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import trio

UPLOAD = b"POST /v1/pack"
"""How a request begins that brings chunks to the tracker; everything else there is small."""
_PIECE = 4096
_AT_ONCE = 65_536


def port_of(url: str) -> int:
    """The port in a URL."""
    port = urlsplit(url).port
    assert port is not None
    return port


def free_port() -> int:
    """A port of loopback where nobody listens, and which no connection is made from (ip_local_port_range)."""
    while True:
        port = random.randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class Relay:
    """Carries each connection made to `url` or `port` on to another port of loopback."""

    def __init__(self, target: int) -> None:
        """`target` is that port."""
        self.port = 0
        """Where it listens, once it runs."""
        self.rate: float | None = None
        """Bytes a second towards the target on each connection; None for as fast as it goes."""
        self.cut: bytes | None = None
        """What sends this towards the target loses its connection."""
        self.cuts = 0
        """How many have."""
        self.cut_behind = False
        """Whether what is cut still arrives, so that only the answer is lost."""
        self.stall: bytes | None = None
        """What sends this towards the target is carried no further from there on, without a word."""
        self.streams: list[bytearray] = []
        """All that was carried, a stream for each direction of each connection."""
        self.target = target

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carry until cancelled."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listener.socket.getsockname()[1]
        task_status.started()
        await trio.serve_listeners(self._connected, [listener])

    async def _connected(self, near: trio.SocketStream) -> None:
        with suppress(OSError):  # nobody is there now
            far = await trio.open_tcp_stream("127.0.0.1", self.target)
            async with near, far, trio.open_nursery() as nursery:
                nursery.start_soon(self._there, near, far, nursery.cancel_scope)
                nursery.start_soon(self._back, far, near, nursery.cancel_scope)

    async def _there(self, source: trio.SocketStream, sink: trio.SocketStream, whole: trio.CancelScope) -> None:
        carried = self._stream()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(_PIECE if self.rate is not None else _AT_ONCE):
                before = len(carried)
                carried += data
                if self._has_come(self.cut, carried, before):
                    self.cuts += 1
                    if self.cut_behind:
                        await sink.send_all(data)
                    break
                if self._has_come(self.stall, carried, before):
                    await trio.sleep_forever()
                if self.rate is not None:
                    await trio.sleep(len(data) / self.rate)
                await sink.send_all(data)
        whole.cancel()

    def _has_come(self, wanted: bytes | None, carried: bytearray, before: int) -> bool:
        return wanted is not None and carried.find(wanted, max(0, before - len(wanted))) >= 0

    async def _back(self, source: trio.SocketStream, sink: trio.SocketStream, whole: trio.CancelScope) -> None:
        carried = self._stream()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while data := await source.receive_some(_AT_ONCE):
                carried += data
                if self.cut is not None and self.cut_behind and self.cuts:
                    break  # the answer to what was cut behind
                await sink.send_all(data)
        whole.cancel()

    def _stream(self) -> bytearray:
        self.streams.append(bytearray())
        return self.streams[-1]
