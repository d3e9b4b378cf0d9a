"""Frames: control messages and records open in their place, once, unaltered, or not at all."""

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.bindings import crypto_aead_aegis256_encrypt

from bench.seeded import seeded_bytes
from protocol import chunks
from protocol.errors import CannotOpen, Malformed, ShoalError, TooLarge
from protocol.identifiers import MAX_CHUNK, VersionId, WorkspaceId
from protocol.lan_frames import (
    CONTROL,
    FRAME_HEADER,
    MAX_CONTROL,
    MAX_RECORD,
    MIN_CONTROL,
    MIN_RECORD,
    RECORD,
    ControlReceiver,
    ControlSender,
    RecordReceiver,
    RecordSender,
    parse_header,
)
from protocol.lan_messages import CONTROLS, MAX_ASK, MAX_GET_BYTES, MAX_GET_CHUNKS, MAX_PARTS, Ask, Get, Holding, Ping
from protocol.noise import CipherState
from tests.protocol.strategies import EVERY_BYTE, FLIPS, altered, messages

draw = seeded_bytes("tests of frames")
KEY, OTHER = draw(32), draw(32)
ANY = st.one_of([messages(cls) for cls in CONTROLS])
SEALED = st.just(b"") | st.binary(min_size=chunks.OVERHEAD + 1, max_size=chunks.OVERHEAD + 60)


def opened(receiver: RecordReceiver, counter: int, body: bytes) -> tuple[int, list[bytes]]:
    """What a record says, with copies of its chunks."""
    request, found = receiver.open(counter, bytearray(body))
    return request, [bytes(chunk) for chunk in found]


def body_of(frame: bytes) -> bytes:
    """The body, once the header is what it must be."""
    kind, length = parse_header(frame[:FRAME_HEADER])
    assert kind in (CONTROL, RECORD)
    assert length == len(frame) - FRAME_HEADER
    return frame[FRAME_HEADER:]


# Headers --------------------


def header(kind: int, length: int) -> bytes:
    return bytes([kind]) + length.to_bytes(4, "big")


BOUNDS = [(CONTROL, 17, 65_535), (RECORD, 40, 1_200_000)]


@pytest.mark.parametrize(("kind", "lowest", "highest"), BOUNDS)
def test_headers_within_bounds(kind: int, lowest: int, highest: int) -> None:
    assert FRAME_HEADER == 5
    for length in (lowest, highest):
        assert parse_header(header(kind, length)) == (kind, length)
        assert parse_header(memoryview(bytearray(header(kind, length)))) == (kind, length)
    with pytest.raises(TooLarge):
        parse_header(header(kind, highest + 1))
    with pytest.raises(TooLarge):
        parse_header(header(kind, (1 << 32) - 1))
    for length in (0, lowest - 1):
        with pytest.raises(Malformed, match="too short"):
            parse_header(header(kind, length))


@given(st.binary(max_size=8))
def test_other_headers_are_refused(data: bytes) -> None:
    try:
        kind, length = parse_header(data)
    except Malformed:
        return
    assert data == header(kind, length)
    assert (MIN_CONTROL <= length <= MAX_CONTROL) if kind == CONTROL else (MIN_RECORD <= length <= MAX_RECORD)


@pytest.mark.parametrize("kind", [0, 3, 255])
def test_unknown_kinds_are_refused(kind: int) -> None:
    with pytest.raises(Malformed, match=f"kind {kind}"):
        parse_header(header(kind, 100))


# Control messages --------------------


@given(st.lists(ANY, min_size=1, max_size=4))
def test_control_round_trip(said: list[Any]) -> None:
    sender, receiver = ControlSender(KEY), ControlReceiver(KEY)
    frames = [sender.frame(message) for message in said]
    assert [receiver.open(body_of(frame)) for frame in frames] == said


@given(ANY, EVERY_BYTE, FLIPS)
def test_altered_control_frames_are_refused(message: Any, at: int, flip: int) -> None:
    frame = altered(ControlSender(KEY).frame(message), at, flip)
    with pytest.raises(ShoalError):
        ControlReceiver(KEY).open(whole_body(frame))


def whole_body(frame: bytes) -> bytes:
    """What a reader makes of a stream that ends here: another length means another body, or that it is cut off."""
    kind, length = parse_header(frame[:FRAME_HEADER])
    if length > len(frame) - FRAME_HEADER:
        raise Malformed("cut off")
    if kind != CONTROL:
        raise Malformed("another kind")
    return frame[FRAME_HEADER : FRAME_HEADER + length]


@given(ANY, EVERY_BYTE)
def test_truncated_and_prolonged_control_frames_are_refused(message: Any, at: int) -> None:
    body = body_of(ControlSender(KEY).frame(message))
    for wrong in (body[: at % len(body)], body + b"\0", body + body):
        with pytest.raises(CannotOpen):
            ControlReceiver(KEY).open(wrong)


def test_control_frames_open_once_and_in_order() -> None:
    sender, receiver = ControlSender(KEY), ControlReceiver(KEY)
    first, second = (body_of(sender.frame(Ping(number=number))) for number in (1, 2))
    with pytest.raises(CannotOpen):
        receiver.open(second)
    assert receiver.open(first) == Ping(number=1)
    with pytest.raises(CannotOpen):
        receiver.open(first)
    assert receiver.open(memoryview(bytearray(second))) == Ping(number=2)


def test_control_frames_of_the_other_direction_do_not_open() -> None:
    with pytest.raises(CannotOpen):
        ControlReceiver(OTHER).open(body_of(ControlSender(KEY).frame(Ping(number=1))))


@given(st.binary(max_size=60))
def test_what_a_device_can_not_say_is_held_against_it(data: bytes) -> None:
    with pytest.raises(Malformed):
        ControlReceiver(KEY).open(CipherState(KEY).encrypt(b"\xff" + data))


def test_largest_messages_fit() -> None:
    workspace, versions = WorkspaceId(draw(16)), tuple(VersionId(draw(16)) for _ in range(MAX_ASK))
    parts = tuple((version, 1 << 20, MAX_GET_CHUNKS // MAX_PARTS) for version in versions[:MAX_PARTS])
    sender, receiver = ControlSender(KEY), ControlReceiver(KEY)
    for message in (
        Ask(workspace=workspace, versions=versions),
        Holding(workspace=workspace, held=versions, absent=versions),
        Get(request=(1 << 32) - 1, workspace=workspace, parts=parts),
    ):
        assert receiver.open(body_of(sender.frame(message))) == message


# Records --------------------


@given(st.integers(0, (1 << 32) - 1), st.lists(SEALED, max_size=5))
def test_record_round_trip(request: int, sealed: list[bytes]) -> None:
    sender, receiver = RecordSender(KEY), RecordReceiver(KEY)
    for _ in range(2):
        body = body_of(sender.seal(sender.reserve(), request, sealed))
        assert opened(receiver, receiver.reserve(), body) == (request, sealed)


@given(st.lists(SEALED, min_size=1, max_size=3), EVERY_BYTE, FLIPS)
def test_altered_records_are_refused(sealed: list[bytes], at: int, flip: int) -> None:
    body = body_of(RecordSender(KEY).seal(0, 7, sealed))
    for wrong in (altered(body, at, flip), body[: at % len(body)], body + b"\0"):
        with pytest.raises(CannotOpen):
            RecordReceiver(KEY).open(0, bytearray(wrong))


def test_a_refused_record_can_be_collected_with_its_error() -> None:
    """Errors end in cycles, in an exception group for one; the collector crashed on what their frames held."""
    for _ in range(50):
        body = bytearray(body_of(RecordSender(KEY).seal(0, 7, [draw(2000)])))
        body[-1] ^= 1
        with pytest.raises(CannotOpen) as caught:
            RecordReceiver(KEY).open(0, body)
        caught.value.__context__ = ExceptionGroup("a cycle", [caught.value])
        del caught, body
    gc.collect()


def test_records_open_once_and_in_order() -> None:
    sender, receiver = RecordSender(KEY), RecordReceiver(KEY)
    first, second = (body_of(sender.seal(sender.reserve(), number, [])) for number in (1, 2))
    counter = receiver.reserve()
    with pytest.raises(CannotOpen):
        receiver.open(counter, bytearray(second))
    assert receiver.open(counter, bytearray(first)) == (1, [])
    counter = receiver.reserve()
    with pytest.raises(CannotOpen):
        receiver.open(counter, bytearray(first))
    assert receiver.open(counter, bytearray(second)) == (2, [])


def test_records_may_be_sealed_and_opened_in_any_order() -> None:
    sender, receiver = RecordSender(KEY), RecordReceiver(KEY)
    whole = [draw(100_000 + at) for at in range(8)]
    with ThreadPoolExecutor(4) as threads:
        turns = [(sender.reserve(), at) for at in range(8)]
        frames = list(threads.map(lambda turn: sender.seal(turn[0], turn[1], [whole[turn[1]]]), reversed(turns)))
        bodies = [(receiver.reserve(), body_of(frame)) for frame in reversed(frames)]
        found = list(threads.map(lambda arrived: opened(receiver, *arrived), reversed(bodies)))
    assert found == [(at, [whole[at]]) for at in reversed(range(8))]


def test_keys_of_records_directions_and_control_are_apart() -> None:
    body = body_of(RecordSender(KEY).seal(0, 1, []))
    with pytest.raises(CannotOpen):
        RecordReceiver(OTHER).open(0, bytearray(body))
    with pytest.raises(CannotOpen):
        ControlReceiver(KEY).open(body)
    assert RecordSender(KEY)._key != KEY


def test_chunks_are_slices_of_the_body_that_came() -> None:
    sealed = [draw(40), b"", draw(50)]
    body = bytearray(body_of(RecordSender(KEY).seal(0, 1, sealed)))
    _, found = RecordReceiver(KEY).open(0, body)
    assert [bytes(chunk) for chunk in found] == sealed
    assert all(chunk.obj is body for chunk in found)
    assert body[:-32] == index(1, 3, 40, 0, 50) + b"".join(sealed)


@given(st.lists(st.tuples(SEALED, st.booleans()), max_size=5))
def test_chunks_that_turn_out_not_to_be_held_leave_nothing_behind(chunks: list[tuple[bytes, bool]]) -> None:
    def put(number: int, room: memoryview) -> bool:
        sealed, held = chunks[number]
        room[:] = sealed
        return held

    frame = RecordSender(KEY).fill(0, 9, [len(sealed) for sealed, _ in chunks], put)
    assert frame == RecordSender(KEY).seal(0, 9, [sealed if held else b"" for sealed, held in chunks])


def test_whatever_may_be_asked_for_fits() -> None:
    longest = draw(chunks.MAX_SEALED)
    assert len(longest) == MAX_CHUNK + 34 > MAX_GET_BYTES
    assert opened(RecordReceiver(KEY), 0, body_of(RecordSender(KEY).seal(0, 1, [longest]))) == (1, [longest])
    smallest = [bytes(chunks.OVERHEAD + 1)] * MAX_GET_CHUNKS
    assert sum(map(len, smallest)) <= MAX_GET_BYTES
    assert opened(RecordReceiver(KEY), 0, body_of(RecordSender(KEY).seal(0, 1, smallest))) == (1, smallest)


def test_records_are_capped() -> None:
    sealed = bytes(MAX_RECORD - 32 - 12)
    assert len(RecordSender(KEY).seal(0, 1, [sealed])) == FRAME_HEADER + MAX_RECORD
    with pytest.raises(TooLarge):
        RecordSender(KEY).seal(0, 1, [sealed + b"\0"])


def record(plaintext: bytes) -> bytes:
    """A valid record of a device that says anything."""
    return crypto_aead_aegis256_encrypt(plaintext, b"", bytes(32), RecordSender(KEY)._key)


def index(request: int, count: int, *lengths: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in (request, count, *lengths))


@pytest.mark.parametrize(
    "plaintext",
    [
        index(1, 1),
        index(1, 1) + bytes(3),
        index(1, (1 << 32) - 1),
        index(1, 0) + b"x",
        index(1, 0, 0),
        index(1, 1, 40) + bytes(39),
        index(1, 1, 40) + bytes(41),
        index(1, 2, 40, 40) + bytes(40),
        index(1, 1, 34) + bytes(34),
        index(1, 1, 1) + bytes(1),
        index(1, 1, (1 << 32) - 1),
        index(1, 1, chunks.MAX_SEALED + 1) + bytes(chunks.MAX_SEALED + 1),
        index(1, MAX_GET_CHUNKS + 1, *[0] * (MAX_GET_CHUNKS + 1)),
    ],
    ids=range(13),
)
def test_index_that_does_not_fit_is_held_against_the_device(plaintext: bytes) -> None:
    with pytest.raises(Malformed):
        RecordReceiver(KEY).open(0, bytearray(record(plaintext)))


@given(st.binary(min_size=8, max_size=80))
def test_any_plaintext_is_read_or_held_against_the_device(plaintext: bytes) -> None:
    try:
        request, found = RecordReceiver(KEY).open(0, bytearray(record(plaintext)))
    except Malformed:
        return
    assert index(request, len(found), *map(len, found)) + b"".join(found) == plaintext


@pytest.mark.parametrize("length", [0, 1, MIN_RECORD - 1])
def test_record_that_is_too_short_tells_of_the_path(length: int) -> None:
    with pytest.raises(CannotOpen):
        RecordReceiver(KEY).open(0, bytearray(length))
