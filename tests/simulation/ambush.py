"""Ambushes: moments that chance alone brings about too seldom.

edit            somebody writes to just the file that a peer is about to swap out or to take away
edit, crash     the same, and the process dies before it has seen that
crash           it dies when a file is in place and nobody knows of that yet; meanwhile somebody elsewhere, who has the
                same file, goes on with it
read            somebody writes to a file when a peer has read it, and before it has made sure that nobody did
fetch           somebody appends to a file whose next version is just being fetched
power cut       somebody writes to a file that only this device can bring to the cloud, and the power goes: there may be
                newer bytes under older times
unanswered      a commit is given up and arrives later; before that somebody removes a file that it creates, and no
                other commit of the device arrives

All of them are drawn from a stream of their own.
"""

import math
from collections.abc import Iterator
from random import Random
from typing import Any

import trio

from peer.ports import Descriptor
from peer.tree_store import TreeStore
from protocol.api import COMMIT
from protocol.commits import FILE, Create, decode_commit, decode_operation
from protocol.hashing import digest
from protocol.names import RESERVED
from tests.simulation.actions import append, overwrite, remove_file, save, write
from tests.simulation.counts import ACTED, ACTED_BETWEEN, BETWEEN_SWAP_AND_SYNCED
from tests.simulation.device import SimulatedDevice
from tests.simulation.keeping import below, way
from tests.simulation.people import Action
from tests.simulation.surroundings import Surroundings

EDIT, EDIT_AND_CRASH, CRASH, READ, POWER_CUT = "edit", "edit, crash", "crash", "read", "power cut"
FETCH, UNANSWERED = "fetch", "unanswered"
_CHANCE = 0.3
"""Of each at a moment that is right for it."""


class Ambushes:
    """Wait for their moments."""

    def __init__(self, around: Surroundings, rng: Random) -> None:
        self._around = around
        self._rng = rng
        self._left: list[str] = []
        self._read: tuple[str, Descriptor] | None = None  # whose last call read this
        self._made: str | None = None  # whose last call made a file
        self._cut_off: dict[str, float] = {}  # until when no commit of a device arrives
        self._fuse: tuple[str, int, str | None] | None = None  # whose, after how many calls, what is put in place

    def begin(self) -> None:
        """From now on each may happen once."""
        self._around.weather.strays = self.strays
        self._left = [
            EDIT,
            EDIT_AND_CRASH,
            CRASH,
            READ,
            FETCH,
            UNANSWERED,
            *([POWER_CUT] if self._around.plan.power_cuts else []),
        ]

    def end(self) -> None:
        """Whatever hasn't happened won't."""
        self._left, self._fuse = [], None

    def before(self, at: str, call: str, arguments: tuple[Any, ...]) -> None:
        """A peer is about to make a system call."""
        if self._fuse is not None and self._fuse[0] == at:
            self._burn(*self._fuse)
        elif self._left and self._fuse is None:
            device = self._around.devices[at]
            if call in ("rename", "exchange"):
                self._moving(device, call, arguments)
            elif call == "open_file" and self._made == at:
                self._fetching(device, *arguments)
            elif call == "stat_open" and self._read == (at, arguments[0]):
                self._reading(device, READ, arguments[0])
            elif call == "read_into":
                self._reading(device, POWER_CUT, arguments[0])
        self._read = (at, arguments[0]) if call == "read_at" else None
        self._made = at if call == "create_file" else None

    def _moving(self, device: SimulatedDevice, call: str, arguments: tuple[Any, ...]) -> None:
        leaves, comes = way(device, call, *arguments)
        kind = self._draw((EDIT, EDIT_AND_CRASH) if leaves else (), (CRASH,) if comes else ())
        if kind in (EDIT, EDIT_AND_CRASH) and leaves is not None:
            self._edit(device, leaves, write, save, append, overwrite)
        if kind in (EDIT_AND_CRASH, CRASH):
            calls = self._rng.randrange(1, 4 if kind == CRASH else 3)
            self._fuse = device.name, calls, comes if kind == CRASH else None

    def _fetching(self, device: SimulatedDevice, parent: Descriptor, name: str) -> None:
        path = below(device.disk.path(parent, name))
        if path is not None and not path.startswith(f"{RESERVED}/") and self._draw((FETCH,)) is not None:
            self._edit(device, path, append)

    def _reading(self, device: SimulatedDevice, kind: str, descriptor: Descriptor) -> None:
        path, content = device.disk.opened(descriptor)
        name = below(path)
        if kind not in self._left or not content or name is None or name.startswith(f"{RESERVED}/"):
            return
        if kind == POWER_CUT and not self._only_here(device, content):
            return
        if self._draw((kind,)) is not None:
            self._edit(device, name, overwrite)
            if kind == POWER_CUT:
                device.crash(power=True)

    def _only_here(self, device: SimulatedDevice, content: bytes) -> bool:
        """Whether the device is the author of this, and the cloud hasn't got it."""
        versions = device.ledger.agreed_on_only(digest(content), author=device.credentials.device)
        return any(map(self._around.host.announced, versions))

    def strays(self, at: str, path: str, body: bytes) -> float:
        """See `Weather`."""
        peer = self._around.devices[at].peer
        if path == COMMIT.path and trio.current_time() < self._cut_off.get(at, 0.0):
            return math.inf
        if path != COMMIT.path or UNANSWERED not in self._left or peer is None:
            return 0.0
        created = [*_created(peer.context.store, body)]
        if not created or self._draw((UNANSWERED,)) is None:
            return 0.0
        self._around.log.happened[ACTED] += 1
        self._around.people[at].do_to(self._rng.choice(created), remove_file)
        late = self._rng.uniform(1.0, 4.0)
        self._cut_off[at] = trio.current_time() + late + 1.0
        return late

    def _draw(self, *kinds: tuple[str, ...]) -> str | None:
        fitting = [kind for some in kinds for kind in some if kind in self._left]
        if not fitting or self._rng.random() >= _CHANCE:
            return None
        kind = self._rng.choice(fitting)
        self._left.remove(kind)
        self._around.log.happened[f"ambush: {kind}"] += 1
        return kind

    def _edit(self, device: SimulatedDevice, path: str, *actions: Action) -> None:
        happened = self._around.log.happened
        happened[ACTED] += 1
        happened[ACTED_BETWEEN] += 1
        self._around.people[device.name].do_to(path, self._rng.choice(actions))

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


def _created(store: TreeStore, commit: bytes) -> Iterator[str]:
    """The paths of the files that a commit creates with their content in it: of others nobody could get that."""
    for operation in map(decode_operation, decode_commit(commit).operations):
        if isinstance(operation, Create) and operation.content is not None and not operation.content.runs:
            row = store.local(operation.node)
            parent = None if row is None else store.path(row.parent)
            if row is not None and parent is not None and row.kind == FILE:
                yield "/".join((*parent, row.name))
