"""py-spy beside Shoal's processes, if somebody has installed it: where the time goes."""

import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from bench.failures import BenchFailed
from bench.programs import Program, Programs

RATE = 200
"""Samples a second."""
_STOP_SECONDS = 30.0


def py_spy() -> str | None:
    """Its path: of this environment, or else of this user."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.is_file() else shutil.which("py-spy")


def folder_for(wanted: Path | None, say: Callable[[str, str], None]) -> Path | None:
    """The folder that profiles go to; None, and a word why, when there can be none."""
    if wanted is None:
        return None
    if py_spy() is None:
        say("no profile: py-spy is not installed (pip install py-spy)", "red")
        return None
    wanted.mkdir(parents=True, exist_ok=True)
    return wanted.resolve()


@asynccontextmanager
async def profiling(
    programs: Programs, folder: Path, label: str, processes: Mapping[str, int], *, gil: bool = False
) -> AsyncIterator[None]:
    """Record processes (name to pid) as long as the block lasts: `folder`/LABEL-NAME.txt, a line for each stack.

    Each line is a stack from its root, frames parted by semicolons, and how many samples found it. With `gil` only the
    thread that holds the GIL counts: a thread that waits for it after a system call looks busy otherwise.
    """
    path = py_spy()
    assert path is not None
    spies = []
    for name, pid in processes.items():
        command = [path, "record", "--format", "raw", "--threads", "--rate", str(RATE), "--pid", str(pid)]
        command += ["--gil"] if gil else []
        output = folder / f"{label}-{name}.txt"
        spies.append(await programs.start(f"py-spy {name}", [*command, "--output", str(output)]))
    try:
        yield
    finally:
        for spy in spies:
            await _stop(programs, spy)


async def _stop(programs: Programs, spy: Program) -> None:
    """SIGINT makes it write what it has; after that it ends."""
    spy.asked_to_stop = True
    with trio.CancelScope(shield=True):
        if spy.process.poll() is None:
            spy.process.send_signal(signal.SIGINT)
        with trio.move_on_after(_STOP_SECONDS):
            await spy.process.wait()
        programs.running.remove(spy)
    if spy.process.returncode is None:
        programs.running.append(spy)
        raise BenchFailed("py-spy does not end", spy.log)
