"""A loop that many people have in a script: inotifywait tells of a change, a program makes the other folder alike.

It waits until no event has come for 50 ms. Events are those of files that are complete (closed after writing, moved in)
or gone; with those of files being written it would only begin too early and have to do everything again. That there is
a new directory counts as well: inotifywait watches it a moment later, and misses what is written into it until then.
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bench.failures import BenchFailed
from bench.lan.rivals.base import LOOK_SECONDS, READY_SECONDS, SETTLE_SECONDS
from bench.lan.usage import Daemon, Measured, OneShot
from bench.lan.works import Saved
from bench.programs import Program, Programs

DEBOUNCE_SECONDS = 0.05
_EVENTS = "create,close_write,moved_to,delete"
_BEGUN = b"CREATE"
"""A file that somebody begins to write: no reason to copy."""
_READY = "Watches established."

Copy = Callable[[OneShot, Path, Path], Awaitable[int]]
"""Run a program that makes the second folder like the first; the bytes that it says it has sent."""


class Loop:
    """See `Running`."""

    def __init__(self, source: Path, target: Path, watch: Program, name: str, copy: Copy) -> None:
        """`watch` is inotifywait over `source`, `name` that of the program that `copy` runs."""
        self.source, self.target = source, target
        self._watch, self._copy = watch, copy
        self._program = OneShot()
        self.processes: Mapping[str, Measured] = {"inotifywait": Daemon(watch.process.pid), name: self._program}
        self._sent = 0
        self._rest = b""  # of what was told: the beginning of a line
        self._at_rest = True

    async def run(self) -> None:
        """Copy after each change, until cancelled."""
        while await self._news():
            self._at_rest = False
            more = True
            while more:
                more = False
                with trio.move_on_after(DEBOUNCE_SECONDS):
                    more = await self._news()
            self._sent += await self._copy(self._program, self.source, self.target)
            self._at_rest = True

    async def _news(self) -> bool:
        """Wait for events that are a reason to copy; False when there will be no more."""
        assert self._watch.process.stdout is not None
        while told := await self._watch.process.stdout.receive_some():
            *events, self._rest = (self._rest + told).split(b"\n")
            if any(event != _BEGUN for event in events):
                return True
        return False

    async def saved(self, files: Sequence[Saved]) -> None:
        """It will notice."""

    async def settle(self) -> None:
        """Return when no event has come for a while and no copy is under way."""
        with trio.move_on_after(SETTLE_SECONDS):
            while True:
                # An event that is still under way has been taken by then.
                await trio.sleep(DEBOUNCE_SECONDS)
                if self._at_rest:
                    return
        raise BenchFailed(f"the loop does not come to rest within {SETTLE_SECONDS:g} s", self._watch.log)

    async def counters(self) -> dict[str, int]:
        """What the program tells of itself."""
        return {"sent": self._sent}


@asynccontextmanager
async def looping(place: Path, programs: Programs, name: str, copy: Copy) -> AsyncIterator[Loop]:
    """A loop at work between two new folders."""
    source, target = place / "source", place / "target"
    for folder in (source, target):
        folder.mkdir(parents=True)
    command = ["inotifywait", "--monitor", "--recursive", "--event", _EVENTS, "--format", "%e", str(source)]
    watch = await programs.start("inotifywait", command, piped=True)
    with trio.move_on_after(READY_SECONDS) as waiting:
        while _READY not in watch.log.read_text("utf-8", "replace"):
            programs.check()
            await trio.sleep(LOOK_SECONDS)
    if waiting.cancelled_caught:
        raise BenchFailed(f"inotifywait is not ready within {READY_SECONDS:g} s", watch.log)
    loop = Loop(source, target, watch, name, copy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop.run)
        yield loop
        nursery.cancel_scope.cancel()


def missing(name: str) -> str | None:
    """Why a loop with this program can't be."""
    absent = [each for each in ("inotifywait", name) if shutil.which(each) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


def described(version: str, what: str) -> str:
    """The loop with this program."""
    return f"{version}; inotifywait -m, {DEBOUNCE_SECONDS * 1000:g} ms without news, {what}"
