"""How far a device is with putting files in place, as its system calls tell it: where a crash hurts most."""

from typing import Any

from peer.root import OUTGOING, TEMP
from protocol.names import RESERVED
from tests.simulation.disk import SimulatedDisk

BETWEEN_SYNC_AND_SWAP = "between the fsync of a temporary file and the swap"
BETWEEN_SWAP_AND_SYNCED = "between the swap and SYNCED"


class Phases:
    """Told of every call that was carried out, and of every transaction."""

    def __init__(self, disk: SimulatedDisk, folder: str) -> None:
        self.now: str | None = None
        """One of the above, or nothing in particular."""
        self._disk = disk
        self._temp, self._outgoing = (f"{folder.strip('/')}/{RESERVED}/{room}" for room in (TEMP, OUTGOING))

    def done(self, call: str, arguments: tuple[Any, ...]) -> None:
        """A system call was carried out."""
        if call in ("fsync", "sync_file_system"):
            path = self._disk.path(arguments[0]) or ""
            if path.startswith(f"{self._temp}/") or (call == "sync_file_system" and path == self._temp):
                self.now = self.now or BETWEEN_SYNC_AND_SWAP
        elif call in ("rename", "exchange"):
            source = self._disk.path(arguments[0])
            if (call == "rename" and source == self._temp and self._disk.path(arguments[2]) != self._outgoing) or (
                call == "exchange" and source == self._outgoing
            ):
                self.now = BETWEEN_SWAP_AND_SYNCED

    def committed(self) -> None:
        """A transaction of the database was committed."""
        if self.now == BETWEEN_SWAP_AND_SYNCED:
            self.now = None

    def over(self) -> None:
        """The process has died."""
        self.now = None
