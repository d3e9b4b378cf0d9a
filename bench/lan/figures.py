"""What was measured, and what follows from it. Times in seconds, sizes in bytes."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.lan.usage import Usage

ANCHOR, FLOOR = "syncthing", "cp"
"""Rivals that the others are compared with."""


@dataclass(frozen=True)
class Measure:
    """One work by one rival in one run."""

    work: str
    rival: str
    run: int
    seconds: tuple[float, ...]  # of each save: until in place and durable on the receiver
    writing_seconds: tuple[float, ...]  # of each save: the program's own, before the clock starts
    settling_seconds: float  # after the last of them, until everything is at rest; for Shoal: in the cloud
    usage: Mapping[str, Usage]  # by process, until the clock stopped for the last time
    settled_usage: Mapping[str, Usage]  # until at rest
    counters: Mapping[str, int]  # bytes that the rival itself counts, until at rest
    moved: int  # those of them that reached the receiver

    @property
    def cpu_seconds(self) -> float:
        """Of all processes, until the clock stopped."""
        return sum(usage.cpu_seconds for usage in self.usage.values())

    @property
    def peak_bytes(self) -> int:
        """Of the process that had most, until at rest."""
        return max(usage.peak_bytes for usage in self.settled_usage.values())


@dataclass(frozen=True)
class Summary:
    """All runs of one work by one rival: medians, where nothing else is said."""

    work: str
    rival: str
    saves: int
    writing: float
    median: float
    least: float
    most: float
    p99: float
    settling: float
    cpu_seconds: float
    peak_bytes: int  # the highest
    moved: int
    counters: Mapping[str, int]
    usage: Mapping[str, Usage]  # until the clock stopped; of peaks the highest, until at rest
    times_faster: float | None  # than Syncthing: its median by this one
    times_floor: float | None  # this median by that of cp and fsync


def percentile(values: Sequence[float], percent: int) -> float:
    """By nearest rank: the least value that so many percent of all are no greater than."""
    return sorted(values)[max(1, math.ceil(len(values) * percent / 100)) - 1]


def summarise(measures: Sequence[Measure]) -> list[Summary]:
    """A summary for each work and rival, in the order of their first measures."""
    groups: dict[tuple[str, str], list[Measure]] = {}
    for measure in measures:
        groups.setdefault((measure.work, measure.rival), []).append(measure)
    medians = {key: statistics.median(_seconds(group)) for key, group in groups.items()}
    works = list(dict.fromkeys(work for work, _ in groups))
    return [_summary(group, medians) for work in works for key, group in groups.items() if key[0] == work]


def _summary(group: Sequence[Measure], medians: Mapping[tuple[str, str], float]) -> Summary:
    first, seconds = group[0], _seconds(group)
    own, anchor, floor = (medians.get((first.work, rival)) for rival in (first.rival, ANCHOR, FLOOR))
    assert own is not None
    return Summary(
        work=first.work,
        rival=first.rival,
        saves=len(seconds),
        writing=statistics.median(writing for measure in group for writing in measure.writing_seconds),
        median=own,
        least=min(seconds),
        most=max(seconds),
        p99=percentile(seconds, 99),
        settling=statistics.median(measure.settling_seconds for measure in group),
        cpu_seconds=statistics.median(measure.cpu_seconds for measure in group),
        peak_bytes=max(measure.peak_bytes for measure in group),
        moved=round(statistics.median(measure.moved for measure in group)),
        counters={
            name: round(statistics.median(measure.counters[name] for measure in group)) for name in first.counters
        },
        usage={name: _usage(name, group) for name in first.usage},
        times_faster=None if anchor is None else anchor / own,
        times_floor=None if floor is None else own / floor,
    )


def _seconds(group: Sequence[Measure]) -> list[float]:
    return [seconds for measure in group for seconds in measure.seconds]


def _usage(process: str, group: Sequence[Measure]) -> Usage:
    return Usage(
        statistics.median(measure.usage[process].cpu_seconds for measure in group),
        max(measure.settled_usage[process].peak_bytes for measure in group),
    )
