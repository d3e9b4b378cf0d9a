"""The way to one tracker: `peer.ports.TrackerTransport` over HTTP/1.1 with httpx.

Nothing is tried again here: who asks knows whether asking twice is safe.
"""

import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import httpx
import trio

from peer.ports import Response
from peer.system.reasons import system_text, unreachable
from peer.system.websocket import WebSocketNotifications, open_notifications
from peer.traffic import Pace
from protocol.api import CHUNKS_PATH, PACK_PATH, PROTOCOL_HEADER, PROTOCOL_RANGE, SLOWEST_UPLINK
from protocol.errors import TooLarge, Usage

CONNECTIONS = 8
_KEEP_SECONDS = 60.0  # an idle connection; one the tracker has closed meanwhile is noticed before it is used
_PIECE_BYTES = 256 * 1024
_LEAST_BUFFERED, _MOST_BUFFERED = 64 * 1024, 4 * 1024 * 1024
_ACKNOWLEDGED = 30.0
"""Seconds. A body that was written may lie in the kernel's buffers for long; that the tracker has gone meanwhile is
noticed by what it doesn't acknowledge."""


class HttpTransport:
    """See `peer.ports.TrackerTransport`. An async context manager, which closes the connections.

    `base_url` is http(s)://HOST[:PORT][/PATH]; `ca_file` a PEM file with the only authorities to trust, None for the
    system's. `Usage` for a URL that can't be, an unusable file, and plain http to anything but this machine unless
    `insecure_http`. Packs keep to the pace `up` and chunks to `down`, where there is one; all other bodies go at once,
    and are made up for by those.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ca_file: str | None,
        insecure_http: bool,
        up: Pace | None = None,
        down: Pace | None = None,
    ) -> None:
        self._url = _checked_url(base_url, insecure_http)
        self._name = f"{self._url.scheme}://{self._url.netloc.decode('ascii')}"
        self._tls = _tls(self._url.scheme, ca_file)
        transport = httpx.AsyncHTTPTransport(
            verify=self._tls,
            http1=True,
            http2=False,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=CONNECTIONS,
                max_keepalive_connections=CONNECTIONS,
                keepalive_expiry=_KEEP_SECONDS,
            ),
            socket_options=list(_socket_options(down)),
        )
        self._up, self._down = up, down
        self._client = httpx.AsyncClient(transport=transport, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(kind, error, traceback)

    async def request(
        self, path: str, body: bytes, *, token: str | None, patience: float, response_limit: int
    ) -> Response:
        headers = {
            **_headers(token),
            "Content-Type": "application/cbor",
            "Content-Length": str(len(body)),
            "Accept-Encoding": "identity",
        }
        # Waiting for one of our own connections is not the tracker's silence.
        limits = httpx.Timeout(patience, read=patience + len(body) / SLOWEST_UPLINK, pool=None)
        with self._unreachable(patience):
            content = _pieces(body, _paced(self._up, PACK_PATH, path, len(body)))
            async with self._client.stream(
                "POST", self._at(path), content=content, headers=headers, timeout=limits
            ) as answer:
                came = await _read(answer, response_limit, self._down if path == CHUNKS_PATH else None)
                _paced(self._down, CHUNKS_PATH, path, len(came))
                return Response(answer.status_code, came)

    @asynccontextmanager
    async def notifications(self, path: str, *, token: str) -> AsyncIterator[WebSocketNotifications]:
        url = self._url
        secure = url.scheme == "https"
        async with open_notifications(
            (url.host, url.port or (443 if secure else 80)),
            self._tls if secure else None,
            httpx.URL(self._at(path)).raw_path.decode("ascii"),
            [(name.encode(), value.encode()) for name, value in _headers(token).items()],
            host=url.netloc.decode("ascii"),
            tracker=self._name,
        ) as notifications:
            yield notifications

    def _at(self, path: str) -> str:
        return str(self._url).rstrip("/") + path

    @contextmanager
    def _unreachable(self, timeout: float) -> Iterator[None]:
        try:
            yield
        except (httpx.HTTPError, httpx.StreamError, OSError) as failure:
            raise unreachable(self._name, failure, timeout) from failure


def _headers(token: str | None) -> dict[str, str]:
    headers = {PROTOCOL_HEADER: PROTOCOL_RANGE}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return headers


def _checked_url(text: str, insecure_http: bool) -> httpx.URL:
    try:
        _ = urlsplit(text).port  # refuses what httpx lets pass
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError):
        raise Usage(f"{text!r} is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host or "%" in url.host or " " in url.host:
        raise Usage(f"{text!r} is not a tracker's URL: https://HOST[:PORT]")
    if url.userinfo or url.query or url.fragment:
        raise Usage("a tracker's URL has no user, query or fragment in it: https://HOST[:PORT]")
    if url.scheme == "http" and not insecure_http and not _is_loopback(url.host):
        raise Usage(f"refusing plain http to {url.host}; use https or --insecure-http")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _tls(scheme: str, ca_file: str | None) -> ssl.SSLContext:
    if scheme == "http":
        # Never used, and httpx would read some 150 certificates to make its own.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as failure:  # also what ssl raises
        raise Usage(f"can't use {ca_file} as a file of certificate authorities: {system_text(failure)}") from None


def _socket_options(down: Pace | None) -> Iterator[tuple[int, int, int]]:
    yield socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(_ACKNOWLEDGED * 1000)
    if down is not None:
        # What isn't read yet is held up at the tracker, not in a buffer here that grows to megabytes.
        yield socket.SOL_SOCKET, socket.SO_RCVBUF, min(_MOST_BUFFERED, max(_LEAST_BUFFERED, down.rate // 4))


def _paced(pace: Pace | None, bulk: str, path: str, size: int) -> Pace | None:
    """The pace for a body on the way of the `bulk`; any other body passes at once, and is only counted."""
    if pace is not None and path != bulk:
        pace.count(size)
        return None
    return pace


def _pieces(body: bytes, pace: Pace | None) -> bytes | AsyncIterator[bytes]:
    """Large bodies in pieces: httpx's time-out is for each piece, and a slow uplink is not silence."""
    if pace is None:
        return body if len(body) <= _PIECE_BYTES else _cut(body)
    return _cut_to(body, pace)


async def _cut(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]


async def _cut_to(body: bytes, pace: Pace) -> AsyncIterator[bytes]:
    size = min(_PIECE_BYTES, pace.piece)
    for start in range(0, len(body), size):
        piece = body[start : start + size]
        await pace.keep(len(piece))
        yield piece


async def _read(answer: httpx.Response, limit: int, pace: Pace | None) -> bytes:
    announced = answer.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge(f"the tracker's answer has {announced} bytes; {limit} are allowed")
    parts: list[bytes] = []
    size = 0
    # Cancelled, not left: httpx's nested generators would lie about unfinished.
    with trio.CancelScope() as reading:
        async for part in answer.aiter_raw():
            parts.append(part)
            size += len(part)
            if size > limit:
                reading.cancel()
            elif pace is not None:
                await pace.keep(len(part))
    if size > limit:
        raise TooLarge(f"the tracker's answer is longer than the {limit} bytes allowed")
    return b"".join(parts)
