"""The LAN on real networks, made of namespaces: which interfaces count, what is dialled and let in, who is found."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio

from tests.support.lan_agent import Agent, agent
from tests.support.namespaces import Host, Namespaces, namespaces

ANN, BOB = "aa" * 16, "bb" * 16
SOON = 10.0
"""Seconds for what should take one or two."""


@pytest.fixture
def made() -> Iterator[Namespaces]:
    with namespaces() as made:
        yield made


def without_ipv6(*hosts: Host) -> None:
    """So that no address of the kernel's own comes up in the middle of a test."""
    for host in hosts:
        host.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")


async def shown(host: Host, *wanted: str, interface: str | None = None) -> None:
    """The interfaces' addresses of a host become these."""
    async with agent(host.prefix, interface) as asked:
        found = await asked.ask("interfaces")
        with trio.move_on_after(SOON):
            while set(found) != set(wanted):
                found = await asked.ask("interfaces")
        assert set(found) == set(wanted)


def link_local(host: Host, device: str) -> str:
    """A link-local address, once it is known to be free."""
    while "tentative" in (line := host.ip(f"-6 -o addr show dev {device} scope link")):
        pass
    return line.split()[3].partition("/")[0]


# Which interfaces count


async def test_a_wired_network(made: Namespaces) -> None:
    host, other = made.host(), made.host()
    made.cable(host, "eth0", other, "eth0")
    host.ip("addr add 192.168.1.7/24 dev eth0")
    host.ip("addr add 203.0.113.7/28 dev eth0 label eth0:public")
    host.ip("addr add fd00:1::7/64 dev eth0 nodad")
    local = link_local(host, "eth0")
    await shown(host, "192.168.1.7/24", "fd00:1::7/64", f"{local}%eth0/64")


VPN = """
import fcntl, struct, sys
device = open("/dev/net/tun", "r+b", buffering=0)
fcntl.ioctl(device, 0x400454CA, struct.pack("16sH", b"vpn0", 0x1001))
print("ready", flush=True)
sys.stdin.read()
"""
"""A tunnel that is in use as long as stdin is open: TUNSETIFF with IFF_TUN and IFF_NO_PI."""


async def test_what_does_not_count(made: Namespaces) -> None:
    host, other = made.host(), made.host()
    without_ipv6(host)
    with subprocess.Popen(
        [*host.prefix, sys.executable, "-c", VPN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as vpn:
        assert vpn.stdout is not None
        assert vpn.stdout.readline() == "ready\n"
        host.ip("addr add 10.8.0.7/24 dev vpn0")
        host.ip("link set vpn0 up")
        host.ip("link add veth0 type veth peer name veth1")
        host.ip("addr add 10.9.0.7/24 dev veth0")
        host.ip("link set veth0 up")
        made.cable(host, "eth0", other, "eth0")
        host.ip("addr add 100.64.7.7/24 dev eth0")
        host.ip("addr add 192.168.1.7/24 dev eth0")
        assert "POINTOPOINT,MULTICAST,NOARP,UP,LOWER_UP" in host.ip("link show vpn0")
        await shown(host, "192.168.1.7/24")


async def test_a_bridge_counts_while_something_is_plugged_in(made: Namespaces) -> None:
    """As Docker's: the same address on every machine, and of no use without containers."""
    host, container = made.switch(), made.host()
    without_ipv6(host, container)
    host.ip("addr add 172.17.0.1/16 dev switch")
    made.plug(container, "eth0", host, "port1")
    await shown(host, "172.17.0.1/16")
    container.ip("link set eth0 down")
    await shown(host)


async def test_an_interface_counts_while_it_is_plugged_in(made: Namespaces) -> None:
    host, other = made.host(), made.host()
    without_ipv6(host)
    made.cable(host, "eth0", other, "eth0")
    host.ip("addr add 192.168.1.7/24 dev eth0")
    async with agent(host.prefix) as asked:
        for state, wanted in (("up", ["192.168.1.7/24"]), ("down", []), ("up", ["192.168.1.7/24"])):
            other.ip(f"link set eth0 {state}")
            with trio.fail_after(SOON):
                while await asked.ask("interfaces") != wanted:
                    pass


async def test_an_ipv6_address_that_somebody_else_has(made: Namespaces) -> None:
    host, other = made.host(), made.host()
    made.cable(host, "eth0", other, "eth0")
    other.ip("addr add fd00:1::7/64 dev eth0 nodad")
    host.ip("addr add fd00:1::7/64 dev eth0")
    while "dadfailed" not in host.ip("-6 -o addr show dev eth0"):
        await trio.lowlevel.checkpoint()
    await shown(host, f"{link_local(host, 'eth0')}%eth0/64")


async def test_only_the_chosen_address(made: Namespaces) -> None:
    host, other = made.host(), made.host()
    made.cable(host, "eth0", other, "eth0")
    made.cable(host, "eth1", other, "eth1")
    host.ip("addr add 192.168.1.7/24 dev eth0")
    host.ip("addr add 100.64.7.7/24 dev eth1")
    for address, network in (("192.168.1.7", "24"), ("100.64.7.7", "24"), ("127.0.0.1", "8")):
        await shown(host, f"{address}/{network}", interface=address)
    local = link_local(host, "eth1")
    for spelled in (local, f"{local}%eth1"):
        await shown(host, f"{local}%eth1/64", interface=spelled)


# What is dialled, and who is let in


@asynccontextmanager
async def neighbours(made: Namespaces) -> AsyncIterator[tuple[Host, Agent, Host, Agent]]:
    """10.5.0.1 and 10.5.0.2, which have IPv6 as well, and 100.64 addresses; the first knows a way to 10.6.0.2."""
    one, other = made.host(), made.host()
    made.cable(one, "eth0", other, "eth0")
    for number, host in enumerate((one, other), 1):
        host.ip(f"addr add 10.5.0.{number}/24 dev eth0")
        host.ip(f"addr add 100.64.0.{number}/24 dev eth0")
        host.ip(f"addr add fd00:5::{number}/64 dev eth0 nodad")
        link_local(host, "eth0")
    other.ip("addr add 10.6.0.2/32 dev lo")
    one.ip("route add 10.6.0.2 via 10.5.0.2")
    async with agent(one.prefix) as asks, agent(other.prefix) as answers:
        yield one, asks, other, answers


async def test_who_is_dialled(made: Namespaces) -> None:
    async with neighbours(made) as (_, asks, other, answers):
        for host in ("10.5.0.2", "fd00:5::2", f"{link_local(other, 'eth0')}%eth0"):
            assert await asks.ask("dial", host, answers.port, False) == ["", "hello"]
            remote = (await answers.until(lambda said: said[0] == "accepted"))[1]
            if host.startswith("fe80"):
                assert remote.startswith("[fe80::")
                assert "%eth0]:" in remote
        for host in ("10.6.0.2", "100.64.0.2", "8.8.8.8", "127.0.0.1", "::1", link_local(other, "eth0")):
            said, _ = await asks.ask("dial", host, answers.port, False)
            assert said.endswith("is not on this LAN")
        for host in ("10.5.0.1", "fd00:5::1"):
            said, _ = await asks.ask("dial", host, asks.port, False)
            assert said.endswith("is this machine itself")


async def test_who_is_let_in(made: Namespaces) -> None:
    """A person may have configured any address; whether one is let in is for the other side to say: from next door, or
    from another private network."""
    async with neighbours(made) as (one, asks, other, answers):
        assert await asks.ask("dial", "10.5.0.2", answers.port, True) == ["", "hello"]
        for host in ("10.6.0.2", "100.64.0.2"):
            assert await asks.ask("dial", host, answers.port, True) == ["", ""]
        # To an address that counts, but from far away, and from the open internet.
        for far in ("10.7.0.1", "8.7.0.1"):
            one.ip(f"addr add {far}/32 dev lo")
            other.ip(f"route add {far} via 10.5.0.1")
        caller = "import socket; print(socket.create_connection(('10.5.0.2', %d), 5, (%r, 0)).recv(9))"
        for source, heard in (("10.5.0.1", "b'hello'\n"), ("10.7.0.1", "b'hello'\n"), ("8.7.0.1", "b''\n")):
            assert one.run(sys.executable, "-c", caller % (answers.port, source)) == heard


async def test_the_chosen_address_is_where_dialling_comes_from(made: Namespaces) -> None:
    one, other = made.host(), made.host()
    made.cable(one, "eth0", other, "eth0")
    one.ip("addr add 10.5.0.1/24 dev eth0")
    one.ip("addr add 10.5.0.9/24 dev eth0")
    other.ip("addr add 10.5.0.2/24 dev eth0")
    async with agent(one.prefix, "10.5.0.9") as asks, agent(other.prefix) as answers:
        assert await asks.ask("dial", "10.5.0.2", answers.port, False) == ["", "hello"]
        assert (await answers.until(lambda said: said[0] == "accepted"))[1].startswith("10.5.0.9:")


# Who is found


async def met(asked: Agent, name: str, *addresses: str) -> list[str]:
    """Wait until `name` is seen at all these addresses, without port, or has gone when none is given."""
    with trio.fail_after(SOON):
        said = await asked.until(
            lambda said: (
                said[:2] == ["met", name]
                and {address.rpartition(":")[0] for address in said[2:]} >= set(addresses)
                and bool(said[2:]) == bool(addresses)
            )
        )
    return said[2:]


async def test_devices_find_each_other_across_a_cable(made: Namespaces) -> None:
    async with neighbours(made) as (one, ann, other, bob):
        await ann.tell("meet", ANN)
        await bob.tell("meet", BOB)
        seen = await met(ann, BOB, "10.5.0.2", "[fd00:5::2]", f"[{link_local(other, 'eth0')}%eth0]")
        assert {address.rpartition(":")[2] for address in seen} == {str(bob.port)}
        assert len(seen) == 3
        await met(bob, ANN, "10.5.0.1", "[fd00:5::1]", f"[{link_local(one, 'eth0')}%eth0]")


async def test_devices_find_each_other_by_ipv6_alone(made: Namespaces) -> None:
    one, other = made.host(), made.host()
    made.cable(one, "eth0", other, "eth0")
    addresses = [link_local(host, "eth0") for host in (one, other)]
    async with agent(one.prefix) as ann, agent(other.prefix) as bob:
        await ann.tell("meet", ANN)
        await bob.tell("meet", BOB)
        await met(bob, ANN, f"[{addresses[0]}%eth0]")
        (seen,) = await met(ann, BOB, f"[{addresses[1]}%eth0]")
        host, _, port = seen.rpartition(":")
        assert await ann.ask("dial", host[1:-1], int(port), False) == ["", "hello"]


async def test_a_device_that_changes_its_network_is_found_again(made: Namespaces) -> None:
    one, other, switch = made.host(), made.host(), made.switch()
    without_ipv6(one, other, switch)
    made.plug(one, "eth0", switch, "port1")
    made.plug(other, "eth0", switch, "port2")
    one.ip("addr add 10.5.0.1/24 dev eth0")
    other.ip("addr add 10.5.0.2/24 dev eth0")
    async with agent(one.prefix) as ann, agent(other.prefix) as bob:
        await ann.tell("meet", ANN)
        await bob.tell("meet", BOB)
        await met(ann, BOB, "10.5.0.2")
        await met(bob, ANN, "10.5.0.1")
        one.ip("link set eth0 down")
        with trio.fail_after(SOON):
            said = await ann.until(lambda said: said[0] == "alone")
        assert said[1] == "no network interface to find devices on"
        made.plug(one, "wlan0", switch, "port3")
        one.ip("addr add 10.5.0.9/24 dev wlan0")
        await met(ann, BOB, "10.5.0.2")
        await met(bob, ANN, "10.5.0.9")


async def test_an_interface_that_vanishes_under_the_beacons(made: Namespaces) -> None:
    one, other, switch = made.host(), made.host(), made.switch()
    without_ipv6(one, other, switch)
    for number in (0, 1):
        made.plug(one, f"eth{number}", switch, f"port{number}")
    made.plug(other, "eth0", switch, "port2")
    one.ip("addr add 10.5.0.1/24 dev eth0")
    one.ip("addr add 10.5.0.9/24 dev eth1")
    other.ip("addr add 10.5.0.2/24 dev eth0")
    async with agent(one.prefix) as ann, agent(other.prefix) as bob:
        await ann.tell("meet", ANN)
        await bob.tell("meet", BOB)
        await met(bob, ANN, "10.5.0.1", "10.5.0.9")
        one.ip("link delete eth0")
        await met(bob, ANN)  # by the goodbye on the other interface
        await met(bob, ANN, "10.5.0.9")
        await met(ann, BOB, "10.5.0.2")


async def test_who_is_killed_and_starts_again_is_found_at_once(made: Namespaces) -> None:
    one, other = made.host(), made.host()
    without_ipv6(one, other)
    made.cable(one, "eth0", other, "eth0")
    one.ip("addr add 10.5.0.1/24 dev eth0")
    other.ip("addr add 10.5.0.2/24 dev eth0")
    async with agent(other.prefix) as bob:
        await bob.tell("meet", BOB)
        for name in (ANN, "ab" * 16):
            async with agent(one.prefix) as ann:
                await ann.tell("meet", name)
                seen = await met(bob, name, "10.5.0.1")
                assert seen == [f"10.5.0.1:{ann.port}"]
                await met(ann, BOB, "10.5.0.2")
                ann.kill()


HEAR = """
import socket, sys
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind(("224.0.0.251", 5353))
listener.setsockopt(0, socket.IP_ADD_MEMBERSHIP, socket.inet_aton("224.0.0.251") + socket.inet_aton(sys.argv[1]))
print("ready", flush=True)
heard = False
while (packet := listener.recv(9000)) != b"end":
    heard = heard or sys.argv[2].encode() in packet
print(heard)
"""
"""Whether anything that is multicast to an address has a text in it, up to a packet that is just "end"."""

SAY_END = """
import socket, sys
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.setsockopt(0, socket.IP_MULTICAST_IF, socket.inet_aton(sys.argv[1]))
sender.sendto(b"end", ("224.0.0.251", 5353))
"""


@pytest.mark.parametrize(("interface", "heard"), [(None, True), ("10.6.0.1", False)])
async def test_only_the_chosen_network_hears_of_us(made: Namespaces, interface: str | None, heard: bool) -> None:
    one, other, eavesdropper = made.host(), made.host(), made.host()
    without_ipv6(one, other, eavesdropper)
    made.cable(one, "eth0", eavesdropper, "eth0")
    made.cable(one, "eth1", other, "eth0")
    for host, device, address in (
        (one, "eth0", "10.5.0.1"),
        (eavesdropper, "eth0", "10.5.0.2"),
        (one, "eth1", "10.6.0.1"),
        (other, "eth0", "10.6.0.2"),
    ):
        host.ip(f"addr add {address}/24 dev {device}")
    hear = [*eavesdropper.prefix, sys.executable, "-c", HEAR, "10.5.0.2", ANN]
    with subprocess.Popen(hear, stdout=subprocess.PIPE, text=True) as listening:
        assert listening.stdout is not None
        assert listening.stdout.readline() == "ready\n"
        async with agent(one.prefix, interface) as ann, agent(other.prefix) as bob:
            await ann.tell("meet", ANN)
            await bob.tell("meet", BOB)
            await met(bob, ANN, "10.6.0.1")
            await met(ann, BOB, "10.6.0.2")
            one.run(sys.executable, "-c", SAY_END, "10.5.0.1")
            assert listening.stdout.readline() == f"{heard}\n"


async def test_where_multicast_is_impossible(made: Namespaces) -> None:
    """On loopback there is no way for IPv6 multicast."""
    async with agent(made.host().prefix, "::1") as asked:
        await asked.tell("meet", ANN)
        with trio.fail_after(SOON):
            said = await asked.until(lambda said: said[0] == "alone")
        assert said[1] == "can't find devices on the LAN (mDNS, UDP port 5353): network is unreachable"
