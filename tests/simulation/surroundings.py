"""What a drama and the calm after it share: the tracker, the network, the devices and the people."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from protocol.names import RESERVED
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.lan import Air
from tests.simulation.log import EventLog
from tests.simulation.network import TrackerHost, Weather
from tests.simulation.oracle import Oracle, Tree
from tests.simulation.people import Person
from tests.simulation.plan import Plan


@dataclass
class Surroundings:
    """Everything there is."""

    plan: Plan
    host: TrackerHost
    log: EventLog
    rng: Random
    oracle: Oracle = field(default_factory=Oracle)
    weather: Weather = field(default_factory=Weather)
    air: Air = field(default_factory=Air)
    devices: dict[str, SimulatedDevice] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)

    def trees(self) -> dict[str, dict[str, Any]]:
        """What the people see in their folders."""
        return {name: _visible(device.disk.user.tree(FOLDER)) for name, device in self.devices.items()}

    def removing(self, at: str, path: str) -> None:
        """A peer takes a file off its folder: somebody must have removed or moved it."""
        elsewhere = [device.disk.user for name, device in self.devices.items() if name != at]
        self.oracle.judge_removal(f"{at} removes {path}", self.devices[at].disk.user, elsewhere, f"{FOLDER}/{path}")

    def moved(self) -> int:
        """Commits, requests that moved chunks, and bytes that came over the LAN."""
        return sum(device.moved + device.lan_bytes for device in self.devices.values())

    def report(self) -> str:
        """Where everything stands."""
        return "\n".join(device.report() for device in self.devices.values())


def _visible(tree: Tree) -> dict[str, Any]:
    return {path: entry for path, entry in tree.items() if path.split("/")[0] != RESERVED}
