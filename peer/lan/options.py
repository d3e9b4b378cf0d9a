"""What a person decides about the LAN."""

from dataclasses import dataclass

from peer.ports import LanAddress

PORT = 7441
"""Where a device listens if that port is free, and nothing else was asked for."""


@dataclass(frozen=True, slots=True)
class LanOptions:
    """The address of the one interface to use, None for all that count; whether at all; addresses to dial beside what
    is found; whether a list of members may be a day old, not an hour; the port to listen at, None for `PORT` or any
    that is free."""

    interface: str | None = None
    enabled: bool = True
    peers: tuple[LanAddress, ...] = ()
    offline: bool = False
    port: int | None = None
