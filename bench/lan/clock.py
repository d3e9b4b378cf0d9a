"""The clock: it starts when a program has closed its last file, and stops when all is in place and durable.

In place means that the final name has the final size, or the byte that was changed. Every rival here writes elsewhere
and renames, but for cp, whose end is awaited first: when that is there, all the content is, which is verified after the
clock has stopped. Then the bench itself makes sure that it is durable, for every rival alike: one file and its
directory are fsynced, several files get one barrier for their file system. Where the rival has already done so, this
costs next to nothing.
"""

import os
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.compare import content_hash
from bench.failures import BenchFailed
from bench.lan.works import Save, Saved
from peer.ports import Descriptor
from peer.system.disk import LinuxDisk

DEADLINE_SECONDS = 900.0
"""For one save: what takes longer has failed."""


@dataclass(frozen=True)
class Timed:
    """How long one save took, in seconds: the program's writing, and from then until in place and durable."""

    writing: float
    seconds: float


async def time_save(
    save: Save,
    source: Path,
    target: Path,
    look_seconds: float,
    after: Callable[[Sequence[Saved]], Awaitable[None]],
    deadline: float = DEADLINE_SECONDS,
) -> Timed:
    """Write, wait for it on the other side, make it durable; `BenchFailed` when it doesn't come in time.

    `after` is called when the files are saved, with the clock running: rivals that watch the folder have nothing to do
    there. When cancelled, no thread goes on looking.
    """
    began = time.perf_counter()
    await trio.to_thread.run_sync(save.write, source)
    saved = time.perf_counter()
    arrivals = Arrivals(target, save.files, look_seconds)
    with trio.move_on_after(deadline):
        await after(save.files)
        return Timed(saved - began, await arrivals.all_durable() - saved)
    raise BenchFailed(f"{arrivals.come} of {len(save.files)} files in place within {deadline:g} s")


class Arrivals:
    """Files that are awaited in a folder. They are looked at one after the other, so that 10,000 cost 10,000 looks."""

    def __init__(self, target: Path, files: Sequence[Saved], look_seconds: float) -> None:
        """Look every `look_seconds`."""
        self._target, self._files, self._look_seconds = target, files, look_seconds
        self._given_up = threading.Event()
        self.come = 0

    async def all_durable(self) -> float:
        """The moment, of `time.perf_counter`, when all are in place and durable."""
        try:
            return await trio.to_thread.run_sync(self._stop_clock, abandon_on_cancel=True)
        finally:
            self._given_up.set()

    def _stop_clock(self) -> float:
        for file in self._files:
            while not _in_place(self._target, file):
                if self._given_up.wait(self._look_seconds):
                    return 0.0
            self.come += 1
        make_durable([self._target / file.name for file in self._files])
        return time.perf_counter()


def _in_place(target: Path, file: Saved) -> bool:
    try:
        if file.mark is None:
            return os.stat(target / file.name).st_size == file.size
        offset, data = file.mark
        with (target / file.name).open("rb", buffering=0) as there:
            return there.seek(0, os.SEEK_END) == file.size and os.pread(there.fileno(), len(data), offset) == data
    except FileNotFoundError:
        return False


def make_durable(files: Sequence[Path]) -> None:
    """fsync one file and its directory; for several, one barrier for their file system."""
    if len(files) == 1:
        _with_descriptor(files[0], os.fsync)
        _with_descriptor(files[0].parent, os.fsync)
    else:
        flush(files[0].parent)


def flush(folder: Path) -> None:
    """syncfs(2)."""
    _with_descriptor(folder, lambda descriptor: LinuxDisk().sync_file_system(Descriptor(descriptor)))


def _with_descriptor(path: Path, sync: Callable[[int], None]) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def verify(source: Path, target: Path, files: Sequence[Saved]) -> None:
    """`BenchFailed` unless all files have the same content on both sides."""
    for file in files:
        if content_hash(source / file.name) != content_hash(target / file.name):
            raise BenchFailed(f"{file.name} arrived with another content")
