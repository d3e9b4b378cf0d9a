"""The way to the tracker, against small real servers that behave and that don't."""

import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import h11
import pytest
import trio
import trio_websocket
import wsproto
from wsproto.events import AcceptConnection, BytesMessage, Event, Ping, Pong, Request

from bench.certificates import Certificate, self_signed
from peer.ports import Response
from peer.system import websocket
from peer.system.http import HttpTransport
from peer.traffic import BURST, Pace
from protocol.api import PROTOCOL_RANGE
from protocol.errors import Malformed, TooLarge, Unreachable, Usage

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """The base URL of a server that gives each connection to `handler`."""
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, handler, 0, host="127.0.0.1")
        listeners: list[trio.SocketListener] = await nursery.start(serve)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel()


def transport(url: str, *, ca_file: str | None = None) -> HttpTransport:
    return HttpTransport(url, ca_file=ca_file, insecure_http=False)


async def ask(url: str, *, body: bytes = b"question", limit: int = 1000, timeout: float = 5) -> Response:
    async with transport(url) as tracker:
        with trio.fail_after(10):
            return await tracker.request("/v1/x", body, token="tok", patience=timeout, response_limit=limit)


async def read_request(stream: trio.abc.ReceiveStream, connection: h11.Connection) -> tuple[h11.Request, bytes]:
    body = b""
    request: h11.Request | None = None
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(bytes(await stream.receive_some()))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            assert request is not None
            return request, body


class Responder:
    """Answers every request with `answer`, keeping the connection, and remembers what was asked."""

    def __init__(self, answer: bytes = b"answer", *, status: int = 200, chunked: bool = False) -> None:
        self.requests: list[tuple[h11.Request, bytes]] = []
        self.connections = 0
        self._answer = answer
        self._status = status
        self._headers = [] if chunked else [("Content-Length", str(len(answer)))]

    async def __call__(self, stream: trio.abc.Stream) -> None:
        self.connections += 1
        connection = h11.Connection(h11.SERVER)
        while True:
            try:
                self.requests.append(await read_request(stream, connection))
                for event in (
                    h11.Response(status_code=self._status, headers=self._headers),
                    h11.Data(data=self._answer),
                    h11.EndOfMessage(),
                ):
                    await stream.send_all(connection.send(event) or b"")
                connection.start_next_cycle()
            except (trio.BrokenResourceError, h11.ProtocolError, AssertionError):
                return


def reset(stream: trio.SocketStream) -> None:
    """Cut the connection off: closing now sends RST."""
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    stream.socket.close()


# Addresses


@pytest.mark.parametrize("host", ["example.org", "192.168.1.5", "[fe80::1]", "128.0.0.1", "localhost.example.org"])
def test_plain_http_is_refused(host: str) -> None:
    with pytest.raises(Usage) as caught:
        transport(f"http://{host}:8000")
    assert str(caught.value) == f"refusing plain http to {host.strip('[]')}; use https or --insecure-http"


@pytest.mark.parametrize("url", ["http://localhost", "http://127.0.0.1:80", "http://127.5.5.5/", "http://[::1]:8080"])
async def test_plain_http_to_this_machine(url: str) -> None:
    async with transport(url):
        pass


async def test_plain_http_by_request() -> None:
    async with HttpTransport("http://example.org", ca_file=None, insecure_http=True):
        pass


NO_ADDRESSES = """
    tracker.example.org ftp://host https:// https://h:99999 https://[::1 https:///x https://me:secret@host
    https://host?x=1 https://host#x https://ho%20st
"""


@pytest.mark.parametrize("url", ["", "https://ho st", *NO_ADDRESSES.split()])
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(Usage):
        transport(url)


# Requests


async def test_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server = Responder(b"answer")
    async with serving(server) as url:
        assert await ask(url + "/base/") == Response(200, b"answer")
    (request, body) = server.requests[0]
    headers = dict(request.headers)
    assert (request.method, request.target, body) == (b"POST", b"/base/v1/x", b"question")
    assert headers[b"authorization"] == b"Bearer tok"
    assert headers[b"shoal-protocol"] == PROTOCOL_RANGE.encode()
    assert headers[b"content-type"] == b"application/cbor"
    assert headers[b"accept-encoding"] == b"identity"


async def test_without_a_token_and_on_one_connection() -> None:
    server = Responder(status=404)
    async with serving(server) as url, transport(url) as tracker:
        for _ in range(3):
            answer = await tracker.request("/", b"", token=None, patience=5, response_limit=10)
            assert answer == Response(404, b"answer")
    assert b"authorization" not in dict(server.requests[0][0].headers)
    assert server.connections == 1


async def test_a_large_body_has_a_known_length() -> None:
    server = Responder()
    body = bytes(range(256)) * 5000
    async with serving(server) as url:
        await ask(url, body=body)
    request, received = server.requests[0]
    assert received == body
    assert dict(request.headers)[b"content-length"] == b"1280000"
    assert b"transfer-encoding" not in dict(request.headers)


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_oversized_answer(chunked: bool) -> None:
    async with serving(Responder(b"x" * 1001, chunked=chunked)) as url:
        with pytest.raises(TooLarge, match="1000"):
            await ask(url)


@pytest.mark.parametrize("chunked", [False, True])
async def test_an_answer_as_long_as_allowed(chunked: bool) -> None:
    async with serving(Responder(b"x" * 1000, chunked=chunked)) as url:
        assert await ask(url) == Response(200, b"x" * 1000)


async def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(Unreachable) as caught:
            await ask(url)
        assert str(caught.value) == f"no answer from tracker {url}: connection refused"


async def test_an_unknown_host() -> None:
    with pytest.raises(Unreachable, match=r"^no answer from tracker https://nowhere\.invalid: \w+"):
        await ask("https://nowhere.invalid")


async def test_a_silent_tracker() -> None:
    async def listen(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass

    async with serving(listen) as url:
        with pytest.raises(Unreachable, match=r"nothing within 0\.2 s$"):
            await ask(url, timeout=0.2)


async def test_an_answer_that_stops() -> None:
    async def stall(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        async for _ in stream:
            pass

    async with serving(stall) as url:
        with pytest.raises(Unreachable, match=r"nothing within 0\.2 s$"):
            await ask(url, timeout=0.2)


async def test_a_reset_in_the_middle() -> None:
    async def cut(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome")
        reset(stream)

    async with serving(cut) as url:
        with pytest.raises(Unreachable, match=r"^no answer from tracker http://127"):
            await ask(url)


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
async def test_garbage_or_half_an_answer(answer: bytes) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    async with serving(talk) as url:
        with pytest.raises(Unreachable, match=r"^no answer from tracker http://127") as caught:
            await ask(url)
        assert "\n" not in str(caught.value)


# Limits

RATE, BODY = 1_000_000, bytes(range(256)) * 2000
"""A body of half a second."""


@pytest.mark.parametrize(("path", "answer"), [("/v1/pack", b"stored"), ("/v1/chunks", BODY)])
async def test_contents_keep_to_a_pace_and_nothing_else_waits_for_them(path: str, answer: bytes) -> None:
    server, pace, done = Responder(answer), Pace(RATE), list[str]()
    up, down = (pace, None) if path == "/v1/pack" else (None, pace)
    body, began = BODY if up else b"ids", trio.current_time()

    async def move(path: str, body: bytes) -> None:
        response = await tracker.request(path, body, token=None, patience=0.2, response_limit=len(BODY))
        assert response.body == answer
        done.append(path)

    async with (
        serving(server) as url,
        HttpTransport(url, ca_file=None, insecure_http=False, up=up, down=down) as tracker,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(move, path, body)
            await trio.sleep(0.05)
            await move("/v1/commit", b"commit")
    assert done == ["/v1/commit", path]
    assert trio.current_time() - began >= len(BODY) / RATE - BURST - 0.1
    assert sorted(received for _, received in server.requests) == sorted([body, b"commit"])


async def test_other_bodies_are_made_up_for() -> None:
    pace = Pace(RATE)
    async with serving(Responder()) as url, HttpTransport(url, ca_file=None, insecure_http=False, up=pace) as tracker:
        await tracker.request("/v1/commit", BODY, token=None, patience=5, response_limit=1000)
        assert pace.count(0) > len(BODY) / RATE - BURST - 0.3


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return self_signed(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def over_tls(certificate: Certificate, server: Responder) -> Handler:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.file, certificate.key)

    async def handle(stream: trio.SocketStream) -> None:
        await server(trio.SSLStream(stream, context, server_side=True, https_compatible=True))

    return handle


async def test_https_with_a_given_authority(certificate: Certificate) -> None:
    async with serving(over_tls(certificate, Responder())) as url:
        async with transport(url.replace("http", "https"), ca_file=str(certificate.file)) as tracker:
            answer = await tracker.request("/", b"", token=None, patience=5, response_limit=10)
    assert answer == Response(200, b"answer")


async def test_https_from_a_stranger(certificate: Certificate) -> None:
    async with serving(over_tls(certificate, Responder())) as url:
        with pytest.raises(Unreachable, match="certificate not trusted: self-signed certificate"):
            await ask(url.replace("http", "https"))


async def test_https_to_something_else() -> None:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serving(talk) as url:
        with pytest.raises(Unreachable, match="TLS failed"):
            await ask(url.replace("http", "https"))


def test_an_unusable_file_of_authorities(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_bytes(b"")
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(Usage, match=name):
            transport("https://host", ca_file=str(tmp_path / name))


# Notifications


def notifying(handler: Callable[[trio_websocket.WebSocketConnection], Awaitable[None]]) -> Handler:
    async def handle(stream: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            request = await trio_websocket.wrap_server_stream(nursery, stream, max_message_size=4_000_000)
            assert dict(request.headers)[b"authorization"] == b"Bearer tok"
            assert dict(request.headers)[b"shoal-protocol"] == PROTOCOL_RANGE.encode()
            assert request.path == "/base/v1/notifications"
            async with await request.accept() as connection:
                await handler(connection)
            nursery.cancel_scope.cancel()

    return handle


@asynccontextmanager
async def listening(url: str) -> AsyncIterator[websocket.WebSocketNotifications]:
    with trio.fail_after(10):
        async with transport(url + "/base") as tracker:
            async with tracker.notifications("/v1/notifications", token="tok") as notifications:
                yield notifications


async def test_notifications() -> None:
    async def echo(connection: trio_websocket.WebSocketConnection) -> None:
        for _ in range(3):
            await connection.send_message(await connection.get_message())

    async with serving(notifying(echo)) as url, listening(url) as notifications:
        for frame in (b"one", b"", b"x" * 3_000_000):
            await notifications.send(frame)
            assert await notifications.receive() == frame
        with pytest.raises(Unreachable, match=r"connection closed \(1000\)$"):
            await notifications.receive()


async def test_sending_and_receiving_at_once() -> None:
    frames = [bytes([number]) * 100_000 for number in range(20)]

    async def echo(connection: trio_websocket.WebSocketConnection) -> None:
        for _ in frames:
            await connection.send_message(await connection.get_message())

    async with serving(notifying(echo)) as url, listening(url) as notifications:

        async def send() -> None:
            for frame in frames:
                await notifications.send(frame)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            assert [await notifications.receive() for _ in frames] == frames


async def test_a_cancelled_wait_loses_no_frame() -> None:
    async def echo(connection: trio_websocket.WebSocketConnection) -> None:
        await connection.send_message(await connection.get_message())

    async with serving(notifying(echo)) as url, listening(url) as notifications:
        with trio.move_on_after(0.01):
            await notifications.receive()
        await notifications.send(b"frame")
        assert await notifications.receive() == b"frame"


async def test_a_frame_cut_off_ends_sending() -> None:
    async def never_read(stream: trio.SocketStream) -> None:
        connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        connection.receive_data(bytes(await stream.receive_some()))
        await stream.send_all(connection.send(AcceptConnection()))
        await trio.sleep_forever()

    async with serving(never_read) as url, listening(url) as notifications:
        with trio.move_on_after(0.1):
            await notifications.send(bytes(50_000_000))
        with pytest.raises(Unreachable, match="cut off in sending"):
            await notifications.send(b"next")


async def test_a_text_frame() -> None:
    async def talk(connection: trio_websocket.WebSocketConnection) -> None:
        await connection.send_message("text")

    async with serving(notifying(talk)) as url, listening(url) as notifications:
        with pytest.raises(Malformed):
            await notifications.receive()


async def test_an_oversized_frame() -> None:
    async def talk(connection: trio_websocket.WebSocketConnection) -> None:
        await connection.send_message(bytes(websocket.MAX_FRAME_BYTES + 1))

    async with serving(notifying(talk)) as url, listening(url) as notifications:
        with pytest.raises(TooLarge):
            await notifications.receive()


async def test_notifications_that_nobody_serves() -> None:
    with pytest.raises(Unreachable, match=r"connection refused$"):
        async with listening("http://127.0.0.1:1"):
            pass


async def test_notifications_refused() -> None:
    async with serving(Responder(status=401)) as url:
        with pytest.raises(Unreachable, match="HTTP status 401"):
            async with listening(url):
                pass


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"])
async def test_notifications_from_something_else(answer: bytes) -> None:
    async def talk(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(answer)
        await stream.aclose()

    async with serving(talk) as url:
        with pytest.raises(Unreachable, match=r"^no answer from tracker http://127"):
            async with listening(url):
                pass


async def test_notifications_from_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "CONNECT_SECONDS", 0.2)

    async def listen(stream: trio.SocketStream) -> None:
        async for _ in stream:
            pass

    async with serving(listen) as url:
        with pytest.raises(Unreachable, match=r"nothing within 0\.2 s"):
            async with listening(url):
                pass


class RawWebSocket:
    """A server that decides for itself what to answer to which event."""

    def __init__(self, on_ping: Callable[[Ping, int], list[Event]]) -> None:
        self.pings = 0
        self._on_ping = on_ping

    async def __call__(self, stream: trio.SocketStream) -> None:
        connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        async for data in stream:
            connection.receive_data(bytes(data))
            for event in connection.events():
                for answer in self._answers(event):
                    await stream.send_all(connection.send(answer))

    def _answers(self, event: Event) -> list[Event]:
        if isinstance(event, Request):
            return [AcceptConnection()]
        if isinstance(event, Ping):
            self.pings += 1
            return self._on_ping(event, self.pings)
        return []


@pytest.fixture
def short_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "HEARTBEAT_SECONDS", 0.02)
    monkeypatch.setattr(websocket, "ANSWER_SECONDS", 0.2)


@pytest.mark.usefixtures("short_times")
async def test_a_quiet_connection_stays() -> None:
    def answer(ping: Ping, number: int) -> list[Event]:
        return [Pong(ping.payload), *([BytesMessage(b"at last")] if number == 3 else [])]

    server = RawWebSocket(answer)
    async with serving(server) as url, listening(url) as notifications:
        assert await notifications.receive() == b"at last"
    assert server.pings == 3


@pytest.mark.usefixtures("short_times")
async def test_frames_before_the_pong_are_all_received() -> None:
    frames = [bytes([number]) for number in range(5)]

    def answer(ping: Ping, number: int) -> list[Event]:
        return [*(BytesMessage(frame) for frame in frames if number == 1), Pong(ping.payload)]

    async with serving(RawWebSocket(answer)) as url, listening(url) as notifications:
        assert [await notifications.receive() for _ in frames] == frames


@pytest.mark.usefixtures("short_times")
async def test_a_dead_connection_is_noticed() -> None:
    async with serving(RawWebSocket(lambda ping, number: [])) as url:
        with pytest.raises(Unreachable, match=r"nothing within 0\.2 s$"):
            async with listening(url) as notifications:
                await notifications.receive()


@pytest.mark.usefixtures("short_times")
async def test_an_abrupt_end() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        connection = wsproto.WSConnection(wsproto.ConnectionType.SERVER)
        connection.receive_data(bytes(await stream.receive_some()))
        await stream.send_all(connection.send(AcceptConnection()))
        await stream.receive_some()
        reset(stream)

    async with serving(handle) as url, listening(url) as notifications:
        await notifications.send(b"x")
        with pytest.raises(Unreachable, match=r"connection (closed|reset by peer)"):
            await notifications.receive()
        with pytest.raises(Unreachable):
            await notifications.send(b"x")


async def test_an_error_inside_comes_out_as_it_is() -> None:
    async def wait(connection: trio_websocket.WebSocketConnection) -> None:
        with pytest.raises(trio_websocket.ConnectionClosed):
            await connection.get_message()

    async with serving(notifying(wait)) as url:
        with pytest.raises(ZeroDivisionError):
            async with listening(url):
                raise ZeroDivisionError


@pytest.mark.usefixtures("short_times")
async def test_a_goodbye_that_fails_hides_nothing() -> None:
    async with serving(RawWebSocket(lambda ping, number: [])) as url:
        with pytest.raises(ZeroDivisionError):
            async with listening(url):
                raise ZeroDivisionError
        async with listening(url):
            pass
