"""A whole simulation: the tracker, three devices, the people at them, and everything that goes wrong.

drama    people act, at times of their own and between any two system calls; connections, processes and disks fail
calm     nothing fails any more and hardly anybody acts; all has to come to rest within a bounded time
quiet    every folder is scanned anew and every connection made anew; nothing may be committed and no chunk may move
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import trio
from trio._core import _run as trio_core
from trio.testing import MockClock

from tests.simulation.accounts import DEVICES, EMAIL, engine_of, prepared
from tests.simulation.ambush import Ambushes
from tests.simulation.asking import SMALL
from tests.simulation.bait import check_bait, lay_bait
from tests.simulation.calm import Calm
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.drama import Drama
from tests.simulation.host import TrackerHost
from tests.simulation.log import EventLog, taking_in_logs
from tests.simulation.machine import WallClock, simulated_machine
from tests.simulation.narrow import near_limits
from tests.simulation.oddities import actions_of
from tests.simulation.oracle import Violation
from tests.simulation.people import Person
from tests.simulation.plan import Plan, plan_of
from tests.simulation.surroundings import Surroundings
from tests.simulation.threads import SPEED, late_machine
from tests.simulation.tripwires import Tripwires


@dataclass
class Outcome:
    """What came of a simulation."""

    seed: int
    violation: Violation | None
    hash: str
    events: int
    log: EventLog
    trees: dict[str, dict[str, Any]]


def simulate(
    seed: int, *, plan: Plan | None = None, keep: bool = False, echo: bool = False, threaded: bool = False
) -> Outcome:
    """Run the simulation of a seed. What a program raises comes out as it is; broken rules are in the outcome. With
    `threaded` the same happens with real threads and a clock that doesn't wait for them: see `threads.py`."""
    log = EventLog(keep=keep, echo=echo)
    world_of: list[World] = []
    clock = MockClock(SPEED) if threaded else MockClock(autojump_threshold=0)

    async def main() -> Violation | None:
        if threaded:
            log.now = clock.current_time
        world = World(seed, chosen, log, threaded=threaded)
        world_of.append(world)
        try:
            await world.run()
        except BaseExceptionGroup as group:
            violation = _only(group)
            if violation is None:
                raise
            return violation
        return None

    prepared()
    chosen = plan_of(seed) if plan is None else plan
    with seeded_scheduler(seed), taking_in_logs(log), near_limits(near=chosen.narrow):
        violation = trio.run(main, clock=clock)
    return Outcome(seed, violation, log.hash, log.count, log, world_of[0].around.trees())


def _only(group: BaseExceptionGroup[Any]) -> Violation | None:
    """The violation in a group of nothing else."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup) and len(found.exceptions) == 1:
        found = found.exceptions[0]
    return found if isinstance(found, Violation) else None


@contextmanager
def seeded_scheduler(seed: int) -> Iterator[None]:
    """trio shuffles the tasks that are ready, by random numbers of its own, unless Hypothesis or we seed them."""
    core: Any = trio_core
    before = core._r, core._ALLOW_DETERMINISTIC_SCHEDULING
    core._r, core._ALLOW_DETERMINISTIC_SCHEDULING = Random(f"{seed}/scheduler"), True
    try:
        yield
    finally:
        core._r, core._ALLOW_DETERMINISTIC_SCHEDULING = before


class World:
    """Everything there is, put together for one seed."""

    def __init__(self, seed: int, plan: Plan, log: EventLog, *, threaded: bool = False) -> None:
        kept = prepared()
        clock = WallClock()
        machine = simulated_machine(f"{seed}/tracker", now=clock)
        if threaded:
            machine = late_machine(machine, Random(f"{seed}/tracker/late"))
        host = TrackerHost(machine, engine_of(kept.database), log, Random(f"{seed}/tracker/trouble"))
        around = self.around = Surroundings(plan, host, log, Random(f"{seed}/world"), clock)
        drama = self.drama = Drama(
            around, Ambushes(around, Random(f"{seed}/ambushes")), Tripwires(around, Random(f"{seed}/tripwires"))
        )
        around.devices = {
            name: SimulatedDevice(
                name,
                f"{seed}/{name}",
                credentials,
                host,
                around.weather,
                around.air if plan.lan else None,
                log,
                drama.meddle,
                around.removing,
                power_cut=around.power_cut,
                slow_threads=plan.slow_threads,
                threaded=threaded,
            )
            for name, credentials in zip(DEVICES, kept.credentials, strict=True)
        }
        actions = actions_of(plan)
        around.people = {
            name: Person(
                name,
                device.disk,
                FOLDER,
                Random(f"{seed}/{name}/person"),
                around.oracle,
                log,
                actions,
                wordy=plan.wordy,
            )
            for name, device in around.devices.items()
        }
        self.calm = Calm(around)

    async def run(self) -> None:
        """From beginning to end; raises a `Violation`, possibly in groups."""
        around, calm = self.around, self.calm
        async with trio.open_nursery() as nursery:
            if around.plan.breaker:
                around.host.limit(EMAIL, SMALL)
            await nursery.start(around.host.run)
            for device in around.devices.values():
                device.disk.user.mkdir(FOLDER)
                lay_bait(device)
                device.disk.volume.journal.sync()
            await self.drama.play(nursery)
            await calm.begin(nursery)
            await calm.come_to_rest()
            await calm.act_once_more()
            around.judge()
            await calm.judge_programs()
            await calm.stay_quiet()
            for device in around.devices.values():
                check_bait(device)
            nursery.cancel_scope.cancel()
