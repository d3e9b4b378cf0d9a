"""Which addresses are on a LAN and which are next door. Real interfaces: tests/privileged/test_lan_interfaces.py."""

import socket
from ipaddress import ip_address
from pathlib import Path

import pytest

from peer.system import interfaces
from peer.system.interfaces import Neighbourhood, OwnAddress, look, read_address, socket_address

UP, BROADCAST, LOOPBACK, POINT_TO_POINT, RUNNING, MULTICAST = 0x1, 0x2, 0x8, 0x10, 0x40, 0x1000
ETHERNET = UP | BROADCAST | RUNNING | MULTICAST


def own(address: str, prefix: int, device: str = "eth0", index: int = 2) -> OwnAddress:
    return OwnAddress(ip_address(address), prefix, device, index)


NEAR = Neighbourhood(
    (
        own("192.168.1.7", 24),
        own("fe80::7%eth0", 64),
        own("fd00:1::7", 64),
        own("10.5.0.7", 16, "wlan0", 3),
        own("fe80::7%wlan0", 64, "wlan0", 3),
    )
)


@pytest.mark.parametrize(
    ("flags", "counts"),
    [
        (ETHERNET, True),
        (ETHERNET & ~MULTICAST, True),
        (ETHERNET & ~UP, False),
        (ETHERNET & ~RUNNING, False),
        (ETHERNET & ~BROADCAST, False),
        (ETHERNET | POINT_TO_POINT, False),
        (ETHERNET | LOOPBACK, False),
        (UP | RUNNING | POINT_TO_POINT, False),
        (UP | RUNNING | LOOPBACK, False),
        (0, False),
    ],
)
def test_which_interfaces_count(flags: int, counts: bool) -> None:
    assert interfaces._counts(own("192.168.1.7", 24), flags, None) is counts


@pytest.mark.parametrize(
    ("address", "counts"),
    [
        ("10.0.0.1", True),
        ("169.254.3.4", True),
        ("172.31.255.255", True),
        ("172.32.0.0", False),
        ("203.0.113.9", False),
        ("8.8.8.8", False),
        ("100.63.255.255", False),
        ("100.64.0.0", False),
        ("100.127.255.255", False),
        ("100.128.0.0", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("127.0.0.1", False),
        ("fe80::1%eth0", True),
        ("fd00::1", True),
        ("2001:db8::1", False),
        ("2a00:1::1", False),
        ("::", False),
        ("::1", False),
        ("ff02::1", False),
    ],
)
def test_which_of_their_addresses_count(address: str, counts: bool) -> None:
    assert interfaces._counts(own(address, 24), ETHERNET, None) is counts


@pytest.mark.parametrize(
    ("address", "only", "flags", "counts"),
    [
        ("127.0.0.1", "127.0.0.1", UP | RUNNING | LOOPBACK, True),
        ("127.0.0.1", "127.0.0.1", LOOPBACK, False),
        ("127.0.0.2", "127.0.0.1", UP | LOOPBACK, False),
        ("100.64.0.1", "100.64.0.1", UP | POINT_TO_POINT, True),
        ("fe80::7%eth0", "fe80::7", UP, True),
        ("fe80::7%eth0", "fe80::7%eth0", UP, True),
        ("fe80::7%eth0", "fe80::7%2", UP, True),
        ("fe80::7%eth0", "fe80::7%wlan0", UP, False),
        ("fe80::7%eth0", "fe80::7%3", UP, False),
        ("8.8.8.8", "8.8.8.8", UP, True),
    ],
)
def test_one_address_that_a_person_has_chosen(address: str, only: str, flags: int, counts: bool) -> None:
    assert interfaces._counts(own(address, 8), flags, ip_address(only)) is counts


@pytest.mark.parametrize(
    ("address", "next_door"),
    [
        ("192.168.1.200", True),
        ("192.168.1.7", True),
        ("192.168.2.1", False),
        ("10.5.255.1", True),
        ("10.6.0.1", False),
        ("8.8.8.8", False),
        ("127.0.0.1", False),
        ("fe80::99%eth0", True),
        ("fe80::99%wlan0", True),
        ("fe80::99%tun0", False),
        ("fe80::99", False),
        ("fd00:1::99", True),
        ("fd00:2::99", False),
        ("2001:db8::1", False),
    ],
)
def test_what_is_next_door(address: str, next_door: bool) -> None:
    assert NEAR.includes(ip_address(address)) is next_door


def test_what_is_our_own() -> None:
    for address in ("192.168.1.7", "fe80::7%wlan0", "fd00:1::7"):
        assert NEAR.is_own(ip_address(address))
    for address in ("192.168.1.8", "fe80::7", "fe80::7%tun0"):
        assert not NEAR.is_own(ip_address(address))


@pytest.mark.parametrize(
    ("local", "remote", "joined"),
    [
        ("192.168.1.7", "192.168.1.9", True),
        ("192.168.1.7", "192.168.1.7", True),
        ("192.168.1.7", "192.168.2.9", False),
        ("192.168.1.7", "10.5.0.9", False),  # next door, on another link
        ("192.168.1.8", "192.168.1.9", False),
        ("fe80::7%wlan0", "fe80::9%wlan0", True),
        ("fe80::7%wlan0", "fe80::9%eth0", False),
        ("fd00:1::7", "192.168.1.9", True),
    ],
)
def test_which_connections_come_by_a_link_of_ours(local: str, remote: str, joined: bool) -> None:
    assert NEAR.joins(ip_address(local), ip_address(remote)) is joined


@pytest.mark.parametrize(
    ("remote", "admitted"),
    [
        ("192.168.1.9", True),
        ("172.20.0.1", True),  # through a router
        ("127.0.0.1", True),
        ("fd00:9::1", True),
        ("8.8.8.8", False),
        ("100.64.0.9", False),
        ("2a00:1::1", False),
        ("172.32.0.1", False),
    ],
)
def test_who_may_come_in(remote: str, admitted: bool) -> None:
    assert NEAR.admits(ip_address("192.168.1.7"), ip_address(remote)) is admitted
    assert not NEAR.admits(ip_address("192.168.1.8"), ip_address(remote)), "to an address that doesn't count"


def test_nothing_is_next_door_without_a_network() -> None:
    assert not Neighbourhood().includes(ip_address("192.168.1.1"))
    assert Neighbourhood().shown() == frozenset()


def test_addresses_as_they_are_shown() -> None:
    assert NEAR.shown() == {
        "192.168.1.7/24", "fe80::7%eth0/64", "fd00:1::7/64", "10.5.0.7/16", "fe80::7%wlan0/64",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1%lo", "2001:db8::1"),
        ("fe80::1%lo", "fe80::1%lo"),
        ("fe80::1%1", "fe80::1%lo"),
        ("fe80::1", None),
        ("fe80::1%", None),
        ("fe80::1%nosuchdevice", None),
        ("fe80::1%4294967295", None),
        ("fe80::1%99999999999999999999", None),
        ("192.0.2.1.", None),
        ("nas.local", None),
        ("", None),
        ("\0", None),
    ],
)
def test_addresses_as_they_are_written(text: str, address: str | None) -> None:
    assert socket.if_indextoname(1) == "lo"
    assert read_address(text) == (None if address is None else ip_address(address))


def test_addresses_as_the_socket_calls_take_them() -> None:
    assert socket_address(ip_address("192.0.2.1"), 5) == ("192.0.2.1", 5)
    assert socket_address(ip_address("2001:db8::1"), 5) == ("2001:db8::1", 5, 0, 0)
    assert socket_address(ip_address("fe80::1%lo"), 5) == ("fe80::1", 5, 0, 1)
    with pytest.raises(OSError, match="no interface"):
        socket_address(ip_address("fe80::1%nosuchdevice"), 5)


def test_loopback_counts_when_it_is_chosen() -> None:
    found = look(ip_address("127.0.0.1"))
    assert found.shown() == {"127.0.0.1/8"}
    assert found.own[0].device == "lo"
    assert found.includes(ip_address("127.3.2.1"))


def test_loopback_does_not_count_by_itself() -> None:
    assert not {"127.0.0.1/8", "::1/128"} & look().shown()


def test_an_address_that_no_interface_has() -> None:
    assert look(ip_address("192.0.2.254")) == Neighbourhood()


def test_an_interface_that_has_gone_has_no_flags() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        assert interfaces._flags(probe, "nosuchdevice") == 0
        assert interfaces._flags(probe, "lo") & LOOPBACK


def test_ipv6_addresses_that_are_not_ours_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "if_inet6"
    monkeypatch.setattr(interfaces, "_IPV6_ADDRESSES", str(table))
    assert list(interfaces._unusable()) == []
    table.write_text(
        "fe800000000000000000000000000007 02 40 20 80     eth0\n"
        "fe800000000000000000000000000008 02 40 20 c0     eth0\n"
        "fd000001000000000000000000000007 02 40 00 88     eth0\n"
        "00000000000000000000000000000001 01 80 10 80       lo\n"
    )
    assert list(interfaces._unusable()) == [ip_address("fe80::8%eth0"), ip_address("fd00:1::7")]
