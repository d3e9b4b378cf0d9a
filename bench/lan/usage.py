"""CPU seconds and peak memory of processes, per work.

A daemon is looked at from outside: utime and stime of /proc/PID/stat with those of its children that have ended, and
VmHWM, the peak of its resident memory. A program that runs once for each save tells its CPU when it ends (wait4(2)).
The peak that it tells then is no use, as it begins with the memory of the process that forked it; so VmHWM is looked at
while it runs, and what is over too soon has none.
"""

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import trio

from bench.failures import BenchFailed, printable

_TICKS = os.sysconf("SC_CLK_TCK")
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Usage:
    """What one process used in one work, or several runs of one program."""

    cpu_seconds: float
    peak_bytes: int  # 0: not known


class Measured(Protocol):
    """A process or program whose use is measured."""

    def reset(self) -> None:
        """Begin anew."""

    async def used(self) -> Usage:
        """Since the last reset; of a program that is under way, when it has ended."""


class Daemon:
    """A process that runs all the time."""

    def __init__(self, pid: int) -> None:
        """It runs."""
        self.pid = pid
        self._before = 0.0

    def reset(self) -> None:
        """Where the kernel can't begin VmHWM anew, the peak is that since the process began."""
        self._before = self._cpu_seconds()
        with suppress(OSError):
            Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    async def used(self) -> Usage:
        return Usage(self._cpu_seconds() - self._before, self._peak_bytes())

    def _cpu_seconds(self) -> float:
        return cpu_seconds(Path(f"/proc/{self.pid}/stat").read_text())

    def _peak_bytes(self) -> int:
        return peak_bytes(Path(f"/proc/{self.pid}/status").read_text())


def cpu_seconds(stat: str) -> float:
    """utime, stime, cutime and cstime of a /proc/PID/stat. The name in it may hold blanks and brackets."""
    fields = stat.rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def peak_bytes(status: str) -> int:
    """VmHWM of a /proc/PID/status; 0 for a process that has ended and is still to be waited for."""
    return sum(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmHWM:"))


class OneShot:
    """A program that is run anew each time; its uses are added up, of the peaks the highest counts."""

    def __init__(self) -> None:
        """It has not run yet."""
        self._turn = trio.Lock()  # one at a time
        self.reset()

    def reset(self) -> None:
        self._cpu_seconds, self._peak_bytes = 0.0, 0

    async def used(self) -> Usage:
        async with self._turn:
            return Usage(self._cpu_seconds, self._peak_bytes)

    async def run(self, command: Sequence[str], environment: Mapping[str, str]) -> str:
        """Run it to its end; its stdout. `BenchFailed` with its own words when it fails. Killed when cancelled."""
        async with self._turn:
            code, words = await self._run(command, environment)
        if code != 0:
            raise BenchFailed(f"{command[0]}: exit code {code}: {printable(words.strip()[-200:])}")
        return words

    async def _run(self, command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
            try:
                await self._ended(process.pid)
            finally:
                os.kill(process.pid, signal.SIGKILL)
                _, status, spent = os.wait4(process.pid, 0)
                process.returncode = os.waitstatus_to_exitcode(status)
            said.seek(0)
            self._cpu_seconds += spent.ru_utime + spent.ru_stime
            return process.returncode, said.read().decode("utf-8", "backslashreplace")

    async def _ended(self, pid: int) -> None:
        """Wait for the end, looking at its memory now and then. It stays there to be waited for, and killed."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look_at_memory, pid)
            wait = partial(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            await trio.to_thread.run_sync(wait, abandon_on_cancel=True)
            nursery.cancel_scope.cancel()

    async def _look_at_memory(self, pid: int) -> None:
        while True:
            await trio.sleep(_LOOK_SECONDS)
            self._peak_bytes = max(self._peak_bytes, peak_bytes(Path(f"/proc/{pid}/status").read_text()))
