"""CPU seconds of a server with all its children, and of this process."""

import os
from collections.abc import Iterator
from pathlib import Path

from bench.lan.usage import Usage, cpu_seconds, peak_bytes


class Tree:
    """A process and all that descends from it: PostgreSQL has a process for each connection.

    CPU of children that have ended is in their parent's. The peak is the sum of what each had at most, with memory that
    they share in it many times.
    """

    def __init__(self, pid: int) -> None:
        """It runs."""
        self._pid = pid
        self._before = 0.0

    def reset(self) -> None:
        """Begin anew. The peak is that since each began."""
        self._before = self._cpu_seconds()

    async def used(self) -> Usage:
        """Since the last reset."""
        peaks = (peak_bytes(text) for text in _files(self._pid, "status"))
        return Usage(self._cpu_seconds() - self._before, sum(peaks))

    def _cpu_seconds(self) -> float:
        return sum(map(cpu_seconds, _files(self._pid, "stat")))


def _files(root: int, name: str) -> Iterator[str]:
    """/proc/PID/`name` of each process that is there and stays while it is looked at."""
    for pid in _tree(root):
        try:
            yield Path(f"/proc/{pid}/{name}").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue


def _tree(root: int) -> Iterator[int]:
    yield root
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return
    for child in children:
        yield from _tree(int(child))


class Self:
    """This process, which asks."""

    def __init__(self) -> None:
        """It runs."""
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._before = sum(os.times()[:2])

    async def used(self) -> Usage:
        """Since the last reset, without a peak: what was prepared would be in it."""
        return Usage(sum(os.times()[:2]) - self._before, 0)
