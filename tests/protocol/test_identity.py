"""Passwords, recovery keys, wrapped keys and certificates."""

import dataclasses
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.seeded import seeded_bytes
from protocol.certificates import (
    Certificate,
    DeviceStatement,
    SealingKeyStatement,
    certify_device,
    certify_sealing_key,
    open_device_certificate,
    open_sealing_key_certificate,
)
from protocol.errors import BadSignature, CannotOpen, Malformed, ShoalError, Usage
from protocol.identifiers import DeviceId, UserId
from protocol.login import (
    CEILING_MEMORY,
    CEILING_PASSES,
    FLOOR_MEMORY,
    FLOOR_PASSES,
    RECOVERY_LENGTH,
    KdfParameters,
    Wrapping,
    format_recovery_key,
    normalise_email,
    parse_recovery_key,
    secrets_from_password,
    secrets_from_recovery_key,
    unwrap,
    wrap,
)
from protocol.signing import ExchangeKey, SigningKey

draw = seeded_bytes("tests of identity")
FLOOR = KdfParameters()
USER = UserId(draw(16))


# Passwords --------------------


def test_password_makes_two_secrets_that_depend_on_the_salt() -> None:
    """One Argon2id each, so no Hypothesis here."""
    first = secrets_from_password("pa\u0301ss", "Ada@Example.org", bytes(16), FLOOR)
    same = secrets_from_password("p\u00e1ss", " ada@example.ORG ", bytes(16), FLOOR)
    other = secrets_from_password("p\u00e1ss", "ada@example.org", b"\x01" + bytes(15), FLOOR)
    assert first == same
    assert len({first.auth, first.wrapping, other.auth, other.wrapping}) == 4


@pytest.mark.parametrize(
    "cost",
    [
        KdfParameters(passes=FLOOR_PASSES - 1),
        KdfParameters(memory=FLOOR_MEMORY - 1),
        KdfParameters(passes=0, memory=0),
        KdfParameters(passes=CEILING_PASSES + 1),
        KdfParameters(memory=CEILING_MEMORY + 1),
        KdfParameters(passes=1 << 31, memory=1 << 40),
    ],
)
def test_cost_outside_floor_and_ceiling_is_refused(cost: KdfParameters) -> None:
    with pytest.raises(Malformed):
        secrets_from_password("p", "a@b.c", bytes(16), cost)


def test_password_that_is_no_text_is_refused() -> None:
    with pytest.raises(Usage):
        secrets_from_password("\udcff", "a@b.c", bytes(16), FLOOR)


@given(st.text(max_size=12), st.text(max_size=12))
def test_normal_address_is_its_own_normal_form(local: str, domain: str) -> None:
    try:
        normal = normalise_email(f"{local}@{domain}")
    except Usage:
        return
    assert normalise_email(normal) == normal
    assert normalise_email(f" {unicodedata.normalize('NFD', local)}@{domain}\n") == normal
    assert normal.encode()


BAD_ADDRESSES = ["", "a", "@", "a@", "@b", "a b@c", "a@b c", "a\n@b", "a\0@b", "\ud800@b", "a" * 253 + "@b"]


@pytest.mark.parametrize("email", BAD_ADDRESSES)
def test_what_can_t_be_an_address_is_refused(email: str) -> None:
    with pytest.raises(Usage):
        normalise_email(email)


# Recovery keys --------------------

RECOVERY = st.binary(min_size=RECOVERY_LENGTH, max_size=RECOVERY_LENGTH)


@given(RECOVERY)
def test_recovery_key_round_trip(recovery: bytes) -> None:
    typed = format_recovery_key(recovery)
    assert parse_recovery_key(typed) == recovery
    assert parse_recovery_key(f" {typed.lower().replace('-', ' ')} ") == recovery
    assert parse_recovery_key(typed.replace("O", "0").replace("I", "1")) == recovery


@given(RECOVERY, st.integers(0, 39), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_mistyped_recovery_key_is_refused(recovery: bytes, at: int, letter: str) -> None:
    letters = format_recovery_key(recovery).replace("-", "")
    wrong = [letters[:at] + letter + letters[at + 1 :], letters[:at] + letters[at + 1 :], letters + letter]
    if at:
        wrong.append(letters[: at - 1] + letters[at] + letters[at - 1] + letters[at + 1 :])
    for typed in wrong:
        if typed != letters:
            with pytest.raises(Usage):
                parse_recovery_key(typed)


@given(st.text(max_size=60))
def test_any_text_as_recovery_key_is_refused(typed: str) -> None:
    with pytest.raises(Usage):
        parse_recovery_key(typed)


def test_recovery_key_makes_two_secrets() -> None:
    secrets = secrets_from_recovery_key(bytes(RECOVERY_LENGTH))
    assert len({secrets.auth, secrets.wrapping, secrets_from_recovery_key(draw(20)).auth}) == 3


# Wrapped keys --------------------

TIE = Wrapping(USER, "identity by password", 1, FLOOR)


@given(st.binary(max_size=64))
def test_wrapped_key_round_trip(secret: bytes) -> None:
    key = draw(32)
    assert unwrap(key, TIE, wrap(key, TIE, secret, draw)) == secret


@given(st.integers(0, 1000), st.integers(1, 255))
def test_altered_or_moved_wrapped_key_is_refused(at: int, flip: int) -> None:
    key, secret = draw(32), draw(32)
    wrapped = wrap(key, TIE, secret, draw)
    at %= len(wrapped)
    altered = wrapped[:at] + bytes([wrapped[at] ^ flip]) + wrapped[at + 1 :]
    ties = [
        dataclasses.replace(TIE, owner=UserId(draw(16))),
        dataclasses.replace(TIE, purpose="identity by recovery"),
        dataclasses.replace(TIE, generation=2),
        dataclasses.replace(TIE, cost=KdfParameters(passes=4)),
        dataclasses.replace(TIE, cost=KdfParameters(memory=128 << 20)),
    ]
    for tie, data in [(TIE, altered), (TIE, wrapped[:at]), *((tie, wrapped) for tie in ties)]:
        with pytest.raises((CannotOpen, Malformed)):
            unwrap(key, tie, data)
    with pytest.raises(CannotOpen):
        unwrap(draw(32), TIE, wrapped)


# Certificates --------------------

IDENTITY, OTHER_IDENTITY = SigningKey(draw(32)), SigningKey(draw(32))
DEVICE = DeviceStatement(
    user=USER,
    device=DeviceId(draw(16)),
    signing_key=SigningKey(draw(32)).public,
    exchange_key=ExchangeKey(draw(32)).public,
    issued_ms=1,
)
SEALING = SealingKeyStatement(user=USER, number=1, public=ExchangeKey(draw(32)).public)


def test_certificates_round_trip() -> None:
    assert open_device_certificate(IDENTITY.public, USER, certify_device(IDENTITY, DEVICE)) == DEVICE
    assert open_sealing_key_certificate(IDENTITY.public, USER, certify_sealing_key(IDENTITY, SEALING)) == SEALING


def test_certificates_of_another_identity_user_or_purpose_are_refused() -> None:
    device, sealing = certify_device(IDENTITY, DEVICE), certify_sealing_key(IDENTITY, SEALING)
    for identity, user in ((OTHER_IDENTITY.public, USER), (IDENTITY.public, UserId(draw(16)))):
        with pytest.raises(BadSignature):
            open_device_certificate(identity, user, device)
        with pytest.raises(BadSignature):
            open_sealing_key_certificate(identity, user, sealing)
    with pytest.raises(BadSignature):
        open_device_certificate(IDENTITY.public, USER, sealing)
    with pytest.raises(BadSignature):
        open_sealing_key_certificate(IDENTITY.public, USER, device)


@given(st.integers(0, 1000), st.integers(1, 255))
def test_altered_certificate_is_refused(at: int, flip: int) -> None:
    good = certify_device(IDENTITY, DEVICE)
    for field in ("body", "signature"):
        data: bytes = getattr(good, field)
        where = at % len(data)
        changed = data[:where] + bytes([data[where] ^ flip]) + data[where + 1 :]
        with pytest.raises(BadSignature):
            open_device_certificate(IDENTITY.public, USER, dataclasses.replace(good, **{field: changed}))


@given(st.binary(max_size=200))
def test_signed_bytes_that_are_no_statement_are_refused(body: bytes) -> None:
    for purpose, opened in (
        ("device certificate", open_device_certificate),
        ("sealing key certificate", open_sealing_key_certificate),
    ):
        certificate = Certificate(body=body, signature=IDENTITY.sign(purpose, body))
        with pytest.raises(ShoalError):
            opened(IDENTITY.public, USER, certificate)
