"""The tracker's machine: a process that can be killed at any call, and the database and objects that outlive it.

The fence may fall before and after each transaction and each call of the storage. `synchronous=FULL` and the fsync of
every object are taken at their word: what was committed or stored is there after a power cut too.
"""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import trio
from sqlalchemy import Engine, select, update

from protocol.api import COMMIT, HTTP_STATUS
from protocol.breaker import Limits
from protocol.errors import Code, Unreachable
from protocol.hashing import digest
from protocol.identifiers import ID_LENGTH, DeviceId, VersionId
from protocol.ports import Machine
from storage.memory import MemoryStorage
from tests.simulation.accounts import content_of, engine_of
from tests.simulation.counts import COMMIT_RETRIED
from tests.simulation.exchange import Exchange, Message
from tests.simulation.fence import Crashed, FencedDatabase, FencedStorage, FenceTrouble, TrackerFence
from tests.simulation.invariants import WatchedDatabase
from tests.simulation.log import ACTOR, EventLog
from tracker.administration import set_breaker, set_suspended
from tracker.assembly import build
from tracker.checking import check_tracker
from tracker.schema import ANNOUNCED, DURABLE, WITHDRAWN, chunks, meta, nodes, versions, workspaces
from tracker.scrubbing import scrub
from tracker.sessions import retire_device
from tracker.sqlite import SqliteDatabase

TRACKER = "tracker"
HTTP_OK = 200


class TrackerHost:
    """The tracker's machine."""

    def __init__(self, machine: Machine, engine: Engine, log: EventLog, rng: Random | None = None) -> None:
        self._machine = machine
        self._engine = engine
        self._log = log
        self._storage = MemoryStorage()
        self._nursery: trio.Nursery | None = None
        self._app: Any = None
        self.trouble = FenceTrouble()
        self.restores = 0
        """How often it was put back to a backup."""
        self._carried_out: set[bytes] = set()  # commits, by digest
        self.broken: list[str] = []
        """What a transaction has left as it must not be."""
        self.died = trio.Event()
        """Set when the process has ended; each has its own."""
        self._rng = Random("tracker/trouble") if rng is None else rng
        self._fence = self._new_fence()

    @property
    def up(self) -> bool:
        return self._nursery is not None

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """One process, until `stop`."""
        ACTOR.set(TRACKER)
        self._log.note(TRACKER, "starts")
        fence = self._fence = self._new_fence()
        died = self.died = trio.Event()
        inner = WatchedDatabase(SqliteDatabase(self._machine, self._engine), self.broken)
        try:
            tracker = await build(self._machine, FencedDatabase(inner, fence), FencedStorage(self._storage, fence))
            async with trio.open_nursery() as nursery:
                self._nursery, self._app = nursery, tracker.app
                nursery.start_soon(_mortal, tracker.look_after)
                task_status.started()
                await trio.sleep_forever()
        except Crashed:
            task_status.started()
        finally:
            if self._fence is fence:
                self._nursery = self._app = None
            died.set()

    def _new_fence(self) -> TrackerFence:
        return TrackerFence(self.trouble, self._rng, self._crash)

    def stop(self) -> None:
        """The process is killed, with all it was at."""
        self._log.note(TRACKER, "is killed")
        self._end()

    def _crash(self, where: str) -> None:
        self._log.note(TRACKER, f"crashes {where}")
        self._end()

    def _end(self) -> None:
        self._fence.down = True
        if self._nursery is not None:
            self._nursery.cancel_scope.cancel()
        self._nursery = self._app = None

    def serve(self, scope: Message, exchange: Exchange) -> None:
        """Let the app handle one connection."""
        if self._nursery is None:
            raise Unreachable("can't reach the tracker: connection refused")
        self._nursery.start_soon(self._handle, self._app, scope, exchange)

    def serve_later(self, seconds: float, scope: Message, exchange: Exchange) -> None:
        """The same in a while, though whoever sent it has given up; not if the process ends before that."""
        if self._nursery is not None:
            self._nursery.start_soon(self._handle, self._app, scope, exchange, seconds)

    async def _handle(self, app: Any, scope: Message, exchange: Exchange, after: float = 0.0) -> None:
        ACTOR.set(TRACKER)
        if after:
            await trio.sleep(after)
            self._log.note(TRACKER, f"gets a late request {scope['path']}")
        retried = scope["path"] == COMMIT.path and digest(exchange.body) in self._carried_out
        self._log.happened[COMMIT_RETRIED] += retried
        try:
            await app(scope, exchange.receive_up, exchange.take)
        except* Crashed:
            pass
        finally:
            if scope["path"] == COMMIT.path and exchange.status == HTTP_OK:
                self._carried_out.add(digest(exchange.body))
            if retried and exchange.status == HTTP_STATUS[Code.COMMIT]:
                self.broken.append("a commit that stands in the order is refused")
            exchange.end()

    def announced(self, version: VersionId | None = None) -> bool:
        """Whether a version, or any, is announced and not in the cloud."""
        sql = select(versions.c.version).where(versions.c.state == ANNOUNCED)
        with self._engine.connect() as connection:
            found = connection.execute(sql if version is None else sql.where(versions.c.version == version))
            return found.first() is not None

    def is_head(self, version: VersionId) -> bool:
        """Whether a file in the order, as it is now, has this version."""
        sql = select(nodes.c.node).where(nodes.c.version == version, nodes.c.deleted.is_(False))
        with self._engine.connect() as connection:
            return connection.execute(sql).first() is not None

    # Backups

    def backup(self) -> bytes:
        """The database as it is now."""
        return content_of(self._engine)

    def restore(self, database: bytes, *, announced: bool) -> None:
        """Start again from an older database; the objects stay as they are. The product's `restore` announces that by
        a new epoch; somebody who copies the files back doesn't."""
        self.stop()
        self.restores += 1
        self._carried_out.clear()
        self._log.note(TRACKER, f"is restored {'as it should be' if announced else 'without a word'}")
        self._engine = engine_of(database)
        if announced:
            with self._engine.begin() as connection:
                fresh = self._rng.randbytes(ID_LENGTH)
                connection.execute(update(meta).where(meta.c.name == "tracker epoch").values(value=fresh))

    def limit(self, email: str, limits: Limits) -> None:
        """Say how much of a user's files may be deleted or overwritten unasked."""
        with self._engine.begin() as connection:
            set_breaker(connection, email, limits)

    def retire(self, device: DeviceId) -> None:
        """Take a device off its account."""
        with self._engine.begin() as connection:
            retire_device(connection, device)

    def suspend(self, email: str, *, suspended: bool) -> None:
        """Suspend an account, or let it go on."""
        with self._engine.begin() as connection:
            set_suspended(connection, email, suspended)

    async def check(self) -> list[str]:
        """What `shoal-tracker check` finds, and what was wrong on the way."""
        database = SqliteDatabase(self._machine, self._engine)
        return self.broken + (await check_tracker(self._machine, database, self._storage, quick=False)).problems

    def revision(self) -> int:
        """How far the order has come: the revisions of all workspaces together, of which there is one."""
        with self._engine.connect() as connection:
            return sum(connection.execute(select(workspaces.c.revision)).scalars())

    def damage(self) -> None:
        """One bit of each stored object turns over."""
        for key, data in self._storage.objects.items():
            self._storage.objects[key] = data[:-1] + bytes([data[-1] ^ 1])

    async def scrub(self) -> int:
        """What `shoal-tracker scrub` does; how many chunks are damaged."""
        database = SqliteDatabase(self._machine, self._engine)
        return (await scrub(self._machine, database, self._storage)).counts["damaged"]

    def stored_bytes(self) -> int:
        """How much of all files has been brought here."""
        with self._engine.connect() as connection:
            return sum(connection.execute(select(chunks.c.length)).scalars())

    async def state_of(self, version: VersionId) -> str:
        """What has become of a version."""
        with self._engine.connect() as connection:
            state = connection.execute(select(versions.c.state).where(versions.c.version == version)).scalar_one()
        return {ANNOUNCED: "announced", DURABLE: "durable", WITHDRAWN: "withdrawn"}[state]


async def _mortal(work: Callable[[], Awaitable[None]]) -> None:
    """A task of a process that may die."""
    try:
        await work()
    except* Crashed:
        pass
