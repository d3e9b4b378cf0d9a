"""One simulated device: a disk, a home whose database outlives crashes, and a real peer, started again and again."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import trio

from peer.database import Database
from peer.home import Credentials
from peer.members import Kept
from peer.peer import Peer, Place, Ports, start_peer
from peer.ports import Disk
from peer.status import is_settled
from peer.traffic import TrafficOptions
from protocol.api import WorkspacesReply
from protocol.errors import ShoalError, Usage
from protocol.ports import Machine
from tests.simulation.disk import SimulatedDisk
from tests.simulation.events import EventFaults, SimulatedEvents
from tests.simulation.fence import Crashed
from tests.simulation.host import TrackerHost
from tests.simulation.lan import Air, SimulatedLan
from tests.simulation.ledger import Access, Ledger
from tests.simulation.lies import Liar, make_liar
from tests.simulation.log import ACTOR, EventLog
from tests.simulation.machine import SLOW_THREAD, FileClock, WallClock, simulated_machine
from tests.simulation.mischief import Mischief, Trouble
from tests.simulation.network import SimulatedTransport, Weather
from tests.simulation.reports import differences, report
from tests.simulation.threads import ThreadedDisk, threaded_machine
from tests.simulation.user import contents

FOLDER = "/Shoal"
EMPTY = "/Empty"
"""Where its disk is mounted at other times, for `unmount`."""
_DOWN = 5.0
"""Seconds from a crash to the next start, at most."""

PowerCut = Callable[["SimulatedDevice", set[bytes], set[bytes]], None]
"""Told of the contents that were on a device's disk before and after a power cut."""


@dataclass
class Life:
    """One process, from start to crash."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    dead: bool = False

    def check(self) -> None:
        """Every port asks here first."""
        if self.dead:
            raise Crashed


@dataclass
class SimulatedConditions:
    """`peer.ports.Conditions` as a scene wants them."""

    battery: bool = False
    metered: bool = False

    async def on_battery(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.battery

    async def is_metered(self) -> bool:
        await trio.lowlevel.checkpoint()
        return self.metered


class SimulatedDevice:
    """`meddle` is called before each system call of the peer's: somebody may act there. `removing` is told the path of
    each file that the peer takes off the folder."""

    def __init__(
        self,
        name: str,
        seed: str,
        credentials: Credentials,
        host: TrackerHost,
        weather: Weather,
        air: Air | None,
        log: EventLog,
        meddle: Callable[[str, str, tuple[Any, ...]], None],
        removing: Callable[[str, str], None],
        *,
        power_cut: PowerCut | None = None,
        slow_threads: float = SLOW_THREAD,
        threaded: bool = False,
    ) -> None:
        self.name = name
        self.clock = WallClock()
        self.disk = SimulatedDisk(FileClock(self.clock), Random(f"{seed}/disk"))
        self.event_faults = EventFaults()
        self.events = SimulatedEvents(self.disk, FOLDER, Random(f"{seed}/events"), self.event_faults)
        self.ledger = Ledger()
        self.peer: Peer | None = None
        self.transport: SimulatedTransport | None = None
        self._cut_off = frozenset[str]()
        """Paths at which the tracker can't be reached."""
        self.conditions = SimulatedConditions()
        self.traffic = TrafficOptions()
        """What its person has decided about the traffic with the tracker."""
        self.boot_id = "first"
        """Of the machine."""
        self.moved_before = 0
        self.lies = 0.0
        """The share of its answers on the LAN that aren't true."""
        self._liar: Liar | None = None
        self.counts_merges = False
        """Whether it says what it is about to merge, before it first does."""
        self._seed = seed
        self.credentials = credentials
        self._host = host
        self._weather = weather
        self._air = air
        self._log = log
        self._power_cut = power_cut
        self._slow_threads = slow_threads
        self._threaded = threaded
        self._rng = Random(f"{seed}/trouble")
        self._lives = 0
        self._on = False
        self._life = Life(dead=True)
        self._cached: WorkspacesReply | None = None
        self.mischief = Mischief(
            name, self.disk, FOLDER, self._rng, log, meddle=meddle, removing=removing, die=self.crash
        )

    @property
    def trouble(self) -> Trouble:
        """What may befall it from now on."""
        return self.mischief.trouble

    @trouble.setter
    def trouble(self, trouble: Trouble) -> None:
        self.mischief.trouble = trouble

    @property
    def settled(self) -> bool:
        """Whether the peer says that it has nothing left to do, and all of it is in the cloud; not while it is at work
        in the folder, which it hasn't told of yet."""
        peer = self.peer if self.alive else None
        at_work = peer is None or peer.context.turn.locked()
        return not at_work and peer is not None and is_settled(peer) and peer.context.store.not_durable_count() == 0

    @property
    def revision(self) -> int:
        """How far the order has come here."""
        return -1 if self.peer is None or not self.alive else self.peer.remote.cursor().revision

    @property
    def lan_bytes(self) -> int:
        """Bytes of chunks that came over the LAN, in this life."""
        return 0 if self.peer is None else self.peer.context.counters["lan_in"]

    @property
    def moved(self) -> int:
        """Commits and requests that moved chunks, in all lives."""
        return self.moved_before + (self.transport.moved if self.transport else 0)

    async def run(self) -> None:
        """Live, crash, live again, until cancelled or switched off."""
        ACTOR.set(self.name)
        self._on = True
        while self._on:
            life = self._life = Life()
            self.mischief.dead = False
            try:
                with life.scope:
                    await self._live(life)
            except BaseException:
                if not life.dead:
                    raise
            self._log.note(self.name, "is dead")
            self.peer = None
            self.disk.close_all()
            self.mischief.phases.over()
            if self._on:
                await trio.sleep(self._rng.uniform(0, _DOWN))

    async def _live(self, life: Life) -> None:
        self._lives += 1
        name = f"{self._seed}/{self._lives}"
        self._log.note(self.name, "starts")
        if self.transport:
            self.moved_before += self.transport.moved
        rng, nonsense = Random(f"{name}/network"), Random(f"{name}/nonsense")
        self.transport = SimulatedTransport(self._host, self._weather, rng, self._log, self.name, life.check, nonsense)
        self.transport.cut_off = self._cut_off
        lan = None
        if self._air is not None:
            lan = SimulatedLan(self._air, self.name, Random(f"{name}/lan"), self._log, self.name, life.check)
        machine, disk = self._machine_and_disk(name, life)
        ports = Ports(machine, disk, self.events, self.transport, _address, lan, self.conditions, self.boot_id)
        place = Place("/home/.shoal", FOLDER, self._database(life), Kept(lambda: self._cached, self._cache))
        while self.peer is None:
            try:
                self.peer = await start_peer(ports, place, self.credentials, traffic=self.traffic)
            except ShoalError as problem:
                self._log.note(self.name, f"can't start: {problem}")
                await trio.sleep(2)
        if self.counts_merges:
            self.peer.synchronizer.announce_merge = lambda count: self._log.note(self.name, str(count))
        if self.lies:
            rng, sizes = Random(f"{name}/lies"), Random(f"{name}/lies/sizes")
            self._liar = make_liar(self.peer, self.name, rng, sizes, self.lies, self._log)
        await self.peer.run()

    def _machine_and_disk(self, name: str, life: Life) -> tuple[Machine, Disk]:
        if self._threaded:
            rng = Random(f"{name}/threads")
            return threaded_machine(rng, life.check, self.clock), cast(Any, ThreadedDisk(self.disk, rng, life.check))
        return simulated_machine(name, life.check, now=self.clock, slow=self._slow_threads), self.disk

    def _database(self, life: Life) -> Database:
        mischief = self.mischief
        access = Access(self.ledger, life.check, mischief.before_transaction, mischief.after_transaction)
        return Database(cast(Any, access))

    def _cache(self, reply: WorkspacesReply) -> None:
        self._cached = reply

    def be_honest(self) -> None:
        """Tell no more lies."""
        self.lies = 0.0
        if self._liar is not None:
            self._liar.chance = 0.0

    def tell(self, command: Callable[[Peer], object]) -> None:
        """A person gives the running program a command. It may refuse it, or die of it."""
        peer = self.peer if self.alive else None
        if peer is not None:
            with suppress(Usage, Crashed):
                command(peer)

    def cut_off_from(self, paths: frozenset[str] = frozenset()) -> None:
        """From now on these paths to the tracker are cut off, and no others."""
        self._cut_off = paths
        if self.transport is not None:
            self.transport.cut_off = paths

    # Its folder

    def unmount(self, instead: str) -> None:
        """The folder's disk isn't mounted; `instead` is what is found at its path."""
        self._log.note(self.name, "has no folder" if instead != EMPTY else "has an empty folder")
        if instead == EMPTY and not self.disk.user.exists(EMPTY):
            self.disk.user.mkdir(EMPTY)
        self.disk.root_instead = instead
        self.events.end()

    def mount(self) -> None:
        """It is mounted again."""
        if self.disk.root_instead is not None:
            self._log.note(self.name, "has its folder again")
        self.disk.root_instead = None

    # Ends

    def crash(self, power: bool = False) -> None:
        """The process dies here and now, or the machine with its disk's caches does."""
        self._log.note(self.name, "loses power" if power else "crashes")
        self._life.dead = self.mischief.dead = True
        self.ledger.abandon()
        if power:
            self.boot_id = f"after {self._lives} lives"
            before = contents(self.disk.user, FOLDER)
            self.disk.cut_power()
            lost = self.ledger.cut_power(self._rng)
            self._log.note(self.name, f"its database lacks {lost} transactions")
            if self._power_cut is not None:
                self._power_cut(self, before, contents(self.disk.user, FOLDER))
        if self._rng.random() < self.trouble.lost_databases:
            self._log.note(self.name, "loses its database")
            self.ledger.lose()
        if self.transport:
            self.transport.cut(silently=power)
        self._life.scope.cancel()

    def switch_off(self) -> None:
        """The process dies, and none comes after it until `run` is called again."""
        self._on = False
        self.crash()

    @property
    def alive(self) -> bool:
        return not self._life.dead

    # Reports

    def differences(self) -> list[str]:
        """Where the three trees are not equal, as "synced" says they are (law 9)."""
        return differences(self.ledger.connection)

    def report(self) -> str:
        """Where the peer stands, for a person who looks for a defect."""
        return report(self.name, self.peer)


async def _address() -> str:
    await trio.lowlevel.checkpoint()
    return "192.0.2.1"
