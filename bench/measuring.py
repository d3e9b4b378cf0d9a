"""What all measurements on a network of their own have in common: from the first line that is said to the exit code."""

import json
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.failures import BenchFailed, failure_of, tail
from bench.interrupts import until_signal
from bench.lan.facts import BUSY, Facts, look
from bench.lan.report import machine_line
from bench.machine import check_machine
from bench.plots import check_plots
from bench.tables import expectations
from bench.verdicts import Verdict, Word

_WIDTH = 140
Say = Callable[..., None]


class Found(ABC):
    """What a measurement has come to so far."""

    facts: Facts
    failure: str | None = None

    @abstractmethod
    def verdicts(self) -> list[Verdict]:
        """On what was measured."""

    @abstractmethod
    def tables(self) -> Iterator[Table | str]:
        """For people."""

    @abstractmethod
    def as_json(self) -> Mapping[str, Any]:
        """Everything as plain values; times in seconds, sizes in bytes."""

    def draw(self, file: Path) -> None:
        """A picture of it."""
        raise NotImplementedError

    @property
    def is_well(self) -> bool:
        """Whether all was measured and nothing that is expected is missed."""
        return self.failure is None and all(verdict.word != "RED" for verdict in self.verdicts())


@dataclass(frozen=True)
class Plan:
    """How to measure. `check` tells by `BenchFailed` when it can't be done here; `need` is bytes of disk, `socket` the
    longest path of one; `work` fills what is found, below an empty folder; it is told how to say something."""

    says: Sequence[str]
    check: Callable[[], None]
    need: int
    socket: str
    work: Callable[[Path, Say], Awaitable[None]]
    json_file: Path | None = None
    plot_file: Path | None = None


async def conduct(plan: Plan, found: Found) -> int:
    """Measure until the end or a signal; the exit code. Ends what it started and removes what it made."""
    console = Console(width=_WIDTH)

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    async def attempt() -> int:
        return await _attempt(plan, found, console, say)

    code = await until_signal(attempt, say)
    if code > 128:
        say("everything is stopped and removed", "bold")
    return code


async def _attempt(plan: Plan, found: Found, console: Console, say: Say) -> int:
    """What was measured before something went wrong is shown and written as well."""
    try:
        _check_files(plan)
        plan.check()
        check_machine(plan.need, plan.socket)
        found.facts = look(Path(tempfile.gettempdir()))
    except BenchFailed as error:
        say(f"the measurement can't begin: {error}", "bold red")
        return 1
    say(f"shoal {version('shoal')}; {machine_line(found.facts)}", "bold")
    if found.facts.busy:
        say(
            f"warning: load average {found.facts.load:.2f} at the start, more than {BUSY:g}: figures mean little", "red"
        )
    for line in plan.says:
        say(line)
    failure = await failure_of(lambda: _in_a_place(plan.work, say))
    found.failure = None if failure is None else str(failure)
    _report(plan, found, console, say)
    return 0 if found.is_well else 1


def _check_files(plan: Plan) -> None:
    """Before anything is measured: it would be lost."""
    for file in (plan.json_file, plan.plot_file):
        if file is not None and not file.parent.is_dir():
            raise BenchFailed(f"there is no folder {file.parent} for {file.name}")
    if plan.plot_file is not None:
        check_plots()


def _report(plan: Plan, found: Found, console: Console, say: Say) -> None:
    if plan.json_file is not None:
        plan.json_file.write_text(json.dumps(_json(found), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for table in found.tables():
        console.print(table)
    if verdicts := found.verdicts():
        console.print(expectations("What is expected of shoal", verdicts))
    if found.failure is not None:
        say(f"the measurement failed: {found.failure}", "bold red")
    elif plan.plot_file is not None:
        found.draw(plan.plot_file)


def _json(found: Found) -> dict[str, Any]:
    return {
        "shoal": version("shoal"),
        "machine": asdict(found.facts) | {"busy": found.facts.busy},
        **found.as_json(),
        "verdicts": [asdict(verdict) for verdict in found.verdicts()],
        "failure": found.failure,
    }


async def _in_a_place(work: Callable[[Path, Say], Awaitable[None]], say: Say) -> None:
    """In a temporary folder that is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="shoal-bench-"))
    try:
        failure = await failure_of(lambda: work(place, say))
        for log in failure.logs if isinstance(failure, BenchFailed) else ():
            say(f"the end of {log.name}:", "bold")
            for line in tail(log):
                say(f"  {line}")
        if failure is not None:
            raise failure
    finally:
        shutil.rmtree(place)


def at_most(what: str, unit: str, limit: float, value: float, *, judged: bool) -> Verdict:
    """An expectation; one that is not judged says only what was measured."""
    word: Word = "not judged" if not judged else "ok" if value <= limit else "RED"
    return Verdict(f"{what}, at most", unit, limit, value, word)


def at_least(what: str, unit: str, limit: float, value: float, *, judged: bool) -> Verdict:
    """The same the other way round."""
    word: Word = "not judged" if not judged else "ok" if value >= limit else "RED"
    return Verdict(f"{what}, at least", unit, limit, value, word)
