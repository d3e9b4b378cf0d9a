"""One simulated device: a disk, a home whose database outlives crashes, and a real peer, started again and again."""

import errno
import re
import sqlite3
from ast import literal_eval
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio

from peer.database import Database, open_database
from peer.home import Credentials
from peer.members import Kept
from peer.peer import Peer, Place, Ports, start_peer
from peer.ports import Descriptor
from peer.status import is_settled, state_of
from protocol.api import WorkspacesReply
from protocol.errors import Problem
from protocol.names import RESERVED
from tests.simulation.disk import SimulatedDisk
from tests.simulation.events import EventFaults, SimulatedEvents
from tests.simulation.inodes import failure
from tests.simulation.lan import Air, SimulatedLan
from tests.simulation.log import ACTOR, EventLog, brief
from tests.simulation.machine import SLOW_THREAD, FileClock, simulated_machine
from tests.simulation.network import SimulatedTransport, TrackerHost, Weather

FOLDER = "/Shoal"
_DOWN = 5.0
"""Seconds from a crash to the next start, at most."""
_SAFE_CALLS = ("close", "space")


class Crashed(BaseException):
    """The process is dead: nothing it still tries has any effect. Not an `Exception`, so that nobody handles it."""


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
class Trouble:
    """What may befall a device at any of its calls."""

    io_errors: float = 0.0
    io_error_calls: tuple[str, ...] = ()  # any if empty
    crashes: int = 0
    crash_chance: float = 0.0


class CrashingDatabase(Database):
    """The client database, with a crash possible before each transaction."""

    def __init__(self, connection: sqlite3.Connection, before: Callable[[], None]) -> None:
        super().__init__(connection)
        self.connection = connection
        self._before = before

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if not self.connection.in_transaction:
            self._before()
        with super().transaction():
            yield


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
        slow_threads: float = SLOW_THREAD,
    ) -> None:
        self.name = name
        self.trouble = Trouble()
        self.disk = SimulatedDisk(FileClock(), Random(f"{seed}/disk"))
        self.event_faults = EventFaults()
        self.events = SimulatedEvents(self.disk, FOLDER, Random(f"{seed}/events"), self.event_faults)
        self.peer: Peer | None = None
        self.transport: SimulatedTransport | None = None
        self.cut_off = frozenset[str]()
        """Paths at which the tracker can't be reached."""
        self.moved_before = 0
        self._seed = seed
        self._credentials = credentials
        self._host = host
        self._weather = weather
        self._air = air
        self._log = log
        self._meddle = meddle
        self._removing = removing
        self._slow_threads = slow_threads
        self._rng = Random(f"{seed}/trouble")
        self._lives = 0
        self._on = False
        self._life = Life(dead=True)
        self._connection = _connection_of(open_database(":memory:"))
        self._cached: WorkspacesReply | None = None
        self.disk.before_call = self._before_call

    @property
    def settled(self) -> bool:
        """Whether the peer says that it has nothing left to do, and all of it is in the cloud."""
        peer = self.peer
        return peer is not None and is_settled(peer) and peer.context.store.not_durable_count() == 0

    @property
    def revision(self) -> int:
        """How far the order has come here."""
        return -1 if self.peer is None else self.peer.remote.cursor().revision

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
            try:
                with life.scope:
                    await self._live(life)
            except BaseException:
                if not life.dead:
                    raise
            self._log.note(self.name, "is dead")
            self.peer = None
            self.disk.close_all()
            if self._on:
                await trio.sleep(self._rng.uniform(0, _DOWN))

    async def _live(self, life: Life) -> None:
        self._lives += 1
        name = f"{self._seed}/{self._lives}"
        self._log.note(self.name, "starts")
        if self.transport:
            self.moved_before += self.transport.moved
        rng = Random(f"{name}/network")
        self.transport = SimulatedTransport(self._host, self._weather, rng, self._log, self.name, life.check)
        lan = None
        if self._air is not None:
            lan = SimulatedLan(self._air, self.name, Random(f"{name}/lan"), self._log, self.name, life.check)
        self.transport.cut_off = self.cut_off
        ports = Ports(
            simulated_machine(name, life.check, slow=self._slow_threads),
            self.disk,
            self.events,
            self.transport,
            _address,
            lan,
        )
        database = CrashingDatabase(self._connection, self._before_transaction)
        place = Place("/home/.shoal", FOLDER, database, Kept(lambda: self._cached, self._cache))
        while self.peer is None:
            try:
                self.peer = await start_peer(ports, place, self._credentials)
            except Problem as problem:
                self._log.note(self.name, f"can't start: {problem}")
                await trio.sleep(2)
        await self.peer.run()

    def _cache(self, reply: WorkspacesReply) -> None:
        self._cached = reply

    # Trouble

    def crash(self) -> None:
        """The process dies here and now. What its database has committed stays."""
        self._log.note(self.name, "crashes")
        self._life.dead = True
        old = self._connection
        if old.in_transaction:
            old.execute("ROLLBACK")
        self._connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        old.backup(self._connection)
        old.close()
        if self.transport:
            self.transport.cut(silently=False)
        self._life.scope.cancel()

    def switch_off(self) -> None:
        """The process dies, and none comes after it until `run` is called again."""
        self._on = False
        self.crash()

    @property
    def alive(self) -> bool:
        return not self._life.dead

    def _perhaps_crash(self) -> None:
        if self.trouble.crashes and self._rng.random() < self.trouble.crash_chance:
            self.trouble.crashes -= 1
            self.crash()
        self._life.check()

    def _before_transaction(self) -> None:
        self._life.check()
        self._perhaps_crash()

    def _before_call(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._life.check()
        if name != "close":
            self._log.note(self.name, f"{name}({', '.join(brief(each) for each in arguments)})")
            self._meddle(self.name, name, arguments)
            self._perhaps_crash()
            if self._may_fail(name) and self._rng.random() < self.trouble.io_errors:
                self._log.note(self.name, "meets an I/O error")
                raise failure(errno.EIO)
            if name == "rename":
                self._watch_removals(*arguments)

    def _may_fail(self, name: str) -> bool:
        calls = self.trouble.io_error_calls
        return name in calls if calls else name not in _SAFE_CALLS

    def _watch_removals(self, source: Descriptor, name: str, target: Descriptor, _: str) -> None:
        """Say so when something goes from the folder to `.shoal/outgoing`."""
        path, room = self.disk.path(source, name), self.disk.path(target)
        shoals_own = f"{FOLDER}/{RESERVED}/".lstrip("/")
        if path is None or room is None:
            return
        if f"{room}/".startswith(shoals_own) and not path.startswith(shoals_own):
            self._removing(self.name, path.removeprefix(FOLDER.lstrip("/") + "/"))

    def differences(self) -> list[str]:
        """Where the three trees are not equal, as "synced" says they are (law 9)."""
        tree = "SELECT node, parent, name, kind FROM {} WHERE {}"
        here, there, agreed = (
            set(self._connection.execute(tree.format(table, condition)))
            for table, condition in (("local", "NOT gone"), ("remote", "1"), ("synced", "1"))
        )
        versions = "SELECT r.node FROM remote r JOIN synced s USING (workspace, node) WHERE r.version IS NOT s.version"
        apart = sorted(name for _, _, name, _ in (here ^ there) | (there ^ agreed))
        return apart + [node.hex() for (node,) in self._connection.execute(versions)]

    # Reports

    def report(self) -> str:
        """Where the peer stands, for a person who looks for a defect."""
        peer = self.peer
        if peer is None:
            return f"{self.name}: not running"
        store, progress = peer.context.store, peer.synchronizer.progress
        lines = [f"{self.name}: {state_of(peer)}, {store.not_durable_count()} not durable"]
        for _, node in store.dirty_after(0, 20):
            path = store.path(node) or store.remote_path(node)
            lines.append(f"  {node.hex()[:8]} {'/'.join(path or ('?',))}: {progress.steps.get(node)}")
            lines.append(f"    L {_short(store.local(node))}\n    R {_short(store.remote(node))}")
            lines.append(f"    S {_short(store.synced(node))}")
        lines += [f"  problem: {problem}" for problem in peer.context.problems.all()]
        return "\n".join(lines)


def _short(row: object) -> str:
    """A row of a tree, its ids cut down."""
    return re.sub(r"b'[^']*'|b\"[^\"]*\"", lambda found: literal_eval(found[0]).hex()[:8], repr(row))


async def _address() -> str:
    await trio.lowlevel.checkpoint()
    return "192.0.2.1"


def _connection_of(database: Database) -> sqlite3.Connection:
    return database._connection
