"""What was measured, and what follows from it. Times in seconds; rates in what their unit says."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.lan.figures import percentile
from bench.lan.usage import Usage
from bench.tracker.works.base import FLOOR, TRACKER


@dataclass(frozen=True)
class Measure:
    """One figure of one pair in one run. `amount` is how much was done, in what the unit counts a second."""

    figure: str
    pair: str
    who: str
    run: int
    unit: str
    amount: float
    seconds: float
    latencies: tuple[float, ...]  # of each request, or until each watcher had each notice
    lasts: tuple[float, ...]  # of each notice, until the last watcher had it
    usage: Mapping[str, Usage]

    @property
    def value(self) -> float:
        """A rate; for notices, the median in milliseconds."""
        return statistics.median(self.latencies) * 1000 if self.unit == "ms" else self.amount / self.seconds


@dataclass(frozen=True)
class Summary:
    """All runs of one figure of one pair: medians, where nothing else is said."""

    figure: str
    pair: str
    who: str
    unit: str
    value: float
    least: float
    most: float
    of_floor: float | None  # this value by that of the floor
    median_seconds: float | None  # of requests, or notices
    p99_seconds: float | None
    last_seconds: float | None
    busy: Mapping[str, float]  # CPU seconds of each process in a second: 1 is a core
    cpu_each: Mapping[str, float]  # CPU seconds of each process for one commit, row, MB or notice


def summarise(measures: Sequence[Measure]) -> list[Summary]:
    """A summary for each figure, pair and who; figures in the order of their first measures."""
    groups: dict[tuple[str, str, str], list[Measure]] = {}
    for measure in measures:
        groups.setdefault((measure.figure, measure.pair, measure.who), []).append(measure)
    values = {key: statistics.median(measure.value for measure in group) for key, group in groups.items()}
    figures = list(dict.fromkeys(figure for figure, _, _ in groups))
    return [_summary(group, values) for figure in figures for key, group in groups.items() if key[0] == figure]


def _summary(group: Sequence[Measure], values: Mapping[tuple[str, str, str], float]) -> Summary:
    first = group[0]
    value = values[first.figure, first.pair, first.who]
    floor = values.get((first.figure, first.pair, FLOOR)) if first.who == TRACKER else None
    latencies = [seconds for measure in group for seconds in measure.latencies]
    lasts = [seconds for measure in group for seconds in measure.lasts]
    return Summary(
        figure=first.figure,
        pair=first.pair,
        who=first.who,
        unit=first.unit,
        value=value,
        least=min(measure.value for measure in group),
        most=max(measure.value for measure in group),
        of_floor=None if floor is None else value / floor,
        median_seconds=statistics.median(latencies) if latencies else None,
        p99_seconds=percentile(latencies, 99) if latencies else None,
        last_seconds=statistics.median(lasts) if lasts else None,
        busy={
            name: statistics.median(measure.usage[name].cpu_seconds / measure.seconds for measure in group)
            for name in first.usage
        },
        cpu_each={
            name: statistics.median(measure.usage[name].cpu_seconds / measure.amount for measure in group)
            for name in first.usage
        },
    )
