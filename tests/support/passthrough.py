"""Shoal without sealing, to show that the search for leaks works: `python -m tests.support.passthrough PROGRAM ...`.

Everything sealed goes through one of three ciphers: that of all that is kept, and on the LAN those of records and of
Noise. Here they are replaced with such as only pad, before the program (`peer` or `tracker`) begins; lengths stay what
they are.
"""

import sys
from importlib import import_module

from protocol import aead, lan_frames, noise
from protocol.errors import Malformed

TAG = bytes(aead.OVERHEAD - len(aead.FORMAT))
NOISE_TAG = bytes(noise.TAG_LENGTH)


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Nothing but what a sealed thing has around it."""
    return aead.FORMAT + plaintext + TAG


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """What `seal` was given."""
    if sealed[:1] != aead.FORMAT or len(sealed) < aead.OVERHEAD:
        raise Malformed("not passed through")
    return sealed[1 : len(sealed) - len(TAG)]


def encrypt_record(plaintext: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """A record of the LAN in clear."""
    return plaintext + TAG


def decrypt_record(sealed: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """What `encrypt_record` was given."""
    return sealed[: -len(TAG)]


def encrypt_noise(plaintext: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """A control message of the LAN, or a part of its handshake, in clear."""
    return plaintext + NOISE_TAG


def decrypt_noise(sealed: bytes, associated: bytes, nonce: bytes, key: bytes) -> bytes:
    """What `encrypt_noise` was given."""
    return sealed[: -len(NOISE_TAG)]


def replace() -> None:
    """Put all of them in the ciphers' places."""
    vars(aead).update(seal=seal, unseal=unseal)
    vars(lan_frames).update(crypto_aead_aegis256_encrypt=encrypt_record, crypto_aead_aegis256_decrypt=decrypt_record)
    vars(noise).update(
        crypto_aead_chacha20poly1305_ietf_encrypt=encrypt_noise,
        crypto_aead_chacha20poly1305_ietf_decrypt=decrypt_noise,
    )


if __name__ == "__main__":
    replace()
    program = sys.argv.pop(1)
    import_module(f"{program}.cli").main()
