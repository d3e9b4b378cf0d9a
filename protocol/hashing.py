"""BLAKE3 in its three modes, with the one rule that no two purposes share an input.

Every hash that isn't the plain id of sealed bytes starts from a domain text, so that a value made for one purpose is
worthless for another.
"""

from blake3 import blake3

DOMAIN = "Shoal 1 "


def digest(data: bytes | memoryview) -> bytes:
    """The plain 32-byte BLAKE3: ids of sealed things, content hashes."""
    return blake3(data).digest()


def hash_for(purpose: str, *parts: bytes) -> bytes:
    """32 bytes over `parts` of fixed length (the caller's duty), for `purpose` only."""
    hasher = blake3(derive_key_context=DOMAIN + purpose)
    for part in parts:
        hasher.update(part)
    return hasher.digest()


def derive_key(purpose: str, secret: bytes) -> bytes:
    """A 32-byte key for `purpose` from a secret of high entropy (BLAKE3's key derivation mode)."""
    return blake3(secret, derive_key_context=DOMAIN + purpose).digest()


def keyed(key: bytes, *parts: bytes | memoryview) -> bytes:
    """32 bytes of BLAKE3 keyed with a 32-byte key: a pseudo-random function of `parts` together."""
    hasher = blake3(key=key)
    for part in parts:
        hasher.update(part)
    return hasher.digest()
