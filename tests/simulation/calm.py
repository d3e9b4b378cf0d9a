"""The calm after the drama: nothing fails any more and nobody acts, and everything is judged."""

import os

import trio

from protocol.names import RESERVED
from tests.simulation.asking import answer_all
from tests.simulation.counts import CHUNK_REFUSED
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.drama import BOUND
from tests.simulation.events import NO_WATCHES
from tests.simulation.folding import end_folding
from tests.simulation.lan import LanWeather
from tests.simulation.lingering import write_late
from tests.simulation.mischief import POOR, Trouble
from tests.simulation.oddities import is_tidy, tidy
from tests.simulation.oracle import Violation
from tests.simulation.outpacing import outpace
from tests.simulation.surroundings import Surroundings
from tests.simulation.unusual import include_all, pause

MISSED = 640.0
"""Seconds after which a change that no event told of has been found: the watcher's regular scan is due within 600."""
_POOR = tuple(os.strerror(code).lower() for code in POOR)
OWN_DOING = (
    "input/output error",
    "no space left",
    "permission denied",
    NO_WATCHES,
    "the folder /shoal is not ",
    *_POOR,
)
"""What programs may complain of, as the simulation has asked for it."""
UNSEALABLE = "do not authenticate"
"""What a program says of a file whose author has sealed it wrongly."""
EXPIRED = "no valid session"
"""What is said when the tracker's clock jumps by days, and once more before that was made good."""
POLL = 5.0
"""Seconds between looks at whether all has come to rest."""
QUIET = 35.0
"""Seconds that show that nothing goes on: what looks around by itself does so every 30 at the latest."""


class Calm:
    """Judges the second part of a simulation."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._plan = around.plan

    async def begin(self, nursery: trio.Nursery) -> None:
        """End all trouble."""
        around = self._around
        around.log.note("world", "calm")
        for person in around.people.values():
            person.finish_everything()
        weather = around.weather
        weather.refused = weather.lost = weather.silent = weather.straggling = 0.0
        weather.delay, weather.parted = 0.01, frozenset()
        if weather.nonsense:
            weather.nonsense = 0.0
            around.log.errors.clear()  # whatever was made of it
        around.air.weather = LanWeather()
        for device in around.devices.values():
            device.trouble = Trouble(bad_name=device.trouble.bad_name)
            device.mischief.free_space()
            device.be_honest()
            device.event_faults.end()
            device.mount()
            pause(around, device, paused=False)
        around.host.trouble.left = 0
        if not around.host.up:
            await nursery.start(around.host.run)

    async def come_to_rest(self) -> None:
        """Wait until nothing is left to do and nothing waits in `.shoal`."""
        if self._plan.bad_name or self._plan.folding:
            await self._bad_path_stops_only_itself()
        await self._rest()

    async def _rest(self) -> None:
        """What a power cut left with other bytes under an old time is saved once more only then: programs must find it
        out themselves where they need those bytes."""
        await self._wait_for_rest()
        noticed = [device.disk.volume.notice_silent_changes() for device in self._around.devices.values()]
        if any(noticed):
            await self._wait_for_rest()

    async def act_once_more(self) -> None:
        """In a few seeds people do what chance alone, with all the trouble, makes too little of."""
        if self._plan.lingering:
            await write_late(self._around)
        if self._plan.outpacing:
            await outpace(self._around)
        if self._plan.lingering or self._plan.outpacing:
            await self._rest()

    async def _wait_for_rest(self) -> None:
        deadline = trio.current_time() + BOUND
        if self._plan.patient:
            await trio.sleep(MISSED)
        else:
            await self._look_at_everything()
        while not self._resting():
            if trio.current_time() > deadline:
                raise Violation("all comes to rest", f"{self._left()}\n{self._around.report()}")
            answer_all(self._around)
            self._be_plain()
            await trio.sleep(POLL)

    def _be_plain(self) -> None:
        """Nothing odd stands anywhere, nothing is ignored and nothing excluded."""
        around, plan = self._around, self._plan
        untidy = plan.odd or plan.rules or plan.narrow or plan.tripwires or plan.shuffling or plan.shells
        for person in around.people.values() if untidy else ():
            tidy(person)
        for device in around.devices.values() if plan.exclusions else ():
            include_all(around, device)

    async def _look_at_everything(self) -> None:
        """As after an overflow, so that nobody has to wait for the regular scan."""
        await trio.sleep(POLL)  # some are still starting
        for device in self._around.devices.values():
            device.events.overflow()
        await trio.sleep(POLL)

    async def _bad_path_stops_only_itself(self) -> None:
        """While one device can't touch what has a certain name, what has another gets everywhere (law 15)."""
        around, deadline = self._around, trio.current_time() + BOUND
        wanted = {person.save_probe() for person in around.people.values()}
        while not all(wanted <= {*tree} for tree in around.trees().values()):
            if trio.current_time() > deadline:
                raise Violation("one bad path stops only itself", around.report())
            answer_all(around)
            self._be_plain()
            await trio.sleep(POLL)
        end_folding(around)
        for device in around.devices.values():
            device.trouble = Trouble()

    def _resting(self) -> bool:
        devices, newest = self._around.devices.values(), self._around.host.revision()
        at_rest = all(device.settled and device.revision == newest for device in devices) and not self._left()
        return at_rest and all(map(is_tidy, self._around.people.values()))

    def _left(self) -> list[str]:
        return [f"{device.name}: {path}" for device in self._around.devices.values() for path in self._left_at(device)]

    def _left_at(self, device: SimulatedDevice) -> list[str]:
        left = [path for path in device.disk.user.tree(f"{FOLDER}/{RESERVED}") if path.count("/") == 1]
        if (
            self._plan.io_error_chance or self._plan.full_disks or self._plan.poor_disk
        ):  # what the disk wouldn't remove goes with the next start
            left = [path for path in left if not path.startswith("temp/")]
        return left

    async def judge_programs(self) -> None:
        """The tracker is consistent, no program logged an error, every device says and is what it should be."""
        around = self._around
        problems = await around.host.check()
        if problems:
            raise Violation("the tracker is consistent", "; ".join(problems))
        errors = [error for error in around.log.errors if not self._is_own_doing(error)]
        if errors:
            raise Violation("no program errs", "; ".join(errors))
        if not self._plan.lies and around.log.happened[CHUNK_REFUSED]:
            raise Violation("who doesn't lie isn't taken for a liar", "a chunk was refused on the LAN")
        for device in around.devices.values():
            await self._let_go(device)
            self._judge_device(device)
            self._judge_blame(device)

    def _is_own_doing(self, error: str) -> bool:
        """Whether the simulation has asked for this error, by failing a system call or by setting a clock."""
        expired = bool(self._plan.clock_jumps or self._plan.withdrawals) and EXPIRED in error
        return expired or any(sign in error.lower() for sign in OWN_DOING)

    async def _let_go(self, device: SimulatedDevice) -> None:
        """With real threads one may just be looking around."""
        for _ in range(10):
            if device.disk.descriptors:
                await trio.sleep(POLL / 10)

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

    def _judge_blame(self, device: SimulatedDevice) -> None:
        """Everybody seals as they should. Who sends something else on the LAN costs a detour, and no file is said to be
        broken (laws 9 and 15)."""
        wrong = [problem for problem in device.ledger.problems if UNSEALABLE in problem]
        if wrong:
            raise Violation("nobody is blamed for another's lie", f"{device.name}: {wrong[0]}")

    async def stay_quiet(self) -> None:
        """Every folder is looked at anew and every connection made anew: nothing comes of it (law 13)."""
        around = self._around
        before, trees = around.moved(), around.trees()
        for device in around.devices.values():
            device.events.overflow()
            if device.transport is not None:
                device.transport.cut(silently=False)
        around.air.cut_all()
        await trio.sleep(QUIET)
        if around.moved() != before:
            raise Violation("quiet stays quiet", f"{around.moved() - before} requests moved something")
        if around.trees() != trees:
            raise Violation("quiet stays quiet", "a folder changed")
        for _ in range(100):
            if self._resting():
                return
            await trio.sleep(POLL / 100)  # one may just be looking around
        raise Violation("quiet stays quiet", f"{self._left()}\n{around.report()}")
