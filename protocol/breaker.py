"""The breaker: how much may be deleted or overwritten in a while before somebody is asked (law 8), and the answer.

An approval is a device's signed word that so many deletes and overwrites of its own are meant:

    signed bytes = workspace ‖ device ‖ approval id ‖ time: u64 ‖ deletes: u32 ‖ overwrites: u32
    signature    = Ed25519(device key, "Shoal 1 approval" ‖ 00 ‖ signed bytes)

It travels with each commit that it is for, and covers no more than it says, however many those are.
"""

from typing import NamedTuple

from protocol.codec import U32, message, octets, unsigned, wire
from protocol.identifiers import ID_LENGTH, ApprovalId, DeviceId, WorkspaceId
from protocol.signing import SIGNATURE_LENGTH, SigningKey, verify

WINDOW_MS = 10 * 60 * 1000
"""Changes count together for so long."""
APPROVED_MS = 24 * 3600 * 1000
"""An approval covers nothing so long after it was first used."""
MAX_APPROVAL_BYTES = 256
_PURPOSE = "approval"


class Changes(NamedTuple):
    """How many files are deleted, and how many are overwritten."""

    deletes: int = 0
    overwrites: int = 0

    def plus(self, other: "Changes") -> "Changes":
        """Both together."""
        return Changes(self.deletes + other.deletes, self.overwrites + other.overwrites)

    def less(self, other: "Changes") -> "Changes":
        """What the other doesn't cover."""
        return Changes(max(0, self.deletes - other.deletes), max(0, self.overwrites - other.overwrites))


@message
class Limits:
    """What may happen to a workspace in a while without a question. Up to `least` files never ask, more than `most`
    always do; in between more than `percent` of all files do."""

    delete_percent: int = wire(1, unsigned(100), default=25)
    delete_least: int = wire(2, unsigned(U32), default=50)
    delete_most: int = wire(3, unsigned(U32), default=10_000)
    overwrite_percent: int = wire(4, unsigned(100), default=50)
    overwrite_least: int = wire(5, unsigned(U32), default=200)

    def too_many_deletes(self, count: int, files: int) -> bool:
        """Of a workspace that had so many files."""
        large = count >= self.delete_least and count * 100 > files * self.delete_percent
        return large or count > self.delete_most

    def too_many_overwrites(self, count: int, files: int) -> bool:
        """Of a workspace that had so many files."""
        return count >= self.overwrite_least and count * 100 > files * self.overwrite_percent


@message
class Approval:
    """Up to so many files may be deleted and overwritten by the device that signed this."""

    id: ApprovalId = wire(1, octets(ID_LENGTH))
    time_ms: int = wire(2, unsigned((1 << 62) - 1))  # by the device's clock, since 1970 UTC
    deletes: int = wire(3, unsigned(U32))
    overwrites: int = wire(4, unsigned(U32))
    signature: bytes = wire(5, octets(SIGNATURE_LENGTH))

    @property
    def bound(self) -> Changes:
        """All that it covers."""
        return Changes(self.deletes, self.overwrites)


def sign_approval(
    workspace: WorkspaceId, device: DeviceId, id: ApprovalId, time_ms: int, bound: Changes, signing_key: SigningKey
) -> Approval:
    """An approval by the device that holds `signing_key`."""
    signature = signing_key.sign(_PURPOSE, _signed_bytes(workspace, device, id, time_ms, bound))
    return Approval(id=id, time_ms=time_ms, deletes=bound.deletes, overwrites=bound.overwrites, signature=signature)


def verify_approval(approval: Approval, workspace: WorkspaceId, device: DeviceId, device_key: bytes) -> None:
    """Raise `BadSignature` unless this device, which holds `device_key`, gave this approval for this workspace."""
    body = _signed_bytes(workspace, device, approval.id, approval.time_ms, approval.bound)
    verify(device_key, _PURPOSE, body, approval.signature)


def _signed_bytes(workspace: WorkspaceId, device: DeviceId, id: ApprovalId, time_ms: int, bound: Changes) -> bytes:
    numbers = time_ms.to_bytes(8, "big") + bound.deletes.to_bytes(4, "big") + bound.overwrites.to_bytes(4, "big")
    return workspace + device + id + numbers
