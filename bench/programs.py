"""Child processes with their output in a log, ended whatever becomes of who started them."""

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from bench.failures import BenchFailed, printable

STOP_SECONDS = 10.0
"""What design §9 gives a program from SIGTERM to its end."""
_CHECK_SECONDS = 0.5


class Program:
    """One running program."""

    def __init__(self, name: str, process: trio.Process, log: Path, stop_signal: int = signal.SIGTERM) -> None:
        """Made by `Programs.start`."""
        self.name = name
        self.process = process
        self.log = log
        self._stop_signal = stop_signal
        self.asked_to_stop = False

    def check(self) -> None:
        """`BenchFailed` when it has ended by itself."""
        code = self.process.poll()
        if code is not None and not self.asked_to_stop:
            raise BenchFailed(f"the {self.name} ended by itself ({_ending(code)})", self.log)

    async def stop(self) -> None:
        """Its signal, and SIGKILL after `STOP_SECONDS`: that would be a defect, hence `BenchFailed`."""
        self.asked_to_stop = True
        with trio.CancelScope(shield=True):
            if self.process.poll() is None:
                self.process.send_signal(self._stop_signal)
            with trio.move_on_after(STOP_SECONDS):
                await self.process.wait()
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()
                raise BenchFailed(f"the {self.name} did not stop within {STOP_SECONDS:g} s of being asked to", self.log)


class Programs:
    """All programs of one demo, or of one measurement."""

    def __init__(self, logs: Path) -> None:
        """Logs go to the folder `logs`."""
        self._logs = logs
        self.running: list[Program] = []

    async def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        piped: bool = False,
        variables: Mapping[str, str] | None = None,
        stop_signal: int = signal.SIGTERM,
        run_as: Mapping[str, Any] | None = None,
    ) -> Program:
        """Start a program that is to run until it is stopped. A log of that name is continued.

        With `piped` what it says on stdout is for the caller, who reads `process.stdout`. `variables` are added to its
        environment. `stop_signal` is what asks it to stop, SIGTERM as a person would. `run_as` is as whom it runs, in
        `subprocess.Popen`'s words.
        """
        log = self._logs / f"{name}.log"
        with log.open("ab") as out:
            # A session of its own: Ctrl-C in the terminal is for the parent, which then stops its programs in order.
            process = await trio.lowlevel.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else out,
                stderr=out,
                env=environment() | dict(variables or {}),
                start_new_session=True,
                **(run_as or {}),
            )
        program = Program(name, process, log, stop_signal)
        self.running.append(program)
        return program

    def check(self) -> None:
        """`BenchFailed` when one has ended by itself."""
        for program in self.running:
            program.check()

    async def stop(self, program: Program) -> None:
        """Stop one."""
        try:
            await program.stop()
        finally:
            self.running.remove(program)

    def release(self) -> list[Program]:
        """Those that run now; from now on they are the caller's."""
        released, self.running = self.running, []
        return released

    async def stop_all(self) -> None:
        """Stop all, at once."""
        async with trio.open_nursery() as nursery:
            for program in list(self.running):
                nursery.start_soon(self.stop, program)


@asynccontextmanager
async def programs(logs: Path) -> AsyncIterator[Programs]:
    """Programs that end with the block, unless they were released. Makes the folder `logs`."""
    logs.mkdir()
    all_ = Programs(logs)
    try:
        yield all_
    finally:
        await all_.stop_all()


@asynccontextmanager
async def watched(running: Programs) -> AsyncIterator[None]:
    """`BenchFailed` when a program ends by itself while the block lasts."""

    async def watch() -> None:
        while True:
            running.check()
            await trio.sleep(_CHECK_SECONDS)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield
        nursery.cancel_scope.cancel()


async def run(command: Sequence[str], seconds: float, *logs: Path, secrets: Mapping[str, str] | None = None) -> str:
    """Run a command to its end; its stdout. `BenchFailed` with its own words when it fails or takes too long."""
    name = " ".join(Path(word).name if word == command[0] else word for word in command)
    with trio.move_on_after(seconds):
        done = await trio.run_process(
            command,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment() | dict(secrets or {}),
            start_new_session=True,
        )
        said = done.stdout.decode("utf-8", "backslashreplace")
        if done.returncode == 0:
            return said
        words = [*said.splitlines()[:1], *done.stderr.decode("utf-8", "backslashreplace").splitlines()[-1:]]
        raise BenchFailed(f"{name}: {_ending(done.returncode)}: {printable('; '.join(words))}", *logs)
    raise BenchFailed(f"{name}: not done within {seconds:g} s", *logs)


def environment() -> dict[str, str]:
    """This one without any option for Shoal in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SHOAL_")}


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by signal {-code}"
