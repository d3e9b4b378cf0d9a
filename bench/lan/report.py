"""What people see."""

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.failures import tail
from bench.lan.facts import BUSY, Facts
from bench.lan.figures import ANCHOR, FLOOR, Measure, Summary
from bench.lan.order import to_do
from bench.lan.outcome import Outcome
from bench.lan.session import Plan
from bench.tables import empty_table, expectations
from bench.words import sized

MB = 10**6
P99_SAVES = 20
"""A percentile of fewer says nothing."""
NOTES = f"""\
writing: what the program takes to write; the clock starts when it has closed its last file. median, least, most: from
then until everything is in place and fsynced on the receiver. faster: the median of {ANCHOR} by this one. floor: this
median by that of {FLOOR} and fsync. CPU: of all processes until then, median. peak: the process that had most memory.
moved: bytes to the receiver, as the rival itself counts, which unison doesn't; to cloud: from the sender. at rest: how
much longer until nothing is under way; for shoal, until all is in the cloud.
"""


class Printer:
    """Where people look."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self._console = console

    def say(self, text: str, style: str = "") -> None:
        """A line as it is."""
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def beginning(self, facts: Facts, plan: Plan, rivals: Mapping[str, str], left_out: Mapping[str, str]) -> None:
        """The machine, and what will be done."""
        self.say(machine_line(facts), "bold")
        if facts.busy:
            self.say(
                f"warning: load average {facts.load:.2f} at the start, more than {BUSY:g}: figures mean little", "red"
            )
        if facts.slow_files:
            slow = f"{facts.file_seconds * 1000:.2f} ms for a file of 4 KiB"
            self.say(f"warning: new files take {slow}: if many were just removed, wait some minutes", "red")
        if plan.profile is not None:
            self.say("py-spy is looking on: shoal is slower than it would be by itself", "red")
        for name, what in rivals.items():
            self.say(f"{name:10} {what}")
        for name, why in left_out.items():
            self.say(f"{name:10} left out: {why}")
        for work, _ in to_do(plan.works):
            self.say(f"{work.name:10} {work.what(plan.sizes)}")

    def logs(self, logs: Iterable[Path]) -> None:
        """The ends of logs that may explain a failure."""
        for log in logs:
            self.say(f"the end of {log.name}:", "bold")
            for line in tail(log):
                self.say(f"  {line}")

    def measured(self, measure: Measure, counts: bool) -> None:
        """A line for each work that is done."""
        median = statistics.median(measure.seconds)
        why = "" if counts else " (only to prepare for another work)"
        self.say(f"run {measure.run}  {measure.rival:10} {measure.work:8} {time_text(median):>9}{why}")

    def end(self, outcome: Outcome) -> None:
        """The tables, and what went wrong."""
        summaries, verdicts = outcome.summaries, outcome.verdicts
        if summaries:
            self._console.print(_times(summaries), NOTES, _processes(summaries), sep="\n")
        if verdicts:
            self._console.print(expectations("What is expected of shoal", verdicts))
        if outcome.failure is not None:
            self.say(f"the measurement failed: {outcome.failure}", "bold red")


def machine_line(facts: Facts) -> str:
    """The facts in one line."""
    parts = (
        f"{facts.cores} cores ({facts.processor})",
        f"{facts.memory_bytes / 2**30:.0f} GiB",
        f"Linux {facts.kernel}",
        facts.file_system,
        f"TCP {facts.congestion_control}",
        f"Python {facts.python}",
        f"load {facts.load:.2f}",
    )
    return ", ".join(parts)


_COLUMNS = (
    *("writing", "median", "least", "most", "p99", "faster", "floor"),
    *("CPU s", "peak", "moved", "to cloud", "at rest"),
)


def _times(summaries: Sequence[Summary]) -> Table:
    table = empty_table("Time until in place and fsynced on the receiver", ("", ""), _COLUMNS)
    for work in dict.fromkeys(summary.work for summary in summaries):
        rows = [summary for summary in summaries if summary.work == work]
        for row in rows:
            table.add_row(work if row is rows[0] else "", row.rival, *_time_cells(row), end_section=row is rows[-1])
    return table


def _time_cells(row: Summary) -> Iterator[str]:
    yield from (time_text(seconds) for seconds in (row.writing, row.median, row.least, row.most))
    yield time_text(row.p99) if row.saves >= P99_SAVES else ""
    for times in (row.times_faster, row.times_floor):
        yield "" if times is None else f"{times:.1f}×"
    yield f"{row.cpu_seconds:.2f}"
    yield memory_text(row.peak_bytes)
    yield sized(row.moved) if row.moved else ""
    yield sized(row.counters["cloud_out"]) if "cloud_out" in row.counters else ""
    yield time_text(row.settling)


def _processes(summaries: Sequence[Summary]) -> Table:
    works = list(dict.fromkeys(summary.work for summary in summaries))
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for summary in summaries:
        for process, usage in summary.usage.items():
            text = f"{usage.cpu_seconds:.2f} s {memory_text(usage.peak_bytes):>7}"
            cells.setdefault((summary.rival, process), {})[summary.work] = text
    table = empty_table("Each process: CPU until in place, peak memory until at rest", ("", ""), works)
    for (rival, process), texts in cells.items():
        table.add_row(rival, process, *(texts.get(work, "") for work in works))
    return table


def time_text(seconds: float) -> str:
    """Milliseconds below one second, which is where they matter."""
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def memory_text(count: int) -> str:
    """Megabytes; nothing where the peak is not known."""
    return f"{count / MB:.0f} MB" if count else ""
