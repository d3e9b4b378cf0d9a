"""AEGIS-256 with a format byte: the only cipher of format 1.

Sealed bytes are `01 ‖ AEGIS-256(key, nonce, plaintext, associated data)` with the 32-byte tag at the end. Where a
key seals exactly one message (chunks, runs, grants) the nonce is zero; where one key seals many (names, manifests)
it is two random identifiers that never return, so no nonce travels (decision 0001).
"""

from protocol import aegis
from protocol.errors import Malformed

FORMAT = b"\x01"
KEY_LENGTH, NONCE_LENGTH, TAG_LENGTH = aegis.KEY_LENGTH, aegis.NONCE_LENGTH, aegis.TAG_LENGTH
ZERO_NONCE = bytes(NONCE_LENGTH)
OVERHEAD = len(FORMAT) + TAG_LENGTH
"""How much longer a sealed thing is than its plaintext, in bytes (33)."""


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Seal `plaintext` under a 32-byte key and nonce; the pair must never have sealed anything else."""
    sealed = bytearray(FORMAT + plaintext + bytes(TAG_LENGTH))
    aegis.encrypt_in_place(key, nonce, memoryview(sealed)[len(FORMAT) :], associated)
    return bytes(sealed)


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The plaintext; `CannotOpen` unless key, nonce, associated data and every byte are what `seal` had."""
    _check_format(sealed)
    buffer = memoryview(bytearray(sealed))[len(FORMAT) :]
    return bytes(aegis.decrypt_in_place(key, nonce, buffer, associated))


def seal_in_place(key: bytes, nonce: bytes, sealed: memoryview) -> None:
    """What `seal` does, without associated data: `sealed` has the plaintext after its first byte, and 32 bytes of room
    at the end."""
    sealed[:1] = FORMAT
    aegis.encrypt_in_place(key, nonce, sealed[1:])


def unseal_in_place(key: bytes, nonce: bytes, sealed: memoryview) -> memoryview:
    """What `unseal` does, without associated data: the plaintext takes the place of what was sealed. `sealed` is of no
    use after an error."""
    _check_format(sealed)
    return aegis.decrypt_in_place(key, nonce, sealed[1:])


def _check_format(sealed: bytes | memoryview) -> None:
    if len(sealed) < OVERHEAD:
        raise Malformed("sealed bytes are too short")
    if sealed[:1] != FORMAT:
        raise Malformed(f"sealed with format {sealed[0]}, which this version does not know")
