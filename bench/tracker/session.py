"""The whole measurement: each pair in its turn, from nothing and alone on the machine, does all works."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter

import trio

from bench.failures import BenchFailed, failure_of
from bench.lan.clock import flush
from bench.lan.order import interleaved
from bench.lan.profiling import profiling
from bench.programs import Programs, programs, watched
from bench.tracker.figures import Measure
from bench.tracker.pairs import Pair, Stand, standing
from bench.tracker.prepared import Sizes
from bench.tracker.works.base import TRACKER, Task, Work


@dataclass(frozen=True)
class Plan:
    """What to measure; `profile` is a folder for profiles of the tracker."""

    pairs: tuple[Pair, ...]
    works: tuple[Work, ...]
    runs: int
    sizes: Sizes
    profile: Path | None = None


class Session:
    """One measurement, below an empty folder."""

    def __init__(self, plan: Plan, place: Path, told: Callable[[Measure], None]) -> None:
        """`told` gets each measure."""
        self._plan = plan
        self._place = place
        self._told = told
        self.grounds: dict[str, tuple[str, str]] = {}
        """What each pair's database and storage were, as soon as it was started."""

    async def run(self) -> None:
        """`BenchFailed` at the first thing that goes wrong."""
        for run, pair in interleaved(self._plan.pairs, self._plan.runs):
            place = self._place / f"{pair.name}-{run}"
            failure = await failure_of(partial(self._turn, run, pair, place))
            if failure is not None:
                logs = failure.logs if isinstance(failure, BenchFailed) else ()
                raise BenchFailed(f"{pair.name}, run {run}: {failure}", *logs)

    async def _turn(self, run: int, pair: Pair, place: Path) -> None:
        place.mkdir()
        async with programs(place / "logs") as running, standing(pair, place, running) as stand, watched(running):
            self.grounds[pair.name] = (stand.database.says, stand.storage.says)
            for work in self._plan.works:
                async for task in _tasks(work, stand, run, self._plan.sizes):
                    await trio.to_thread.run_sync(flush, place)
                    async with self._profile(run, pair, task, stand, running):
                        self._told(await _measure(run, pair, task, stand, self._plan.sizes))

    def _profile(
        self, run: int, pair: Pair, task: Task, stand: Stand, running: Programs
    ) -> AbstractAsyncContextManager[None]:
        if self._plan.profile is None or task.who != TRACKER:
            return nullcontext()
        return profiling(running, self._plan.profile, f"{pair.name}-{task.figure}-{run}", stand.daemons, gil=True)


async def _tasks(work: Work, stand: Stand, run: int, sizes: Sizes) -> AsyncIterator[Task]:
    """Its tasks; what a work does in between happens in a thread, too."""
    tasks: Iterator[Task] = work.tasks(stand, run, sizes)
    while (task := await trio.to_thread.run_sync(next, tasks, None, abandon_on_cancel=True)) is not None:
        yield task


async def _measure(run: int, pair: Pair, task: Task, stand: Stand, sizes: Sizes) -> Measure:
    for process in stand.processes.values():
        process.reset()
    began = perf_counter()
    latencies: Sequence[float] = await trio.to_thread.run_sync(task.run, abandon_on_cancel=True)
    seconds = perf_counter() - began
    usage = {name: await process.used() for name, process in stand.processes.items()}
    return Measure(
        figure=task.figure,
        pair=pair.name,
        who=task.who,
        run=run,
        unit=task.unit,
        amount=task.amount,
        seconds=seconds,
        latencies=tuple(latencies),
        lasts=_lasts(latencies, sizes.watchers) if task.unit == "ms" else (),
        usage=usage,
    )


def _lasts(latencies: Sequence[float], watchers: int) -> tuple[float, ...]:
    """Of each notice the greatest; they come notice by notice."""
    return tuple(max(latencies[first : first + watchers]) for first in range(0, len(latencies), watchers))
