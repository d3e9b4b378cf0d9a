"""Control messages: their bounds, and what a request may add up to. Round trips are in test_codec.py."""

from typing import Any

import cbor2
import pytest

from protocol.codec import encode
from protocol.errors import Malformed, TooLarge
from protocol.identifiers import VersionId, WorkspaceId
from protocol.lan_messages import (
    CONTROLS,
    MAX_GET_BYTES,
    MAX_GET_CHUNKS,
    Bye,
    Get,
    Hello,
    Holding,
    Part,
    Ping,
    Pong,
    decode_control,
)

LIMIT = 65_519
ID = bytes(range(16))
U32 = (1 << 32) - 1


def test_kinds_are_numbered_as_documented() -> None:
    names = ["Hello", "Ask", "Holding", "Get", "Done", "Ping", "Pong", "Bye", "Offer"]
    assert [cls.__name__ for cls in CONTROLS] == names
    assert encode(Hello(lowest=1, highest=1)) == b"\xa3\x00\x01\x01\x01\x02\x01"
    assert decode_control(encode(Ping(number=5)), LIMIT) == Ping(number=5)
    assert decode_control(encode(Pong(number=5)), LIMIT) == Pong(number=5)


def test_lists_that_are_empty_are_not_sent() -> None:
    message = Holding(workspace=WorkspaceId(ID))
    assert encode(message) == b"\xa2\x00\x03\x01\x50" + ID
    assert decode_control(encode(message), LIMIT) == message


@pytest.mark.parametrize(
    "fields",
    [
        {0: 1, 1: 1, 2: 255},
        {0: 2, 1: ID, 2: [ID] * 1000},
        {0: 3, 1: ID, 2: [ID] * 1000, 3: [ID] * 1000},
        {0: 4, 1: U32, 2: ID, 3: [[ID, 1 << 20, 4096]]},
        {0: 4, 1: U32, 2: ID, 3: [[ID, 0, 1]] * 512},
        {0: 5, 1: ID, 2: [ID] * 1000},
        {0: 6, 1: U32},
        {0: 7, 1: U32},
        {0: 8, 1: "é" * 200},
        {0: 6, 1: 0, 9: "of a later version"},
        {0: 3, 1: ID, 4: [[ID, bytes(4096)]]},
        {0: 9, 1: ID, 2: ID, 3: ID, 4: 1 << 30, 5: 1 << 20, 6: [[bytes(32), bytes(32), 1 << 20, 1 << 20]] * 512},
    ],
    ids=range(12),
)
def test_bounds_are_within(fields: dict[int, Any]) -> None:
    decode_control(cbor2.dumps(fields), LIMIT)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {0: 0},
        {0: 9},
        {0: 1, 1: 1},
        {0: 1, 1: 1, 2: 256},
        {0: 2, 1: ID},
        {0: 2, 1: ID[1:], 2: []},
        {0: 2, 1: ID, 2: [ID] * 1001},
        {0: 2, 1: ID, 2: [ID + b"\0"]},
        {0: 3, 1: ID, 2: [ID] * 1001},
        {0: 3, 1: ID, 3: [ID] * 1001},
        {0: 4, 1: U32 + 1, 2: ID, 3: []},
        {0: 4, 1: 0, 2: ID, 3: [[ID, 0, 1]] * 513},
        {0: 4, 1: 0, 2: ID, 3: [[ID, (1 << 20) + 1, 1]]},
        {0: 4, 1: 0, 2: ID, 3: [[ID, 0, 4097]]},
        {0: 4, 1: 0, 2: ID, 3: [[ID, -1, 1]]},
        {0: 4, 1: 0, 2: ID, 3: [[ID, 0]]},
        {0: 5, 1: ID, 2: [ID] * 1001},
        {0: 6, 1: U32 + 1},
        {0: 6, 1: True},
        {0: 7},
        {0: 8, 1: "x" * 201},
        {0: 8, 1: b"x"},
        [],
    ],
    ids=range(24),
)
def test_what_is_past_a_bound_is_refused(fields: Any) -> None:
    with pytest.raises(Malformed):
        decode_control(cbor2.dumps(fields), LIMIT)


def test_longer_than_a_frame_is_refused() -> None:
    encoded = encode(Bye(reason="x"))
    with pytest.raises(TooLarge):
        decode_control(encoded, len(encoded) - 1)


def get(total: int) -> bytes:
    full, rest = divmod(total, 4096)
    parts: list[Part] = [(VersionId(ID), at, 4096) for at in range(full)]
    return encode(Get(request=0, workspace=WorkspaceId(ID), parts=(*parts, (VersionId(ID), 0, rest))))


def test_request_for_more_chunks_than_an_answer_can_hold_is_refused() -> None:
    assert MAX_GET_CHUNKS * 35 <= MAX_GET_BYTES < (MAX_GET_CHUNKS + 1) * 35
    decode_control(get(MAX_GET_CHUNKS), LIMIT)
    with pytest.raises(TooLarge):
        decode_control(get(MAX_GET_CHUNKS + 1), LIMIT)
