"""An asyncio loop in a thread of its own: asyncpg runs on no other, and the tracker runs on trio.

A coroutine is sent there as a whole, so the way between the two is gone once there and once back, whatever it does in
between (trio-asyncio goes it at every await).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any, Generic, TypeVar

import outcome
import trio

T = TypeVar("T")

LAST_S = 3.0
"""How long a job that must finish may still take once it is cancelled: a database that stands still must not keep the
tracker from stopping within 10 s."""


class Job(Generic[T]):
    """A coroutine in the loop. Everything here is called in the loop's thread."""

    def __init__(
        self, function: "Callable[[Job[T]], Awaitable[T]]", report: Callable[[outcome.Outcome[T]], None]
    ) -> None:
        self._function = function
        self._report = report
        self._task: asyncio.Task[T] | None = None
        self.must_finish = False
        """From now on a cancellation waits for LAST_S; the job sets it before what must not be cut off."""

    def begin(self) -> None:
        """Start it; its outcome is reported when it ends."""
        self._task = asyncio.ensure_future(self._run())
        self._task.add_done_callback(self._ended)

    async def _run(self) -> T:
        return await self._function(self)

    def cancel(self) -> None:
        """Cancel it, in a while if it must finish."""
        if self._task is None:
            return
        if self.must_finish:
            self._task.get_loop().call_later(LAST_S, self._task.cancel)
        else:
            self._task.cancel()

    def _ended(self, task: "asyncio.Task[T]") -> None:
        self._report(outcome.capture(task.result))


class LoopThread:
    """The way into the loop, for any task of any trio run."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def run(self, function: Callable[[Job[T]], Awaitable[T]]) -> T:
        """Run `function(job)` in the loop, to its end. A cancellation is passed on, later if the job must finish."""
        token, waiting = trio.lowlevel.current_trio_token(), trio.lowlevel.current_task()
        cancelled: list[Callable[[], Any]] = []

        def report(result: outcome.Outcome[T]) -> None:
            if cancelled and isinstance(result, outcome.Error) and isinstance(result.error, asyncio.CancelledError):
                token.run_sync_soon(lambda: trio.lowlevel.reschedule(waiting, outcome.capture(cancelled[0])))
            else:
                token.run_sync_soon(trio.lowlevel.reschedule, waiting, result)

        def abort(raise_cancel: Callable[[], Any]) -> trio.lowlevel.Abort:
            cancelled.append(raise_cancel)
            self._loop.call_soon_threadsafe(job.cancel)
            return trio.lowlevel.Abort.FAILED

        job = Job(function, report)
        self._loop.call_soon_threadsafe(job.begin)
        result: T = await trio.lowlevel.wait_task_rescheduled(abort)
        return result

    def soon(self, function: Callable[[], None]) -> None:
        """Have the loop call this; doesn't wait."""
        self._loop.call_soon_threadsafe(function)


@contextmanager
def open_loop() -> Iterator[LoopThread]:
    """A loop that runs until the context ends, by when nothing may be left running in it."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, name="asyncio", daemon=True)
    thread.start()
    try:
        yield LoopThread(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()  # it has nothing left to do but to stop
        loop.close()
