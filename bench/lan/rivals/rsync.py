"""A loop that many people have in a script: inotifywait tells of a change, rsync makes the other folder alike.

It waits until no event has come for 50 ms. Events are those of files that are complete (closed after writing, moved in)
or gone; with those of files being written it would only begin too early and have to do everything again.
"""

import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bench.failures import BenchFailed
from bench.lan.rivals.base import LOOK_SECONDS, READY_SECONDS, SETTLE_SECONDS, Rival, Running
from bench.lan.usage import Daemon, Measured, OneShot
from bench.lan.works import Saved
from bench.programs import Program, Programs, environment

DEBOUNCE_SECONDS = 0.05
_EVENTS = "close_write,moved_to,delete"
_READY = "Watches established."
_SENT = "Total bytes sent:"


class Loop:
    """See `Running`."""

    def __init__(self, source: Path, target: Path, watch: Program) -> None:
        """`watch` is inotifywait over `source`."""
        self.source, self.target = source, target
        self._watch = watch
        self._rsync = OneShot()
        self.processes: Mapping[str, Measured] = {"inotifywait": Daemon(watch.process.pid), "rsync": self._rsync}
        self._sent = 0
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
            await self._copy()
            self._at_rest = True

    async def _news(self) -> bool:
        """Wait for events; False when there will be no more."""
        assert self._watch.process.stdout is not None
        return bool(await self._watch.process.stdout.receive_some())

    async def _copy(self) -> None:
        command = ["rsync", "-a", "--stats", "--no-human-readable", f"{self.source}/", f"{self.target}/"]
        self._sent += bytes_sent(await self._rsync.run(command, environment()))

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
        """What rsync tells of itself."""
        return {"sent": self._sent}


def bytes_sent(said: str) -> int:
    """From what `rsync --stats` prints."""
    (sent,) = (line.removeprefix(_SENT) for line in said.splitlines() if line.startswith(_SENT))
    return int(sent)


@asynccontextmanager
async def _start(place: Path, programs: Programs) -> AsyncIterator[Running]:
    source, target = place / "source", place / "target"
    for folder in (source, target):
        folder.mkdir(parents=True)
    command = ["inotifywait", "--monitor", "--recursive", "--event", _EVENTS, "--format", ".", str(source)]
    watch = await programs.start("inotifywait", command, piped=True)
    with trio.move_on_after(READY_SECONDS) as waiting:
        while _READY not in watch.log.read_text("utf-8", "replace"):
            programs.check()
            await trio.sleep(LOOK_SECONDS)
    if waiting.cancelled_caught:
        raise BenchFailed(f"inotifywait is not ready within {READY_SECONDS:g} s", watch.log)
    loop = Loop(source, target, watch)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop.run)
        yield loop
        nursery.cancel_scope.cancel()


def _missing() -> str | None:
    absent = [name for name in ("inotifywait", "rsync") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not installed" if absent else None


def _describe() -> str:
    said = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=True).stdout
    version = " ".join(said.split()[:3])
    return f"{version}; inotifywait -m, {DEBOUNCE_SECONDS * 1000:g} ms without news, rsync -a of the whole folder"


RSYNC = Rival("rsync", _missing, _describe, _start, lambda counters: counters["sent"])
