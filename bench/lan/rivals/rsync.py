"""rsync in a loop with inotifywait."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.lan.rivals.base import Rival, Running
from bench.lan.rivals.loop import described, looping, missing
from bench.lan.usage import OneShot
from bench.programs import Programs, environment

_SENT = "Total bytes sent:"


async def _copy(rsync: OneShot, source: Path, target: Path) -> int:
    command = ["rsync", "-a", "--stats", "--no-human-readable", f"{source}/", f"{target}/"]
    return bytes_sent(await rsync.run(command, environment()))


def bytes_sent(said: str) -> int:
    """From what `rsync --stats` prints."""
    (sent,) = (line.removeprefix(_SENT) for line in said.splitlines() if line.startswith(_SENT))
    return int(sent)


@asynccontextmanager
async def _start(place: Path, programs: Programs) -> AsyncIterator[Running]:
    async with looping(place, programs, "rsync", _copy) as loop:
        yield loop


def version() -> str:
    """Of the rsync that is installed."""
    said = subprocess.run(["rsync", "--version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:3])


def _describe() -> str:
    return described(version(), "rsync -a of the whole folder")


RSYNC = Rival("rsync", lambda: missing("rsync"), _describe, _start, lambda counters: counters["sent"])
