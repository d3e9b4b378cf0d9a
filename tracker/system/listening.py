"""Where to listen, and what must not be listened on. Light to import: every command reads it."""

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import Usage

INHERITED, RELIEVES = "SHOAL_INHERITED_SOCKET", "SHOAL_RELIEVES"
"""A worker's own environment: its listening socket, and whether it takes the place of one that serves until then."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where and how to listen. Port 0 takes any free one."""

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None
    insecure: bool = False  # plain http beyond loopback was asked for
    inherited: int | None = None  # the descriptor of a socket that listens there already


def parse_listen(text: str) -> tuple[str, int]:
    """(host, port) of `HOST:PORT`, brackets around an IPv6 address; `Usage` for anything else."""
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) < 1 << 16):
        raise Usage(f"{text!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def check_listen(listen: Listen) -> None:
    """`Usage` for half a certificate, and for plain http to anything but loopback unless it was asked for."""
    if (listen.certificate is None) != (listen.key is None):
        raise Usage("--tls-cert and --tls-key go together")
    if listen.certificate is None and not listen.insecure and not _is_loopback(listen.host):
        raise Usage(f"plain http on {listen.host}: give --tls-cert and --tls-key, or --insecure-http")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
