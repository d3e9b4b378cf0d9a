"""Two transactions on two connections, let on one statement at a time, in every order in which they can be.

Each side has a database of its own, as another process would. It stops before each of its statements, BEGIN where
there is one, COMMIT and ROLLBACK; a schedule says who goes on, "A" or "B". One that then waits for the other's lock is
out of the choice until the other has ended: what is tried is what can happen, and each order of it once.

    PostgreSQL   the function runs in a greenlet on the asyncio loop, and stops by awaiting there; whether it waits for
                 the other is asked of the server, on a third connection
    SQLite       it runs in a worker thread, and stops by calling back into trio; BEGIN IMMEDIATE is the only statement
                 that waits, and does so as long as the other has begun
"""

import asyncio
import heapq
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count, pairwise
from typing import Any, TypeAlias

import trio
from sqlalchemy import Connection, event, select, text
from sqlalchemy.util import await_only

from protocol.errors import Refused
from protocol.ports import Machine
from protocol.system import offload_to_thread
from tests.support.databases import Databases
from tracker.database import Database
from tracker.sqlite import SqliteDatabase
from tracker.system.postgresql import PostgresqlDatabase

PATIENCE_S = 30
"""So long may two transactions take, stops and all, before something is wrong."""
_ENDS = ("COMMIT", "ROLLBACK")

Function: TypeAlias = Callable[[Connection], object]
Outcome: TypeAlias = tuple[object, ...]
"""What became of a transaction: its reply, or the refusal's code, words and detail."""


# One side ------------------------------------------------------------------------------------------------------------


class State(Enum):
    """Where a side is."""

    RUNNING = "running"
    STOPPED = "stopped"  # before the statement `at`
    WAITING = "waiting"  # for a lock that the other has
    ENDED = "ended"


@dataclass
class Side:
    """One of the two. All but the stops themselves is called from trio."""

    name: str
    database: Database
    state: State = State.ENDED
    at: str = ""
    """The statement it is stopped before, or runs."""
    begun: bool = False
    """Whether it may hold locks: it was let on, and has not committed or rolled back."""
    backend: int = 0
    """PostgreSQL's process for its connection."""
    attempts: int = 0
    outcome: Outcome = ()
    free: bool = True
    """Whether it doesn't stop."""
    _changed: trio.Event = field(default_factory=trio.Event)
    _release: Callable[[], None] = lambda: None

    async def run(self, function: Function) -> None:
        """The whole transaction, from the first stop to the last."""
        try:
            self.outcome = ("reply", await self.database.transact(function))
        except Refused as error:
            self.outcome = ("refused", error.code, str(error), error.detail)
        self._change(State.ENDED)

    def begin(self) -> None:
        """From now on it stops."""
        self.state, self.begun, self.free, self.attempts = State.RUNNING, False, False, 0

    def stopped(self, statement: str, release: Callable[[], None], backend: int = 0) -> None:
        """It is about to run this; `release` lets it."""
        self.at, self.backend, self._release = statement, backend, release
        if self.free:
            release()
        else:
            self._change(State.STOPPED)

    def let_on(self) -> None:
        """Let it run the statement that it's stopped before."""
        self.attempts += not self.begun
        self.begun = not self.at.startswith(_ENDS)
        self.state = State.RUNNING
        self._release()

    def let_free(self) -> None:
        """Let it run to its end, whatever it is at."""
        self.free = True
        if self.state is State.STOPPED:
            self._release()

    async def change(self) -> None:
        """Wait until it stops or ends."""
        await self._changed.wait()

    def _change(self, state: State) -> None:
        self.state = state
        self._changed.set()
        self._changed = trio.Event()


Waits: TypeAlias = Callable[[Side, Side], Awaitable[bool | None]]
"""Whether the first, which runs a statement, waits for a lock of the second. None: this statement never waits."""


# Two of them ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One statement let on."""

    side: str
    statement: str
    waited: bool
    choice: bool
    """Whether the other could have gone instead."""


@dataclass(frozen=True)
class Run:
    """What happened."""

    steps: list[Step]
    outcomes: tuple[Outcome, Outcome]
    attempts: tuple[int, int]

    @property
    def schedule(self) -> str:
        return "".join(step.side for step in self.steps)


@dataclass
class Stepper:
    """Runs two transactions against each other."""

    sides: tuple[Side, Side]
    waits: Waits

    async def run(self, functions: tuple[Function, Function], schedule: str) -> Run:
        """Follow the schedule; after it, whoever went last goes on as long as it can."""
        steps: list[Step] = []
        with _told(steps, schedule):
            async with trio.open_nursery() as nursery:
                for side, function in zip(self.sides, functions, strict=True):
                    side.begin()
                    nursery.start_soon(side.run, function)
                try:
                    with trio.fail_after(PATIENCE_S):
                        await self._drive(deque(schedule), steps)
                finally:
                    for side in self.sides:
                        side.let_free()
        one, other = self.sides
        return Run(steps, (one.outcome, other.outcome), (one.attempts, other.attempts))

    async def _drive(self, schedule: deque[str], steps: list[Step]) -> None:
        for side, other in self._both():
            await self._settle(side, other)
        while any(side.state is not State.ENDED for side in self.sides):
            ready = {side.name: (side, other) for side, other in self._both() if side.state is State.STOPPED}
            assert ready, "each waits for the other"
            side, other = ready[self._next(schedule, steps, list(ready))]
            statement = side.at
            side.let_on()
            await self._settle(side, other)
            steps.append(Step(side.name, statement, side.state is State.WAITING, len(ready) == 2))
            if other.state is State.WAITING and not side.begun:
                other.state = State.RUNNING  # as far as it gets: locks are held to the end of a transaction
                await self._settle(other, side)

    def _both(self) -> list[tuple[Side, Side]]:
        one, other = self.sides
        return [(one, other), (other, one)]

    def _next(self, schedule: deque[str], steps: list[Step], ready: list[str]) -> str:
        if schedule:
            assert schedule[0] in ready, f"{schedule[0]} could go on the last time"
            return schedule.popleft()
        return steps[-1].side if steps and steps[-1].side in ready else ready[0]

    async def _settle(self, side: Side, other: Side) -> None:
        """Wait until a side that runs stops again, has ended, or waits for the other."""
        while side.state is State.RUNNING:
            waits = await self.waits(side, other) if other.begun else None
            if side.state is not State.RUNNING:
                return
            if waits:
                side.state = State.WAITING
            elif waits is None:
                await side.change()


@contextmanager
def _told(steps: list[Step], schedule: str) -> Iterator[None]:
    """Tell with any failure what led to it."""
    try:
        yield
    except BaseException as error:
        error.add_note(f"after {schedule!r}:\n{described(steps)}")
        raise


def described(steps: list[Step]) -> str:
    """The steps, a line each."""
    return "\n".join(
        f"  {step.side}  {' '.join(step.statement.split())[:100]}{'   (waits)' if step.waited else ''}"
        for step in steps
    )


# Every order ---------------------------------------------------------------------------------------------------------


async def interleavings(run: Callable[[str], Awaitable[Run]], *, most: int, seed: int) -> AsyncGenerator[Run]:
    """Every order in which two transactions can go, each once; of more than `most`, so many.

    `run` runs them by a schedule. First come those in which they take turns least often, since that is what mostly
    goes wrong; the second half of `most` is drawn at random from what is left.
    """
    draw = random.Random(seed)
    number = count()
    left = [(0, next(number), "")]
    for done in range(most):
        if not left:
            return
        drawn = done >= most // 2
        _, _, schedule = left.pop(draw.randrange(len(left))) if drawn else heapq.heappop(left)
        made = await run(schedule)
        yield made
        for at in range(len(schedule), len(made.steps)):
            if made.steps[at].choice:
                before, step = made.schedule[:at], made.steps[at]
                other = before + ("B" if step.side == "A" else "A")
                heapq.heappush(left, (_turns(other), next(number), other))


def _turns(schedule: str) -> int:
    return sum(one != other for one, other in pairwise(schedule))


# The two databases ---------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_stepper(databases: Databases, machine: Machine, url: str) -> AsyncIterator[Stepper]:
    """Two sides on the database there."""
    machine = replace(machine, offload=offload_to_thread)
    async with (
        databases.opened(machine, url) as a,
        databases.opened(machine, url) as b,
        databases.opened(machine, url) as third,
    ):
        sides = Side("A", a), Side("B", b)
        for side in sides:
            _stop_before_each(side)
        yield Stepper(sides, _begin_waits if isinstance(third, SqliteDatabase) else _asking(third))


def _stop_before_each(side: Side) -> None:
    if isinstance(side.database, SqliteDatabase):
        engine, stop = side.database.engine, _thread_stop(side)
    else:
        assert isinstance(side.database, PostgresqlDatabase)
        engine, stop = side.database._engine.sync_engine, _greenlet_stop(side)

    def before_statement(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        stop(connection, statement)

    event.listen(engine, "before_cursor_execute", before_statement)
    event.listen(engine, "commit", lambda connection: stop(connection, "COMMIT"))
    event.listen(engine, "rollback", lambda connection: stop(connection, "ROLLBACK"))


Stop: TypeAlias = Callable[[Connection, str], None]


def _thread_stop(side: Side) -> Stop:
    async def wait(statement: str) -> None:
        released = trio.Event()
        side.stopped(statement, released.set)
        await released.wait()

    def stop(_: Connection, statement: str) -> None:
        trio.from_thread.run(wait, statement)

    return stop


def _greenlet_stop(side: Side) -> Stop:
    token = trio.lowlevel.current_trio_token()

    def stop(connection: Connection, statement: str) -> None:
        loop = asyncio.get_running_loop()
        released = asyncio.Event()
        driver: Any = connection.connection.driver_connection

        def release() -> None:
            loop.call_soon_threadsafe(released.set)

        token.run_sync_soon(side.stopped, statement, release, driver.get_server_pid())
        await_only(released.wait())

    return stop


async def _begin_waits(side: Side, _: Side) -> bool | None:
    return True if side.at == "BEGIN IMMEDIATE" else None


_BLOCKERS = select(text("pg_blocking_pids(:backend)"))


def _asking(third: Database) -> Waits:
    async def waits(side: Side, other: Side) -> bool | None:
        if side.at.startswith(_ENDS) or (side.at.startswith("SELECT") and "FOR UPDATE" not in side.at):
            return None
        blockers: list[int] = await third.transact(
            lambda connection: connection.execute(_BLOCKERS, {"backend": side.backend}).scalar_one()
        )
        return other.backend in blockers

    return waits
