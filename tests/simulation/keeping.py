"""What a peer takes off its folder, and what becomes of it: a version that the cloud lacks is not thrown away, as this
device may be the only one that can still bring it there (design §6, rule b of announcing)."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from peer.ports import Descriptor
from peer.root import OUTGOING, TEMP
from protocol.hashing import digest
from protocol.identifiers import VersionId
from protocol.names import RESERVED
from tests.simulation.device import FOLDER, SimulatedDevice
from tests.simulation.oracle import Violation
from tests.simulation.surroundings import Surroundings


@dataclass(frozen=True)
class _Kept:
    """The digest of a file in `.shoal/outgoing`, its versions that the cloud lacked, and how often anything had been
    forgotten until then."""

    digest: bytes
    versions: list[VersionId]
    forgotten: int


class Keeping:
    """Watches `.shoal/outgoing` of all devices."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._kept: dict[tuple[str, str], _Kept] = {}

    def before(self, at: str, call: str, arguments: tuple[Any, ...]) -> None:
        """A peer is about to make a system call."""
        device = self._around.devices[at]
        if call == "unlink":
            self._goes(device, *arguments)
        elif call in ("rename", "exchange"):
            leaves = way(device, call, *arguments)[0]
            if leaves is not None:
                self._note(device, arguments[1 if call == "exchange" else 3], leaves)

    def _note(self, device: SimulatedDevice, label: str, path: str) -> None:
        with suppress(OSError):
            found = digest(device.disk.user.read(f"{FOLDER}/{path}"))
            versions = device.ledger.agreed_on_only(found)
            self._kept[device.name, label] = _Kept(found, versions, self._forgotten(device))

    def _goes(self, device: SimulatedDevice, parent: Descriptor, label: str) -> None:
        room = below(device.disk.path(parent))
        kept = self._kept.pop((device.name, label), None) if room == f"{RESERVED}/{OUTGOING}" else None
        if kept is None or kept.forgotten != self._forgotten(device):
            return
        lacking = [version for version in kept.versions if self._around.host.announced(version)]
        if lacking and digest(device.disk.user.read(f"{FOLDER}/{room}/{label}")) == kept.digest:
            text = f"{device.name} throws {label} away, which holds {lacking[0].hex()[:8]}"
            self._around.oracle.verdict = self._around.oracle.verdict or Violation("what the cloud lacks is kept", text)

    def _forgotten(self, device: SimulatedDevice) -> int:
        return device.ledger.forgotten + self._around.host.restores


def way(
    device: SimulatedDevice, call: str, source: Descriptor, name: str, target: Descriptor, new_name: str
) -> tuple[str | None, str | None]:
    """Of a rename or an exchange: the path of what it takes off the folder, and the path at which it puts what was
    fetched in place; from the folder down."""
    disk, outgoing, temp = device.disk, f"{RESERVED}/{OUTGOING}", f"{RESERVED}/{TEMP}"
    source_room, target_room = (below(disk.path(each)) for each in (source, target))
    here, there = below(disk.path(source, name)), below(disk.path(target, new_name))
    if call == "exchange":
        return there, there
    if target_room == outgoing and source_room is not None and not source_room.startswith(RESERVED):
        return here, None
    return None, there if source_room == temp and target_room != outgoing else None


def below(path: str | None) -> str | None:
    """A path from the folder down; None for what is nowhere."""
    return None if path is None else path.removeprefix(FOLDER[1:]).lstrip("/")
