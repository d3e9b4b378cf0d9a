"""What befalls a device at its calls: somebody acts in between, the disk fails, the process or the machine dies."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import trio

from peer.ports import Descriptor
from protocol.names import RESERVED
from tests.simulation.counts import DISK_FULL, SWAP_FOUND
from tests.simulation.disk import SimulatedDisk
from tests.simulation.fence import Crashed
from tests.simulation.inodes import failure
from tests.simulation.log import EventLog, brief
from tests.simulation.phases import Phases

_SAFE_CALLS = ("close", "space")
_MAKING = ("make_directory", "make_symlink", "create_file", "rename", "set_mode", "set_times")
POOR = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENAMETOOLONG, errno.EROFS)
_CRITICAL = 15
"""How much likelier a crash is where it hurts most."""


@dataclass
class Trouble:
    """What may befall a device at any of its calls."""

    io_errors: float = 0.0
    io_error_calls: tuple[str, ...] = ()  # any if empty
    crashes: int = 0
    crash_chance: float = 0.0
    power_cuts: float = 0.0  # the share of crashes that are
    lost_databases: float = 0.0  # the share of crashes after which the client database is gone
    bad_name: str = ""  # what is called so can't be touched or looked at, by Shoal
    full_disks: int = 0
    full_chance: float = 0.0  # of each write


class Mischief:
    """Sits at the ports of one device. `meddle` is called before each system call: somebody may act there. `removing`
    is told the path of each file that the peer takes off the folder. `die` ends the process, or the machine."""

    def __init__(
        self,
        name: str,
        disk: SimulatedDisk,
        folder: str,
        rng: Random,
        log: EventLog,
        *,
        meddle: Callable[[str, str, tuple[Any, ...]], None],
        removing: Callable[[str, str], None],
        die: Callable[[bool], None],
    ) -> None:
        self.trouble = Trouble()
        self.faults: tuple[int, ...] = ()
        """What else than an I/O error befalls calls that make something."""
        self.phases = Phases(disk, folder)
        self.dead = True
        self._full_until: float | None = None
        self._name = name
        self._disk = disk
        self._folder = folder.strip("/")
        self._rng = rng
        self._log = log
        self.meddle = meddle
        self.removing = removing
        self._die = die
        disk.before_call = self._before_call
        disk.after_call = self._after_call

    def before_transaction(self) -> None:
        """The database is about to be written."""
        self._perhaps_die()

    def after_transaction(self) -> None:
        """It was."""
        self._perhaps_die()
        self.phases.committed()

    def _check(self) -> None:
        if self.dead:
            raise Crashed

    def _perhaps_die(self) -> None:
        trouble = self.trouble
        if trouble.crashes:
            chance = trouble.crash_chance * (1 if self.phases.now is None else _CRITICAL)
            if self._rng.random() < chance:
                trouble.crashes -= 1
                if self.phases.now is not None:
                    self._log.happened[self.phases.now] += 1
                self._die(self._rng.random() < trouble.power_cuts)
        self._check()

    def _before_call(self, name: str, arguments: tuple[Any, ...]) -> None:
        self._check()
        if name == "close":
            return
        self._log.note(self._name, f"{name}({', '.join(brief(each) for each in arguments)})")
        self.meddle(self._name, name, arguments)
        self._perhaps_die()
        if self.trouble.io_errors and self._may_fail(name) and self._rng.random() < self.trouble.io_errors:
            self._log.note(self._name, "meets an I/O error")
            raise failure(self._rng.choice(self.faults) if self.faults and name in _MAKING else errno.EIO)
        if self.trouble.bad_name and self.trouble.bad_name in arguments:
            raise failure(errno.EACCES)
        if name == "rename":
            self._watch_removals(*arguments)
        elif name == "write_at":
            self._perhaps_fill(len(arguments[1]))
        if self._full_until is not None and trio.current_time() > self._full_until:
            self.free_space()

    def _perhaps_fill(self, length: int) -> None:
        """Somebody else fills the disk, so that only part of what is written next fits."""
        trouble = self.trouble
        if trouble.full_disks and self._full_until is None and self._rng.random() < trouble.full_chance:
            trouble.full_disks -= 1
            self._log.note(self._name, "the disk is full in mid-file")
            self._log.happened[DISK_FULL] += 1
            self._disk.volume.fill(self._rng.randrange(max(1, length)))
            self._full_until = trio.current_time() + self._rng.choice((0.5, 5.0, 30.0)) * self._rng.random()

    def free_space(self) -> None:
        """There is space again."""
        self._full_until, self._disk.volume.capacity = None, None

    def _after_call(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name != "close":
            if self.phases.done(name, arguments):
                self._log.happened[SWAP_FOUND] += 1
            if self.trouble.crashes:
                self._perhaps_die()

    def _may_fail(self, name: str) -> bool:
        calls = self.trouble.io_error_calls
        return name in calls if calls else name not in _SAFE_CALLS

    def _watch_removals(self, source: Descriptor, name: str, target: Descriptor, _: str) -> None:
        """Say so when something goes from the folder to `.shoal/outgoing`."""
        path, room = self._disk.path(source, name), self._disk.path(target)
        shoals_own = f"{self._folder}/{RESERVED}/"
        if path is None or room is None:
            return
        if f"{room}/".startswith(shoals_own) and not path.startswith(shoals_own):
            self.removing(self._name, path.removeprefix(f"{self._folder}/"))
