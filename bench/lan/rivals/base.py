"""What a rival is."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.lan.usage import Measured
from bench.lan.works import Saved
from bench.programs import Programs

READY_SECONDS = 60.0
"""For a rival to start and connect."""
SETTLE_SECONDS = 900.0
"""For a rival to come to rest after a work."""
LOOK_SECONDS = 0.05
"""Between two looks while nothing is timed."""


class Running(Protocol):
    """A rival at work: what is saved in `source` comes to `target`."""

    @property
    def source(self) -> Path:
        """An existing folder."""

    @property
    def target(self) -> Path:
        """Another."""

    @property
    def processes(self) -> Mapping[str, Measured]:
        """By what each does; in the order to show them."""

    async def saved(self, files: Sequence[Saved]) -> None:
        """Told when files have been saved, with the clock running. Nothing to do for what watches the folder."""

    async def settle(self) -> None:
        """Return when it is at rest: nothing is under way to anywhere. `BenchFailed` when that takes too long."""

    async def counters(self) -> dict[str, int]:
        """Bytes moved since it was started, by name; asked for only when it is at rest."""


@dataclass(frozen=True)
class Rival:
    """One to be measured.

    `missing` tells in one line why it can't be, None if it can. `start` starts it below an empty folder; it ends with
    the block. `moved` is the counter of the bytes that reached the receiver.
    """

    name: str
    missing: Callable[[], str | None]
    describe: Callable[[], str]
    start: Callable[[Path, Programs], AbstractAsyncContextManager[Running]]
    moved: Callable[[Mapping[str, int]], int]
