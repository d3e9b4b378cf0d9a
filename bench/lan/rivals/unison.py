"""unison in a loop with inotifywait. Its own `-repeat watch` needs unison-fsmonitor, which Debian does not ship."""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.lan.rivals.base import Rival, Running
from bench.lan.rivals.loop import described, looping, missing
from bench.lan.usage import OneShot
from bench.programs import Programs, environment

OPTIONS = ("-batch", "-ui", "text", "-times", "-terse", "-confirmbigdel=false", "-log=false")


def own_environment(place: Path) -> dict[str, str]:
    """With what it remembers below `place`, and no profile of this user's."""
    return environment() | {"UNISON": str(place / "unison")}


async def _copy(unison: OneShot, source: Path, target: Path) -> int:
    """It tells no bytes, so there are none."""
    await unison.run(["unison", str(source), str(target), *OPTIONS], own_environment(source.parent))
    return 0


@asynccontextmanager
async def _start(place: Path, programs: Programs) -> AsyncIterator[Running]:
    async with looping(place, programs, "unison", _copy) as loop:
        yield loop


def version() -> str:
    """Of the unison that is installed."""
    said = subprocess.run(["unison", "-version"], capture_output=True, text=True, check=True).stdout
    return " ".join(said.split()[:3])


def _describe() -> str:
    return described(version(), "unison -batch of both folders")


UNISON = Rival("unison", lambda: missing("unison"), _describe, _start, lambda counters: counters["sent"])
