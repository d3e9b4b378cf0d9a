"""The laboratory's network is what it says: a LAN with multicast, a slow line with a delay, and nothing left over."""

import socket
import struct
from pathlib import Path

import pytest
import trio

from bench.network import Line
from tests.support.lan_lab import ETC, NAMESPACES, Machine, Network, network

MDNS, PORT = "224.0.0.251", 5353
LOCAL = b"for one"
WIDE = b"for all"


def datagrams(machine: Machine) -> socket.socket:
    """A socket there that takes what is sent to its machine and to the group of multicast DNS."""
    with machine.inside():
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(10)
    made.bind(("", PORT))
    group = struct.pack("4s4s", socket.inet_aton(MDNS), socket.inet_aton(machine.address))
    made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    return made


def heard_first(sender: Machine, receiver: Machine) -> bytes:
    """What comes first when both kinds are sent, to all before to one."""
    with datagrams(receiver) as ear, datagrams(sender) as mouth:
        mouth.sendto(WIDE, (MDNS, PORT))
        mouth.sendto(LOCAL, (receiver.address, PORT))
        return ear.recv(100)


def test_a_lan_with_multicast_and_without(network: Network) -> None:
    one, two = network.machine("one"), network.machine("two", rate="1gbit")
    assert heard_first(one, two) == WIDE
    assert heard_first(two, one) == WIDE
    network.drop_multicast()
    assert heard_first(one, two) == LOCAL
    assert heard_first(two, one) == LOCAL


async def listen(machine: Machine) -> trio.SocketListener:
    with machine.inside():
        made = trio.socket.socket()
    await made.bind((machine.address, 0))
    made.listen()
    return trio.SocketListener(made)


async def connect(machine: Machine, listener: trio.SocketListener) -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of a connection, the caller's first."""
    with machine.inside():
        made = trio.socket.socket()
    await made.connect(listener.socket.getsockname())
    return trio.SocketStream(made), await listener.accept()


async def receive(stream: trio.SocketStream, size: int) -> None:
    while size:
        got = await stream.receive_some(size)
        assert got
        size -= len(got)


async def test_the_slow_line_has_its_rate_and_delay(network: Network) -> None:
    near = network.machine("near")
    far, _ = network.far_machine("far", Line(rate=20e6, delay=0.01))
    size = 1_500_000
    with trio.fail_after(60):
        listener = await listen(far)
        begun = trio.current_time()
        caller, called = await connect(near, listener)
        async with listener, caller, called:
            assert trio.current_time() - begun >= 0.02
            for sender, receiver in ((caller, called), (called, caller)):
                begun = trio.current_time()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sender.send_all, bytes(size))
                    await receive(receiver, size)
                took = trio.current_time() - begun
                assert size * 8 / 20e6 <= took <= 6, f"{size * 8 / took / 1e6:.1f} Mbit/s"


async def test_every_header_is_counted_where_packets_are_whole(network: Network) -> None:
    one, other = network.machine("one", whole_packets=True), network.machine("other", whole_packets=True)
    size, payload, headers = 1_000_000, 1448, 66
    listener = await listen(other)
    caller, called = await connect(one, listener)
    before = one.carried(), other.carried()
    async with listener, caller, called, trio.open_nursery() as nursery:
        nursery.start_soon(caller.send_all, bytes(size))
        await receive(called, size)
    sent, received = one.carried().since(before[0]).sent, other.carried().since(before[1]).received
    least = size + size // payload * headers
    for carried in (sent, received):
        assert least * 0.99 <= carried <= least * 1.05
    assert 0 < other.carried().since(before[1]).sent < size // 10


def test_a_line_that_is_cut_loses_what_is_sent(network: Network) -> None:
    near = network.machine("near")
    far, line = network.far_machine("far")
    with datagrams(far) as mouth, datagrams(near) as ear:
        line.cut()
        mouth.sendto(b"lost", (near.address, PORT))
        line.mend()
        mouth.sendto(b"after it", (near.address, PORT))
        assert ear.recv(100) == b"after it"


async def test_the_line_can_be_made_faster_in_the_middle_of_it(network: Network) -> None:
    near = network.machine("near")
    far, line = network.far_machine("far", Line(rate=200e3, delay=0.001))
    size = 1_000_000
    with trio.fail_after(60):
        listener = await listen(far)
        caller, called = await connect(near, listener)
        async with listener, caller, called, trio.open_nursery() as nursery:
            begun = trio.current_time()
            nursery.start_soon(caller.send_all, bytes(size))
            await receive(called, size // 100)
            line.change(Line(rate=100e6, delay=0.001))
            await receive(called, size - size // 100)
            assert trio.current_time() - begun < 20, "as slow as before"


def test_names_and_ports(network: Network) -> None:
    one = network.machine("one.example.org")
    two, _ = network.far_machine("two.example.org")
    assert one.run("getent", "ahostsv4", "two.example.org").startswith(two.address)
    assert two.run("getent", "ahostsv4", "one.example.org").startswith(one.address)
    assert one.listening() == set()
    with one.inside(), socket.create_server((one.address, 0)) as server:
        assert one.listening() == {server.getsockname()[1]}
        assert two.listening() == set()


def test_nothing_is_left_also_after_a_failure() -> None:
    class Failure(Exception):
        pass

    before = {place: set(place.iterdir()) if place.exists() else set() for place in (NAMESPACES, ETC)}
    machine: Machine | None = None
    with pytest.raises(Failure), network() as made:
        machine = made.machine("one")
        far, _ = made.far_machine("far")
        with far.inside():
            outside = socket.socket()
        with outside:
            running = machine.run("sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!").strip()
        assert Path("/proc", running).exists()
        raise Failure
    assert {place: set(place.iterdir()) if place.exists() else set() for place in (NAMESPACES, ETC)} == before
    state = Path("/proc", running, "stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
