"""What was measured on the wire, and what is expected of it. Sizes in bytes."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.lan.verdicts import SUBJECT
from bench.measuring import Found, at_most
from bench.network.machine import Carried
from bench.tables import empty_table
from bench.traffic.updates import UPDATES, Update
from bench.verdicts import Verdict

NOTES = """\
Bytes at the network interface of each device, both ways, with all headers from Ethernet on; until it is at rest and a
second longer. most: at whichever device carries more. Of shoal, what goes to the tracker and comes from it is in it.
a byte: that by the bytes that a user has changed.
"""


@dataclass(frozen=True)
class Measure:
    """One update by one rival in one run; `payload` is how many bytes the user has changed."""

    update: str
    rival: str
    run: int
    payload: int
    seconds: float
    sender: Carried
    receiver: Carried

    @property
    def at_sender(self) -> int:
        """Both ways."""
        return self.sender.received + self.sender.sent

    @property
    def at_receiver(self) -> int:
        """Both ways."""
        return self.receiver.received + self.receiver.sent

    @property
    def most(self) -> int:
        """At whichever device carries more."""
        return max(self.at_sender, self.at_receiver)


@dataclass(frozen=True)
class Summary:
    """All runs of one update by one rival: medians."""

    update: str
    rival: str
    at_sender: float
    at_receiver: float
    most: float
    least_run: int
    most_run: int
    each: float | None  # bytes on the wire for a byte of the user's


def summarise(measures: Sequence[Measure]) -> list[Summary]:
    """One for each update and rival."""
    groups: dict[tuple[str, str], list[Measure]] = {}
    for measure in measures:
        groups.setdefault((measure.update, measure.rival), []).append(measure)
    return [_summary(group) for group in groups.values()]


def _summary(group: Sequence[Measure]) -> Summary:
    first, totals = group[0], [measure.most for measure in group]
    return Summary(
        update=first.update,
        rival=first.rival,
        at_sender=statistics.median(measure.at_sender for measure in group),
        at_receiver=statistics.median(measure.at_receiver for measure in group),
        most=statistics.median(totals),
        least_run=min(totals),
        most_run=max(totals),
        each=statistics.median(totals) / first.payload if first.payload else None,
    )


@dataclass
class Traffic(Found):
    """All measures so far. `judged`: whether the updates are as large as they should be."""

    judged: bool
    settings: Mapping[str, Any]
    rivals: Mapping[str, str]
    left_out: Mapping[str, str]
    measures: list[Measure] = field(default_factory=list)

    def verdicts(self) -> list[Verdict]:
        """On shoal's medians."""
        own = {summary.update: summary for summary in summarise(self.measures) if summary.rival == SUBJECT}
        return [
            _verdict(update, own[update.name], judged=self.judged)
            for update in UPDATES
            if update.name in own and update.limit is not None
        ]

    def tables(self) -> Iterator[Table | str]:
        """Each update, and who needs what for it."""
        columns = ("sender", "receiver", "most", "of all runs", "a byte")
        table = empty_table("Bytes on the wire", ("", ""), columns)
        summaries = summarise(self.measures)
        for update in UPDATES:
            rows = [summary for summary in summaries if summary.update == update.name]
            for row in rows:
                table.add_row(update.name if row is rows[0] else "", row.rival, *_cells(row))
            table.add_section()
        yield table
        yield NOTES

    def as_json(self) -> Mapping[str, Any]:
        """Everything."""
        return {
            "settings": dict(self.settings),
            "full_scale": self.judged,
            "rivals": dict(self.rivals),
            "left_out": dict(self.left_out),
            "measures": [_measure(measure) for measure in self.measures],
            "summary": [asdict(summary) for summary in summarise(self.measures)],
        }

    def draw(self, file: Path) -> None:
        """See `bench.traffic.plot`."""
        from bench.traffic.plot import draw

        draw(self, file)


def _verdict(update: Update, own: Summary, *, judged: bool) -> Verdict:
    assert update.limit is not None
    if not update.per_byte:
        return at_most(update.name, "bytes", update.limit, own.most, judged=judged)
    assert own.each is not None
    return at_most(f"{update.name}, for a byte appended", "B", update.limit, own.each, judged=judged)


def _measure(measure: Measure) -> dict[str, Any]:
    return asdict(measure) | {"most": measure.most}


def _cells(row: Summary) -> Iterator[str]:
    yield from (f"{count:,.0f}" for count in (row.at_sender, row.at_receiver, row.most))
    yield f"{row.least_run:,}–{row.most_run:,}"
    yield f"{row.each:,.1f}" if row.each is not None else ""
