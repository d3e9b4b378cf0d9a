"""HTTP and WebSockets in threads, as little of them as a measurement needs: the tracker is to be the limit, not this.

A request is made as bytes before any clock starts; an answer is read by its Content-Length, a frame by its length.
"""

import base64
import socket
from typing import Self, TypeVar
from urllib.parse import urlsplit

from bench.failures import BenchFailed
from protocol import api
from protocol.codec import decode, encode
from protocol.identifiers import WorkspaceId
from protocol.notices import Subscribe, encode_notice

Q = TypeVar("Q")
A = TypeVar("A")

SECONDS = 120.0
"""What takes longer has failed."""
_RECEIVE = 1 << 20
_BINARY, _FINAL, _MASKED = 2, 0x80, 0x80


def _headers(path: str, token: str, *more: str) -> list[str]:
    authorization = [f"Authorization: Bearer {token}"] if token else []
    return [path, "Host: tracker", f"{api.PROTOCOL_HEADER}: {api.PROTOCOL_RANGE}", *authorization, *more, "", ""]


def message(path: str, body: bytes, token: str = "") -> bytes:
    """A request, as it is sent."""
    head = _headers(f"POST {path} HTTP/1.1", token, f"Content-Type: {api.CONTENT_TYPE}", f"Content-Length: {len(body)}")
    return "\r\n".join(head).encode() + body


class Connection:
    """One that is kept alive. For one thread at a time; `BenchFailed` for any answer but 200."""

    def __init__(self, url: str) -> None:
        """Connect."""
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname or "", parts.port or 0), SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._begun = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def exchange(self, request: bytes) -> bytes:
        """Send it and wait for the answer's body."""
        self.socket.sendall(request)
        return self.answer()

    def answer(self) -> bytes:
        """The body of the next answer."""
        head = self._head()
        length = _length(head)
        data = bytearray(self._begun[:length])
        self._begun = self._begun[length:]
        while len(data) < length:
            data += self._more()
        if not head.startswith(b"http/1.1 200"):
            raise BenchFailed(f"the tracker refused: {_reason(bytes(data))}")
        return bytes(data)

    def _head(self) -> bytes:
        """In small letters."""
        data = self._begun
        while (end := data.find(b"\r\n\r\n")) < 0:
            data += self._more()
        self._begun = data[end + 4 :]
        return data[:end].lower()

    def _more(self) -> bytes:
        data = self.socket.recv(_RECEIVE)
        if not data:
            raise BenchFailed("the tracker hung up")
        return data

    def call(self, endpoint: api.Endpoint[Q, A], request: Q, token: str = "") -> A:
        """A request that is made only now."""
        body = self.exchange(message(endpoint.path, encode(request), token))
        return decode(endpoint.reply, body, endpoint.reply_limit)

    def subscribe(self, workspace: WorkspaceId, revision: int, token: str) -> None:
        """Make it a WebSocket that is told of all that happens in a workspace from that revision on."""
        key = base64.b64encode(bytes(16)).decode()
        more = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
        self.socket.sendall("\r\n".join(_headers(f"GET {api.NOTIFICATIONS_PATH} HTTP/1.1", token, *more)).encode())
        head = self._head()
        if not head.startswith(b"http/1.1 101"):
            raise BenchFailed(f"no WebSocket: {head[:100]!r}")
        frame = encode_notice(Subscribe(cursors=((workspace, revision),)))
        assert len(frame) < 126, "a length of seven bits"
        mask = bytes(4)  # with which the bytes stay what they are
        self.socket.sendall(bytes([_FINAL | _BINARY, _MASKED | len(frame)]) + mask + frame)


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    raise BenchFailed("an answer without its length")


def _reason(body: bytes) -> str:
    return decode(api.Refusal, body, api.LARGE).message


class Frames:
    """Counts the notices in what a WebSocket has received."""

    def __init__(self) -> None:
        """Nothing has come."""
        self._begun = b""

    def feed(self, data: bytes) -> int:
        """How many more are complete; pings and their like are passed over. `BenchFailed` when it was closed."""
        self._begun += data
        notices = 0
        while (end := self._end()) is not None:
            kind = self._begun[0] & 0x0F
            if kind == 8:
                raise BenchFailed("the tracker closed a subscription")
            notices += kind == _BINARY
            self._begun = self._begun[end:]
        return notices

    def _end(self) -> int | None:
        """Where the first frame ends, if it is all there. A server doesn't mask."""
        begun = self._begun
        if len(begun) < 2:
            return None
        extended = {126: 2, 127: 8}.get(begun[1], 0)
        if len(begun) < 2 + extended:
            return None
        length = int.from_bytes(begun[2 : 2 + extended], "big") if extended else begun[1]
        end = 2 + extended + length
        return end if len(begun) >= end else None
