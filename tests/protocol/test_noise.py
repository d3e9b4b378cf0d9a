"""The Noise handshake: the published vectors, and nothing else than the very messages is taken."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.seeded import seeded_bytes
from protocol.errors import CannotOpen, Malformed, TooLarge
from protocol.noise import LAST_NONCE, MAX_MESSAGE, CipherState, Established, Initiator, Responder, State
from protocol.signing import ExchangeKey
from tests.protocol.strategies import EVERY_BYTE, FLIPS, altered

PUBLISHED = Path(__file__).resolve().parents[1] / "vectors" / "published" / "noise_ik_25519_chachapoly_blake2b.json"
VECTORS: list[dict[str, Any]] = json.loads(PUBLISHED.read_text(encoding="utf-8"))

draw = seeded_bytes("tests of Noise")
ALICE, BOB, MALLORY = ExchangeKey(draw(32)), ExchangeKey(draw(32)), ExchangeKey(draw(32))
SMALL_ORDER = [bytes(32), b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"]


def pair(prologue: bytes = b"prologue") -> tuple[Initiator, Responder]:
    return Initiator(prologue, ALICE, BOB.public, draw), Responder(prologue, BOB, draw)


def establish() -> tuple[Established, Established]:
    initiator, responder = pair()
    responder.read(initiator.write())
    message, theirs = responder.write()
    return initiator.read(message)[1], theirs


# The published vectors --------------------


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["protocol_name"]))
def test_published_vectors(vector: dict[str, Any]) -> None:
    def raw(name: str) -> bytes:
        return bytes.fromhex(vector[name])

    def drawn(name: str) -> Any:
        return lambda count, /: raw(name)[:count]

    said = [(bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in vector["messages"]]
    initiator = Initiator(
        raw("init_prologue"), ExchangeKey(raw("init_static")), raw("init_remote_static"), drawn("init_ephemeral")
    )
    responder = Responder(raw("resp_prologue"), ExchangeKey(raw("resp_static")), drawn("resp_ephemeral"))

    assert initiator.write(said[0][0]) == said[0][1]
    assert responder.read(said[0][1]) == said[0][0]
    message, theirs = responder.write(said[1][0])
    assert message == said[1][1]
    payload, ours = initiator.read(message)
    assert payload == said[1][0]

    assert ours.hash == theirs.hash == raw("handshake_hash")
    assert responder.remote_static == theirs.remote_static == ExchangeKey(raw("init_static")).public
    assert ours.remote_static == raw("init_remote_static")
    there, back = CipherState(ours.send), CipherState(theirs.send)
    there_opened, back_opened = CipherState(theirs.receive), CipherState(ours.receive)
    assert len(said) > 4
    for at, (plaintext, sealed) in enumerate(said[2:]):
        sender, receiver = ((there, there_opened), (back, back_opened))[at % 2]
        assert sender.encrypt(plaintext) == sealed
        assert receiver.decrypt(sealed) == plaintext


# Handshakes --------------------


def test_both_sides_have_the_same_keys_crosswise() -> None:
    ours, theirs = establish()
    assert (ours.send, ours.receive, ours.hash) == (theirs.receive, theirs.send, theirs.hash)
    assert (len(ours.send), len(ours.receive), len(ours.hash)) == (32, 32, 64)
    assert (ours.remote_static, theirs.remote_static) == (BOB.public, ALICE.public)


def test_directions_and_handshakes_share_no_key() -> None:
    made = [establish()[0] for _ in range(3)]
    assert len({key for established in made for key in (established.send, established.receive)}) == 6
    assert len({established.hash for established in made}) == 3


def test_keys_are_not_shown() -> None:
    ours, _ = establish()
    assert ours.send.hex() not in repr(ours)
    assert repr(ours.send) not in repr(ours)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_payloads_travel(first: bytes, second: bytes) -> None:
    initiator, responder = pair()
    assert responder.read(initiator.write(first)) == first
    message, _ = responder.write(second)
    assert initiator.read(message)[0] == second


@given(EVERY_BYTE, FLIPS)
def test_altered_first_message_is_refused(at: int, flip: int) -> None:
    initiator, responder = pair()
    with pytest.raises((CannotOpen, Malformed)):
        responder.read(altered(initiator.write(), at, flip))
    assert responder.state is State.FAILED


@given(EVERY_BYTE, FLIPS)
def test_altered_second_message_is_refused(at: int, flip: int) -> None:
    initiator, responder = pair()
    responder.read(initiator.write())
    with pytest.raises((CannotOpen, Malformed)):
        initiator.read(altered(responder.write()[0], at, flip))
    assert initiator.state is State.FAILED


@given(st.binary(max_size=200) | st.just(bytes(MAX_MESSAGE + 1)))
def test_other_bytes_are_refused(data: bytes) -> None:
    initiator, responder = pair()
    initiator.write()
    with pytest.raises((CannotOpen, Malformed)):
        responder.read(data)
    with pytest.raises((CannotOpen, Malformed)):
        initiator.read(data)


@pytest.mark.parametrize("length", [0, 31, 32, 47])
def test_messages_that_are_too_short_are_not_looked_at(length: int) -> None:
    initiator, responder = pair()
    first = initiator.write()
    with pytest.raises(Malformed, match="handshake message"):
        responder.read(first[: 48 + length])
    with pytest.raises(Malformed, match="handshake message"):
        initiator.read(bytes(length))


def test_another_prologue_is_refused() -> None:
    initiator, _ = pair(b"one")
    with pytest.raises(CannotOpen):
        pair(b"two")[1].read(initiator.write())


def test_message_to_another_responder_is_refused() -> None:
    initiator, _ = pair()
    with pytest.raises(CannotOpen):
        Responder(b"prologue", MALLORY, draw).read(initiator.write())


def test_answer_of_another_responder_is_refused() -> None:
    """Whoever lacks the private part can't read message 1, and so has nothing to answer to."""
    initiator, _ = pair()
    initiator.write()
    other = Initiator(b"prologue", ALICE, MALLORY.public, draw)
    mallory = Responder(b"prologue", MALLORY, draw)
    mallory.read(other.write())
    with pytest.raises(CannotOpen):
        initiator.read(mallory.write()[0])


def test_replayed_first_message_gives_nothing_to_who_replays_it() -> None:
    """With the same prologue it is taken again, but the keys hang on the initiator's ephemeral key."""
    initiator, responder = pair()
    first = initiator.write()
    responder.read(first)
    original, _ = responder.write()
    again = Responder(b"prologue", BOB, draw)
    again.read(first)
    message, theirs = again.write()
    assert message != original
    _, ours = initiator.read(original)
    assert {ours.send, ours.receive}.isdisjoint({theirs.send, theirs.receive})
    with pytest.raises(CannotOpen):
        CipherState(theirs.receive).decrypt(CipherState(ours.send).encrypt(b"x"))


# Out of turn, and after a failure --------------------


def test_failed_handshake_is_of_no_use() -> None:
    initiator, responder = pair()
    good = initiator.write()
    with pytest.raises(CannotOpen):
        responder.read(altered(good, 40))
    with pytest.raises(Malformed, match="given up"):
        responder.read(good)
    with pytest.raises(Malformed, match="given up"):
        responder.write()

    initiator, responder = pair()
    responder.read(initiator.write())
    good, _ = responder.write()
    with pytest.raises(CannotOpen):
        initiator.read(altered(good, 40))
    with pytest.raises(Malformed, match="given up"):
        initiator.read(good)
    with pytest.raises(Malformed, match="given up"):
        initiator.write()


def test_steps_out_of_turn_are_refused_and_change_nothing() -> None:
    initiator, responder = pair()
    with pytest.raises(Malformed, match="not begun"):
        initiator.read(bytes(48))
    with pytest.raises(Malformed, match="not begun"):
        responder.write()
    first = initiator.write()
    responder.read(first)
    with pytest.raises(Malformed, match="half done"):
        initiator.write()
    with pytest.raises(Malformed, match="half done"):
        responder.read(first)
    second, theirs = responder.write()
    _, ours = initiator.read(second)
    with pytest.raises(Malformed, match="is done"):
        initiator.read(second)
    with pytest.raises(Malformed, match="is done"):
        responder.write()
    assert ours.send == theirs.receive


# Degenerate keys --------------------


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_public_keys_of_small_order_are_refused(point: bytes) -> None:
    with pytest.raises(Malformed, match="small order"):
        Initiator(b"", ALICE, point, draw).write()
    with pytest.raises(Malformed, match="small order"):
        Responder(b"", BOB, draw).read(point + bytes(64))
    initiator = Initiator(b"", ALICE, BOB.public, draw)
    initiator.write()
    with pytest.raises(Malformed, match="small order"):
        initiator.read(point + bytes(16))


@pytest.mark.parametrize("point", SMALL_ORDER)
def test_static_key_of_small_order_is_refused(point: bytes) -> None:
    """Sealed as it should be, so that the responder gets as far as to use it."""
    initiator, responder = pair()
    initiator._static = ExchangeKey(ALICE.private)
    initiator._static.__dict__["public"] = point
    with pytest.raises(Malformed, match="small order"):
        responder.read(initiator.write())


@pytest.mark.parametrize("length", [0, 31, 33])
def test_public_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(Malformed, match=f"{length} bytes"):
        Initiator(b"", ALICE, bytes(length), draw).write()


# After the handshake --------------------


def test_messages_open_in_their_order_only() -> None:
    sender, receiver = CipherState(bytes(32)), CipherState(bytes(32))
    first, second = sender.encrypt(b"first"), sender.encrypt(b"second")
    with pytest.raises(CannotOpen):
        receiver.decrypt(second)
    assert receiver.decrypt(first) == b"first"
    with pytest.raises(CannotOpen):
        receiver.decrypt(first)
    assert receiver.decrypt(second) == b"second"


@given(st.binary(max_size=100), EVERY_BYTE, FLIPS)
def test_altered_messages_are_refused(plaintext: bytes, at: int, flip: int) -> None:
    sealed = CipherState(bytes(32)).encrypt(plaintext, b"with")
    for wrong in (altered(sealed, at, flip), sealed[: at % len(sealed)], sealed + b"\0"):
        with pytest.raises(CannotOpen):
            CipherState(bytes(32)).decrypt(wrong, b"with")
    with pytest.raises(CannotOpen):
        CipherState(bytes(32)).decrypt(sealed, b"without")
    assert CipherState(bytes(32)).decrypt(sealed, b"with") == plaintext


def test_messages_are_capped() -> None:
    longest = bytes(MAX_MESSAGE - 16)
    sealed = CipherState(bytes(32)).encrypt(longest)
    assert len(sealed) == MAX_MESSAGE
    assert CipherState(bytes(32)).decrypt(sealed) == longest
    with pytest.raises(TooLarge):
        CipherState(bytes(32)).encrypt(longest + b"\0")
    with pytest.raises(CannotOpen):
        CipherState(bytes(32)).decrypt(bytes(MAX_MESSAGE + 1))


def test_key_is_used_up_with_its_nonces() -> None:
    sender, receiver = CipherState(bytes(32)), CipherState(bytes(32))
    sender._nonce = receiver._nonce = LAST_NONCE - 1
    last = sender.encrypt(b"last")
    assert receiver.decrypt(last) == b"last"
    for _ in range(2):
        with pytest.raises(CannotOpen, match="used up"):
            sender.encrypt(b"one more")
        with pytest.raises(CannotOpen, match="used up"):
            receiver.decrypt(last)
