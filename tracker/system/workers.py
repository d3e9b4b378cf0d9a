"""`serve --workers N`: N processes that take connections from one socket, and this one, which looks after them.

The socket is this process's and stays open, so that no connection is refused while workers come and go. A worker that
ends by itself is replaced. SIGHUP replaces all of them, one after the other: the next one serves before the last one
stops, which finishes what it has begun. A worker sees by the end of its input that this process is gone.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import trio

from protocol.errors import Problem
from tracker.system.listening import INHERITED, RELIEVES

START_S = 60.0
"""Until a worker serves; PostgreSQL may be slow to take its connections."""
STOP_S = 8.5
"""From SIGTERM until a worker is killed."""
PAUSES_S = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Before a worker that ended is replaced; from one to the next as long as none lives for STEADY_S."""
STEADY_S = 30.0

Launch: TypeAlias = Callable[[bool], Awaitable[trio.Process]]
"""Starts a worker, which may relieve one, and waits until it serves."""

_log = logging.getLogger("shoal.tracker.workers")


async def launch(listening: socket.socket, environment: Mapping[str, str], relieves: bool) -> trio.Process:
    """A worker on this socket, its options in its environment. `Problem` when it doesn't come to serve."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "tracker", "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **environment, INHERITED: str(listening.fileno()), RELIEVES: str(int(relieves))},
        pass_fds=[listening.fileno()],
        start_new_session=True,  # what is typed at a terminal is for this process
    )
    try:
        assert process.stdout is not None
        with trio.move_on_after(START_S):
            if await process.stdout.receive_some():  # the line that says where it listens
                return process
        raise Problem("a worker did not start")
    except BaseException:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()  # or it would stay as a zombie
        raise


class _Place:
    """A place among the workers, and who has it."""

    def __init__(self, launch: Launch) -> None:
        self._launch = launch
        self._process: trio.Process | None = None
        self._relief: trio.Process | None = None
        self._changing = trio.Lock()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep it taken until cancelled, from when the first one serves."""
        process = await self._launch(False)
        task_status.started()
        failures = 0
        while True:
            self._process, since = process, trio.current_time()
            code = await process.wait()
            async with self._changing:
                if self._relief is not None:
                    process, self._relief = self._relief, None
                    continue
                failures = 0 if trio.current_time() - since >= STEADY_S else failures
                process, failures = await self._replacement(code, failures)

    async def _replacement(self, code: int, failures: int) -> tuple[trio.Process, int]:
        _log.error("a worker ended with %d; another takes its place", code)
        while True:
            await trio.sleep(PAUSES_S[min(failures, len(PAUSES_S) - 1)])
            failures += 1
            try:
                return await self._launch(False), failures
            except Problem as error:
                _log.error("%s", error)

    async def relieve(self) -> None:
        """Put another worker in this place, and wait until the one before has stopped. `Problem` when none starts."""
        async with self._changing:
            before = self._process
            self._relief = await self._launch(True)
        if before is not None:
            await stop(before)

    async def stop(self) -> None:
        """Stop whoever is here."""
        for process in (self._process, self._relief):
            if process is not None:
                await stop(process)


async def stop(process: trio.Process) -> None:
    """Have a worker finish what it does, and kill it when it takes too long."""
    if process.returncode is None:
        process.terminate()
    with trio.move_on_after(STOP_S):
        await process.wait()
        return
    _log.error("worker %d did not stop and is killed", process.pid)
    process.kill()
    await process.wait()


class Workers:
    """All of them."""

    def __init__(self, launch: Launch, count: int) -> None:
        self._places = [_Place(launch) for _ in range(count)]

    async def run(self, stopping: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
        """Have them serve until `stopping` is set; started when all do. `Problem` when one can't."""
        try:
            async with trio.open_nursery() as nursery:
                first, *others = self._places
                await nursery.start(first.run)  # alone: what keeps it from starting is said once
                async with trio.open_nursery() as starting:
                    for place in others:
                        starting.start_soon(nursery.start, place.run)
                await nursery.start(self._replace_on_hangup)
                task_status.started()
                await stopping.wait()
                nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await self._stop()

    async def _stop(self) -> None:
        async with trio.open_nursery() as nursery:
            for place in self._places:
                nursery.start_soon(place.stop)

    async def _replace_on_hangup(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            task_status.started()
            async for _ in signals:
                await self._replace_all()

    async def _replace_all(self) -> None:
        """One after the other, so that enough of them serve at any time."""
        for place in self._places:
            try:
                await place.relieve()
            except Problem as error:
                _log.error("the restart ends here, those before serve on: %s", error)
                return
        _log.info("all workers have been replaced")


def bind(host: str, port: int, backlog: int) -> socket.socket:
    """The socket that all workers listen on; `Problem` when it can't be had."""
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=backlog
        )
    except OSError as error:
        raise Problem(f"can't listen on {host}:{port}: {error.strerror or error}") from None


async def stop_with_parent(stop: trio.Event) -> None:
    """In a worker: set `stop` when the process that looks after it is gone."""
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stream:
        async for _ in stream:
            pass
    stop.set()
