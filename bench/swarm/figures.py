"""What was measured of a swarm, and what is expected of it. Times in seconds, sizes in bytes."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.lan.report import time_text
from bench.measuring import Found, at_most
from bench.sampling import Sample
from bench.tables import empty_table
from bench.verdicts import Verdict
from bench.words import sized

TIMES, COPIES = 2.0, 1.5
"""Expected at most: the last receiver's time by that of a receiver alone; what the origin sends by the size."""
NOTES = """\
Until the file is in place and fsynced on a receiver, from when its writer has closed it. copies: what the origin sent
to the LAN by its own count (lan_out), by the size of the file; wire: what its network interface sent, without what went
up to the tracker. LAN, cloud: where the bytes came from, at the receiver that took most from the cloud.
"""


@dataclass(frozen=True)
class Received:
    """Where one receiver's bytes came from, by its own counters."""

    name: str
    lan: int
    cloud: int


@dataclass(frozen=True)
class Moment:
    """Bytes since the file was saved, all devices together."""

    seconds: float
    from_origin: int
    from_receivers: int
    from_cloud: int
    to_cloud: int


@dataclass(frozen=True)
class Round:
    """One file on its way to all receivers. `seconds` until each has it."""

    run: int
    size: int
    writing: float
    seconds: tuple[float, ...]
    origin_lan_out: int  # by its own count
    origin_sent: int  # by its network interface
    uplink_sent: int  # of all devices together, to the tracker
    received: tuple[Received, ...]
    moments: tuple[Moment, ...]

    @property
    def receivers(self) -> int:
        return len(self.seconds)

    @property
    def last(self) -> float:
        """Until the last has it."""
        return max(self.seconds)

    @property
    def copies(self) -> float:
        """That the origin sent, by its own count."""
        return self.origin_lan_out / self.size

    @property
    def wire_copies(self) -> float:
        """The same by its interface, headers included. What went up counts as the origin's, which it nearly all is."""
        return (self.origin_sent - self.uplink_sent) / self.size


def moments(samples: Sequence[Sample], origin: str, saved: float) -> tuple[Moment, ...]:
    """The devices' counters by where bytes come from."""
    return tuple(_moment(sample, origin, sample.at - saved) for sample in samples)


def _moment(sample: Sample, origin: str, seconds: float) -> Moment:
    def total(counter: str) -> int:
        return sum(counters[counter] for name, counters in sample.moved.items() if name != origin)

    own = sample.moved[origin]
    return Moment(seconds, own["lan_out"], total("lan_out"), total("cloud_in"), own["cloud_out"] + total("cloud_out"))


@dataclass
class Swarm(Found):
    """All rounds so far. `judged`: whether the size and the links are those that the expectations are for."""

    receivers: int
    judged: bool
    settings: Mapping[str, Any]
    rounds: list[Round] = field(default_factory=list)

    def of(self, receivers: int) -> list[Round]:
        """Those with so many receivers."""
        return [round_ for round_ in self.rounds if round_.receivers == receivers]

    def verdicts(self) -> list[Verdict]:
        """Medians of all runs."""
        all_, alone = self.of(self.receivers), self.of(1)
        if not all_ or self.receivers == 1:
            return []
        last = statistics.median(round_.last for round_ in all_)
        one = statistics.median(round_.last for round_ in alone)
        copies = statistics.median(round_.copies for round_ in all_)
        return [
            at_most("the last receiver's time, by that of one alone", "×", TIMES, last / one, judged=self.judged),
            at_most("copies that the origin sends", "×", COPIES, copies, judged=self.judged),
        ]

    def tables(self) -> Iterator[Table | str]:
        """Each round, and the medians; each receiver of the newest round."""
        yield rounds_table(self.rounds)
        yield NOTES
        if self.rounds:
            yield receivers_table(self.rounds[-1])

    def as_json(self) -> Mapping[str, Any]:
        """Everything."""
        return {
            "settings": dict(self.settings),
            "full_scale": self.judged,
            "rounds": [_round(round_) for round_ in self.rounds],
            "summary": [
                _summary(self.of(receivers)) for receivers in sorted({1, self.receivers}) if self.of(receivers)
            ],
        }

    def draw(self, file: Path) -> None:
        """See `bench.swarm.plot`."""
        from bench.swarm.plot import draw

        draw(self, file)


def _round(round_: Round) -> dict[str, Any]:
    more = {"last": round_.last, "copies": round_.copies, "wire_copies": round_.wire_copies}
    return asdict(round_) | {"receivers": round_.receivers} | more


def _summary(rounds: Sequence[Round]) -> dict[str, Any]:
    lasts = [round_.last for round_ in rounds]
    return {
        "receivers": rounds[0].receivers,
        "first": statistics.median(min(round_.seconds) for round_ in rounds),
        "last": statistics.median(lasts),
        "least": min(lasts),
        "most": max(lasts),
        "copies": statistics.median(round_.copies for round_ in rounds),
        "wire_copies": statistics.median(round_.wire_copies for round_ in rounds),
        "from_cloud": statistics.median(sum(each.cloud for each in round_.received) for round_ in rounds),
    }


_COLUMNS = ("writing", "first", "median", "last", "copies", "wire", "LAN", "cloud")


def rounds_table(rounds: Sequence[Round]) -> Table:
    """A line for each round, and one for the medians."""
    table = empty_table("Until it is in place and fsynced", ("receivers", "run"), _COLUMNS)
    for receivers in sorted({round_.receivers for round_ in rounds}):
        group = [round_ for round_ in rounds if round_.receivers == receivers]
        for round_ in group:
            table.add_row(str(receivers), str(round_.run), *cells(round_), end_section=round_ is group[-1])
        if len(group) > 1:
            told = _summary(group)
            spread = f"{time_text(told['last'])} ({told['least']:.1f}–{told['most']:.1f})"
            middle = (f"{told['copies']:.2f}", f"{told['wire_copies']:.2f}")
            table.add_row("", "median", "", time_text(told["first"]), "", spread, *middle, "", "", end_section=True)
    return table


def cells(round_: Round) -> Iterator[str]:
    """The figures of one round."""
    times = (round_.writing, min(round_.seconds), statistics.median(round_.seconds), round_.last)
    yield from (time_text(seconds) for seconds in times)
    yield f"{round_.copies:.2f}"
    yield f"{round_.wire_copies:.2f}"
    most = max(round_.received, key=lambda each: each.cloud)
    yield sized(most.lan)
    yield sized(most.cloud)


def receivers_table(round_: Round) -> Table:
    """Where the bytes of each came from."""
    table = empty_table(f"Each receiver, run {round_.run}", ("",), ("after", "LAN", "cloud"))
    for received, seconds in zip(round_.received, round_.seconds, strict=True):
        table.add_row(received.name, time_text(seconds), sized(received.lan), sized(received.cloud))
    return table
