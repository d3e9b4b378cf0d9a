"""What the machine says of its power and its connection: `peer.ports.Conditions` on Linux.

Power is what /sys/class/power_supply says (Documentation/ABI/testing/sysfs-class-power in Linux): a battery of the
machine's own that discharges, and no supply from outside. Whether the connection is metered is known to NetworkManager
alone, which is asked over D-Bus by systemd's `busctl`. Where neither is said nothing is known against it.
"""

import logging
import subprocess
from contextlib import suppress
from pathlib import Path

import trio

POWER = Path("/sys/class/power_supply")
_MANAGER = "org.freedesktop.NetworkManager"
METERED = ("busctl", "--timeout=5", "get-property", _MANAGER, "/org/freedesktop/NetworkManager", _MANAGER, "Metered")
_METERED = ("u 1", "u 3")
"""NMMetered: yes, and taken for one."""
_OUTSIDE = ("Mains", "USB", "Wireless")
_ANSWER_SECONDS = 10.0

log = logging.getLogger(__name__)


class LinuxConditions:
    """See `peer.ports.Conditions`. `power` is the folder that sysfs has, `metered` the command that is asked."""

    def __init__(self, power: Path = POWER, metered: tuple[str, ...] = METERED) -> None:
        self._power = power
        self._metered = metered
        self._threads = trio.CapacityLimiter(1)

    async def on_battery(self) -> bool:
        return await trio.to_thread.run_sync(_on_battery, self._power, limiter=self._threads)

    async def is_metered(self) -> bool:
        with trio.move_on_after(_ANSWER_SECONDS), suppress(OSError):
            done = await trio.run_process(
                self._metered, capture_stdout=True, check=False, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
            )
            return done.stdout.decode("ascii", "replace").strip() in _METERED
        return False


def _on_battery(power: Path) -> bool:
    try:
        supplies = list(power.iterdir())
    except OSError:
        return False
    if any(_says(each, "type") in _OUTSIDE and _says(each, "online") == "1" for each in supplies):
        return False
    return any(_discharges(each) for each in supplies)


def _discharges(supply: Path) -> bool:
    """Whether it is a battery that runs this machine, not one in a mouse, and does so now."""
    is_own = _says(supply, "type") == "Battery" and _says(supply, "scope") != "Device"
    return is_own and _says(supply, "status") == "Discharging"


def _says(supply: Path, name: str) -> str:
    """An attribute; empty when there is none, or it can't be read now."""
    try:
        return (supply / name).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
