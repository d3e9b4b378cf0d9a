"""A whole simulation: the tracker, two devices, the people at them, and everything that goes wrong.

drama    people act, at times of their own and between any two system calls; connections, processes and disks fail
calm     nothing fails any more and nobody acts; all has to come to rest within a bounded time
quiet    another hour, in which nothing may be committed and no chunk may move
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import trio
from trio._core import _run as trio_core
from trio.testing import MockClock

from protocol.names import RESERVED
from tests.simulation.accounts import DEVICES, engine_of, prepared
from tests.simulation.device import FOLDER, SimulatedDevice, Trouble
from tests.simulation.lan import Air, LanWeather
from tests.simulation.log import EventLog, taking_in_logs
from tests.simulation.machine import simulated_machine
from tests.simulation.network import TrackerHost, Weather
from tests.simulation.oracle import Oracle, Tree, Violation, equal
from tests.simulation.people import HELD_SECONDS, Person
from tests.simulation.plan import Plan, plan_of

MISSED = 640.0
"""Seconds after which a change that no event told of has been found: the watcher's regular scan is due within 600."""
BOUND = 1800.0
"""Seconds in which everything must come to rest once nothing fails any more."""
ACTING = 2
"""Devices that take part."""
REST = 100.0
"""Seconds without work after which nothing is waiting for its time: `.shoal/outgoing` is let go after a minute."""
QUIET = 3600.0


@dataclass
class Outcome:
    """What came of a simulation."""

    seed: int
    violation: Violation | None
    hash: str
    events: int
    log: EventLog
    trees: dict[str, dict[str, Any]]


def simulate(seed: int, *, plan: Plan | None = None, keep: bool = False, echo: bool = False) -> Outcome:
    """Run the simulation of a seed. What a program raises comes out as it is; broken rules are in the outcome."""
    log = EventLog(keep=keep, echo=echo)
    world_of: list[World] = []

    async def main() -> Violation | None:
        world = World(seed, plan_of(seed) if plan is None else plan, log)
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
    with seeded_scheduler(seed), taking_in_logs(log):
        violation = trio.run(main, clock=MockClock(autojump_threshold=0))
    return Outcome(seed, violation, log.hash, log.count, log, world_of[0].trees())


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
    """Everything there is."""

    def __init__(self, seed: int, plan: Plan, log: EventLog) -> None:
        self.plan = plan
        self.oracle = Oracle()
        self._seed = seed
        self._log = log
        self._rng = Random(f"{seed}/world")
        self._weather = Weather()
        self.air = Air()
        self._inline_left = 0
        kept = prepared()
        self.host = TrackerHost(simulated_machine(f"{seed}/tracker"), engine_of(kept.database), log)
        self.devices = {
            name: SimulatedDevice(
                name,
                f"{seed}/{name}",
                credentials,
                self.host,
                self._weather,
                self.air if plan.lan else None,
                log,
                self._meddle,
                self._removing,
            )
            for name, credentials in list(zip(DEVICES, kept.credentials, strict=True))[:ACTING]
        }
        self.people = {
            name: Person(name, device.disk, FOLDER, Random(f"{seed}/{name}/person"), self.oracle, log)
            for name, device in self.devices.items()
        }

    def trees(self) -> dict[str, dict[str, Any]]:
        """What the people see in their folders."""
        return {name: _visible(device.disk.user.tree(FOLDER)) for name, device in self.devices.items()}

    async def run(self) -> None:
        """From beginning to end; raises a `Violation`, possibly in groups."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.host.run)
            for device in self.devices.values():
                device.disk.user.mkdir(FOLDER)
            await self._drama(nursery)
            await self._calm(nursery)
            await self._come_to_rest()
            self.oracle.judge(self.trees())
            await self._judge_programs()
            await self._stay_quiet()
            nursery.cancel_scope.cancel()

    # Drama

    def _meddle(self, at: str, call: str, arguments: tuple[Any, ...]) -> None:
        """Between two system calls of a peer, the second of which is this."""
        if not self._inline_left or (self.plan.inline_calls and call not in self.plan.inline_calls):
            return
        if self._rng.random() < self.plan.inline_chance * (10 if self.plan.inline_calls else 1):
            self._inline_left -= 1
            others = [name for name in self.people if name != at]
            person = self.people[at if self._rng.random() < 0.75 else self._rng.choice(others)]
            names = [argument for argument in arguments if isinstance(argument, str)]
            person.act(names[-1] if names else None)

    def _removing(self, at: str, path: str) -> None:
        """A peer takes a file off its folder: somebody must have removed or moved it."""
        elsewhere = [device.disk.user for name, device in self.devices.items() if name != at]
        self.oracle.judge_removal(f"{at} removes {path}", self.devices[at].disk.user, elsewhere, f"{FOLDER}/{path}")

    async def _drama(self, nursery: trio.Nursery) -> None:
        plan = self.plan
        for person in self.people.values():
            for _ in range(plan.prefilled):
                person.act()
        self._begin_trouble()
        first, second = self.devices.values()
        nursery.start_soon(first.run)
        nursery.start_soon(self._later, plan.second_device_after, nursery, second)
        async with trio.open_nursery() as dramatic:
            dramatic.start_soon(self._restart_tracker, nursery)
            dramatic.start_soon(self._cut_connections, dramatic.cancel_scope)
            dramatic.start_soon(self._cut_lan)
            dramatic.start_soon(self._part_lan)
            await trio.sleep(plan.acquainted)
            await self._act()
            dramatic.cancel_scope.deadline = trio.current_time() + HELD_SECONDS

    async def _later(self, seconds: float, nursery: trio.Nursery, device: SimulatedDevice) -> None:
        await trio.sleep(seconds)
        nursery.start_soon(device.run)

    def _begin_trouble(self) -> None:
        plan = self.plan
        self._inline_left = plan.inline_actions
        weather = self._weather
        weather.refused, weather.lost, weather.silent, weather.delay = plan.refused, plan.lost, plan.silent, plan.delay
        self.air.weather = LanWeather(
            unheard=plan.lan_unheard, refused=plan.lan_refused, broken=plan.lan_broken, delay=plan.lan_delay
        )
        for device in self.devices.values():
            device.trouble = Trouble(plan.io_error_chance, plan.io_error_calls, plan.crashes, plan.crash_chance)
            device.event_faults.lost, device.event_faults.repeated = plan.lost_events, plan.repeated_events

    async def _take_turns(self) -> None:
        """Whoever acts has seen all that the others did, so that nobody makes a conflict (law 11)."""
        for _ in range(self.plan.actions):
            await trio.sleep(self._rng.expovariate(1 / self.plan.pause))
            name = self._rng.choice(list(self.people))
            self.people[name].act()
            self.people[name].finish_everything()
            wanted = self.trees()[name]
            deadline = trio.current_time() + MISSED + BOUND
            while not all(equal(tree, wanted) for tree in self.trees().values()):
                if trio.current_time() > deadline:
                    trees = "; ".join(f"{name} has {sorted(tree)}" for name, tree in self.trees().items())
                    raise Violation("an edit alone is no conflict", f"not {sorted(wanted)}: {trees}\n{self.report()}")
                await trio.sleep(1)
            while not all(device.settled for device in self.devices.values()):
                if trio.current_time() > deadline:
                    raise Violation("all comes to rest", self.report())
                await trio.sleep(1)
            if not all(equal(tree, wanted) for tree in self.trees().values()):
                raise Violation("an edit alone is no conflict", "what was equal before is so no longer")

    async def _act(self) -> None:
        if self.plan.taking_turns:
            await self._take_turns()
            return
        left = self.plan.actions
        while left > 0:
            await trio.sleep(self._rng.expovariate(1 / self.plan.pause))
            person = self._rng.choice(list(self.people.values()))
            for _ in range(min(left, self._rng.choice((1, 1, 1, 4)))):
                person.act()
                left -= 1
        await trio.sleep(self._rng.choice((0.0, 1.0, HELD_SECONDS)))

    async def _restart_tracker(self, nursery: trio.Nursery) -> None:
        whole = self.plan.actions * self.plan.pause
        for _ in range(self.plan.tracker_restarts):
            await trio.sleep(self._rng.uniform(0, whole))
            self.host.stop()
            await trio.sleep(self._rng.choice((0.01, 1.0, 10.0)) * self._rng.random())
            await nursery.start(self.host.run)

    async def _cut_connections(self, _: trio.CancelScope) -> None:
        while self.plan.cuts:
            await trio.sleep(self._rng.expovariate(1 / self.plan.cuts))
            device = self._rng.choice(list(self.devices.values()))
            if device.transport is not None:
                device.transport.cut(silently=self._rng.random() < 0.3)

    async def _cut_lan(self) -> None:
        while self.plan.lan_cuts:
            await trio.sleep(self._rng.expovariate(1 / self.plan.lan_cuts))
            self.air.cut(self._rng)

    async def _part_lan(self) -> None:
        while self.plan.lan_partitions:
            await trio.sleep(self._rng.expovariate(1 / self.plan.lan_partitions))
            self.air.weather.up = False
            self.air.cut_all()
            await trio.sleep(self._rng.uniform(1.0, 10.0))
            self.air.weather.up = True

    # Calm

    async def _calm(self, nursery: trio.Nursery) -> None:
        self._log.note("world", "calm")
        self._inline_left = 0
        for person in self.people.values():
            person.finish_everything()
        weather = self._weather
        weather.refused = weather.lost = weather.silent = 0.0
        weather.delay = 0.01
        self.air.weather = LanWeather()
        for device in self.devices.values():
            device.trouble = Trouble()
            device.event_faults.lost = device.event_faults.repeated = 0.0
        if not self.host.up:
            await nursery.start(self.host.run)

    async def _come_to_rest(self) -> None:
        await trio.sleep(MISSED if self.plan.lost_events else REST)
        deadline = trio.current_time() + BOUND
        while not await self._resting():
            if trio.current_time() > deadline:
                raise Violation("all comes to rest", self.report())
            await trio.sleep(10)

    async def _resting(self) -> bool:
        """Whether nothing is left to do, and for long enough that nothing waits for its time."""
        moved = self._moved()
        for _ in range(10):
            if not all(device.settled for device in self.devices.values()):
                return False
            await trio.sleep(REST / 10)
        return moved == self._moved()

    def _moved(self) -> int:
        return sum(device.moved + device.lan_bytes for device in self.devices.values())

    async def _judge_programs(self) -> None:
        problems = await self.host.check()
        if problems:
            raise Violation("the tracker is consistent", "; ".join(problems))
        errors = [error for error in self._log.errors if not _is_own_doing(error)]
        if errors:
            raise Violation("no program errs", "; ".join(errors))
        for device in self.devices.values():
            self._judge_device(device)

    def _judge_device(self, device: SimulatedDevice) -> None:
        peer = device.peer
        assert peer is not None
        differences = device.differences()
        if differences:
            raise Violation("synced means that the trees are equal", f"{device.name}: {differences}")
        problems = peer.context.problems.all()
        if problems:
            raise Violation("no problem outlasts its cause", f"{device.name}: {problems}")
        if device.disk.descriptors:
            raise Violation("descriptors are closed", f"{device.name} holds {device.disk.descriptors}")
        left = [path for path in device.disk.user.tree(f"{FOLDER}/{RESERVED}") if path.count("/") == 1]
        if self.plan.io_error_chance:  # what the disk wouldn't remove goes with the next start
            left = [path for path in left if not path.startswith("temp/")]
        if left:
            raise Violation("nothing is left behind", f"{device.name} has {left} in {RESERVED}")

    async def _stay_quiet(self) -> None:
        before, trees = self._moved(), self.trees()
        await trio.sleep(QUIET)
        if self._moved() != before:
            raise Violation("quiet stays quiet", f"{self._moved() - before} requests moved something")
        if self.trees() != trees:
            raise Violation("quiet stays quiet", "a folder changed")
        if not all(device.settled for device in self.devices.values()):
            raise Violation("quiet stays quiet", self.report())

    def report(self) -> str:
        """Where everything stands."""
        return "\n".join(device.report() for device in self.devices.values())


def _visible(tree: Tree) -> dict[str, Any]:
    return {path: entry for path, entry in tree.items() if path.split("/")[0] != RESERVED}


def _is_own_doing(error: str) -> bool:
    """Whether the simulation has asked for this error, by failing a system call."""
    return "input/output error" in error.lower()
