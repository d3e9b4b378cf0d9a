"""Moments between two certain calls of a peer, too short for chance: in a few seeds somebody acts just there, or the
disk fails.

A wire is a function of what was called last and what is about to be called; it returns what happens then, or nothing.
"""

import errno
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import trio

from peer.ignoring import IGNORE_FILE
from peer.root import OUTGOING
from peer.synchronizer.steps import aside_node
from protocol.names import RESERVED
from tests.simulation.actions import append, overwrite
from tests.simulation.counts import ACTED, ACTED_BETWEEN
from tests.simulation.device import SimulatedDevice
from tests.simulation.filling import removal
from tests.simulation.inodes import failure
from tests.simulation.keeping import below, way
from tests.simulation.people import Action, Person
from tests.simulation.surroundings import Surroundings
from tests.simulation.unusual import pause

_PAUSED = 3.0
"""Seconds."""
_CHANCE = 0.4
_MOST = 4
"""How often each happens in a seed, at most."""


class Call:
    """A system call of a peer, and what it is about, in paths from the folder down; None for what is elsewhere."""

    def __init__(self, device: SimulatedDevice, name: str, arguments: tuple[Any, ...]) -> None:
        self.device = device
        self.name = name
        self.arguments = arguments
        names = [argument for argument in arguments if isinstance(argument, str)]
        single = name not in ("rename", "exchange", "make_symlink") and len(names) == 1 and len(arguments) > 1
        self.path = self._visible(arguments[0], names[0]) if single else None
        moves = name in ("rename", "exchange")
        self.source, self.target = (
            (self._visible(*arguments[:2]), self._visible(*arguments[2:])) if moves else (None, None)
        )

    def _visible(self, parent: Any, name: str) -> str | None:
        path = below(self.device.disk.path(parent, name))
        return None if path is None or path.split("/")[0] == RESERVED else path

    def is_at(self, name: str, path: str | None) -> bool:
        """Whether this call is made for a path, which is one."""
        return self.name == name and path is not None and self.path == path

    def comes_from(self, room: str) -> bool:
        """Whether something is moved out of one of Shoal's own folders."""
        return below(self.device.disk.path(self.arguments[0])) == f"{RESERVED}/{room}"

    @property
    def placed(self) -> str | None:
        """Where this call has put what was fetched."""
        return way(self.device, self.name, *self.arguments)[1] if self.name in ("rename", "exchange") else None


Deed = Callable[["Tripwires", Call], None]
Wire = Callable[[Call, Call], bool]


class Tripwires:
    """Stands at the calls of all devices."""

    def __init__(self, around: Surroundings, rng: Random) -> None:
        self.around = around
        self._rng = rng
        self._last: dict[str, Call] = {}
        self._paused: dict[str, float] = {}  # which devices, and until when
        self._happened: Counter[str] = Counter()
        self.armed = False

    def begin(self) -> None:
        """From now on. The last device's disk can't exchange two names."""
        self.armed = True
        [*self.around.devices.values()][-1].disk.exchanges = False

    def end(self) -> None:
        """No more of it."""
        self.armed = False

    def before(self, at: str, name: str, arguments: tuple[Any, ...]) -> None:
        """A peer is about to make a system call."""
        if not self.armed:
            return
        if trio.current_time() > self._paused.get(at, float("inf")):
            del self._paused[at]
            pause(self.around, self.around.devices[at], paused=False)
        call = Call(self.around.devices[at], name, arguments)
        last, self._last[at] = self._last.get(at, call), call
        for wire, deed in WIRES:
            if wire(last, call) and self._happened[wire.__name__] < _MOST and self._rng.random() < _CHANCE:
                self._happened[wire.__name__] += 1
                self.around.log.happened[f"tripwire: {wire.__name__.strip('_')}"] += 1
                deed(self, call)
                return

    def pause(self, at: str) -> None:
        """Somebody has a device pause, for a while."""
        self._paused[at] = trio.current_time() + _PAUSED
        pause(self.around, self.around.devices[at], paused=True)

    def act(self, call: Call, action: Action) -> None:
        """Somebody acts at the device."""
        self.around.log.happened[ACTED] += 1
        self.around.log.happened[ACTED_BETWEEN] += 1
        self.around.people[call.device.name].do(action)


# What happens


def _remove(tripwires: Tripwires, call: Call) -> None:
    tripwires.act(call, removal(call.path or ""))


def _come(tripwires: Tripwires, call: Call) -> None:
    """Something new has the name."""
    path = call.target or ""

    def come(person: Person) -> str:
        content = person.content()
        person.refuse(path, "file", "directory", "symlink", "other")
        person.user.write(person.full(path), content)
        person.oracle.save(person.name, path, content)
        return f"writes {path} ({len(content)} bytes)"

    tripwires.act(call, come)


def _edit(action: Action) -> Deed:
    def edit(tripwires: Tripwires, call: Call) -> None:
        person = tripwires.around.people[call.device.name]
        if call.path is not None and person.tree().get(call.path, ("none",))[0] == "file":
            tripwires.around.log.happened[ACTED] += 1
            tripwires.around.log.happened[ACTED_BETWEEN] += 1
            person.do_to(call.path, action)

    return edit


def _fail(tripwires: Tripwires, call: Call) -> None:
    tripwires.around.log.note(call.device.name, "meets an I/O error")
    raise failure(errno.EIO)


def _pause(tripwires: Tripwires, call: Call) -> None:
    tripwires.pause(call.device.name)


# When


def _gone_since_it_was_listed(last: Call, call: Call) -> bool:
    return last.name == "scan" and call.name == "stat" and call.path is not None


def _gone_with_its_rules(_: Call, call: Call) -> bool:
    return call.name == "open_file" and call.path is not None and call.path.endswith(IGNORE_FILE)


def _gone_once_it_is_in_place(last: Call, call: Call) -> bool:
    return call.is_at("stat", last.placed)


def _changed_before_its_attributes_are_set(last: Call, call: Call) -> bool:
    return last.name == "stat" and call.is_at("open_file", last.path)


def _changed_while_its_attributes_are_set(last: Call, call: Call) -> bool:
    return last.name == "set_times" and call.name == "stat" and call.path is not None


def _taken_before_a_move(_: Call, call: Call) -> bool:
    moves = call.name == "rename" and call.source is not None and call.target is not None
    return moves and aside_node((call.target or "").rpartition("/")[2]) is None


def _removed_before_it_is_removed(_: Call, call: Call) -> bool:
    return call.name == "remove_directory" and call.path is not None


def _came_when_the_old_was_out(_: Call, call: Call) -> bool:
    return call.name == "rename" and call.target is not None and call.comes_from(OUTGOING)


def _no_way_in_when_the_old_was_out(last: Call, call: Call) -> bool:
    return _came_when_the_old_was_out(last, call)


def _no_way_out(last: Call, call: Call) -> bool:
    return (
        last.name in ("stat", "exchange") and call.name == "rename" and call.target is None and call.source is not None
    )


def _paused_in_the_middle(_: Call, call: Call) -> bool:
    return call.name in ("make_directory", "remove_directory") and call.path is not None


WIRES: tuple[tuple[Wire, Deed], ...] = (
    (_gone_since_it_was_listed, _remove),
    (_gone_with_its_rules, _remove),
    (_gone_once_it_is_in_place, _remove),
    (_changed_before_its_attributes_are_set, _edit(overwrite)),
    (_changed_while_its_attributes_are_set, _edit(append)),
    (_taken_before_a_move, _come),
    (_removed_before_it_is_removed, _remove),
    (_came_when_the_old_was_out, _come),
    (_no_way_in_when_the_old_was_out, _fail),
    (_no_way_out, _fail),
    (_paused_in_the_middle, _pause),
)
