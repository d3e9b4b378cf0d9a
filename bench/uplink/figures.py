"""What was measured with an uplink and without a limit, and what is expected. Times in seconds, sizes in bytes."""

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

LIMITED, FREE = "limited", "no limit"
TIMES = 1.5
"""Expected at most: the time with the uplink by that without a limit."""
NOTES = """\
on the peer: until the file is in place and fsynced there, from when its writer has closed it. in the cloud: until all
is said to be there. small: a file of 1 KiB until in place and fsynced on the peer, median (most); at rest, and while
the large one goes up. under way: whether it still did when the last of those had come. LAN, cloud: where the peer's
bytes came from.
"""


@dataclass(frozen=True)
class Moment:
    """Bytes since the file was saved."""

    seconds: float
    on_peer: int
    in_cloud: int


@dataclass(frozen=True)
class Turn:
    """One large file with one kind of uplink, and small files before and meanwhile."""

    run: int
    uplink: str
    size: int
    writing: float
    seconds: float
    small_at_rest: tuple[float, ...]
    small_meanwhile: tuple[float, ...]
    under_way: bool
    durable_seconds: float
    from_lan: int
    from_cloud: int
    moments: tuple[Moment, ...]


def moments(samples: Sequence[Sample], author: str, peer: str, saved: float) -> tuple[Moment, ...]:
    """What the devices' counters say."""

    def moment(sample: Sample) -> Moment:
        got = sample.moved[peer]
        return Moment(sample.at - saved, got["lan_in"] + got["cloud_in"], sample.moved[author]["cloud_out"])

    return tuple(map(moment, samples))


@dataclass
class Uplink(Found):
    """All turns so far. `judged`: whether the size and the links are those that the expectation is for."""

    judged: bool
    settings: Mapping[str, Any]
    turns: list[Turn] = field(default_factory=list)

    def of(self, uplink: str) -> list[Turn]:
        """Those with this kind of uplink."""
        return [turn for turn in self.turns if turn.uplink == uplink]

    def verdicts(self) -> list[Verdict]:
        """The ratio of the medians."""
        limited, free = self.of(LIMITED), self.of(FREE)
        if not limited or not free:
            return []
        ratio = _median(limited) / _median(free)
        return [at_most("the time with the uplink, by that without a limit", "×", TIMES, ratio, judged=self.judged)]

    def tables(self) -> Iterator[Table | str]:
        """Each turn, and the medians."""
        columns = ("writing", "on the peer", "in the cloud", "small at rest", "small then", "under way", "LAN", "cloud")
        table = empty_table("A large file with and without a limit of the uplink", ("uplink", "run"), columns)
        for uplink in (LIMITED, FREE):
            group = self.of(uplink)
            for turn in group:
                table.add_row(uplink if turn is group[0] else "", str(turn.run), *_cells(turn))
            if len(group) > 1:
                times = [turn.seconds for turn in group]
                told = f"{time_text(_median(group))} ({min(times):.2f}–{max(times):.2f})"
                table.add_row("", "median", "", told)
            table.add_section()
        yield table
        yield NOTES

    def as_json(self) -> Mapping[str, Any]:
        """Everything."""
        return {
            "settings": dict(self.settings),
            "full_scale": self.judged,
            "turns": [asdict(turn) for turn in self.turns],
            "summary": [_summary(uplink, group) for uplink in (LIMITED, FREE) if (group := self.of(uplink))],
        }

    def draw(self, file: Path) -> None:
        """See `bench.uplink.plot`."""
        from bench.uplink.plot import draw

        draw(self, file)


def _median(group: Sequence[Turn]) -> float:
    return statistics.median(turn.seconds for turn in group)


def _summary(uplink: str, group: Sequence[Turn]) -> dict[str, Any]:
    times = [turn.seconds for turn in group]
    return {
        "uplink": uplink,
        "median": _median(group),
        "least": min(times),
        "most": max(times),
        "durable": statistics.median(turn.durable_seconds for turn in group),
        "small_at_rest": statistics.median(seconds for turn in group for seconds in turn.small_at_rest),
        "small_meanwhile": statistics.median(seconds for turn in group for seconds in turn.small_meanwhile),
    }


def _cells(turn: Turn) -> Iterator[str]:
    yield from (time_text(seconds) for seconds in (turn.writing, turn.seconds, turn.durable_seconds))
    for times in (turn.small_at_rest, turn.small_meanwhile):
        yield f"{time_text(statistics.median(times))} ({time_text(max(times))})"
    yield "yes" if turn.under_way else "no"
    yield sized(turn.from_lan)
    yield sized(turn.from_cloud)
