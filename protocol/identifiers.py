"""Typed identifiers and the limits both sides agree on.

All are plain bytes at run time; the types keep a node from being passed for a version. The first group is 16 random
bytes, drawn by whoever makes the thing; the second is a 32-byte BLAKE3 of what it names.
"""

from typing import NewType

from protocol.ports import RandomBytes

UserId = NewType("UserId", bytes)
DeviceId = NewType("DeviceId", bytes)
WorkspaceId = NewType("WorkspaceId", bytes)
NodeId = NewType("NodeId", bytes)
VersionId = NewType("VersionId", bytes)
"""Also the node's *content mark*: a write names the version it was made on."""
PlaceMark = NewType("PlaceMark", bytes)
"""Renewed by create, move, delete and restore: a move names the place it was made on."""
CommitId = NewType("CommitId", bytes)
ApprovalId = NewType("ApprovalId", bytes)
TrackerEpoch = NewType("TrackerEpoch", bytes)
"""Drawn when a tracker's database is made or restored: revisions of different epochs can't be compared."""
NameToken = NewType("NameToken", bytes)
"""16 bytes of keyed BLAKE3: equal for equal names in one directory, meaningless to the tracker."""

ChunkId = NewType("ChunkId", bytes)
RunId = NewType("RunId", bytes)
CommitHash = NewType("CommitHash", bytes)
"""Chained over all revisions of a workspace up to one."""
ContentHash = NewType("ContentHash", bytes)
"""BLAKE3 of a whole file in clear; only ever inside a sealed manifest."""

ID_LENGTH = 16
HASH_LENGTH = 32

ROOT = NodeId(bytes(ID_LENGTH))
"""The parent of everything at the top of a workspace; it is no node of its own."""

GIB = 1 << 30
MAX_FILE_SIZE = GIB
MAX_NAME_BYTES = 255
MAX_INLINE = 1024
"""Content up to this many bytes travels inside the manifest."""
MAX_LINK_BYTES = 4095
MAX_CHUNK = 1 << 20
"""The longest payload of one chunk, in bytes (before sealing)."""
MAX_COMMIT_OPERATIONS = 1000
MAX_COMMIT_BYTES = 1 << 20
MAX_PARTS = 256
MAX_STAGED_BYTES = 64 << 20
"""Parts of one staged commit, and bytes that a device may have staged."""
MAX_PACK_BYTES = 5 << 20
"""The whole body of one pack request: framing and chunks."""
PACK_TARGET = 4 << 20
MAX_REQUEST_CHUNKS = 4096


def new_id(random_bytes: RandomBytes) -> bytes:
    """16 fresh random bytes, to be wrapped in the type they are for."""
    return random_bytes(ID_LENGTH)
