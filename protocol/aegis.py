"""AEGIS-256 in place.

PyNaCl's own functions take bytes and give bytes: the input is copied into them, the output is zeroed before it is
written and copied once more, which takes longer than the cipher; and for something small the checks of their arguments
take ten times as long as all else. libsodium itself works where the plaintext lies, and PyNaCl has it at hand. Both
functions release the GIL.
"""

from typing import Any

from nacl import bindings  # has libsodium choose the code for this processor
from nacl._sodium import ffi, lib  # type: ignore[import-not-found]

from protocol.errors import CannotOpen

TAG_LENGTH: int = bindings.crypto_aead_aegis256_ABYTES
KEY_LENGTH: int = bindings.crypto_aead_aegis256_KEYBYTES
NONCE_LENGTH: int = bindings.crypto_aead_aegis256_NPUBBYTES


def encrypt_in_place(key: bytes, nonce: bytes, buffer: memoryview, associated: bytes = b"") -> None:
    """`buffer` holds a plaintext and 32 bytes more; afterwards ciphertext and tag. The tag vouches for the associated
    data as well."""
    _check(key, nonce, buffer)
    length = len(buffer) - TAG_LENGTH
    with _held(buffer) as start:
        failed = lib.crypto_aead_aegis256_encrypt(
            start, ffi.NULL, start, length, associated, len(associated), ffi.NULL, nonce, key
        )
    assert not failed


def decrypt_in_place(key: bytes, nonce: bytes, buffer: memoryview, associated: bytes = b"") -> memoryview:
    """`buffer` holds ciphertext and tag; afterwards the plaintext, a slice of it that is returned. `CannotOpen` unless
    key, nonce, associated data and every byte are what they were; `buffer` is of no use then."""
    _check(key, nonce, buffer)
    with _held(buffer) as start:
        failed = lib.crypto_aead_aegis256_decrypt(
            start, ffi.NULL, ffi.NULL, start, len(buffer), associated, len(associated), nonce, key
        )
    if failed:
        raise CannotOpen("sealed bytes do not authenticate")
    return buffer[:-TAG_LENGTH]


def _held(buffer: memoryview) -> Any:
    """A pointer to it, to be let go with `with`: left in the frame of an exception that ends in a cycle, cffi's hold on
    a memoryview makes the garbage collector crash (seen with cffi 2.1.1 and Python 3.11)."""
    return ffi.from_buffer(buffer, require_writable=True)


def _check(key: bytes, nonce: bytes, buffer: memoryview) -> None:
    """What libsodium takes on trust."""
    if len(key) != KEY_LENGTH or len(nonce) != NONCE_LENGTH or len(buffer) < TAG_LENGTH:
        raise ValueError("a key, a nonce or a buffer of a wrong length")
