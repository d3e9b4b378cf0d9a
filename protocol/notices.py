"""What travels on the notification WebSocket: binary frames of `01 ‖ CBOR`, the kind under key 0.

The device subscribes once for all its workspaces; the tracker then says what changed, with the delta itself when it is
small, and whose lists of members did. A device that reads too slowly is told to catch up instead of being buffered for.
"""

from typing import TypeAlias

from protocol.codec import blob, decode_union, encode, many, message, octets, optional, row, unsigned, wire
from protocol.deltas import INLINE_DELTA_BYTES, MAX_REVISION
from protocol.errors import Malformed
from protocol.identifiers import ID_LENGTH, WorkspaceId

FORMAT = b"\x01"
MAX_FRAME = INLINE_DELTA_BYTES + 4096
MAX_SUBSCRIPTIONS = 10_000


@message(tag=1)
class Subscribe:
    """Device to tracker, the first frame: rows of (workspace, revision of the device's cursor)."""

    cursors: tuple[tuple[WorkspaceId, int], ...] = wire(
        1, many(row(octets(ID_LENGTH), unsigned(MAX_REVISION)), MAX_SUBSCRIPTIONS)
    )


@message(tag=2)
class Changed:
    """Tracker to device: the workspace went from `since` to `through`; `delta` is a Delta's bytes when it is small."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    since: int = wire(2, unsigned(MAX_REVISION))
    through: int = wire(3, unsigned(MAX_REVISION))
    delta: bytes | None = wire(4, optional(blob(INLINE_DELTA_BYTES)), default=None)


@message(tag=3)
class CatchUp:
    """Tracker to device: notices were lost or too many; ask for the workspaces and for the delta of each."""


@message(tag=4)
class Members:
    """Tracker to device: the list of members or of their devices has changed; ask for the workspaces anew."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))


Notice: TypeAlias = Subscribe | Changed | CatchUp | Members
NOTICES: tuple[type[Notice], ...] = (Subscribe, Changed, CatchUp, Members)


def encode_notice(notice: Notice) -> bytes:
    """One frame."""
    return FORMAT + encode(notice)


def decode_notice(frame: bytes) -> Notice:
    """What a frame says; `Malformed` for anything else."""
    if frame[:1] != FORMAT:
        raise Malformed("a notification of an unknown format")
    notice: Notice = decode_union(NOTICES, frame[1:], MAX_FRAME)
    return notice
