"""The whole measurement: each rival in its turn does all works, alone on the machine and from nothing."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from bench.failures import BenchFailed, failure_of
from bench.lan.clock import Timed, flush, time_save, verify
from bench.lan.figures import Measure
from bench.lan.order import interleaved, to_do
from bench.lan.profiling import profiling
from bench.lan.rivals.base import LOOK_SECONDS, READY_SECONDS, Rival, Running
from bench.lan.usage import Daemon, Measured, Usage
from bench.lan.verdicts import SUBJECT
from bench.lan.works import MIB, Prepared, Sizes, Work, prepare, warm_up
from bench.programs import Programs, programs, watched

LARGE = MIB
"""Bytes of a file from which on it isn't kept after a turn."""


@dataclass(frozen=True)
class Plan:
    """What to measure. `works` are names, all if empty; `profile` is a folder for profiles of Shoal."""

    rivals: tuple[Rival, ...]
    runs: int
    works: tuple[str, ...]
    sizes: Sizes
    profile: Path | None = None


class Session:
    """One measurement, below an empty folder."""

    def __init__(self, plan: Plan, place: Path, told: Callable[[Measure, bool], None]) -> None:
        """`told` gets each measure, and whether it counts or only prepared for another."""
        self._plan = plan
        self._place = place
        self._told = told

    async def run(self) -> None:
        """`BenchFailed` at the first thing that goes wrong."""
        prepared = await trio.to_thread.run_sync(prepare, self._place, self._plan.sizes)
        for run, rival in interleaved(self._plan.rivals, self._plan.runs):
            place = self._place / rival.name
            failure = await failure_of(partial(self._turn, run, rival, place, prepared))
            if failure is not None:
                logs = failure.logs if isinstance(failure, BenchFailed) else ()
                raise BenchFailed(f"{rival.name}, run {run}: {failure}", *logs)
            await trio.to_thread.run_sync(_put_away, place, self._place / f"{rival.name}-{run}")

    async def _turn(self, run: int, rival: Rival, place: Path, prepared: Prepared) -> None:
        place.mkdir()
        async with programs(place / "logs") as running_programs:
            async with rival.start(place, running_programs) as running, watched(running_programs):
                await time_save(warm_up(), running.source, running.target, LOOK_SECONDS, running.saved, READY_SECONDS)
                for work, counts in to_do(self._plan.works):
                    async with self._profile(run, rival, work, running, running_programs):
                        measure = await _measure(run, rival, work, running, prepared)
                    self._told(measure, counts)

    def _profile(
        self, run: int, rival: Rival, work: Work, running: Running, running_programs: Programs
    ) -> AbstractAsyncContextManager[None]:
        if self._plan.profile is None or rival.name != SUBJECT:
            return nullcontext()
        pids = {name: process.pid for name, process in running.processes.items() if isinstance(process, Daemon)}
        return profiling(running_programs, self._plan.profile, f"{work.name}-{run}", pids)


async def _measure(run: int, rival: Rival, work: Work, running: Running, prepared: Prepared) -> Measure:
    """Do one work. It begins at rest, with nothing left to write, and ends at rest."""
    await running.settle()
    await trio.to_thread.run_sync(flush, running.source)
    before = await running.counters()
    for process in running.processes.values():
        process.reset()
    times: list[Timed] = []
    settling = 0.0
    usage: dict[str, Usage] = {}
    for save in work.saves(prepared, running.source):
        times.append(await time_save(save, running.source, running.target, work.look_seconds, running.saved))
        usage = await _used(running.processes)
        began = trio.current_time()
        await running.settle()
        settling = trio.current_time() - began
        await trio.to_thread.run_sync(verify, running.source, running.target, save.files)
    settled_usage = await _used(running.processes)
    counters = _difference(before, await running.counters())
    return Measure(
        work=work.name,
        rival=rival.name,
        run=run,
        seconds=tuple(timed.seconds for timed in times),
        writing_seconds=tuple(timed.writing for timed in times),
        settling_seconds=settling,
        usage=usage,
        settled_usage=settled_usage,
        counters=counters,
        moved=rival.moved(counters),
    )


def _put_away(place: Path, to: Path) -> None:
    """Make room for the next turn, but leave small files until the end: for minutes ext4 doesn't use the inode of a
    file that was removed, and steps over each of them when a file is made (`recently_deleted` in its ialloc.c). With
    ten thousand just removed, that takes thirty times as long."""
    for folder, _, names in os.walk(place):
        for name in names:
            file = Path(folder, name)
            if file.lstat().st_size > LARGE:
                file.unlink()
    place.rename(to)


async def _used(processes: Mapping[str, Measured]) -> dict[str, Usage]:
    return {name: await process.used() for name, process in processes.items()}


def _difference(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    return {name: after[name] - before[name] for name in after}
