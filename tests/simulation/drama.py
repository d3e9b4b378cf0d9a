"""The drama: people act, at times of their own and between any two system calls, while everything fails."""

from typing import Any

import trio

from peer.root import MAX_MARKER
from tests.simulation.ambush import Ambushes
from tests.simulation.asking import answer_at_times
from tests.simulation.counts import ACTED_BETWEEN
from tests.simulation.crossing import cross
from tests.simulation.device import SimulatedDevice
from tests.simulation.folding import begin_folding
from tests.simulation.keeping import Keeping
from tests.simulation.lan import LanWeather
from tests.simulation.mischief import POOR, Trouble
from tests.simulation.oracle import Violation, equal
from tests.simulation.people import HELD_SECONDS
from tests.simulation.shells import keep_shells
from tests.simulation.sleeping import black_out, sleep_through
from tests.simulation.surroundings import Surroundings
from tests.simulation.tripwires import Tripwires
from tests.simulation.unnoticed import lose_connections, save_unawares
from tests.simulation.unusual import begin_unusual, join, make_way, squat

HOUR = 3600.0
WITHDRAWN_AFTER = 7 * 24 * HOUR
"""Seconds after which the tracker gives up a version that nobody brings on."""
LOOKED = 30.0
"""Seconds after which somebody who waits for the others has the folders looked at: no event may have told of it."""
BOUND = 1800.0
"""Seconds in which everything must come to rest once nothing fails any more."""
LOOKING = frozenset(("open_root", "open_directory", "open_file", "scan", "stat", "stat_open"))
"""Calls that a look around consists of. All others come between two of one piece of work of the executor."""


POOR_CHANCE = 0.02
_EAGER = 0.1
_PATIENCE = 30
"""Seconds."""


class Drama:
    """Plays the first part of a simulation."""

    def __init__(self, around: Surroundings, ambushes: Ambushes, tripwires: Tripwires) -> None:
        self._around = around
        self._ambushes = ambushes
        self._tripwires = tripwires
        self._keeping = Keeping(around)
        self._plan = around.plan
        self._rng = around.rng
        self._inline_left, self._inline_chance, self._inline_calls = 0, 0.0, around.plan.inline_calls

    def meddle(self, at: str, call: str, arguments: tuple[Any, ...]) -> None:
        """Between two system calls of a peer, the second of which is this."""
        rng, people, chosen = self._rng, self._around.people, self._inline_calls
        self._keeping.before(at, call, arguments)
        self._ambushes.before(at, call, arguments)
        self._tripwires.before(at, call, arguments)
        if not self._inline_left or not (call in chosen if chosen else call not in LOOKING):
            return
        if call == "read_at" and arguments[1] == MAX_MARKER:
            return  # the marker, with which every look around begins too
        if rng.random() < self._inline_chance * (10 if call == "exchange" else 4 if chosen else 1):
            self._inline_left -= 1
            person = people[at if rng.random() < 0.75 else rng.choice([name for name in people if name != at])]
            self._around.log.happened[ACTED_BETWEEN] += person.name == at
            names = [argument for argument in arguments if isinstance(argument, str)]
            person.act(rng.choice(names) if names else None)

    async def play(self, nursery: trio.Nursery) -> None:
        """Start everything in `nursery`, and act."""
        if self._plan.folding:
            begin_folding(self._around)
        for person in self._around.people.values():
            for _ in range(self._plan.prefilled):
                person.act()
        for number, device in enumerate(self._around.devices.values()):
            device.counts_merges = self._plan.joining
            device.event_faults.unwatched = self._plan.unwatched
            device.event_faults.closings = self._plan.closings
            if self._plan.poor_disk and number == len(self._around.devices) - 1:
                device.disk.exchanges, device.disk.kind = False, "nfs"
                device.mischief.faults = POOR
            nursery.start_soon(self._later, number * self._plan.late, nursery, device)
        await trio.sleep(self._plan.acquainted)
        self._begin_trouble()
        async with trio.open_nursery() as dramatic:
            for trouble in (self._cut_connections, self._part_tracker, self._cut_lan, self._part_lan):
                dramatic.start_soon(trouble)
            dramatic.start_soon(self._stop_tracker)
            dramatic.start_soon(self._keep_tracker_up, nursery)
            dramatic.start_soon(self._restore_tracker)
            dramatic.start_soon(self._jump_clocks)
            dramatic.start_soon(answer_at_times, self._around)
            begin_unusual(self._around, dramatic)
            await self._act()
            if self._plan.shells:
                await keep_shells(self._around)
            if self._plan.sleeping:
                black_out(self._around)
                await sleep_through(self._around)
            dramatic.cancel_scope.deadline = trio.current_time() + HELD_SECONDS
        self._inline_left = 0
        self._ambushes.end()
        self._tripwires.end()

    async def _later(self, seconds: float, nursery: trio.Nursery, device: SimulatedDevice) -> None:
        await trio.sleep(seconds)
        if self._plan.joining and device is [*self._around.devices.values()][-1]:
            await join(self._around, device)
        if self._plan.squatting and device is [*self._around.devices.values()][1]:
            squat(self._around, device)
            nursery.start_soon(make_way, self._around, device)
        nursery.start_soon(device.run)

    def _begin_trouble(self) -> None:
        plan, around = self._plan, self._around
        self._inline_left, self._inline_chance = plan.inline_actions, plan.inline_chance
        if plan.inline_actions:
            self._ambushes.begin()
        if plan.tripwires:
            self._tripwires.begin()
        weather = around.weather
        weather.refused, weather.lost, weather.silent = plan.refused, plan.lost, plan.silent
        weather.delay, weather.straggling, weather.nonsense = plan.delay, plan.straggling, plan.nonsense
        around.air.weather = LanWeather(
            unheard=plan.lan_unheard, refused=plan.lan_refused, broken=plan.lan_broken, delay=plan.lan_delay
        )
        around.host.trouble.left, around.host.trouble.chance = plan.tracker_crashes, plan.tracker_crash_chance
        honest, unlucky = self._any_device(), self._any_device()
        for device in around.devices.values():
            device.lies = 0.0 if device is honest else plan.lies
            device.trouble = Trouble(
                io_errors=max(plan.io_error_chance, POOR_CHANCE) if device.mischief.faults else plan.io_error_chance,
                io_error_calls=plan.io_error_calls,
                crashes=plan.crashes,
                crash_chance=plan.crash_chance,
                power_cuts=plan.power_cuts,
                lost_databases=plan.lost_databases,
                bad_name=plan.bad_name if device is unlucky else "",
                full_disks=plan.full_disks,
                full_chance=0.02,
            )
            faults = device.event_faults
            faults.lost, faults.repeated = plan.lost_events, plan.repeated_events
            faults.late, faults.overflow = plan.late_events, plan.overflows

    # People

    async def _act(self) -> None:
        plan, rng = self._plan, self._rng
        if plan.taking_turns:
            await self._take_turns()
            return
        left = plan.actions
        while left > 0:
            await trio.sleep(rng.expovariate(1 / plan.pause))
            person = rng.choice(list(self._around.people.values()))
            for _ in range(min(left, rng.choice((1, 1, 1, 4)))):
                person.act()
                left -= 1
            if rng.random() < plan.crossed_moves:
                cross(self._around, rng)
        await self._act_inline()
        await trio.sleep(rng.choice((0.0, 1.0, HELD_SECONDS)))

    async def _act_inline(self) -> None:
        """What was to happen between system calls, and hasn't yet, happens now that the peers are at work."""
        self._inline_chance, self._inline_calls = max(self._inline_chance, _EAGER), ()
        for _ in range(_PATIENCE):
            if not self._inline_left:
                return
            if all(device.settled for device in self._around.devices.values()):
                self._rng.choice(list(self._around.people.values())).act()
            await trio.sleep(1.0)

    async def _take_turns(self) -> None:
        """Whoever acts has seen all that the others did, so that nobody makes a conflict (law 11)."""
        for _ in range(self._plan.actions):
            await trio.sleep(self._rng.expovariate(1 / self._plan.pause))
            name = self._rng.choice(list(self._around.people))
            self._around.people[name].act()
            self._around.people[name].finish_everything()
            await self._all_see(self._around.trees()[name])

    async def _all_see(self, wanted: dict[str, Any]) -> None:
        around, began = self._around, trio.current_time()
        while not self._all_have(wanted) or not all(device.settled for device in around.devices.values()):
            waited = trio.current_time() - began
            if waited > BOUND:
                trees = "; ".join(f"{name} has {sorted(tree)}" for name, tree in around.trees().items())
                raise Violation("an edit alone is no conflict", f"not {sorted(wanted)}: {trees}\n{around.report()}")
            if waited % LOOKED >= LOOKED - 1:
                for device in around.devices.values():
                    device.events.overflow()
            await trio.sleep(1)

    def _all_have(self, wanted: dict[str, Any]) -> bool:
        return all(equal(tree, wanted) for tree in self._around.trees().values())

    # Trouble

    def _whole(self) -> float:
        return self._plan.acting

    async def _stop_tracker(self) -> None:
        for _ in range(self._plan.tracker_restarts):
            await trio.sleep(self._rng.uniform(0, self._whole()))
            if self._around.host.up:
                self._around.host.stop()

    async def _keep_tracker_up(self, nursery: trio.Nursery) -> None:
        host = self._around.host
        while True:
            await host.died.wait()
            await trio.sleep(self._rng.choice((0.01, 1.0, 10.0)) * self._rng.random())
            await nursery.start(host.run)

    async def _restore_tracker(self) -> None:
        """From a backup that was made while people acted."""
        rng, host = self._rng, self._around.host
        for _ in range(self._plan.tracker_restores):
            await trio.sleep(rng.uniform(0, self._whole()))
            backup = host.backup()
            await trio.sleep(rng.uniform(0, self._whole()))
            if self._plan.unnoticed:
                lose_connections(self._around)
            host.restore(backup, announced=rng.random() < 0.5)
            if self._plan.unnoticed:
                await save_unawares(self._around)

    async def _jump_clocks(self) -> None:
        """Forth and back, by seconds or by days."""
        rng, around = self._rng, self._around
        for _ in range(self._plan.clock_jumps):
            await trio.sleep(rng.uniform(0, self._whole()))
            seconds = rng.choice((5.0, 300.0, 2 * HOUR, 30 * HOUR, 8 * 24 * HOUR)) * rng.choice((1, 1, -1))
            whose = rng.choice(["tracker", "tracker", *around.devices])
            if seconds > WITHDRAWN_AFTER and whose == "tracker":
                await self._something_announced()
            around.log.note("world", f"the clock of {whose} jumps by {seconds:g} s")
            (around.clock if whose == "tracker" else around.devices[whose].clock).jump(seconds)
            if whose == "tracker" and (seconds > WITHDRAWN_AFTER or rng.random() < 0.5):
                around.host.stop()

    async def _something_announced(self) -> None:
        """Wait for a version that isn't in the cloud, so that the days that pass mean something; not for ever."""
        for _ in range(_PATIENCE * 4):
            if self._around.host.announced():
                return
            await trio.sleep(0.25)

    async def _cut_connections(self) -> None:
        while self._plan.cuts:
            await self._until_next(self._plan.cuts)
            device = self._any_device()
            if device.transport is not None:
                device.transport.cut(silently=self._rng.random() < 0.3)

    async def _until_next(self, pause: float) -> None:
        """Wait for the next of what happens at such a pause, on average; through the night none does."""
        await trio.sleep(self._rng.expovariate(1 / pause))
        if self._around.morning is not None:
            await self._around.morning.wait()

    def _any_device(self) -> SimulatedDevice:
        return self._rng.choice(list(self._around.devices.values()))

    async def _part_tracker(self) -> None:
        """One device doesn't reach the tracker for a while, or none does."""
        weather = self._around.weather
        while self._plan.partitions:
            await self._until_next(self._plan.partitions)
            parted = self._rng.choice((list(self._around.devices.values()), [self._any_device()]))
            weather.parted = frozenset(device.name for device in parted)
            for device in parted:
                if device.transport is not None:
                    device.transport.cut(silently=self._rng.random() < 0.5)
            await trio.sleep(self._rng.uniform(1.0, 10.0))
            weather.parted = frozenset()

    async def _cut_lan(self) -> None:
        while self._plan.lan_cuts:
            await self._until_next(self._plan.lan_cuts)
            self._around.air.cut(self._rng)

    async def _part_lan(self) -> None:
        while self._plan.lan_partitions:
            await self._until_next(self._plan.lan_partitions)
            self._around.air.weather.up = False
            self._around.air.cut_all()
            await trio.sleep(self._rng.uniform(1.0, 10.0))
            self._around.air.weather.up = True
