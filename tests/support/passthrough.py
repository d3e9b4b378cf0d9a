"""Shoal without sealing, to show that the search for leaks works: `python -m tests.support.passthrough PROGRAM ...`.

The cipher is the one place through which everything sealed goes. Here it is replaced with one that only pads, before
the program (`peer` or `tracker`) begins; lengths stay what they are.
"""

import sys
from importlib import import_module
from types import ModuleType

from protocol import aead
from protocol.errors import Malformed

TAG = bytes(aead.OVERHEAD - len(aead.FORMAT))


def seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """Nothing but what a sealed thing has around it."""
    return aead.FORMAT + plaintext + TAG


def unseal(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """What `seal` was given."""
    if sealed[:1] != aead.FORMAT or len(sealed) < aead.OVERHEAD:
        raise Malformed("not passed through")
    return sealed[1 : len(sealed) - len(TAG)]


def seal_in_place(key: bytes, nonce: bytes, sealed: memoryview) -> None:
    """The same where it lies."""
    sealed[:] = seal(key, nonce, bytes(sealed[1 : len(sealed) - len(TAG)]), b"")


def unseal_in_place(key: bytes, nonce: bytes, sealed: memoryview) -> memoryview:
    """What `seal_in_place` was given."""
    return memoryview(unseal(key, nonce, bytes(sealed), b""))


INSTEAD: dict[str, object] = {each.__name__: each for each in (seal, unseal, seal_in_place, unseal_in_place)}
"""By the names of what they stand for."""


def replace(module: ModuleType = aead) -> None:
    """Put all of them in the cipher's place."""
    vars(module).update(INSTEAD)


if __name__ == "__main__":
    replace()
    program = sys.argv.pop(1)
    import_module(f"{program}.cli").main()
