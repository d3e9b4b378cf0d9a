"""The LAN: `peer.ports.Lan` over TCP, with zeroconf's beacons (`peer.system.beacons`).

Only what is next door is dialled (`peer.system.interfaces`), unless a person says so: traffic of the LAN goes through
no router and no VPN. Let in is what comes to an address on a LAN from a private one, as somebody may have named it to a
device elsewhere. Who is at the other end is for Noise to find out, not for addresses.
"""

import errno
import logging
import math
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Address, ip_address

import trio

from peer.lan.options import PORT
from peer.ports import LanAddress
from peer.system.beacons import ZeroconfBeacons, open_beacons
from peer.system.interfaces import IpAddress, Neighbourhood, look, read_address, socket_address
from peer.system.reasons import reason
from protocol.errors import Problem, Unreachable, reason_of

DIAL_SECONDS = 3.0
"""On a LAN an answer takes milliseconds; who takes longer is asleep or gone."""
LOOK_SECONDS = 1.0
"""How old a look at the interfaces may be by which connections are judged: a flood of them costs one a second."""
_LARGE, _AT_ONCE = 1 << 16, 1 << 17
"""Bytes: of what is larger than the one, at least so much as the other is received at a time, if so much is to come."""
_BACKLOG = 64
_REST_SECONDS = 0.1  # what trio's own servers wait when there are no descriptors left
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = logging.getLogger(__name__)


class LocalNetwork:
    """See `peer.ports.Lan`. With `interface`, a numeric address, all of it happens at this address and on its network;
    without, on all interfaces that count. `listen` and `beacons` raise `Problem` while no interface has that address;
    `interfaces` is empty then."""

    def __init__(self, interface: str | None, port: int | None = 0) -> None:
        """Listens at `port`: 0 is any that is free, None `PORT` or else any."""
        self._port = port
        self._only = None if interface is None else ip_address(interface)
        self._threads = trio.CapacityLimiter(1)
        self._looking = trio.Lock()
        self._seen = Neighbourhood()
        self._seen_at = -math.inf

    async def interfaces(self) -> frozenset[str]:
        return (await self._look(0)).shown()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator["TcpListener"]:
        near = await self._look(0)
        if self._only is not None and not near.own:
            raise self._absent()
        at = None if self._only is None else near.own[0].address
        try:
            listening = _listening_socket(at, self._port)
        except OSError as failure:
            where = f" at port {self._port}" if self._port else ""
            raise Problem(f"can't listen on the LAN{where}: {reason_of(failure)}") from failure
        listener = trio.socket.from_stdlib_socket(listening)
        try:
            yield TcpListener(listener, lambda: self._look(LOOK_SECONDS))
        finally:
            listener.close()  # tells who waits for it, as leaving the socket's own context does not

    async def dial(self, address: LanAddress, *, configured: bool = False) -> "TcpStream":
        with _told(f"no answer from {address}", DIAL_SECONDS):
            with trio.fail_after(DIAL_SECONDS):
                if configured:
                    connection = await _connected_anywhere(address)
                else:
                    connection = await self._connected(address)
        return TcpStream(connection, address)

    @asynccontextmanager
    async def beacons(self) -> AsyncIterator[ZeroconfBeacons]:
        near = await self._look(0)
        if not near.own:
            raise self._absent()
        async with open_beacons(near) as beacons:
            yield beacons

    async def _connected(self, address: LanAddress) -> trio.socket.SocketType:
        to = read_address(address.host)
        near = await self._look(LOOK_SECONDS)
        if to is None or not near.includes(to):
            raise Unreachable(f"{address} is not on this LAN")
        # Container bridges have the same address on every machine: a neighbour's leads to ourselves.
        if self._only is None and near.is_own(to):
            raise Unreachable(f"{address} is this machine itself")
        return await _connected(to, address.port, near.own[0].address if self._only is not None else None)

    async def _look(self, age: float) -> Neighbourhood:
        """How things are, or were at most `age` seconds ago."""
        async with self._looking:
            if trio.current_time() - self._seen_at >= age:
                try:
                    self._seen = await trio.to_thread.run_sync(look, self._only, limiter=self._threads)
                except OSError as failure:  # no descriptors left: what isn't known to have changed has not
                    log.debug("can't look at the network interfaces: %s", reason_of(failure))
                self._seen_at = trio.current_time()
            return self._seen

    def _absent(self) -> Problem:
        if self._only is None:
            return Problem("no network interface to find devices on")
        return Problem(f"no network interface has the address {self._only} (--lan-interface)")


class TcpListener:
    """See `peer.ports.LanListener`. After the context of `listen`, `accept` raises `trio.ClosedResourceError`."""

    def __init__(self, listener: trio.socket.SocketType, look: Callable[[], Awaitable[Neighbourhood]]) -> None:
        """`look` says what is next door."""
        self._listener = listener
        self._look = look
        self._full = False
        self.port: int = listener.getsockname()[1]

    async def accept(self) -> "TcpStream":
        while True:
            connection = await self._next()
            try:
                remote = await self._judged(connection)
                if remote is not None:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    return TcpStream(connection, remote)
            except OSError:
                log.debug("a connection broke before it was looked at")
            except BaseException:
                connection.close()
                raise
            connection.close()

    async def _next(self) -> trio.socket.SocketType:
        """The next connection, wherever it comes from."""
        while True:
            try:
                connection, _ = await self._listener.accept()
                self._full = False
                return connection
            except OSError as failure:
                if failure.errno == errno.EBADF:
                    raise trio.ClosedResourceError("the listener is closed") from None
                # What else there is concerns one connection that broke while it waited (accept(2)).
                if failure.errno in _FULL:
                    await self._rest(failure)

    async def _rest(self, failure: OSError) -> None:
        """Until somebody may have closed something; said once."""
        if not self._full:
            log.warning("can't take connections from the LAN: %s", reason_of(failure))
        self._full = True
        await trio.sleep(_REST_SECONDS)

    async def _judged(self, connection: trio.socket.SocketType) -> LanAddress | None:
        """Where a connection comes from, None when it may not come from there. `OSError` when it has gone."""
        near = await self._look()
        (local, _), (remote, port) = _read(connection.getsockname()), _read(connection.getpeername())
        if local is None or remote is None or not near.admits(local, remote):
            return None
        return LanAddress(str(remote), port)


class TcpStream:
    """See `peer.ports.LanStream`. One task may send while another receives."""

    def __init__(self, connection: trio.socket.SocketType, remote: LanAddress) -> None:
        self._socket = connection
        self._waits_for = 1
        self.remote = remote

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._told(), memoryview(data) as given, given.cast("B") as octets:
            sent = 0
            while sent < len(octets):
                with octets[sent:] as rest:
                    sent += await self._socket.send(rest)

    async def receive_into(self, buffer: memoryview) -> int:
        with self._told():
            self._wait_for(min(len(buffer), _AT_ONCE) if len(buffer) >= _LARGE else 1)
            return await self._socket.recv_into(buffer)

    def _wait_for(self, count: int) -> None:
        """Wake up for so many bytes only, or for the end of the connection: a large frame comes in many pieces."""
        if count != self._waits_for:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)
            self._waits_for = count

    def close(self) -> None:
        self._socket.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        with _told(f"connection with {self.remote} ended", math.inf):
            yield


@contextmanager
def _told(what: str, timeout: float) -> Iterator[None]:
    """Every way in which a connection can fail becomes `Unreachable`."""
    try:
        yield
    except (OSError, trio.ClosedResourceError, trio.TooSlowError) as failure:
        closed = isinstance(failure, trio.ClosedResourceError) or getattr(failure, "errno", None) == errno.EBADF
        raise Unreachable(f"{what}: {'closed here' if closed else reason(failure, timeout)}") from failure


def _listening_socket(at: IpAddress | None, port: int | None) -> socket.socket:
    """Listen at an address of ours, or at all of them in both families if IPv6 is to be had."""
    if port is None:
        try:
            return _listening_socket(at, PORT)
        except OSError:
            return _listening_socket(at, 0)
    if at is not None:
        return _bound(socket.AF_INET if isinstance(at, IPv4Address) else socket.AF_INET6, socket_address(at, port))
    try:
        return _bound(socket.AF_INET6, ("::", port, 0, 0))
    except OSError:
        return _bound(socket.AF_INET, ("0.0.0.0", port))


def _bound(family: socket.AddressFamily, address: tuple[str, int] | tuple[str, int, int, int]) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of a listener that is gone keep its port for a minute. Two can't listen at one, all the same.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _read(address: tuple[str, int] | tuple[str, int, int, int]) -> tuple[IpAddress | None, int]:
    """The address and port that the socket calls gave."""
    host, port, *more = address
    return read_address(f"{host}%{more[1]}" if more and more[1] else host), port


async def _connected(to: IpAddress, port: int, source: IpAddress | None) -> trio.socket.SocketType:
    """A connection to an address, from `source` if one is given."""
    family = socket.AF_INET if isinstance(to, IPv4Address) else socket.AF_INET6
    connection = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source is not None:
            await connection.bind(socket_address(source, 0))
        await connection.connect(socket_address(to, port))
        if connection.getsockname() == connection.getpeername():
            # A port from which connections are made can meet itself when nobody listens there (RFC 9293, 3.5).
            raise ConnectionRefusedError(errno.ECONNREFUSED, "connected to itself")
    except BaseException:
        connection.close()
        raise
    return connection


async def _connected_anywhere(address: LanAddress) -> trio.socket.SocketType:
    """A connection to whatever a person named, by any of its addresses."""
    try:
        stream = await trio.open_tcp_stream(address.host, address.port)
    except ValueError:
        raise Unreachable(f"{address.host!r} is no host's name") from None
    # trio's limit on what waits unsent is for small answers; the system's default is for bulk.
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 0)
    return stream.socket
