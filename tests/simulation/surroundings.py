"""What a drama and the calm after it share: the tracker, the network, the devices and the people."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from peer.root import OUTGOING
from protocol.hashing import digest
from protocol.names import RESERVED
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.host import TrackerHost
from tests.simulation.lan import Air
from tests.simulation.log import EventLog
from tests.simulation.machine import WallClock
from tests.simulation.network import Weather
from tests.simulation.oracle import Oracle, Tree
from tests.simulation.people import Person
from tests.simulation.plan import Plan
from tests.simulation.user import contents


@dataclass
class Surroundings:
    """Everything there is."""

    plan: Plan
    host: TrackerHost
    log: EventLog
    rng: Random
    clock: WallClock  # the tracker's
    oracle: Oracle = field(default_factory=Oracle)
    weather: Weather = field(default_factory=Weather)
    air: Air = field(default_factory=Air)
    devices: dict[str, SimulatedDevice] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    excluding: set[str] = field(default_factory=set)
    """Devices at which something is excluded, or was."""
    morning: trio.Event | None = None
    """Set when a night is over; so much time passes in one that connections would be cut hundreds of times."""

    def __post_init__(self) -> None:
        plan = self.plan
        self.oracle.memory_lost = plan.is_lenient
        self.oracle.half_seen = bool(plan.bad_name or plan.lost_events) and not plan.taking_turns
        self.oracle.in_turns = plan.taking_turns and not (plan.lost_events or plan.late_events)

    def trees(self) -> dict[str, dict[str, Any]]:
        """What the people see in their folders."""
        return {name: _visible(device.disk.user.tree(FOLDER)) for name, device in self.devices.items()}

    def removing(self, at: str, path: str) -> None:
        """A peer takes a file off its folder: somebody must have removed or moved it, or not want it there."""
        if at in self.excluding:
            return
        device, host = self.devices[at], self.host

        def ordered(content: bytes) -> bool:
            return any(host.is_head(version) for version in device.ledger.agreed_on(digest(content)))

        elsewhere = [other.disk.user for other in self.devices.values() if other is not device]
        self.oracle.judge_removal(f"{at} removes {path}", device.disk.user, elsewhere, f"{FOLDER}/{path}", ordered)

    def power_cut(self, device: SimulatedDevice, before: set[bytes], after: set[bytes]) -> None:
        """A device's machine stopped, and with it what its user was at."""
        self.oracle.memory_lost = True
        self.people[device.name].drop_everything()
        others = [contents(other.disk.user, FOLDER) for other in self.devices.values() if other is not device]

        def published(content: bytes) -> bool:
            known = any(other.ledger.knows(digest(content)) for other in self.devices.values())
            return known or any(content in files for files in others)

        tree, kept = device.disk.user.tree(FOLDER), f"{RESERVED}/{OUTGOING}/"
        left = [entry for path, entry in tree.items() if path.split("/")[0] != RESERVED or path.startswith(kept)]
        self.oracle.power_cut(device.name, before - after, left, published)

    def judge(self) -> None:
        """Raise the first `Violation` of what there is now."""
        forgotten = self.host.restores + sum(device.ledger.forgotten for device in self.devices.values())
        self.oracle.memory_lost = self.oracle.memory_lost or forgotten > 0
        self.oracle.judge(self.trees())

    def moved(self) -> int:
        """Commits, requests that moved chunks, and bytes that came over the LAN."""
        return sum(device.moved + device.lan_bytes for device in self.devices.values())

    def report(self) -> str:
        """Where everything stands."""
        return "\n".join(device.report() for device in self.devices.values())


def _visible(tree: Tree) -> dict[str, Any]:
    return {path: entry for path, entry in tree.items() if path.split("/")[0] != RESERVED}
