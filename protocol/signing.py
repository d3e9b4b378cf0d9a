"""Ed25519 signatures and X25519 agreement, always over a stated purpose.

    signature = Ed25519(key, "Shoal 1 " ‖ purpose ‖ 00 ‖ body)

Key pairs are made from 32-byte seeds that come from the random port, never from libsodium's own generator, so that a
simulation replays.
"""

from dataclasses import dataclass
from functools import cached_property

from nacl.bindings import (
    crypto_scalarmult,
    crypto_scalarmult_base,
    crypto_sign,
    crypto_sign_open,
    crypto_sign_seed_keypair,
)
from nacl.exceptions import CryptoError

from protocol.errors import BadSignature, Malformed
from protocol.hashing import DOMAIN

SIGNATURE_LENGTH = 64
KEY_LENGTH = 32


def _statement(purpose: str, body: bytes) -> bytes:
    return (DOMAIN + purpose).encode() + b"\0" + body


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key pair, held as its 32-byte seed."""

    seed: bytes

    @cached_property
    def _pair(self) -> tuple[bytes, bytes]:
        return crypto_sign_seed_keypair(self.seed)

    @property
    def public(self) -> bytes:
        """The 32-byte public key."""
        return self._pair[0]

    def sign(self, purpose: str, body: bytes) -> bytes:
        """64 bytes that only this key can make for this purpose and body."""
        return crypto_sign(_statement(purpose, body), self._pair[1])[:SIGNATURE_LENGTH]


def verify(public: bytes, purpose: str, body: bytes, signature: bytes) -> None:
    """Raise `BadSignature` unless `signature` is `public`'s over this purpose and body."""
    if len(signature) != SIGNATURE_LENGTH:
        raise BadSignature(f"the signature of a {purpose} has the wrong length")
    try:
        crypto_sign_open(signature + _statement(purpose, body), public)
    except (CryptoError, ValueError):
        raise BadSignature(f"the signature of a {purpose} does not verify") from None


@dataclass(frozen=True)
class ExchangeKey:
    """An X25519 key pair, held as its 32-byte private part."""

    private: bytes

    @cached_property
    def public(self) -> bytes:
        """The 32-byte public key."""
        return crypto_scalarmult_base(self.private)

    def agree(self, public: bytes) -> bytes:
        """The 32-byte secret shared with the holder of `public`'s private part. `Malformed` for a degenerate key."""
        if len(public) != KEY_LENGTH:  # libsodium would read past its end
            raise Malformed(f"a public key of {len(public)} bytes")
        try:
            return crypto_scalarmult(self.private, public)
        except (CryptoError, RuntimeError):
            raise Malformed("a public key of small order") from None
