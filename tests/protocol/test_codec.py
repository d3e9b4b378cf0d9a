"""The codec: every message there and back, and nothing that arrives raises anything but an error of ours."""

import contextlib
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import api, commits, deltas, lan_messages, notices
from protocol.codec import MAX_DEPTH, decode, encode
from protocol.errors import Malformed, ShoalError, TooLarge
from protocol.identifiers import MAX_COMMIT_BYTES, DeviceId, NodeId, VersionId
from protocol.manifests import Manifest
from tests.protocol.strategies import message_classes, messages

LIMIT = 1 << 20
CLASSES = message_classes()
ID = bytes(range(16))
HEAD = b"\x50" + ID
"""CBOR of 16 bytes."""
VALID = b"\xa1\x01" + HEAD
"""The smallest ChallengeRequest."""


def read(data: bytes, cls: type[Any] = api.ChallengeRequest) -> Any:
    return decode(cls, data, LIMIT)


def test_every_endpoint_s_messages_are_among_the_classes() -> None:
    used = {cls for endpoint in api.ENDPOINTS for cls in (endpoint.request, endpoint.reply)}
    assert used <= set(CLASSES)
    assert len(CLASSES) > 40


@settings(max_examples=20)
@given(st.data())
@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: str(cls.__name__))
def test_round_trip(cls: type[Any], data: st.DataObject) -> None:
    message = data.draw(messages(cls))
    encoded = encode(message)
    again = read(encoded, cls)
    assert again == message
    assert encode(again) == encoded


def decoders() -> dict[str, Callable[[bytes], Any]]:
    by_class: dict[str, Callable[[bytes], Any]] = {cls.__name__: partial(read, cls=cls) for cls in CLASSES}
    return by_class | {
        "commit": commits.decode_commit,
        "operation": commits.decode_operation,
        "delta": deltas.decode_delta,
        "control": partial(lan_messages.decode_control, limit=LIMIT),
        "notice": notices.decode_notice,
        "notice after its format byte": lambda data: notices.decode_notice(b"\x01" + data),
    }


DECODERS = decoders()


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_or_read(data: bytes) -> None:
    for decoder in DECODERS.values():
        with contextlib.suppress(ShoalError):
            decoder(data)


def mutated(valid: bytes, edits: list[tuple[int, int, int]]) -> bytes:
    data = bytearray(valid)
    for at, byte, how in edits:
        at %= len(data) + 1
        if how == 0 and at < len(data):
            data[at] = byte
        elif how == 1:
            data.insert(at, byte)
        elif at < len(data):
            del data[at]
    return bytes(data)


EDITS = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255), st.integers(0, 2)), min_size=1, max_size=4)


@given(st.sampled_from(CLASSES), st.data(), EDITS)
def test_mutated_messages_are_refused_or_read(
    cls: type[Any], data: st.DataObject, edits: list[tuple[int, int, int]]
) -> None:
    broken = mutated(encode(data.draw(messages(cls))), edits)
    with contextlib.suppress(ShoalError):
        read(broken, cls)
    for name in ("operation", "delta", "notice after its format byte", "commit", "control"):
        with contextlib.suppress(ShoalError):
            DECODERS[name](broken)


@given(st.sampled_from(CLASSES), st.data())
def test_truncated_and_prolonged_messages_are_refused(cls: type[Any], data: st.DataObject) -> None:
    encoded = encode(data.draw(messages(cls)))
    end = data.draw(st.integers(0, len(encoded) - 1))
    with pytest.raises(Malformed):
        read(encoded[:end], cls)
    with pytest.raises(Malformed, match="after the end"):
        read(encoded + b"\x00", cls)


def test_bytes_after_a_long_message_are_refused() -> None:
    valid = encode(api.RunsReply(bodies=(bytes(4000),) * 20))
    read(valid, api.RunsReply)
    with pytest.raises(Malformed, match="after the end"):
        read(valid + b"\x00", api.RunsReply)


BOMBS = {
    "arrays in arrays": b"\x81" * 100_000 + b"\x00",
    "maps in maps": b"\xa1\x01" * 100_000 + b"\x00",
    "maps as keys of maps": b"\xa1" * 100_000 + b"\x00",
    "tags in tags": b"\xc6" * 100_000 + b"\x00",
    "depth in a field nobody knows": b"\xa2\x01" + HEAD + b"\x02" + b"\x81" * MAX_DEPTH + b"\x00",
    "bytes of 2**64 - 1": b"\xa1\x01\x5b" + b"\xff" * 8,
    "bytes of 64 GiB": b"\xa1\x01\x5b\x00\x00\x00\x0f\xff\xff\xff\xff",
    "text of 2**64 - 1": b"\xa1\x01\x7b" + b"\xff" * 8,
    "text of 4 GiB": b"\xa1\x01\x7a\xff\xff\xff\xff",
    "array of 2**64 - 1": b"\xa1\x01\x9b" + b"\xff" * 8,
    "array of 4 G": b"\xa1\x01\x9a\xff\xff\xff\xff",
    "map of 2**64 - 1": b"\xbb" + b"\xff" * 8,
    "map of 4 G": b"\xba\xff\xff\xff\xff",
    "indefinite map": b"\xbf\x01" + HEAD + b"\xff",
    "indefinite bytes": b"\xa1\x01\x5f" + HEAD + b"\xff",
    "indefinite array elsewhere": b"\xa2\x01" + HEAD + b"\x02\x9f\xff",
    "break alone": b"\xff",
    "key twice": b"\xa2\x01" + HEAD + b"\x01" + HEAD,
    "key twice, longer": b"\xa2\x01" + HEAD + b"\x18\x01" + HEAD,
    "key true": b"\xa1\xf5" + HEAD,
    "key 1.0": b"\xa1\xf9\x3c\x00" + HEAD,
    "key 1.0 as double": b"\xa1\xfb" + struct.pack(">d", 1.0) + HEAD,
    "keys NaN": b"\xa3\x01" + HEAD + b"\xf9\x7e\x00\x00\xf9\x7e\x01\x00",
    "key text": b"\xa2\x01" + HEAD + b"\x61x\x00",
    "key array": b"\xa2\x01" + HEAD + b"\x81\x00\x00",
    "key null": b"\xa2\x01" + HEAD + b"\xf6\x00",
    "text not UTF-8": b"\xa2\x01" + HEAD + b"\x02\x61\xff",
    "surrogate": b"\xa2\x01" + HEAD + b"\x02\x63\xed\xa0\x80",
    "reserved length": b"\xa1\x01\x5c",
    "simple value in two bytes": b"\xa2\x01" + HEAD + b"\x02\xf8\x01",
    "array, not map": b"\x81" + HEAD,
    "nothing": b"",
    "null": b"\xf6",
    "field missing": b"\xa0",
    "wrong type": b"\xa1\x01\x00",
    "too short": b"\xa1\x01\x4f" + ID[:15],
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=list(BOMBS))
def test_bombs_are_refused(bomb: bytes) -> None:
    with pytest.raises(Malformed):
        read(bomb)


TAGS = [*range(300), 1004, 1040, 43000, 55799, 55800, 1 << 40]
TAGGED: list[Any] = [0, "2020-01-01", b"\x01", [1, 2], {1: 2}]


@pytest.mark.parametrize("content", TAGGED, ids=repr)
def test_tags_are_refused_wherever_they_stand(content: Any) -> None:
    for tag in TAGS:
        tagged = cbor2.dumps(cbor2.CBORTag(tag, content))
        for data in (tagged, b"\xa1\x01" + tagged, b"\xa2\x01" + HEAD + b"\x02" + tagged):
            with pytest.raises(Malformed):
                read(data)


def test_fields_nobody_declared_are_ignored() -> None:
    for extra in (b"\x00", b"\xf6", b"\xf7", b"\xf9\x7e\x00", b"\x3b" + b"\xff" * 8, b"\x81\xa1\x61x\x00"):
        assert read(b"\xa2\x01" + HEAD + b"\x18\x63" + extra) == api.ChallengeRequest(device=DeviceId(ID))
    assert read(b"\xa2\x20\x00\x01" + HEAD) == read(VALID)


def test_size_is_held_against_the_cap_before_decoding() -> None:
    with pytest.raises(TooLarge):
        decode(api.ChallengeRequest, b"\xff" * 100, 99)
    with pytest.raises(TooLarge):
        commits.decode_commit(bytes(MAX_COMMIT_BYTES + 1))


@pytest.mark.parametrize(
    ("cls", "fields"),
    [
        (api.SaltRequest, {1: "x" * 255}),
        (api.PackReply, {1: 4097}),
        (api.PackReply, {1: -1}),
        (api.PackReply, {1: True}),
        (api.PackReply, {1: 1.0}),
        (api.RunsRequest, {1: ID, 2: [bytes(32)] * 513}),
        (api.RunsRequest, {1: ID, 2: [bytes(31)]}),
        (api.RunsRequest, {1: ID, 2: {}}),
        (api.WorkspaceInfo, {1: ID, 2: 4}),
        (Manifest, {1: (1 << 30) + 1, 2: 0}),
        (Manifest, {1: 0, 2: (1 << 62) + 1}),
        (Manifest, {1: 0, 2: 0, 7: bytes(1025)}),
        (Manifest, {1: 0, 2: 0, 9: [1, 2]}),
    ],
)
def test_values_past_their_bounds_are_refused(cls: type[Any], fields: dict[int, Any]) -> None:
    with pytest.raises(Malformed):
        read(cbor2.dumps(fields), cls)


@pytest.mark.parametrize("tag", [b"\x06", b"\x00", b"\xf5", b"\xf9\x3c\x00", b"\x61\x31", b"\xf6", b"\x18\xff"])
def test_unknown_kinds_of_a_union_are_refused(tag: bytes) -> None:
    content = commits.Content(version=VersionId(ID), manifest=b"")
    valid = encode(commits.Write(node=NodeId(ID), base=VersionId(ID), content=content))
    assert isinstance(commits.decode_operation(valid), commits.Write)
    assert valid[:3] == b"\xa4\x00\x02"
    with pytest.raises(Malformed):
        commits.decode_operation(b"\xa4\x00" + tag + valid[3:])
    with pytest.raises(Malformed):
        commits.decode_operation(b"\xa3" + valid[3:])
