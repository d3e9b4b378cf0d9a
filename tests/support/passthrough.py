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


def replace(module: ModuleType = aead) -> None:
    """Put both in the cipher's place."""
    vars(module).update(seal=seal, unseal=unseal)


if __name__ == "__main__":
    replace()
    program = sys.argv.pop(1)
    import_module(f"{program}.cli").main()
