"""Which of this machine's addresses lie on a LAN, and which addresses are next door (design §7).

An interface counts when it is up, has a carrier, can broadcast, and is neither point-to-point nor loopback: no VPN, no
dial-up, no unplugged cable, no container bridge without containers. Of its addresses those count that others can
reach: private ones only, so none of the internet's, none of 100.64.0.0/10 (carriers and overlay networks share it, RFC
6598), and none that IPv6 has not found free yet. What a person has chosen counts whatever it is.
"""

import fcntl
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import ifaddr

IpAddress = IPv4Address | IPv6Address
"""An address of either family; an IPv6 link-local one has the name of its interface as scope."""

_SIOCGIFFLAGS = 0x8913
_UP, _BROADCAST, _LOOPBACK, _POINT_TO_POINT, _RUNNING = 0x1, 0x2, 0x8, 0x10, 0x40
"""ioctl and flags of netdevice(7). RUNNING isn't in /sys/class/net/*/flags, and the ioctl answers for the network
namespace of the thread that asks."""
_CHECKED = _UP | _RUNNING | _BROADCAST | _LOOPBACK | _POINT_TO_POINT
_PRIVATE: tuple[IPv4Network | IPv6Network, ...] = (
    *map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8")),
    *map(IPv6Network, ("fc00::/7", "fe80::/10", "::1/128")),
)
"""RFC 1918 and 3927, RFC 4193 and 4291, and loopback."""
_IPV6_ADDRESSES = "/proc/thread-self/net/if_inet6"
_DAD_FAILED, _TENTATIVE = 0x08, 0x40
"""Flags in that file (IFA_F_... in linux/if_addr.h): nobody can bind or reach such an address."""


@dataclass(frozen=True, slots=True)
class OwnAddress:
    """An address of this machine, with the length of its network's prefix and its interface."""

    address: IpAddress
    prefix: int
    device: str
    index: int

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"

    @property
    def network(self) -> IPv4Network | IPv6Network:
        """What is on the same link, without scope."""
        return ip_network((bare(self.address), self.prefix), strict=False)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """This machine's addresses that count, and with them what is next door."""

    own: tuple[OwnAddress, ...] = ()

    def includes(self, address: IpAddress) -> bool:
        """Whether `address` is on the link of one of our own, or is one."""
        return any(_on_link(address, own) for own in self.own)

    def is_own(self, address: IpAddress) -> bool:
        """Whether `address` is this machine's."""
        return any(address == own.address for own in self.own)

    def admits(self, local: IpAddress, remote: IpAddress) -> bool:
        """Whether a connection from `remote` to `local` may come in: from next door, or through a router from a private
        address, where somebody may have been told this one."""
        return self.joins(local, remote) or (self.is_own(local) and is_private(remote))

    def joins(self, local: IpAddress, remote: IpAddress) -> bool:
        """Whether a connection from `remote` to `local` came by one link of ours."""
        devices = {own.device for own in self.own if own.address == local}
        return any(own.device in devices and _on_link(remote, own) for own in self.own)

    def shown(self) -> frozenset[str]:
        """Each "address/prefix"."""
        return frozenset(str(own) for own in self.own)


def look(only: IpAddress | None = None) -> Neighbourhood:
    """How things are now, by the kernel's word: some system calls for each interface. With `only`, nothing but this
    address counts, and it does whatever it is. May raise `OSError`."""
    unusable = set(_unusable())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        found = tuple(
            own for own in _addresses() if own.address not in unusable and _counts(own, _flags(probe, own.device), only)
        )
    return Neighbourhood(found)


def bare(address: IpAddress) -> IpAddress:
    """`address` without scope."""
    return IPv6Address(int(address)) if isinstance(address, IPv6Address) and address.scope_id else address


def read_address(host: str) -> IpAddress | None:
    """The address that `host` spells, in the one form that compares: IPv4 inside IPv6 as IPv4, scopes by name, and
    only where they mean something. None for anything else, also a link-local address on no interface we have."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if not isinstance(address, IPv6Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if not address.is_link_local:
        return bare(address)
    scope = _device(address.scope_id or "")
    return None if scope is None else ip_address(f"{bare(address)}%{scope}")


def socket_address(address: IpAddress, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """What the socket calls take. `OSError` when the scope has gone."""
    if isinstance(address, IPv4Address):
        return str(address), port
    return str(bare(address)), port, 0, socket.if_nametoindex(address.scope_id) if address.scope_id else 0


def _device(scope: str) -> str | None:
    """The name of the interface that a scope means by name or number."""
    try:
        return socket.if_indextoname(int(scope) if scope.isdecimal() else socket.if_nametoindex(scope))
    except (OSError, OverflowError):
        return None


def _counts(own: OwnAddress, flags: int, only: IpAddress | None) -> bool:
    if only is not None:
        scope = only.scope_id if isinstance(only, IPv6Address) else None
        return bool(flags & _UP) and bare(own.address) == bare(only) and scope in (None, own.device, str(own.index))
    return flags & _CHECKED == _UP | _RUNNING | _BROADCAST and _can_be_shared(own.address)


def is_private(address: IpAddress) -> bool:
    """Whether nobody has `address` on the internet."""
    return any(bare(address) in network for network in _PRIVATE if network.version == address.version)


def _can_be_shared(address: IpAddress) -> bool:
    """Whether another device on a LAN could reach us at this address, as far as it alone tells."""
    return is_private(address) and not address.is_loopback


def _on_link(address: IpAddress, own: OwnAddress) -> bool:
    if isinstance(address, IPv6Address) and address.is_link_local and address.scope_id != own.device:
        return False
    return bare(address) in own.network


def _addresses() -> Iterator[OwnAddress]:
    """All of this machine's, whatever they are."""
    for adapter in ifaddr.get_adapters():
        device = adapter.name.partition(":")[0]  # eth0:1 is an address's label
        for ip in adapter.ips:
            address = ip_address(ip.ip[0] if isinstance(ip.ip, tuple) else ip.ip)
            if isinstance(address, IPv6Address) and address.is_link_local:
                address = ip_address(f"{address}%{device}")
            yield OwnAddress(address, ip.network_prefix, device, adapter.index or 0)


def _flags(probe: socket.socket, device: str) -> int:
    """An interface's flags; none when it has gone meanwhile."""
    request = struct.pack("16s24x", device.encode())
    try:
        answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, request)
    except OSError:
        return 0
    (flags,) = struct.unpack_from("=H", answer, 16)
    return int(flags)


def _unusable() -> Iterator[IpAddress]:
    """IPv6 addresses that are only being tried out, or turned out to be somebody else's."""
    for line in _lines(_IPV6_ADDRESSES):
        digits, _, _, _, flags, device = line.split()
        if int(flags, 16) & (_TENTATIVE | _DAD_FAILED):
            address = IPv6Address(int(digits, 16))
            yield ip_address(f"{address}%{device}") if address.is_link_local else address


def _lines(path: str) -> Iterable[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.readlines()
    except FileNotFoundError:  # a kernel without IPv6
        return ()
