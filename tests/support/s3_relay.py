"""Stands between a store and its S3 server, in the test's own process, and does what goes wrong on the way."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

QUIET_S = 10
"""A connection on which nothing comes for so long is given up: no test hangs."""


@dataclass
class Answer:
    """What came from the server, or is made up."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Passing:
    """One request on its way."""

    command: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    target: int

    def forward(self) -> Answer:
        """Ask the server. The headers are as they were, for they are signed."""
        connection = HTTPConnection("127.0.0.1", self.target, timeout=QUIET_S)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(self.body)
            answer = connection.getresponse()
            return Answer(answer.status, dict(answer.getheaders()), answer.read())
        finally:
            connection.close()


Fault = Callable[[Passing], Answer | None]
"""What happens to a request: its answer, or None for a connection that ends without one."""


def pass_on(request: Passing) -> Answer:
    """Nothing goes wrong."""
    return request.forward()


def refuse(status: int, code: str, **headers: str) -> Fault:
    """The service doesn't do it and says why, in S3's way."""
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Answer(status, {"Content-Length": str(len(body)), **named}, body)


def lose_request(_: Passing) -> None:
    """It never arrives."""


def lose_answer(request: Passing) -> None:
    """It is done, and nobody is told."""
    request.forward()


def cut_body(after: int) -> Fault:
    """The answer promises all and ends after so many bytes."""

    def fault(request: Passing) -> Answer:
        answer = request.forward()
        return Answer(answer.status, answer.headers, answer.body[:after])

    return fault


def damage_up(request: Passing) -> Answer:
    """A bit of what is put is another when it arrives."""
    request.body = bytes([request.body[0] ^ 1]) + request.body[1:]
    return request.forward()


def damage_down(request: Passing) -> Answer:
    """A bit of what is got is another when it arrives."""
    answer = request.forward()
    return Answer(answer.status, answer.headers, bytes([answer.body[0] ^ 1]) + answer.body[1:])


def without(*names: str) -> Fault:
    """The answer lacks these headers."""

    def fault(request: Passing) -> Answer:
        answer = request.forward()
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in names}
        return Answer(answer.status, kept, answer.body)

    return fault


class Relay:
    """Does to each request what `faults` says, in their order, and passes on all that come after."""

    def __init__(self, target: int) -> None:
        """`target` is the server's port."""
        self.target = target
        self.faults: list[Fault] = []
        self.only = ""
        """Requests without this in their path are passed on, and not seen: what a call that was given up still asks is
        another test's."""
        self.seen: list[str] = []
        """The methods of all requests."""
        self.released = threading.Event()
        """Set at the end, for what stalls."""
        self.stalled = threading.Semaphore(0)
        """How many requests have stalled and nobody has waited for."""
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stall(self, _: Passing) -> None:
        """Nothing comes back, until the relay ends."""
        self.stalled.release()
        self.released.wait(QUIET_S)

    def next_fault(self, command: str, path: str) -> Fault:
        if self.only not in path:
            return pass_on
        self.seen.append(command)
        return self.faults.pop(0) if self.faults else pass_on


@contextmanager
def running_relay(target: int) -> Iterator[Relay]:
    """A relay for as long as the context lasts; whoever uses it has closed its connections by then."""
    relay = Relay(target)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(relay))
    relay.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield relay
    finally:
        relay.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(relay: Relay) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = QUIET_S

        def _carry(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            fault = relay.next_fault(self.command, self.path)
            answer = fault(Passing(self.command, self.path, dict(self.headers.items()), body, relay.target))
            if answer is None:
                self.close_connection = True
            else:
                self._give(answer)

        def _give(self, answer: Answer) -> None:
            self.send_response_only(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)
            promised = answer.headers.get("Content-Length")
            self.close_connection = promised is None or (self.command != "HEAD" and int(promised) != len(answer.body))

        do_GET = do_PUT = do_HEAD = do_DELETE = _carry

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
