"""TCP on the LAN, over real sockets on loopback. With real networks: tests/privileged/test_lan_interfaces.py."""

import errno
import logging
import resource
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address
from typing import Any

import pytest
import trio
import trio.testing

from peer.ports import Lan, LanAddress
from peer.system import lan
from peer.system.interfaces import look
from peer.system.lan import LocalNetwork, TcpListener, TcpStream
from protocol.errors import Problem, Unreachable

REAL: type[Lan] = LocalNetwork
"""Held against the port by mypy."""
HOME = "127.0.0.1"
MB = 1 << 20
ABSENT = "192.0.2.254"


@pytest.fixture
def network() -> LocalNetwork:
    return LocalNetwork(HOME)


@asynccontextmanager
async def connected(network: LocalNetwork) -> AsyncIterator[tuple[TcpStream, TcpStream]]:
    """Who dialled, and who was dialled."""
    async with network.listen() as listener:
        dialled = await network.dial(LanAddress(HOME, listener.port))
        accepted = await listener.accept()
        try:
            yield dialled, accepted
        finally:
            dialled.close()
            accepted.close()


async def receive(stream: TcpStream, count: int) -> bytes:
    buffer = bytearray(count)
    got = 0
    while got < count:
        more = await stream.receive_into(memoryview(buffer)[got:])
        assert more > 0
        got += more
    return bytes(buffer)


def reset(stream: TcpStream) -> None:
    """Close as a crash does."""
    stream._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


# Streams


async def test_bytes_travel_both_ways(network: LocalNetwork) -> None:
    data = bytes(range(256)) * (8 * MB // 256)
    async with connected(network) as (one, other):
        for sent in (data, bytearray(data), memoryview(data), memoryview(data).cast("I")):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.send_all, sent)
                nursery.start_soon(other.send_all, sent)
                assert await receive(one, len(data)) == data
                assert await receive(other, len(data)) == data
        await one.send_all(b"")
        await one.send_all(b"end")
        assert await receive(other, 3) == b"end"


async def test_both_sides_know_where_the_other_is(network: LocalNetwork) -> None:
    async with connected(network) as (one, other):
        assert one.remote == LanAddress(*one._socket.getpeername())
        assert other.remote == LanAddress(*one._socket.getsockname())
        for stream in (one, other):
            assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_the_end_is_no_bytes(network: LocalNetwork) -> None:
    async with connected(network) as (one, other):
        await one.send_all(b"last words")
        one.close()
        assert await receive(other, 10) == b"last words"
        assert await other.receive_into(memoryview(bytearray(1))) == 0


async def test_a_large_frame_may_come_in_small_pieces(network: LocalNetwork) -> None:
    """Who waits for many bytes at a time gets the last few as well, also those before the end of the connection."""
    async with connected(network) as (one, other):

        async def trickle() -> None:
            for _ in range(30):
                await trio.testing.wait_all_tasks_blocked()
                await one.send_all(b"x" * 10_001)

        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trickle)
                assert await receive(other, 300_030) == b"x" * 300_030
            await one.send_all(b"y")
            assert await receive(other, 1) == b"y"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trickle)
                nursery.start_soon(receive, other, 300_029)
            one.close()
            assert await other.receive_into(memoryview(bytearray(1 << 20))) == 1
            assert await other.receive_into(memoryview(bytearray(1 << 20))) == 0


async def test_a_broken_connection(network: LocalNetwork) -> None:
    async with connected(network) as (one, other):
        reset(one)
        with pytest.raises(Unreachable, match=rf"^connection with {other.remote} ended: connection reset by peer$"):
            await other.receive_into(memoryview(bytearray(1)))
        with pytest.raises(Unreachable, match=r"broken pipe$"):
            await other.send_all(b"x")


async def test_closing_wakes_who_waits(network: LocalNetwork) -> None:
    async with connected(network) as (one, other):
        woken = []

        async def wait(method: Any, argument: object) -> None:
            with pytest.raises(Unreachable, match=r"closed here$"):
                await method(argument)
            woken.append(method)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, one.receive_into, memoryview(bytearray(1)))
            nursery.start_soon(wait, one.send_all, bytes(64 * MB))
            await trio.testing.wait_all_tasks_blocked(0.05)
            one.close()
            one.close()
        assert len(woken) == 2
        for method, argument in ((one.send_all, b"x"), (one.receive_into, memoryview(bytearray(1)))):
            await wait(method, argument)
        assert other.remote != one.remote


async def test_a_cancelled_wait_loses_nothing(network: LocalNetwork) -> None:
    async with connected(network) as (one, other):
        with trio.move_on_after(0):
            await other.receive_into(memoryview(bytearray(1)))
        await one.send_all(b"x")
        assert await receive(other, 1) == b"x"


# Dialling


async def test_nobody_listens(network: LocalNetwork) -> None:
    with pytest.raises(Unreachable, match=r"^no answer from 127\.0\.0\.1:1: connection refused$"):
        await network.dial(LanAddress(HOME, 1))


@pytest.mark.parametrize("host", ["192.0.2.1", "::1", "fe80::1", "fe80::1%lo", "localhost", "", "\0"])
async def test_what_is_not_next_door_is_not_dialled(network: LocalNetwork, host: str) -> None:
    address = LanAddress(host, 1)
    with pytest.raises(Unreachable) as refusal:
        await network.dial(address)
    assert str(refusal.value) == f"{address} is not on this LAN"


async def test_a_port_is_had_again_at_once_but_by_one_at_a_time(network: LocalNetwork) -> None:
    async with network.listen() as listener:
        port, stream = listener.port, await network.dial(LanAddress(HOME, listener.port))
        (await listener.accept()).close()  # hanging up first, this side keeps the connection in TIME_WAIT
        with pytest.raises(AssertionError):
            await receive(stream, 1)
        stream.close()
    again = LocalNetwork(HOME, port)
    async with again.listen() as listener:
        assert listener.port == port
        with pytest.raises(Problem, match=f"^can't listen on the LAN at port {port}: address already in use$"):
            async with again.listen():
                pass


@contextmanager
def silent_port() -> Iterator[int]:
    """A port where nobody answers: its queue of connections is full."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind((HOME, 0))
        listener.listen(0)
        for one in (first, second):
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@pytest.mark.parametrize("configured", [False, True])
async def test_silence(network: LocalNetwork, configured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lan, "DIAL_SECONDS", 0.2)
    with (
        silent_port() as port,
        pytest.raises(Unreachable, match=rf"^no answer from {HOME}:{port}: nothing within 0\.2 s$"),
    ):
        await network.dial(LanAddress(HOME, port), configured=configured)


async def test_a_port_that_meets_itself(network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind((HOME, 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(lan, "socket_address", lambda address, wanted: (str(address), wanted or port))
    with pytest.raises(Unreachable, match="connection refused"):
        await network.dial(LanAddress(HOME, port))


class Resolver(trio.abc.HostnameResolver):
    """Knows one name."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def getaddrinfo(self, host: Any, port: Any, *_: Any) -> Any:
        if host != b"nas.example":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


async def test_a_name_that_a_person_gave(network: LocalNetwork) -> None:
    trio.socket.set_custom_hostname_resolver(Resolver("127.0.0.9", HOME))
    async with network.listen() as listener:
        address = LanAddress("nas.example", listener.port)
        stream = await network.dial(address, configured=True)
        accepted = await listener.accept()
        await accepted.send_all(b"x")
        assert await receive(stream, 1) == b"x"
        assert stream.remote == address
        assert stream._socket.getpeername() == (HOME, listener.port)
        assert stream._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        stream.close()
        accepted.close()
        with pytest.raises(Unreachable, match=r"^no answer from other\.example:1: name or service not known$"):
            await network.dial(LanAddress("other.example", 1), configured=True)
        with pytest.raises(Unreachable, match=r"^'a\.\.b' is no host's name$"):
            await network.dial(LanAddress("a..b", 1), configured=True)


async def test_an_address_that_a_person_gave_may_be_anywhere() -> None:
    elsewhere = LocalNetwork(ABSENT)
    async with LocalNetwork(HOME).listen() as listener:
        with pytest.raises(Unreachable, match="is not on this LAN"):
            await elsewhere.dial(LanAddress(HOME, listener.port))
        stream = await elsewhere.dial(LanAddress(HOME, listener.port), configured=True)
        (await listener.accept()).close()
        stream.close()


# Listening


async def test_only_the_chosen_address_listens(network: LocalNetwork) -> None:
    async with network.listen() as listener:
        with socket.socket() as caller:
            assert caller.connect_ex(("127.0.0.2", listener.port)) == errno.ECONNREFUSED
    with socket.socket() as caller:
        assert caller.connect_ex((HOME, listener.port)) == errno.ECONNREFUSED


async def test_a_listener_that_was_closed(network: LocalNetwork) -> None:
    async def accept() -> None:
        with pytest.raises(trio.ClosedResourceError), trio.fail_after(10):
            await listener.accept()

    async with trio.open_nursery() as nursery:
        async with network.listen() as listener:
            nursery.start_soon(accept)
            await trio.testing.wait_all_tasks_blocked()
    await accept()


async def test_connections_from_elsewhere_are_closed() -> None:
    async with LocalNetwork(None).listen() as listener, trio.open_nursery() as nursery:
        nursery.start_soon(listener.accept)
        for host in (HOME, "127.0.0.2"):
            with trio.socket.socket() as caller:
                await caller.connect((host, listener.port))
                with trio.fail_after(10):
                    assert await caller.recv(1) == b""
        nursery.cancel_scope.cancel()


async def test_without_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = lan._bound

    def refuse(family: socket.AddressFamily, address: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return bound(family, address)

    monkeypatch.setattr(lan, "_bound", refuse)
    async with LocalNetwork(None).listen() as listener:
        with socket.socket() as caller:
            assert caller.connect_ex((HOME, listener.port)) == 0


@pytest.mark.skipif(not look(ip_address("::1")).own, reason="no IPv6 on loopback here")
async def test_ipv6() -> None:
    network = LocalNetwork("::1")
    async with network.listen() as listener:
        address = LanAddress("::1", listener.port)
        assert str(address) == f"[::1]:{listener.port}"
        stream, accepted = await network.dial(address), await listener.accept()
        assert accepted.remote.host == "::1"
        stream.close()
        accepted.close()


async def test_an_address_that_is_not_there_yet() -> None:
    network = LocalNetwork(ABSENT)
    assert await network.interfaces() == frozenset()
    words = rf"^no network interface has the address {ABSENT} \(--lan-interface\)$"
    with pytest.raises(Problem, match=words):
        async with network.listen():
            pass
    with pytest.raises(Problem, match=words):
        async with network.beacons():
            pass


async def test_a_port_that_can_t_be_had(network: LocalNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(lan, "_bound", refuse)
    with pytest.raises(Problem, match=r"^can't listen on the LAN: too many open files$"):
        async with network.listen():
            pass


@contextmanager
def no_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_descriptors_left(
    network: LocalNetwork, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    accepted: list[TcpStream] = []
    rests = []
    often = trio.Event()
    rest = TcpListener._rest

    async def count(listener: TcpListener, failure: OSError) -> None:
        await rest(listener, failure)
        rests.append(failure)
        if len(rests) == 3:
            often.set()

    async def accept(listener: TcpListener) -> None:
        accepted.append(await listener.accept())

    monkeypatch.setattr(TcpListener, "_rest", count)

    async with network.listen() as listener:
        stream = await network.dial(LanAddress(HOME, listener.port))
        async with trio.open_nursery() as nursery:
            with no_descriptors():
                nursery.start_soon(accept, listener)
                await often.wait()
                assert accepted == []
                assert await network.interfaces() == {"127.0.0.1/8"}
        accepted[0].close()
        stream.close()
    warnings = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["can't take connections from the LAN: too many open files"]


async def test_connections_that_break_while_they_wait(network: LocalNetwork) -> None:
    async with network.listen() as listener:
        real = listener._listener
        failures = [errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH]

        class Breaking:
            async def accept(self) -> Any:
                if failures:
                    raise OSError(failures.pop(), "")
                return await real.accept()

        listener._listener = Breaking()  # type: ignore[assignment]
        gone = await network.dial(LanAddress(HOME, listener.port))
        reset(gone)
        stream = await network.dial(LanAddress(HOME, listener.port))
        accepted = await listener.accept()
        if accepted.remote.port != stream._socket.getsockname()[1]:
            accepted.close()  # that which broke
            accepted = await listener.accept()
        assert failures == []
        await accepted.send_all(b"x")
        assert await receive(stream, 1) == b"x"
        stream.close()
        accepted.close()
