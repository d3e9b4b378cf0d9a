"""What was measured of devices that want the same from the cloud. Times in seconds, sizes in bytes."""

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.table import Table

from bench.lan.report import time_text
from bench.measuring import Found, at_least, at_most
from bench.tables import empty_table
from bench.verdicts import Verdict
from bench.words import sized

SHARE, COPIES = 98.0, 1.02
"""Expected: percent of what all devices but one get that comes from the LAN, at least; copies that all together take
from the cloud, at most: one, with what sealing adds and a request or two in doubt."""
NOTES = """\
running: all run while it goes up. started: all start at the same moment, when it is in the cloud. one by one: the first
has it when the others start. last: until all have it in place and fsynced, from when it was in the cloud. copies: what
all together took from the cloud by their own count (cloud_in), by the size; wire: all that came over the uplink. from
the LAN: of the bytes of all devices but one, as if one had taken a whole copy from the cloud.
"""


@dataclass(frozen=True)
class Taken:
    """Where one device's bytes came from, by its own counters."""

    name: str
    lan_in: int
    cloud_in: int


@dataclass(frozen=True)
class Scene:
    """One file that is in the cloud only, until each device has it."""

    run: int
    name: str
    size: int
    seconds: tuple[float, ...]
    taken: tuple[Taken, ...]
    uplink_received: int  # by the LAN, from the tracker

    @property
    def copies(self) -> float:
        """That all took from the cloud together."""
        return sum(each.cloud_in for each in self.taken) / self.size

    @property
    def wire_copies(self) -> float:
        """The same by what the line carried."""
        return self.uplink_received / self.size

    @property
    def lan_percent(self) -> float:
        """Of the bytes of all devices but one, from the LAN: what goes beyond one copy from the cloud is not."""
        others = len(self.taken) - 1
        return 100 * (1 - min(others, max(0.0, self.copies - 1)) / others)


@dataclass
class Offload(Found):
    """All scenes so far. `judged`: whether the size and the links are those that the expectations are for."""

    judged: bool
    settings: Mapping[str, Any]
    scenes: list[Scene] = field(default_factory=list)

    def by_name(self) -> dict[str, list[Scene]]:
        """Those of one kind together."""
        groups: dict[str, list[Scene]] = {}
        for scene in self.scenes:
            groups.setdefault(scene.name, []).append(scene)
        return groups

    def verdicts(self) -> list[Verdict]:
        """Medians of each kind."""
        found = []
        for name, group in self.by_name().items():
            share = statistics.median(scene.lan_percent for scene in group)
            copies = statistics.median(scene.copies for scene in group)
            found.append(at_least(f"{name}: from the LAN", "%", SHARE, share, judged=self.judged))
            found.append(at_most(f"{name}: copies from the cloud", "×", COPIES, copies, judged=self.judged))
        return found

    def tables(self) -> Iterator[Table | str]:
        """Each scene, and the medians."""
        columns = ("first", "last", "copies", "wire", "from the LAN", "cloud, least", "cloud, most")
        table = empty_table("A file that is in the cloud only", ("", "run"), columns)
        for name, group in self.by_name().items():
            for scene in group:
                table.add_row(name if scene is group[0] else "", str(scene.run), *_cells(scene))
            if len(group) > 1:
                copies = [scene.copies for scene in group]
                last = time_text(statistics.median(max(scene.seconds) for scene in group))
                told = f"{statistics.median(copies):.3f} ({min(copies):.3f}–{max(copies):.3f})"
                table.add_row("", "median", "", last, told)
            table.add_section()
        yield table
        yield NOTES

    def as_json(self) -> Mapping[str, Any]:
        """Everything."""
        return {
            "settings": dict(self.settings),
            "full_scale": self.judged,
            "scenes": [_scene(scene) for scene in self.scenes],
            "summary": [_summary(name, group) for name, group in self.by_name().items()],
        }


def _scene(scene: Scene) -> dict[str, Any]:
    shares = {"copies": scene.copies, "wire_copies": scene.wire_copies, "lan_percent": scene.lan_percent}
    return asdict(scene) | shares


def _summary(name: str, group: list[Scene]) -> dict[str, Any]:
    copies = [scene.copies for scene in group]
    return {
        "name": name,
        "last": statistics.median(max(scene.seconds) for scene in group),
        "copies": statistics.median(copies),
        "least": min(copies),
        "most": max(copies),
        "lan_percent": statistics.median(scene.lan_percent for scene in group),
    }


def _cells(scene: Scene) -> Iterator[str]:
    yield time_text(min(scene.seconds))
    yield time_text(max(scene.seconds))
    yield f"{scene.copies:.3f}"
    yield f"{scene.wire_copies:.3f}"
    yield f"{scene.lan_percent:.1f} %"
    cloud = [each.cloud_in for each in scene.taken]
    yield sized(min(cloud))
    yield sized(max(cloud))
