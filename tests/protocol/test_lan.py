"""Prefaces, tags and the handshake of the LAN: known to who knows the device, and to nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.seeded import seeded_bytes
from protocol import lan
from protocol.errors import CannotOpen, Malformed
from protocol.lan import (
    HOUR_NS,
    MESSAGE_1,
    MESSAGE_2,
    PREFACE_LENGTH,
    Answerer,
    Dialler,
    Keys,
    beacon_is_of,
    beacon_tag,
    hour_of,
    make_preface,
    preface_is_of,
)
from protocol.lan_frames import FRAME_HEADER, ControlReceiver, ControlSender
from protocol.lan_messages import Ping
from protocol.signing import ExchangeKey
from tests.protocol.strategies import EVERY_BYTE, FLIPS, altered

draw = seeded_bytes("tests of the LAN")
DIALLER, LISTENER, STRANGER = ExchangeKey(draw(32)), ExchangeKey(draw(32)), ExchangeKey(draw(32))
NAME = "00112233445566778899aabbccddeeff"
NOW = 1_800_000_000 * 10**9


def connect(preface: bytes | None = None) -> tuple[Dialler, Answerer]:
    preface = preface or make_preface(LISTENER.public, draw)
    return Dialler(DIALLER, LISTENER.public, preface, draw), Answerer(LISTENER, preface, draw)


def agree() -> tuple[Keys, Keys]:
    dialler, answerer = connect()
    answerer.take(dialler.first())
    message, theirs = answerer.answer()
    return dialler.finish(message), theirs


# Prefaces --------------------


def test_preface_is_known_to_who_knows_the_device() -> None:
    preface = make_preface(LISTENER.public, draw)
    assert len(preface) == PREFACE_LENGTH == 33
    assert preface_is_of(preface, LISTENER.public)
    assert not preface_is_of(preface, STRANGER.public)


def test_prefaces_have_nothing_in_common_but_their_format() -> None:
    one, two = make_preface(LISTENER.public, draw), make_preface(LISTENER.public, draw)
    assert one[0] == two[0] == 1
    assert one[1:17] != two[1:17]
    assert one[17:] != two[17:]


@given(st.integers(1, PREFACE_LENGTH - 1), FLIPS)
def test_altered_preface_is_nobodys(at: int, flip: int) -> None:
    assert not preface_is_of(altered(make_preface(LISTENER.public, draw), at, flip), LISTENER.public)


@given(st.binary(max_size=40).filter(lambda data: len(data) != PREFACE_LENGTH or data[0] != 1))
def test_other_bytes_are_no_preface(data: bytes) -> None:
    with pytest.raises(Malformed):
        preface_is_of(data, LISTENER.public)


def test_preface_of_another_format_or_length_is_refused() -> None:
    preface = make_preface(LISTENER.public, draw)
    for wrong in (b"\x02" + preface[1:], preface[:-1], preface + b"\0", b""):
        with pytest.raises(Malformed):
            preface_is_of(wrong, LISTENER.public)


# Beacons --------------------


@pytest.mark.parametrize(
    ("off", "known"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)], ids=lambda value: str(value)
)
def test_beacon_is_known_for_its_hour_and_those_beside_it(off: int, known: bool) -> None:
    tag = beacon_tag(LISTENER.public, NAME, hour_of(NOW) + off)
    assert len(tag) == 16
    assert beacon_is_of(tag, NAME, LISTENER.public, NOW) is known


def test_beacon_is_of_one_device_and_one_name() -> None:
    tag = beacon_tag(LISTENER.public, NAME, hour_of(NOW))
    assert not beacon_is_of(tag, NAME, STRANGER.public, NOW)
    assert not beacon_is_of(tag, NAME[::-1], LISTENER.public, NOW)
    assert not beacon_is_of(tag[:-1], NAME, LISTENER.public, NOW)
    assert not beacon_is_of(b"", NAME, LISTENER.public, NOW)


@given(EVERY_BYTE, FLIPS)
def test_altered_tag_is_nobodys(at: int, flip: int) -> None:
    tag = beacon_tag(LISTENER.public, NAME, hour_of(NOW))
    assert not beacon_is_of(altered(tag, at, flip), NAME, LISTENER.public, NOW)


@given(st.text(max_size=40), st.binary(max_size=20))
def test_anything_may_be_advertised(name: str, tag: bytes) -> None:
    assert not beacon_is_of(tag, name, LISTENER.public, NOW)


def test_name_that_is_not_ascii_has_no_tag() -> None:
    with pytest.raises(Malformed):
        beacon_tag(LISTENER.public, "é", 0)


def test_hours_are_counted_from_1970() -> None:
    assert [hour_of(at) for at in (0, HOUR_NS - 1, HOUR_NS, NOW)] == [0, 0, 1, 500_000]
    assert hour_of(-1) == 0
    assert beacon_is_of(beacon_tag(LISTENER.public, NAME, 0), NAME, LISTENER.public, -HOUR_NS)


def test_tags_of_prefaces_and_beacons_are_for_themselves() -> None:
    """Even where what follows could be read as either."""
    nonce = (500_000).to_bytes(8, "big") + b"12345678"
    preface = make_preface(LISTENER.public, lambda _count: nonce)
    assert preface[17:] != beacon_tag(LISTENER.public, "12345678", 500_000)


# Handshake --------------------


def test_handshake() -> None:
    dialler, answerer = connect()
    first = dialler.first()
    assert len(first) == MESSAGE_1 == 96
    assert answerer.take(first) == DIALLER.public
    second, theirs = answerer.answer()
    assert len(second) == MESSAGE_2 == 48
    ours = dialler.finish(second)
    assert (ours.send, ours.receive) == (theirs.receive, theirs.send)
    assert ours.send != ours.receive


def test_every_connection_has_keys_of_its_own() -> None:
    keys = [agree()[0] for _ in range(3)]
    assert len({key for pair in keys for key in (pair.send, pair.receive)}) == 6


def test_nothing_on_the_wire_names_a_device() -> None:
    preface = make_preface(LISTENER.public, draw)
    dialler, answerer = connect(preface)
    first = dialler.first()
    answerer.take(first)
    said = preface + first + answerer.answer()[0]
    assert all(key.public[:8] not in said for key in (DIALLER, LISTENER))


def test_stranger_is_taken_for_what_it_is() -> None:
    """Who learned the listener's key gets an answer only if the caller wants to give one."""
    preface = make_preface(LISTENER.public, draw)
    stranger = Dialler(STRANGER, LISTENER.public, preface, draw)
    assert Answerer(LISTENER, preface, draw).take(stranger.first()) == STRANGER.public


def test_who_does_not_know_the_listener_is_not_understood() -> None:
    preface = make_preface(LISTENER.public, draw)
    with pytest.raises(CannotOpen):
        Answerer(LISTENER, preface, draw).take(Dialler(DIALLER, STRANGER.public, preface, draw).first())


def test_who_copies_a_preface_can_not_go_on() -> None:
    """A preface only says who it may be. Who plays it back lacks the private key."""
    preface = make_preface(LISTENER.public, draw)
    dialler = Dialler(DIALLER, LISTENER.public, preface, draw)
    with pytest.raises(CannotOpen):
        Answerer(STRANGER, preface, draw).take(dialler.first())


@given(EVERY_BYTE, FLIPS)
def test_altered_preface_fails_the_handshake(at: int, flip: int) -> None:
    preface = make_preface(LISTENER.public, draw)
    dialler = Dialler(DIALLER, LISTENER.public, altered(preface, at, flip), draw)
    with pytest.raises(CannotOpen):
        Answerer(LISTENER, preface, draw).take(dialler.first())


@given(EVERY_BYTE, FLIPS)
def test_altered_messages_are_refused(at: int, flip: int) -> None:
    dialler, answerer = connect()
    first = dialler.first()
    with pytest.raises((CannotOpen, Malformed)):
        answerer.take(altered(first, at, flip))
    dialler, answerer = connect()
    answerer.take(dialler.first())
    second, _ = answerer.answer()
    with pytest.raises((CannotOpen, Malformed)):
        dialler.finish(altered(second, at, flip))


def test_messages_of_other_lengths_are_refused() -> None:
    """Also longer ones that Noise would understand: nothing rides in the handshake."""
    dialler, answerer = connect()
    first = dialler._noise.write(b"payload")
    for wrong in (first, first[:MESSAGE_1], b"", bytes(MESSAGE_1 - 1)):
        with pytest.raises((CannotOpen, Malformed)):
            connect()[1].take(wrong)
    with pytest.raises(Malformed):
        answerer.take(first)

    dialler, answerer = connect()
    answerer.take(dialler.first())
    second, _ = answerer._noise.write(b"payload")
    with pytest.raises(Malformed):
        dialler.finish(second)


def test_message_1_is_good_for_one_connection() -> None:
    dialler, _ = connect()
    first = dialler.first()
    with pytest.raises(CannotOpen):
        connect()[1].take(first)


def test_replayed_message_1_opens_no_conversation() -> None:
    """On a connection with the very same preface, which no listener opens twice."""
    preface = make_preface(LISTENER.public, draw)
    dialler, answerer = connect(preface)
    first = dialler.first()
    answerer.take(first)
    ours = dialler.finish(answerer.answer()[0])
    recorded = ControlSender(ours.send).frame(Ping(number=1))

    again = Answerer(LISTENER, preface, draw)
    assert again.take(first) == DIALLER.public
    _, keys = again.answer()
    with pytest.raises(CannotOpen):
        ControlReceiver(keys.receive).open(recorded[FRAME_HEADER:])


def test_each_step_is_taken_once_and_in_turn() -> None:
    dialler, answerer = connect()
    with pytest.raises(Malformed):
        answerer.answer()
    with pytest.raises(Malformed):
        dialler.finish(bytes(MESSAGE_2))
    first = dialler.first()
    with pytest.raises(Malformed):
        dialler.first()
    answerer.take(first)
    with pytest.raises(Malformed):
        answerer.take(first)
    second, _ = answerer.answer()
    with pytest.raises(Malformed):
        answerer.answer()
    dialler.finish(second)
    with pytest.raises(Malformed):
        dialler.finish(second)


def test_keys_are_not_shown() -> None:
    ours, _ = agree()
    assert repr(ours) == f"{lan.Keys.__name__}()"
