"""`cp`, told of each save: the floor."""

import shutil
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path, PurePath

from bench.lan.rivals.base import Rival, Running
from bench.lan.usage import Measured, OneShot
from bench.lan.works import Saved
from bench.programs import Programs, environment


class Copies:
    """See `Running`."""

    def __init__(self, place: Path) -> None:
        """Make both folders."""
        self.source, self.target = place / "source", place / "target"
        self._cp = OneShot()
        self.processes: Mapping[str, Measured] = {"cp": self._cp}
        self._bytes = 0
        for folder in (self.source, self.target):
            folder.mkdir(parents=True)

    async def saved(self, files: Sequence[Saved]) -> None:
        """Copy what is new at the top of the folder: the file, or the directory that holds all."""
        for top in dict.fromkeys(PurePath(file.name).parts[0] for file in files):
            command = ["cp", "--recursive", "--reflink=never", str(self.source / top), str(self.target)]
            await self._cp.run(command, environment())
        self._bytes += sum(file.size for file in files)

    async def settle(self) -> None:
        """It is at rest."""

    async def counters(self) -> dict[str, int]:
        """The sizes of what was copied."""
        return {"copied": self._bytes}


@asynccontextmanager
async def _start(place: Path, _: Programs) -> AsyncIterator[Running]:
    yield Copies(place)


def _missing() -> str | None:
    return None if shutil.which("cp") else "cp is not installed"


def _describe() -> str:
    said = subprocess.run(["cp", "--version"], capture_output=True, text=True, check=True).stdout
    return f"{said.splitlines()[0]}; --reflink=never, run by the bench when the program has saved, then fsync"


CP = Rival("cp", _missing, _describe, _start, lambda counters: counters["copied"])
