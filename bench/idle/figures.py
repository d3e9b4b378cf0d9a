"""What was measured of a device with many files, and what is expected of it."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.lan.facts import Facts
from bench.verdicts import Verdict, Word
from peer.watcher import EVERYTHING

FILES = 100_000
SCAN_SECONDS, IDLE_PERCENT, RESIDENT_BYTES = 1.5, 0.5, 120_000_000
"""Expected at most, of FILES files."""


@dataclass(frozen=True)
class Start:
    """One start with nothing changed. `scan`: seconds that looking at the folder took, as the daemon says; `synced`:
    seconds from starting the program until it said that all is synced; `cpu`: its CPU seconds until then."""

    scan: float
    synced: float
    cpu: float
    peak_bytes: int


@dataclass(frozen=True)
class Rest:
    """A device at rest for `seconds`. `cpu`: its CPU seconds in that time; `look_cpu`: those of one look at everything,
    which it takes every `EVERYTHING` seconds."""

    seconds: float
    cpu: float
    look_cpu: float
    resident_bytes: int
    peak_bytes: int

    @property
    def percent(self) -> float:
        """Of one core, the looks included."""
        return 100 * (self.cpu / self.seconds + self.look_cpu / EVERYTHING)


@dataclass
class Found:
    """All of it."""

    facts: Facts
    files: int
    starts: list[Start] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    failure: str | None = None

    @property
    def verdicts(self) -> list[Verdict]:
        """On what was measured."""
        out = []
        if self.starts:
            scan = statistics.median(start.scan for start in self.starts)
            out.append(self._verdict("scan at the start, at most", "s", SCAN_SECONDS, scan))
        for rest in self.rests:
            out.append(self._verdict("CPU at rest, at most", "%", IDLE_PERCENT, rest.percent))
            out.append(self._verdict("memory at rest, at most", "bytes", RESIDENT_BYTES, rest.resident_bytes))
        return out

    def _verdict(self, what: str, unit: str, limit: float, value: float) -> Verdict:
        word: Word = "not judged" if self.files < FILES else "ok" if value <= limit else "RED"
        return Verdict(what, unit, limit, value, word)

    @property
    def is_well(self) -> bool:
        """Whether all was measured and nothing that is expected is missed."""
        return self.failure is None and all(verdict.word != "RED" for verdict in self.verdicts)


def as_json(found: Found) -> dict[str, Any]:
    """Everything as plain values; times in seconds, sizes in bytes."""
    return {
        "machine": asdict(found.facts) | {"busy": found.facts.busy},
        "files": found.files,
        "starts": [asdict(start) for start in found.starts],
        "rests": [asdict(rest) | {"percent": rest.percent} for rest in found.rests],
        "verdicts": [asdict(verdict) for verdict in found.verdicts],
        "failure": found.failure,
    }


def lines_of(starts: Sequence[Start], rests: Sequence[Rest]) -> list[str]:
    """What was measured, for people."""
    out = []
    for start in starts:
        peak = start.peak_bytes / 10**6
        out.append(f"scan {start.scan:.2f} s, synced after {start.synced:.2f} s, {start.cpu:.2f} s CPU, {peak:.0f} MB")
    for rest in rests:
        resident, peak = rest.resident_bytes / 10**6, rest.peak_bytes / 10**6
        out.append(
            f"{rest.percent:.3f} % CPU: {rest.cpu:.2f} s in {rest.seconds:.0f} s, and {rest.look_cpu:.2f} s for each "
            f"look at everything; {resident:.0f} MB resident, {peak:.0f} MB at most"
        )
    return out
