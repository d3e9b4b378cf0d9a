"""What devices tell each other on a LAN connection: the messages in control frames, the kind under key 0.

Whoever wants chunks asks what the other holds, and gets them by their places in a version's list. There is no
message for chunks: they come in records (protocol/lan_frames.py), one for each `Get`, in the order of the requests.
"""

from typing import TypeAlias

from protocol import chunks
from protocol.codec import U32, blob, decode_union, many, message, octets, row, text, unsigned, wire
from protocol.errors import TooLarge
from protocol.identifiers import HASH_LENGTH, ID_LENGTH, MAX_CHUNK, MAX_FILE_SIZE, NodeId, VersionId, WorkspaceId

LAN_LOWEST, LAN_HIGHEST = 1, 2
"""The versions of the LAN protocol that this Shoal speaks."""
OFFERING = 2
"""The first version with offers."""
MAX_LAN_VERSION = 255
MAX_ASK = 1000
MAX_PARTS = 512
MAX_PART_FIRST = 1 << 20
MAX_PART_COUNT = 4096
MAX_GET_BYTES = 1 << 20
"""Sealed bytes that one `Get` may ask for, by the lengths in the versions' lists, unless it is for a single chunk."""
MAX_GET_CHUNKS = MAX_GET_BYTES // (chunks.OVERHEAD + 1)
"""No more can be in MAX_GET_BYTES."""
MAX_BITMAP = 4096
"""Bytes that tell which chunks of a version are here; one with more chunks is given when it is here whole."""
MAX_REASON = 200
MAX_NAME = 64
MAX_OFFERED = 512
"""Chunks in one offer."""

Part: TypeAlias = tuple[VersionId, int, int]
"""(version, first, count): `count` chunks of the version's list from index `first`, counted from 0."""

Share: TypeAlias = tuple[VersionId, bytes]
"""(version, bitmap): which chunks of its list somebody has; bit `n % 8` of byte `n // 8`, the lowest first, stands for
chunk n, and what is past the end is not here."""

_VERSIONS = many(octets(ID_LENGTH), MAX_ASK)
_PARTS = many(row(octets(ID_LENGTH), unsigned(MAX_PART_FIRST), unsigned(MAX_PART_COUNT)), MAX_PARTS)
_OFFERED = many(row(octets(HASH_LENGTH), octets(HASH_LENGTH), unsigned(MAX_CHUNK), unsigned(MAX_CHUNK)), MAX_OFFERED)
_SHARES = many(row(octets(ID_LENGTH), blob(MAX_BITMAP)), MAX_ASK)


@message(tag=1)
class Hello:
    """Each side's first frame: the LAN protocol versions it speaks, both ends included. They use the highest common
    one. `name` is what the device is called, told to devices of the same user only."""

    lowest: int = wire(1, unsigned(MAX_LAN_VERSION))
    highest: int = wire(2, unsigned(MAX_LAN_VERSION))
    name: str = wire(3, text(MAX_NAME), default="")


@message(tag=2)
class Ask:
    """I want these versions: which of them do you hold?"""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    versions: tuple[VersionId, ...] = wire(2, _VERSIONS)


@message(tag=3)
class Holding:
    """The answer to an `Ask`, and unasked once more when a version that was absent has come, or more of it has. Single
    chunks may still turn out not to be there."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    held: tuple[VersionId, ...] = wire(2, _VERSIONS, default=())
    absent: tuple[VersionId, ...] = wire(3, _VERSIONS, default=())
    shares: tuple[Share, ...] = wire(4, _SHARES, default=())  # what is here already of versions that are not whole


@message(tag=4)
class Get:
    """Send me these chunks. Answered by one record with the same number."""

    request: int = wire(1, unsigned(U32))  # chosen by who asks
    workspace: WorkspaceId = wire(2, octets(ID_LENGTH))
    parts: tuple[Part, ...] = wire(3, _PARTS)


@message(tag=5)
class Done:
    """I don't wait for these versions any more, whether I have them or not."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    versions: tuple[VersionId, ...] = wire(2, _VERSIONS)


@message(tag=6)
class Ping:
    """Are you there?"""

    number: int = wire(1, unsigned(U32))


@message(tag=7)
class Pong:
    """The answer to the `Ping` of that number."""

    number: int = wire(1, unsigned(U32))


@message(tag=8)
class Bye:
    """About to close. The reason is for a log; it is the other side's text, so not to be trusted."""

    reason: str = wire(1, text(MAX_REASON))


@message(tag=9)
class Offer:
    """I am about to announce this version of a new file, and you may get these chunks of it already."""

    workspace: WorkspaceId = wire(1, octets(ID_LENGTH))
    version: VersionId = wire(2, octets(ID_LENGTH))
    parent: NodeId = wire(3, octets(ID_LENGTH))  # the directory it is in
    size: int = wire(4, unsigned(MAX_FILE_SIZE))  # of the file, in bytes in clear
    first: int = wire(5, unsigned(MAX_PART_FIRST))  # the number of the first of `chunks` in the version's list
    chunks: tuple[tuple[bytes, bytes, int, int], ...] = wire(6, _OFFERED)  # id, key, length in clear, saved of it


Control: TypeAlias = Hello | Ask | Holding | Get | Done | Ping | Pong | Bye | Offer
CONTROLS: tuple[type[Control], ...] = (Hello, Ask, Holding, Get, Done, Ping, Pong, Bye, Offer)


def decode_control(data: bytes, limit: int) -> Control:
    """What a control frame of at most `limit` bytes says; `Malformed` for anything else, `TooLarge` for a `Get` of
    more chunks than an answer can hold."""
    control: Control = decode_union(CONTROLS, data, limit)
    if isinstance(control, Get) and sum(count for _, _, count in control.parts) > MAX_GET_CHUNKS:
        raise TooLarge(f"a request for more than {MAX_GET_CHUNKS} chunks")
    return control
