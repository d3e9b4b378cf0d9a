"""What people see."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.failures import tail
from bench.lan.facts import BUSY, Facts
from bench.lan.report import machine_line, time_text
from bench.tables import empty_table, expectations
from bench.tracker.figures import Measure, Summary
from bench.tracker.outcome import Outcome
from bench.tracker.session import Plan

NOTES = """\
floor: the same asked of the database or the storage itself, by the client, in the same run. of floor: the tracker's
rate by that. median, p99: of requests, one at a time on each connection; of notices, from sending the commit until a
watcher has it. last: until the last watcher has it, median. busy: CPU seconds a second, of all threads or processes;
each: CPU for one commit, one row, one MB, one notice.
"""


class Printer:
    """Where people look."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self._console = console

    def say(self, text: str, style: str = "") -> None:
        """A line as it is."""
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def beginning(self, facts: Facts, plan: Plan, left_out: Mapping[str, str]) -> None:
        """The machine, and what will be done."""
        self.say(machine_line(facts), "bold")
        if facts.busy:
            self.say(
                f"warning: load average {facts.load:.2f} at the start, more than {BUSY:g}: figures mean little", "red"
            )
        if plan.profile is not None:
            self.say("py-spy is looking on: the tracker is slower than it would be by itself", "red")
        for pair in plan.pairs:
            self.say(f"{pair.name:12} {pair.what}")
        for name, why in left_out.items():
            self.say(f"{name:12} left out: {why}")
        for work in plan.works:
            self.say(f"{work.name:12} {work.what(plan.sizes)}")

    def logs(self, logs: Iterable[Path]) -> None:
        """The ends of logs that may explain a failure."""
        for log in logs:
            self.say(f"the end of {log.name}:", "bold")
            for line in tail(log):
                self.say(f"  {line}")

    def measured(self, measure: Measure) -> None:
        """A line for each measure."""
        value = f"{number(measure.value)} {measure.unit}"
        self.say(f"run {measure.run}  {measure.pair:12} {measure.figure:8} {measure.who:8} {value:>18}")

    def end(self, outcome: Outcome) -> None:
        """The tables, and what went wrong."""
        summaries, verdicts = outcome.summaries, outcome.verdicts
        for name, says in outcome.grounds.items():
            self.say(f"{name:12} {'; '.join(says)}")
        if summaries:
            self._console.print(_figures(summaries), NOTES, _processes(summaries), sep="\n")
        if verdicts:
            self._console.print(expectations("What is expected of one process", verdicts))
        if outcome.failure is not None:
            self.say(f"the measurement failed: {outcome.failure}", "bold red")


def _figures(summaries: Sequence[Summary]) -> Table:
    columns = ("", "figure", "least", "most", "of floor", "median", "p99", "last")
    table = empty_table("What one tracker process does", ("", "", ""), columns)
    for figure in dict.fromkeys(summary.figure for summary in summaries):
        rows = [summary for summary in summaries if summary.figure == figure]
        for row in rows:
            first = figure if row is rows[0] else ""
            table.add_row(first, row.pair, row.who, *_figure_cells(row), end_section=row is rows[-1])
    return table


def _figure_cells(row: Summary) -> Iterator[str]:
    yield row.unit
    yield from (number(value) for value in (row.value, row.least, row.most))
    yield "" if row.of_floor is None else f"{row.of_floor:.2f}"
    for seconds in (row.median_seconds, row.p99_seconds, row.last_seconds):
        yield "" if seconds is None else time_text(seconds)


def _processes(summaries: Sequence[Summary]) -> Table:
    names = list(dict.fromkeys(name for summary in summaries for name in summary.busy))
    table = empty_table("CPU of each process: busy, each", ("", "", ""), names)
    for row in summaries:
        table.add_row(row.figure, row.pair, row.who, *(_process_cell(row, name) for name in names))
    return table


def _process_cell(row: Summary, name: str) -> str:
    return f"{row.busy[name]:.2f} {row.cpu_each[name] * 10**6:>8,.0f} µs" if name in row.busy else ""


def number(value: float) -> str:
    """Whole, unless it is small."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
