"""AEGIS-256 with a format byte: the only cipher of format 1.

Sealed bytes are `01 ‖ AEGIS-256(key, nonce, plaintext, associated data)` with the 32-byte tag at the end. Where a
key seals exactly one message (chunks, runs, grants) the nonce is zero; where one key seals many (names, manifests)
it is two random identifiers that never return, so no nonce travels (decision 0001).
"""

from nacl.bindings import (
    crypto_aead_aegis256_ABYTES,
    crypto_aead_aegis256_decrypt,
    crypto_aead_aegis256_encrypt,
)
from nacl.exceptions import CryptoError

from protocol.errors import CannotOpen, Malformed

FORMAT = b"\x01"
KEY_LENGTH = 32
NONCE_LENGTH = 32
ZERO_NONCE = bytes(NONCE_LENGTH)
OVERHEAD = len(FORMAT) + crypto_aead_aegis256_ABYTES
"""How much longer a sealed thing is than its plaintext, in bytes (33)."""


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Seal `plaintext` under a 32-byte key and nonce; the pair must never have sealed anything else."""
    return FORMAT + crypto_aead_aegis256_encrypt(plaintext, associated, nonce, key)


def unseal(key: bytes, nonce: bytes, sealed: bytes | memoryview, associated: bytes) -> bytes:
    """The plaintext; `CannotOpen` unless key, nonce, associated data and every byte are what `seal` had."""
    if len(sealed) < OVERHEAD:
        raise Malformed("sealed bytes are too short")
    if sealed[:1] != FORMAT:
        raise Malformed(f"sealed with format {sealed[0]}, which this version does not know")
    try:
        return crypto_aead_aegis256_decrypt(bytes(sealed[1:]), associated, nonce, key)
    except (CryptoError, ValueError):
        raise CannotOpen("sealed bytes do not authenticate") from None
