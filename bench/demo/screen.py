"""What the demo shows: a line and a bar for each device while a phase runs, then a table.

On a terminal the lines move; anywhere else, one line is printed every few seconds.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import trio
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.failures import tail
from bench.parts import Status
from bench.words import sized

PLAIN_SECONDS = 5.0
"""Between two lines where there is no terminal."""


@dataclass(frozen=True)
class Row:
    """What one phase did."""

    title: str
    files: int
    bytes: int
    seconds: float
    cloud_out: int  # bytes that devices sent to the cloud
    cloud_in: int  # bytes that devices had from the cloud
    lan: int  # bytes that devices had from one another


class Screen:
    """Where people look."""

    def __init__(self, console: Console) -> None:
        """Print to `console`."""
        self.console = console

    def say(self, text: str, style: str = "") -> None:
        """A line that stays."""
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def logs(self, logs: Iterable[Path]) -> None:
        """The ends of logs that may explain a failure."""
        for log in logs:
            self.say(f"the end of {log}:", "bold")
            for line in tail(log):
                self.say(f"  {line}")

    @contextmanager
    def busy(self, what: str) -> Iterator[None]:
        """Show that something goes on, where a line can be taken back."""
        if self.console.is_terminal:
            with self.console.status(what):
                yield
        else:
            yield

    @contextmanager
    def phase(self, title: str, expected: int) -> Iterator["Phase"]:
        """Show how `expected` bytes travel, for as long as the block lasts."""
        self.say(title, "bold")
        phase = Live(self.console, expected) if self.console.is_terminal else Plain(self)
        with phase:
            yield phase

    def table(self, rows: Sequence[Row]) -> None:
        """The end."""
        table = Table(
            box=box.SIMPLE_HEAD,
            title="\nWhere the bytes came from",
            title_justify="left",
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        table.add_column("", no_wrap=True, min_width=17)
        for name in ("files", "size", "seconds", "to cloud", "from cloud", "LAN"):
            table.add_column(name, justify="right", no_wrap=True)
        for row in rows:
            moved = (sized(count) for count in (row.cloud_out, row.cloud_in, row.lan))
            table.add_row(row.title, f"{row.files:,}", sized(row.bytes), f"{row.seconds:.1f}", *moved)
        self.console.print(table)


class Phase:
    """One phase on the screen, as a context manager."""

    def show(self, name: str, status: Status, moved: int) -> None:
        """How far a device is; `moved` is the bytes of this phase that it has sent or had."""

    def __enter__(self) -> "Phase":
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Live(Phase):
    """A bar for each device."""

    def __init__(self, console: Console, expected: int) -> None:
        self._progress = Progress(
            TextColumn("  {task.description:8}", markup=False),
            BarColumn(24),
            TextColumn("{task.fields[moved]:>9}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[status]}", markup=False),
            console=console,
            transient=True,
        )
        self._expected = expected
        self._tasks: dict[str, TaskID] = {}

    def show(self, name: str, status: Status, moved: int) -> None:
        total = max(self._expected, moved, 1)
        completed = total if status.done and moved else moved
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, moved="", status="")
        self._progress.update(
            self._tasks[name], completed=completed, total=total, moved=sized(moved), status=str(status)
        )

    def __enter__(self) -> Phase:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


class Plain(Phase):
    """A line now and then."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._next: dict[str, float] = {}

    def show(self, name: str, status: Status, moved: int) -> None:
        now = trio.current_time()
        if now >= self._next.setdefault(name, now + PLAIN_SECONDS):
            self._next[name] = now + PLAIN_SECONDS
            self._screen.say(f"  {name:8} {sized(moved):>9}  {status}")
