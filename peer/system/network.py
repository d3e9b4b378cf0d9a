"""What the machine's network says of itself."""

import socket
from urllib.parse import urlsplit


def address_towards(url: str) -> str | None:
    """This machine's address on the way to the host of `url`, which must be an IP address or already resolved.

    Asks the routing table only: a UDP socket is connected, nothing is sent. None when there is no way.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return None
