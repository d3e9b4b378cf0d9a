"""Ambushes: moments that chance alone brings about too seldom.

edit            somebody writes to just the file that a peer is about to swap out or to take away
edit, crash     the same, and the process dies before it has seen that
crash           it dies when a file is in place and nobody knows of that yet; meanwhile somebody elsewhere, who has the
                same file, goes on with it

All of them are drawn from a stream of their own.
"""

from random import Random
from typing import Any

from tests.simulation.actions import append, overwrite, remove_file, save, write
from tests.simulation.counts import ACTED, ACTED_BETWEEN, BETWEEN_SWAP_AND_SYNCED
from tests.simulation.keeping import way
from tests.simulation.surroundings import Surroundings

EDIT, EDIT_AND_CRASH, CRASH = "edit", "edit, crash", "crash"
_CHANCE = 0.3
"""Of each at a moment that is right for it."""


class Ambushes:
    """Wait for their moments."""

    def __init__(self, around: Surroundings, rng: Random) -> None:
        self._around = around
        self._rng = rng
        self._left: list[str] = []
        self._fuse: tuple[str, int, str | None] | None = None  # whose, after how many calls, what is put in place

    def begin(self) -> None:
        """From now on each may happen once."""
        self._left = [EDIT, EDIT_AND_CRASH, CRASH]

    def end(self) -> None:
        """Whatever hasn't happened won't."""
        self._left, self._fuse = [], None

    def before(self, at: str, call: str, arguments: tuple[Any, ...]) -> None:
        """A peer is about to make a system call."""
        if self._fuse is not None and self._fuse[0] == at:
            self._burn(*self._fuse)
        elif self._left and self._fuse is None and call in ("rename", "exchange"):
            device = self._around.devices[at]
            leaves, comes = way(device, call, *arguments)
            kind = self._draw(leaves=leaves is not None, comes=comes is not None)
            if kind in (EDIT, EDIT_AND_CRASH) and leaves is not None:
                self._edit(at, leaves)
            if kind in (EDIT_AND_CRASH, CRASH):
                self._fuse = at, self._rng.randrange(1, 4 if kind == CRASH else 3), comes if kind == CRASH else None

    def _draw(self, *, leaves: bool, comes: bool) -> str | None:
        fitting = [kind for kind in self._left if (comes if kind == CRASH else leaves)]
        if not fitting or self._rng.random() >= _CHANCE:
            return None
        kind = self._rng.choice(fitting)
        self._left.remove(kind)
        self._around.log.happened[f"ambush: {kind}"] += 1
        return kind

    def _edit(self, at: str, path: str) -> None:
        happened = self._around.log.happened
        happened[ACTED] += 1
        happened[ACTED_BETWEEN] += 1
        self._around.people[at].do_to(path, self._rng.choice((write, save, append, overwrite)))

    def _burn(self, at: str, calls: int, placed: str | None) -> None:
        self._fuse = None if calls == 1 else (at, calls - 1, placed)
        if self._fuse is not None:
            return
        device = self._around.devices[at]
        if placed is None:
            device.crash()
        elif device.mischief.phases.now == BETWEEN_SWAP_AND_SYNCED:
            self._around.log.happened[BETWEEN_SWAP_AND_SYNCED] += 1
            device.crash()
            self._go_on(at, placed)

    def _go_on(self, at: str, path: str) -> None:
        """Somebody else goes on with a file that is just as it is at `at`."""
        trees = self._around.trees()
        entry = trees[at].get(path)
        others = [name for name in trees if name != at and entry is not None and trees[name].get(path) == entry]
        if others:
            self._around.log.happened[ACTED] += 1
            self._around.people[self._rng.choice(others)].do_to(
                path, self._rng.choice((remove_file, remove_file, save))
            )
