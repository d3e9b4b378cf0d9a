"""The tracker's clock, in the unit the wire uses."""

from protocol.ports import Machine


def now_ms(machine: Machine) -> int:
    """Milliseconds since 1970 UTC."""
    return machine.now() // 1_000_000
