"""Ports that nothing listens on."""

import socket

HIGHEST = 55_000


def free_ports(count: int, beside: int = 0) -> list[int]:
    """So many ports of 127.0.0.1, up to HIGHEST, for each of which the port `beside` it is free, too."""
    found: list[int] = []
    while len(found) < count:
        with socket.socket() as taken, socket.socket() as other:
            taken.bind(("127.0.0.1", 0))
            port: int = taken.getsockname()[1]
            if port <= HIGHEST and port not in found and _binds(other, port + beside if beside else 0):
                found.append(port)
    return found


def _binds(probe: socket.socket, port: int) -> bool:
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True
