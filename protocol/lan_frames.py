"""Frames of a LAN connection, once the handshake has given its keys (docs/protocol.md §11.4).

    frame   = kind: u8 ‖ length: u32 ‖ body
    control = kind 1: a Noise transport message of CBOR (protocol/lan_messages.py)
    record  = kind 2: AEGIS-256(record key, nonce, plaintext), with the 32-byte tag at the end
    record key = BLAKE3-derive("lan records", the direction's key);  nonce = 24 zero bytes ‖ counter: u64, from 0
    plaintext  = request: u32 ‖ count: u32 ‖ count × length: u32 ‖ the sealed chunks in that order; length 0: not held

Both kinds have a key and a counter of their own in each direction, so a frame opens once, in its place in its own
kind's order, and nowhere else. What doesn't open is `CannotOpen` and tells of the path, as does a header that can't
be: anybody can write to a connection. What opens and then isn't what it must be is `Malformed` and tells of the
device, which alone has the key.
"""

import struct
from collections.abc import Callable, Sequence
from itertools import count

from protocol import aegis
from protocol import chunks as sealed_chunks
from protocol.codec import encode
from protocol.errors import CannotOpen, Malformed, TooLarge
from protocol.hashing import derive_key
from protocol.lan_messages import MAX_GET_CHUNKS, Control, decode_control
from protocol.noise import MAX_MESSAGE, TAG_LENGTH, CipherState

CONTROL, RECORD = 1, 2
_HEADER = struct.Struct(">BI")
FRAME_HEADER = _HEADER.size
"""Bytes in front of each frame's body (5)."""
_INDEX = struct.Struct(">II")
MIN_CONTROL, MAX_CONTROL = 1 + TAG_LENGTH, MAX_MESSAGE
MIN_RECORD, MAX_RECORD = _INDEX.size + aegis.TAG_LENGTH, 1_200_000
"""Bytes of a body. The most that a `Get` may ask for fits into a record with its index."""
_BOUNDS = {CONTROL: (MIN_CONTROL, MAX_CONTROL), RECORD: (MIN_RECORD, MAX_RECORD)}


def parse_header(header: bytes | bytearray | memoryview) -> tuple[int, int]:
    """(kind, length of the body) from the 5 bytes in front of it. `Malformed` for an unknown kind or a body that is
    too short to be one, `TooLarge` past the kind's cap: such a body is not to be waited for. Nobody signs a header, so
    the path may be to blame."""
    if len(header) != FRAME_HEADER:
        raise Malformed("a frame's header is cut off")
    kind, length = _HEADER.unpack(header)
    _check(kind, length)
    return kind, length


def _check(kind: int, length: int) -> None:
    if kind not in _BOUNDS:
        raise Malformed(f"a frame of kind {kind}, which this version does not know")
    lowest, highest = _BOUNDS[kind]
    if length < lowest:
        raise Malformed(f"a frame of {length} bytes, which is too short for its kind")
    if length > highest:
        raise TooLarge(f"a frame of {length} bytes, at most {highest} allowed")


class ControlSender:
    """Seals the control messages of one direction."""

    def __init__(self, key: bytes) -> None:
        """`key` is the connection's key for sending."""
        self._cipher = CipherState(key)

    def frame(self, message: Control) -> bytes:
        """A whole frame. Frames must be sent in the order in which they were made. `TooLarge` past the cap."""
        body = self._cipher.encrypt(encode(message))
        return _HEADER.pack(CONTROL, len(body)) + body


class ControlReceiver:
    """Opens the control messages of one direction."""

    def __init__(self, key: bytes) -> None:
        """`key` is the connection's key for receiving."""
        self._cipher = CipherState(key)

    def open(self, body: bytes | bytearray | memoryview) -> Control:
        """What the next control frame says. `CannotOpen` when it was altered, repeated, left out or put elsewhere;
        `Malformed` when the other side has said what can't be said."""
        return decode_control(self._cipher.decrypt(bytes(body)), MAX_CONTROL - TAG_LENGTH)


class _Records:
    """A direction's record key, and whose turn it is."""

    def __init__(self, key: bytes) -> None:
        self._key = derive_key("lan records", key)
        self._counters = count()

    def reserve(self) -> int:
        """The next record's counter. Called in the order of the records on the wire; sealing and opening themselves
        may then run in any order, in any thread."""
        return next(self._counters)


def _nonce(counter: int) -> bytes:
    return counter.to_bytes(aegis.NONCE_LENGTH, "big")


Put = Callable[[int, memoryview], bool]
"""Puts the sealed chunk of a number into its place; False when it isn't held after all."""


class RecordSender(_Records):
    """Seals the records of one direction; `key` is the connection's key for sending."""

    def seal(self, counter: int, request: int, chunks: Sequence[bytes]) -> bytes:
        """What `fill` does, with chunks at hand; an empty one says "not held"."""

        def put(number: int, room: memoryview) -> bool:
            room[:] = chunks[number]
            return True

        return bytes(self.fill(counter, request, [len(chunk) for chunk in chunks], put))

    def fill(self, counter: int, request: int, lengths: Sequence[int], put: Put) -> memoryview:
        """A whole frame under a reserved counter, which must not be used again. `lengths` are those of the sealed
        chunks that request `request` was for, in its order; `put` puts each into its place in the frame, or says that
        it isn't held. `TooLarge` past the cap."""
        at = FRAME_HEADER + _INDEX.size + 4 * len(lengths)
        most = at + sum(lengths) + aegis.TAG_LENGTH
        _check(RECORD, most - FRAME_HEADER)
        frame, index = memoryview(bytearray(most)), list[int]()
        for number, length in enumerate(lengths):
            held = length > 0 and put(number, frame[at : at + length])
            index.append(length if held else 0)
            at += index[-1]
        frame = frame[: at + aegis.TAG_LENGTH]
        _HEADER.pack_into(frame, 0, RECORD, len(frame) - FRAME_HEADER)
        struct.pack_into(f">II{len(index)}I", frame, FRAME_HEADER, request, len(index), *index)
        aegis.encrypt_in_place(self._key, _nonce(counter), frame[FRAME_HEADER:])
        return frame


class RecordReceiver(_Records):
    """Opens the records of one direction; `key` is the connection's key for receiving."""

    def open(self, counter: int, body: bytearray) -> tuple[int, list[memoryview]]:
        """The number of the request and the sealed chunks, as slices of `body`, which is opened in its place; an empty
        one isn't held.

        `CannotOpen` when the record was altered, repeated, left out or put elsewhere: the path is to blame.
        `Malformed` when its index can't be: the other device is. Whether the chunks are those that were asked for, and
        what their ids say, is still to be checked.
        """
        if len(body) < MIN_RECORD:
            raise CannotOpen("a record is too short")
        return _read_index(aegis.decrypt_in_place(self._key, _nonce(counter), memoryview(body)))


def _read_index(plaintext: memoryview) -> tuple[int, list[memoryview]]:
    request, total = _INDEX.unpack_from(plaintext)
    at = _INDEX.size + 4 * total
    if total > MAX_GET_CHUNKS or at > len(plaintext):
        raise Malformed("a record's index is cut off")
    chunks = []
    for length in struct.unpack_from(f">{total}I", plaintext, _INDEX.size):
        if length and not sealed_chunks.OVERHEAD < length <= sealed_chunks.MAX_SEALED:
            raise Malformed(f"a chunk of {length} sealed bytes")
        chunks.append(plaintext[at : at + length])
        at += length
    if at != len(plaintext):
        raise Malformed("a record's length differs from its index")
    return request, chunks
