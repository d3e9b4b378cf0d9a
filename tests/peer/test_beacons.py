"""Advertisements over real multicast on loopback, between our own and from strangers.

Whatever else on this machine speaks mDNS on loopback is heard as well: each test looks only for the names it made.
"""

import os
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import ip_address

import pytest
import trio
import trio.testing
import zeroconf

from peer.ports import Advertisement, LanAddress
from peer.system import beacons as module
from peer.system.beacons import Responder, ZeroconfBeacons
from peer.system.interfaces import Neighbourhood, OwnAddress, look
from peer.system.lan import LocalNetwork
from peer.system.sightings import MAX_ADDRESSES, MAX_RECORDS, MAX_WAITING, SERVICE, Sightings
from protocol.errors import Problem

HOME = "127.0.0.1"
PATIENCE = 20.0
"""Seconds until a failing test gives up; all that is waited for takes at most two."""
TAG, OTHER_TAG = b"a tag of 16 byte", b"another of these"
HERE = Neighbourhood((OwnAddress(ip_address(HOME), 8, "lo", 1),))


def new_name() -> str:
    return os.urandom(16).hex()


@pytest.fixture
def name() -> str:
    return new_name()


@asynccontextmanager
async def opened() -> AsyncIterator[ZeroconfBeacons]:
    async with LocalNetwork(HOME).beacons() as beacons:
        yield beacons


async def until(beacons: ZeroconfBeacons, wanted: Callable[[Advertisement], bool]) -> Advertisement:
    with trio.fail_after(PATIENCE):
        while True:
            seen = await beacons.receive()
            if wanted(seen):
                return seen


async def seen_of(beacons: ZeroconfBeacons, *names: str) -> Advertisement:
    """The next word on one of these names."""
    return await until(beacons, lambda seen: seen.name in names)


async def gone(beacons: ZeroconfBeacons, name: str) -> None:
    assert await until(beacons, lambda seen: seen.name == name and not seen.addresses) == Advertisement(name, b"", ())


# Among ourselves


async def test_two_devices_see_each_other_and_themselves() -> None:
    names = [new_name(), new_name()]
    async with opened() as one, opened() as other:
        await one.announce(names[0], TAG, 4242)
        await other.announce(names[1], OTHER_TAG, 4343)
        for beacons in (one, other):
            found = [await seen_of(beacons, wanted) for wanted in names]
            assert found == [
                Advertisement(names[0], TAG, (LanAddress(HOME, 4242),)),
                Advertisement(names[1], OTHER_TAG, (LanAddress(HOME, 4343),)),
            ]


async def test_who_comes_later_finds_who_was_there(name: str) -> None:
    async with opened() as one:
        await one.announce(name, TAG, 4242)
        async with opened() as late:
            assert (await seen_of(late, name)).addresses == (LanAddress(HOME, 4242),)


async def test_who_leaves_says_goodbye(name: str) -> None:
    async with opened() as stays:
        async with opened() as leaves:
            await leaves.announce(name, TAG, 4242)
            assert (await seen_of(stays, name)).addresses
        await gone(stays, name)


async def test_a_new_name_takes_the_place_of_the_old(name: str) -> None:
    new = new_name()
    async with opened() as one, opened() as other:
        await one.announce(name, TAG, 4242)
        await seen_of(other, name)
        await one.announce(new, OTHER_TAG, 4242)
        assert (await seen_of(other, new)).tag == OTHER_TAG
        await gone(other, name)


async def test_another_port_under_the_same_name(name: str) -> None:
    async with opened() as one, opened() as other:
        await one.announce(name, TAG, 4242)
        await seen_of(other, name)
        await one.announce(name, OTHER_TAG, 4343)
        changed = Advertisement(name, OTHER_TAG, (LanAddress(HOME, 4343),))
        await until(other, lambda seen: seen == changed)


async def test_a_restarted_device_is_seen_at_once() -> None:
    async with opened() as stays:
        for port in (4242, 4343, 4444):
            name = new_name()
            async with opened() as starts, trio.open_nursery() as nursery:
                nursery.start_soon(starts.announce, name, TAG, port)
                assert (await seen_of(stays, name)).addresses == (LanAddress(HOME, port),)


async def test_nothing_tells_of_the_machine(name: str) -> None:
    """What is sent, byte by byte, has neither its name nor anything else but what is announced."""
    with listening_socket() as wire:
        async with opened() as beacons:
            await beacons.announce(name, TAG, 4242)
            packet = await packet_with(wire, name.encode())
    assert socket.gethostname().encode() not in packet
    expected = {f"{name}.{SERVICE}", f"{name}.local.", SERVICE}
    assert names_in(packet) <= expected
    assert b"\x22t=" + TAG.hex().encode() in packet


async def test_leaving_is_quick(name: str) -> None:
    with trio.fail_after(module.CLOSE_SECONDS):
        async with opened():
            pass
        async with opened() as beacons:
            with trio.move_on_after(0.01):
                await beacons.announce(name, TAG, 4242)


async def test_an_error_inside_comes_out_as_it_is() -> None:
    with pytest.raises(ZeroDivisionError):
        async with opened():
            raise ZeroDivisionError


async def test_no_thread_is_left(name: str) -> None:
    async with opened() as beacons:
        await beacons.announce(name, TAG, 4242)
        assert zeroconf_threads()
    assert not zeroconf_threads()


def zeroconf_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if "_run_loop" in thread.name]


async def test_a_start_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    hanging = threading.Event()
    monkeypatch.setattr(Responder, "_start", lambda *_: hanging.wait())
    monkeypatch.setattr(module, "_OPEN_SECONDS", 0.05)
    monkeypatch.setattr(module, "CLOSE_SECONDS", 0.05)
    with pytest.raises(Problem, match="zeroconf doesn't start"):
        async with opened():
            pass
    hanging.set()


def test_closing_first_means_never_opening() -> None:
    responder = Responder(HERE, lambda seen: None)
    responder.close()
    responder.open()
    responder.announce(new_name(), TAG, 4242)
    assert not zeroconf_threads()
    responder.close()


@pytest.mark.skipif(not look(ip_address("::1")).own, reason="no IPv6 on loopback here")
async def test_where_multicast_is_impossible() -> None:
    with pytest.raises(
        Problem, match=r"^can't find devices on the LAN \(mDNS, UDP port 5353\): network is unreachable$"
    ):
        async with LocalNetwork("::1").beacons():
            pass


async def test_addresses_that_went_meanwhile() -> None:
    away = Neighbourhood((OwnAddress(ip_address("192.0.2.254"), 24, "eth9", 9),))
    with pytest.raises(Problem, match=r"^can't find devices on the LAN \(mDNS, UDP port 5353\): "):
        async with module.open_beacons(away):
            pass


# From strangers

PTR, TXT, A, AAAA, SRV = 12, 16, 1, 28, 33
ADDRESS = socket.inet_aton(HOME)


def dns_name(text: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def record(name: str, kind: int, data: bytes, ttl: int = 4500) -> bytes:
    return dns_name(name) + struct.pack("!HHIH", kind, 0x0001 if kind == PTR else 0x8001, ttl, len(data)) + data


def pointer(name: str, ttl: int = 4500) -> bytes:
    return record(SERVICE, PTR, dns_name(name), ttl)


def service(name: str, server: str, port: int = 4242) -> bytes:
    return record(name, SRV, struct.pack("!HHH", 0, 0, port) + dns_name(server))


def text(name: str, value: bytes) -> bytes:
    return record(name, TXT, bytes([len(value)]) + value if value else b"")


def said_of(
    instance: str,
    *,
    port: int = 4242,
    txt: bytes = b"t=" + TAG.hex().encode(),
    addresses: Iterable[bytes] = (ADDRESS,),
    server: str | None = None,
) -> list[bytes]:
    """The records of an advertisement, well-formed unless told otherwise."""
    name, at = f"{instance}.{SERVICE}", server or f"{instance}.local."
    hosts = [record(at, A if len(address) == 4 else AAAA, address) for address in addresses]
    return [pointer(name), service(name, at, port), text(name, txt), *hosts]


def packet_of(records: list[bytes]) -> bytes:
    return struct.pack("!6H", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


def multicast(packet: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, ADDRESS)
        sender.sendto(packet, ("224.0.0.251", 5353))


@contextmanager
def listening_socket() -> Iterator[trio.socket.SocketType]:
    """Hears all mDNS on loopback while the context lasts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(("224.0.0.251", 5353))
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + ADDRESS)
        yield trio.socket.from_stdlib_socket(listener)


async def packet_with(wire: trio.socket.SocketType, part: bytes, *, query: bool = False) -> bytes:
    """The next answer, or query, with this in it."""
    with trio.fail_after(PATIENCE):
        while True:
            packet = await wire.recv(9000)
            if part in packet and query is not bool(packet[2] & 0x80):
                return packet


def names_in(packet: bytes) -> set[str]:
    """All names of a DNS message's records, and of what PTR and SRV records point to."""
    counts = struct.unpack_from("!4H", packet, 4)
    found: set[str] = set()
    at = 12
    for _ in range(counts[0]):
        name, at = name_at(packet, at)
        found.add(name)
        at += 4
    for _ in range(sum(counts[1:])):
        name, at = name_at(packet, at)
        kind, _, _, length = struct.unpack_from("!HHIH", packet, at)
        at += 10
        found.add(name)
        if kind in (PTR, SRV):
            found.add(name_at(packet, at + (6 if kind == SRV else 0))[0])
        at += length
    return found


def name_at(packet: bytes, at: int) -> tuple[str, int]:
    labels = []
    end = None
    while packet[at]:
        if packet[at] >= 0xC0:
            end = end or at + 2
            at = struct.unpack_from("!H", packet, at)[0] & 0x3FFF
        else:
            labels.append(packet[at + 1 : at + 1 + packet[at]].decode())
            at += 1 + packet[at]
    return ".".join([*labels, ""]), end or at + 1


MALFORMED: dict[str, Callable[[str], list[bytes]]] = {
    "a short name": lambda name: said_of(name[:-1]),
    "a long name": lambda name: said_of(name + "0"),
    "a name in capitals": lambda name: said_of(name.upper() if not name.isdecimal() else "A" * 32),
    "a name that is no hex": lambda name: said_of("g" + name[1:]),
    "a name with a line break": lambda name: said_of(name + "\n"),
    "a name in two labels": lambda name: said_of(name[:16] + "." + name[16:]),
    "a name of bytes that are no text": lambda name: [
        record(SERVICE, PTR, b"\x3f" + b"\xff" * 63 + dns_name(SERVICE)),
        b"\x3f" + b"\xff" * 63 + service(SERVICE, f"{name}.local."),
    ],
    "another service": lambda name: [part.replace(b"_shoal", b"_other") for part in said_of(name)],
    "no TXT": lambda name: [part for part in said_of(name) if b"t=" not in part],
    "an empty TXT": lambda name: said_of(name, txt=b""),
    "a TXT that says something else": lambda name: said_of(name, txt=b"x=" + TAG.hex().encode()),
    "a tag without value": lambda name: said_of(name, txt=b"t"),
    "a short tag": lambda name: said_of(name, txt=b"t=" + TAG.hex().encode()[:-1]),
    "a long tag": lambda name: said_of(name, txt=b"t=" + TAG.hex().encode() + b"00"),
    "a tag that is no hex": lambda name: said_of(name, txt=b"t=" + b"x" * 32),
    "a tag that is no text": lambda name: said_of(name, txt=b"t=" + b"\xff" * 32),
    "a TXT that ends early": lambda name: [
        part if b"t=" not in part else record(f"{name}.{SERVICE}", TXT, b"\xfft=00") for part in said_of(name)
    ],
    "no address": lambda name: said_of(name, addresses=()),
    "an address elsewhere": lambda name: said_of(name, addresses=[socket.inet_aton("192.0.2.1")]),
    "an IPv6 address elsewhere": lambda name: said_of(name, addresses=[ip_address("2001:db8::1").packed]),
    "a link-local address without scope": lambda name: said_of(name, addresses=[ip_address("fe80::1").packed]),
    "loopback in IPv6's clothes": lambda name: said_of(name, addresses=[ip_address("::ffff:8.8.8.8").packed]),
    "port 0": lambda name: said_of(name, port=0),
    "another host's name": lambda name: said_of(name, server="printer.local."),
    "too many addresses": lambda name: said_of(
        name, addresses=[bytes([127, 1, 0, number]) for number in range(MAX_RECORDS + 1)]
    ),
}


@pytest.mark.parametrize("said", MALFORMED.values(), ids=MALFORMED)
async def test_what_is_not_formed_as_ours_is_passed_over(
    said: Callable[[str], list[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    wrong, right = new_name(), new_name()
    async with opened() as beacons:
        multicast(packet_of(said(wrong)))
        multicast(packet_of(said_of(right)))
        # In the order in which they were sent, so what is wrong would have been seen before.
        seen = await until(beacons, lambda seen: seen.name.lower()[:16] in (wrong[:16], right[:16]))
        assert seen == Advertisement(right, TAG, (LanAddress(HOME, 4242),))
    assert caplog.records == []


async def test_bytes_that_are_no_dns(caplog: pytest.LogCaptureFixture, name: str) -> None:
    good = packet_of(said_of(name))
    async with opened() as beacons:
        for broken in (
            b"",
            b"\0",
            os.urandom(500),
            good[:-3],
            good[:40],
            good[:12] + b"\xc0\x0c" * 50,
            good + b"\0" * 8000,
        ):
            multicast(broken[:8900])
        right = new_name()
        multicast(packet_of(said_of(right)))
        await seen_of(beacons, right)
    assert caplog.records == []


async def test_a_name_that_can_t_be_sent_again_stops_no_query(name: str) -> None:
    """zeroconf reads such a name as one that is too long to be written, and known answers stand in a query."""
    with listening_socket() as wire:
        async with opened() as beacons:
            multicast(packet_of([record(SERVICE, PTR, b"\x3f" + b"\xff" * 63 + dns_name(SERVICE))]))
            multicast(packet_of(said_of(name)))
            await seen_of(beacons, name)
            await packet_with(wire, name.encode(), query=True)


async def test_parts_that_come_later_complete_the_rest(name: str) -> None:
    first, *rest = said_of(name)
    marker = new_name()
    async with opened() as beacons:
        multicast(packet_of([first]))
        multicast(packet_of(said_of(marker)))
        assert (await seen_of(beacons, name, marker)).name == marker
        for part in rest:
            multicast(packet_of([part]))
        assert await seen_of(beacons, name) == Advertisement(name, TAG, (LanAddress(HOME, 4242),))


async def test_a_sign_of_life_is_news(name: str) -> None:
    async with opened() as beacons:
        for ttl in (4500, 4400):  # the same bytes again would be taken for a repetition
            multicast(packet_of([*said_of(name)[1:], pointer(f"{name}.{SERVICE}", ttl)]))
            assert (await seen_of(beacons, name)).addresses


async def test_only_so_many_addresses_are_handed_out(name: str) -> None:
    many = [bytes([127, 1, 0, number]) for number in range(MAX_RECORDS - 4)]
    async with opened() as beacons:
        multicast(packet_of(said_of(name, addresses=[socket.inet_aton("192.0.2.1"), *many])))
        seen = await seen_of(beacons, name)
        assert len(set(seen.addresses)) == MAX_ADDRESSES
        assert all(address.host.startswith("127.1.0.") for address in seen.addresses)


async def test_a_flood_of_names_is_bounded() -> None:
    async with opened() as beacons:
        await trio.to_thread.run_sync(flood, beacons)
        for _ in range(MAX_WAITING):
            await beacons.receive()
        last = new_name()
        multicast(packet_of(said_of(last)))
        await seen_of(beacons, last)


def flood(beacons: ZeroconfBeacons) -> None:
    """Until all that may wait does, and zeroconf has taken in more than that.

    One packet at a time: those that find a socket's buffer full are lost, here and to the tests beside this one."""
    responder, waiting = beacons._responder._zeroconf, beacons._sightings._waiting
    assert responder is not None
    heard = Heard()
    responder.add_listener(heard, None)
    for _ in range(100):
        multicast(packet_of([part for _ in range(20) for part in said_of(new_name())]))
        heard.packet.wait(1)
        heard.packet.clear()
        assert len(waiting) <= MAX_WAITING
        if len(responder.cache.entries_with_name(SERVICE)) > 2 * MAX_WAITING:
            break
    assert len(responder.cache.entries_with_name(SERVICE)) > 2 * MAX_WAITING
    assert len(waiting) == MAX_WAITING


class Heard(zeroconf.RecordUpdateListener):
    """Tells that the cache has all of a packet."""

    def __init__(self) -> None:
        super().__init__()
        self.packet = threading.Event()

    def async_update_records(self, zc: zeroconf.Zeroconf, now: float, records: list[zeroconf.RecordUpdate]) -> None:
        pass

    def async_update_records_complete(self) -> None:
        self.packet.set()


# What waits to be taken


def advertisement(name: str, port: int = 1) -> Advertisement:
    return Advertisement(name, TAG, (LanAddress(HOME, port),))


async def test_only_the_newest_word_on_a_name_waits() -> None:
    seen = Sightings()
    for port in (1, 2, 3):
        seen.tell(advertisement("a", port))
    seen.tell(advertisement("b"))
    assert [await seen.take(), await seen.take()] == [advertisement("a", 3), advertisement("b")]


async def test_nobody_is_pushed_out() -> None:
    seen = Sightings()
    for number in range(MAX_WAITING + 5):
        seen.tell(advertisement(str(number)))
    seen.tell(Advertisement("0", b"", ()))
    found = [await seen.take() for _ in range(MAX_WAITING)]
    assert found[0] == Advertisement("0", b"", ())
    assert [one.name for one in found] == [str(number) for number in range(MAX_WAITING)]
    seen.tell(advertisement("after"))
    assert await seen.take() == advertisement("after")


async def test_a_cancelled_take_loses_nothing() -> None:
    seen = Sightings()
    with trio.move_on_after(0):
        await seen.take()
    seen.tell(advertisement("a"))
    with trio.CancelScope() as scope:
        scope.cancel()
        await seen.take()
    assert await seen.take() == advertisement("a")


async def test_several_takers_from_another_thread() -> None:
    seen = Sightings()
    taken: list[str] = []

    async def take() -> None:
        taken.append((await seen.take()).name)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        for name in ("a", "b", "c"):
            await trio.to_thread.run_sync(seen.tell, advertisement(name))
    assert sorted(taken) == ["a", "b", "c"]


def test_telling_after_the_end_of_trio() -> None:
    async def make() -> Sightings:
        return Sightings()

    trio.run(make).tell(advertisement("a"))
