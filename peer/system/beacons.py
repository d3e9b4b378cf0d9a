"""Advertisements on the LAN: `peer.ports.Beacons` over zeroconf (mDNS, RFC 6762, and DNS-SD, RFC 6763).

zeroconf runs on an asyncio loop in a thread of its own. What it is told to do happens in worker threads, one call at a
time; what it hears is read on its loop and goes into `Sightings`, from where trio takes it (`peer.system.sightings`).
"""

import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import IPv4Address

import trio
import zeroconf

from peer.ports import Advertisement
from peer.system.interfaces import Neighbourhood, OwnAddress, bare, socket_address
from peer.system.sightings import MAX_ADDRESSES, SERVICE, Listener, Sightings, server_of
from protocol.errors import Problem, reason_of

CLOSE_SECONDS = 3.0
"""Saying goodbye takes a quarter of a second; after this, closing goes on without anybody waiting for it."""
_OPEN_SECONDS = 5.0  # takes milliseconds
_THREADS = 3
_GROUP, _GROUP6, _PORT = "224.0.0.251", "ff02::fb", 5353
_EMPTY_QUERY = bytes(12)
"""A DNS message that asks nothing: whoever hears it passes over it."""
_FAILURES = (zeroconf.Error, OSError, RuntimeError, TimeoutError)
"""What zeroconf raises when the machine fails it or its loop has gone."""

log = logging.getLogger(__name__)


@asynccontextmanager
async def open_beacons(near: Neighbourhood) -> AsyncIterator["ZeroconfBeacons"]:
    """Announce and listen at the addresses of `near` while the context lasts. `Problem` when none takes multicast."""
    beacons = ZeroconfBeacons(near)
    try:
        await beacons.open()
        yield beacons
    finally:
        await beacons.close()


class ZeroconfBeacons:
    """See `peer.ports.Beacons`. Cancelled, `announce` may yet take place."""

    def __init__(self, near: Neighbourhood) -> None:
        self._sightings = Sightings()
        self._responder = Responder(near, self._sightings.tell)
        self._threads = trio.CapacityLimiter(_THREADS)

    async def open(self) -> None:
        """Start zeroconf and ask who is there."""
        with trio.move_on_after(_OPEN_SECONDS):
            await self._in_thread(self._responder.open)
            return
        raise Problem("can't find devices on the LAN: zeroconf doesn't start")

    async def announce(self, name: str, tag: bytes, port: int) -> None:
        await self._in_thread(self._responder.announce, name, tag, port)

    async def receive(self) -> Advertisement:
        return await self._sightings.take()

    async def close(self) -> None:
        """Say goodbye, within `CLOSE_SECONDS`, whatever has become of the interfaces."""
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._in_thread(self._responder.close)

    async def _in_thread(self, call: Callable[..., None], *arguments: object) -> None:
        # Nobody waits for a call that hangs; the responder's lock puts what was left behind in order.
        await trio.to_thread.run_sync(call, *arguments, limiter=self._threads, abandon_on_cancel=True)


class Responder:
    """zeroconf, for any thread: one call at a time. `close` may come before, after and instead of all others."""

    def __init__(self, near: Neighbourhood, tell: Callable[[Advertisement], None]) -> None:
        self._near = near
        self._tell = tell
        self._lock = threading.Lock()
        self._closed = False
        self._zeroconf: zeroconf.Zeroconf | None = None
        self._announced: zeroconf.ServiceInfo | None = None

    def open(self) -> None:
        """Start listening. `Problem` when multicast is impossible at all our addresses."""
        with self._lock:
            if self._closed:
                return
            try:
                self._start(_multicasting(self._near))
            except _FAILURES as failure:
                raise _problem(failure) from failure

    def announce(self, name: str, tag: bytes, port: int) -> None:
        """Announce this from now on; what was announced before is taken back, with a goodbye."""
        with self._lock:
            if self._zeroconf is None:
                return
            try:
                self._register(self._zeroconf, self._info(name, tag, port))
            except _FAILURES as failure:
                raise _problem(failure) from failure

    def close(self) -> None:
        """Say goodbye and end."""
        with self._lock:
            self._closed = True
            if self._zeroconf is None:
                return
            try:
                self._zeroconf.close()
            except _FAILURES as failure:
                log.debug("zeroconf did not end cleanly: %r", failure)
            self._zeroconf = None

    def _start(self, addresses: list[str]) -> None:
        made = self._zeroconf = zeroconf.Zeroconf(interfaces=addresses, use_asyncio=False)
        if not made.engine.senders:  # each address that failed it, zeroconf has left out without a word
            raise Problem("can't find devices on the LAN: no network interface takes multicast")
        listener = Listener(made, self._near, self._tell)
        assert made.loop is not None
        made.loop.call_soon_threadsafe(listener.start)

    def _register(self, responder: zeroconf.Zeroconf, info: zeroconf.ServiceInfo) -> None:
        old = self._announced
        if old is not None and old.name == info.name:
            responder.update_service(info)
        else:
            # Names are random: nobody has to be asked whether one is taken, which would take more than a second.
            responder.register_service(info, cooperating_responders=True)
        self._announced = info
        if old is not None and old.name != info.name:
            responder.unregister_service(old)

    def _info(self, name: str, tag: bytes, port: int) -> zeroconf.ServiceInfo:
        return zeroconf.ServiceInfo(
            SERVICE,
            f"{name}.{SERVICE}",
            port=port,
            properties={b"t": tag.hex().encode()},
            server=server_of(name),
            parsed_addresses=[str(bare(own.address)) for own in self._near.own[:MAX_ADDRESSES]],
        )


def _multicasting(near: Neighbourhood) -> list[str]:
    """The addresses to give to zeroconf: one for each interface and family, where a packet can be sent.

    zeroconf itself doesn't say when none can. The last `OSError` when there is no such address.
    """
    found: dict[tuple[int, int], str] = {}
    failed = OSError("no address")
    # IPv6 from a link-local address if there is one: only then do others learn where a link-local address is.
    for own in sorted(near.own, key=lambda own: not own.address.is_link_local):
        link = own.index, own.address.version
        if link in found:
            continue
        try:
            _send_nothing(own)
            found[link] = str(bare(own.address))
        except OSError as failure:
            failed = failure
    if not found:
        raise failed
    return list(found.values())


def _send_nothing(own: OwnAddress) -> None:
    """Multicast a packet without content at one of our addresses."""
    if isinstance(own.address, IPv4Address):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own.address.packed)
            sender.sendto(_EMPTY_QUERY, (_GROUP, _PORT))
    else:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.bind(socket_address(own.address, 0))
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, own.index)
            sender.sendto(_EMPTY_QUERY, (_GROUP6, _PORT, 0, own.index))


def _problem(failure: BaseException) -> Problem:
    said = reason_of(failure) if isinstance(failure, OSError) else str(failure) or type(failure).__name__
    return Problem(f"can't find devices on the LAN (mDNS, UDP port {_PORT}): {said}")
