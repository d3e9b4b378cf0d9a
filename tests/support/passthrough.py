"""Shoal without sealing, to show that the search for leaks works: `python -m tests.support.passthrough PROGRAM ...`.

Everything sealed goes through one of two ciphers: AEGIS-256, on copies or in place, and on the LAN that of Noise too.
Here they are replaced with such as only pad, before the program (`peer` or `tracker`) begins; lengths stay what they
are.
"""

import sys
from importlib import import_module
from types import ModuleType

from protocol import aead, aegis, noise
from protocol.errors import Malformed

TAG = bytes(aegis.TAG_LENGTH)
NOISE_TAG = bytes(noise.TAG_LENGTH)


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Nothing but what a sealed thing has around it."""
    return aead.FORMAT + plaintext + TAG


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """What `seal` was given."""
    if sealed[:1] != aead.FORMAT or len(sealed) < aead.OVERHEAD:
        raise Malformed("not passed through")
    return bytes(sealed[1 : len(sealed) - len(TAG)])


def encrypt_in_place(key: bytes, nonce: bytes, buffer: memoryview) -> None:
    """A chunk or a record of the LAN stays in clear."""
    buffer[-len(TAG) :] = TAG


def decrypt_in_place(key: bytes, nonce: bytes, buffer: memoryview) -> memoryview:
    """What `encrypt_in_place` was given."""
    return buffer[: -len(TAG)]


def encrypt_noise(plaintext: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """A control message of the LAN, or a part of its handshake, in clear."""
    return plaintext + NOISE_TAG


def decrypt_noise(sealed: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """What `encrypt_noise` was given."""
    return sealed[: -len(NOISE_TAG)]


KEPT: tuple[tuple[ModuleType, str, object], ...] = (
    (aead, "seal", seal),
    (aead, "unseal", unseal),
    (aegis, "encrypt_in_place", encrypt_in_place),
    (aegis, "decrypt_in_place", decrypt_in_place),
)
"""What stands for the cipher of all that is kept: module, name and function."""

SENT: tuple[tuple[ModuleType, str, object], ...] = (
    (noise, "crypto_aead_chacha20poly1305_ietf_encrypt", encrypt_noise),
    (noise, "crypto_aead_chacha20poly1305_ietf_decrypt", decrypt_noise),
)
"""The same for Noise."""


if __name__ == "__main__":
    for module, name, instead in KEPT + SENT:
        setattr(module, name, instead)
    program = sys.argv.pop(1)
    import_module(f"{program}.cli").main()
