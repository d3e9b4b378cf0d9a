"""How far a device is with putting files in place, as its system calls tell it: where a crash hurts most."""

from typing import Any

from peer.root import OUTGOING, TEMP
from protocol.names import RESERVED
from tests.simulation.counts import BETWEEN_SWAP_AND_SYNCED, BETWEEN_SYNC_AND_SWAP
from tests.simulation.disk import SimulatedDisk


class Phases:
    """Told of every call that was carried out, and of every transaction."""

    def __init__(self, disk: SimulatedDisk, folder: str) -> None:
        self.now: str | None = None
        """One of two of `counts.py`, or nothing in particular."""
        self._last_out: str | None = None  # what has come to .shoal/outgoing last
        self._disk = disk
        self._temp, self._outgoing = (f"{folder.strip('/')}/{RESERVED}/{room}" for room in (TEMP, OUTGOING))

    def done(self, call: str, arguments: tuple[Any, ...]) -> bool:
        """A system call was carried out. True when it took something back that had just been swapped or taken out."""
        if call in ("fsync", "sync_file_system"):
            path = self._disk.path(arguments[0]) or ""
            if path.startswith(f"{self._temp}/") or (call == "sync_file_system" and path == self._temp):
                self.now = self.now or BETWEEN_SYNC_AND_SWAP
        elif call in ("rename", "exchange"):
            return self._moved(call, self._disk.path(arguments[0]), arguments[1], self._disk.path(arguments[2]))
        return False

    def _moved(self, call: str, source: str | None, name: str, target: str | None) -> bool:
        swapped = call == "exchange" and source == self._outgoing
        if swapped or (source == self._temp and target != self._outgoing):
            self.now = BETWEEN_SWAP_AND_SYNCED
        back = call == "rename" and source == self._outgoing and name == self._last_out
        self._last_out = name if swapped else None
        return back

    def committed(self) -> None:
        """A transaction of the database was committed."""
        if self.now == BETWEEN_SWAP_AND_SYNCED:
            self.now = None

    def over(self) -> None:
        """The process has died."""
        self.now = None
