"""Noise_IK_25519_ChaChaPoly_BLAKE2b: how two devices agree on keys (the Noise Protocol Framework, revision 34).

    ← s                    known beforehand: the responder's static key
    → e, es, s, ss         message 1
    ← e, ee, se            message 2

Nothing here sends, waits or asks the machine for anything: messages are bytes that the caller carries, and ephemeral
keys come from the random port. Each side is a machine of four states:

    Initiator   NEW ── write message 1 ──► HALFWAY ── read message 2 ───► ESTABLISHED
    Responder   NEW ── read message 1 ───► HALFWAY ── write message 2 ──► ESTABLISHED
                 └───────── any error ────────┴──────► FAILED

The last step gives the keys. An error on the way is `Malformed` (a length or a public key that can't be) or
`CannotOpen` (a message that isn't this handshake's), and a handshake that has failed can't be taken up again. A step
out of turn is `Malformed` and changes nothing.
"""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from hashlib import blake2b

from nacl.bindings import (
    crypto_aead_chacha20poly1305_ietf_ABYTES,
    crypto_aead_chacha20poly1305_ietf_decrypt,
    crypto_aead_chacha20poly1305_ietf_encrypt,
)
from nacl.exceptions import CryptoError

from protocol.errors import CannotOpen, Malformed, TooLarge
from protocol.ports import RandomBytes
from protocol.signing import KEY_LENGTH, ExchangeKey

NAME = b"Noise_IK_25519_ChaChaPoly_BLAKE2b"
HASH_LENGTH = 64
TAG_LENGTH = crypto_aead_chacha20poly1305_ietf_ABYTES
MAX_MESSAGE = 65_535
"""The longest message of a handshake or after it, in bytes with its tag."""
LAST_NONCE = (1 << 64) - 1
"""Noise keeps this one for itself: a key that has come so far is used up."""
_SEALED_KEY = KEY_LENGTH + TAG_LENGTH
FIRST_LENGTH = KEY_LENGTH + _SEALED_KEY + TAG_LENGTH
"""Message 1 without a payload, in bytes (96)."""
SECOND_LENGTH = KEY_LENGTH + TAG_LENGTH
"""Message 2 without a payload, in bytes (48)."""


class CipherState:
    """A key for one direction. Its messages must be opened in the order in which they were sealed, each once."""

    def __init__(self, key: bytes) -> None:
        """`key` is 32 bytes that seal nothing else."""
        self._key = key
        self._nonce = 0

    def encrypt(self, plaintext: bytes, associated: bytes = b"") -> bytes:
        """The next message, 16 bytes longer. `TooLarge` for one past MAX_MESSAGE, `CannotOpen` when no nonce is
        left."""
        if len(plaintext) + TAG_LENGTH > MAX_MESSAGE:
            raise TooLarge(f"a message of {len(plaintext)} bytes, at most {MAX_MESSAGE - TAG_LENGTH} allowed")
        sealed = crypto_aead_chacha20poly1305_ietf_encrypt(plaintext, associated, self._next(), self._key)
        self._nonce += 1
        return sealed

    def decrypt(self, sealed: bytes, associated: bytes = b"") -> bytes:
        """What the next message says; `CannotOpen` for anything but that message, which is still the next then."""
        nonce = self._next()
        if not TAG_LENGTH <= len(sealed) <= MAX_MESSAGE:
            raise CannotOpen("a message of a length that can't be")
        try:
            plaintext = crypto_aead_chacha20poly1305_ietf_decrypt(sealed, associated, nonce, self._key)
        except CryptoError:
            raise CannotOpen("a message does not authenticate") from None
        self._nonce += 1
        return plaintext

    def _next(self) -> bytes:
        if self._nonce >= LAST_NONCE:
            raise CannotOpen("a key is used up: no nonce is left")
        return bytes(4) + self._nonce.to_bytes(8, "little")


def _hkdf(chaining: bytes, material: bytes) -> tuple[bytes, bytes]:
    """HKDF of the framework (section 4.3) with two outputs of 64 bytes."""
    key = hmac.digest(chaining, material, blake2b)
    first = hmac.digest(key, b"\x01", blake2b)
    return first, hmac.digest(key, first + b"\x02", blake2b)


class SymmetricState:
    """The chaining key and the hash of all that was said (section 5.2)."""

    _cipher: CipherState
    """There is none before the first `mix_key`; IK seals nothing before that."""

    def __init__(self, prologue: bytes) -> None:
        """Both sides must give the same `prologue`, or the first message doesn't open."""
        self.hash = self._chaining = NAME.ljust(HASH_LENGTH, b"\0")
        self.mix_hash(prologue)

    def mix_hash(self, data: bytes) -> None:
        """What was said so far, and then `data`."""
        self.hash = blake2b(self.hash + data).digest()

    def mix_key(self, shared: bytes) -> None:
        """From now on only who knows `shared` too can go on."""
        self._chaining, key = _hkdf(self._chaining, shared)
        self._cipher = CipherState(key[:KEY_LENGTH])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """Sealed, tied to all that was said before."""
        sealed = self._cipher.encrypt(plaintext, self.hash)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        """What was sealed; `CannotOpen` when the other side heard or said anything else before."""
        plaintext = self._cipher.decrypt(sealed, self.hash)
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The 32-byte keys from initiator to responder, and back."""
        first, second = _hkdf(self._chaining, b"")
        return first[:KEY_LENGTH], second[:KEY_LENGTH]


@dataclass(frozen=True, slots=True)
class Established:
    """What both sides have in the end: 32-byte keys for either direction, the 64-byte handshake hash, which no other
    handshake has, and the other side's static public key."""

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)
    hash: bytes
    remote_static: bytes


class State(Enum):
    """Where a handshake stands."""

    NEW = "not begun"
    HALFWAY = "half done"
    ESTABLISHED = "done"
    FAILED = "given up"


class _Handshake:
    """What both sides have in common."""

    def __init__(
        self, prologue: bytes, static: ExchangeKey, responder_static: bytes, random_bytes: RandomBytes
    ) -> None:
        self.state = State.NEW
        self._static = static
        self._random_bytes = random_bytes
        self._symmetric = SymmetricState(prologue)
        self._symmetric.mix_hash(responder_static)

    @contextmanager
    def _step(self, before: State, after: State) -> Iterator[SymmetricState]:
        """One step from state to state; whatever is raised in it ends the handshake."""
        if self.state is not before:
            raise Malformed(f"a handshake that is {self.state.value} has no use for this message")
        self.state = State.FAILED
        yield self._symmetric
        self.state = after

    def _ephemeral_key(self) -> ExchangeKey:
        return ExchangeKey(self._random_bytes(KEY_LENGTH))


def _parts(message: bytes, *lengths: int) -> Iterator[bytes]:
    """The message cut into pieces of these lengths, and what is left as the last."""
    if not sum(lengths) + TAG_LENGTH <= len(message) <= MAX_MESSAGE:
        raise Malformed(f"a handshake message of {len(message)} bytes")
    at = 0
    for length in lengths:
        yield message[at : at + length]
        at += length
    yield message[at:]


class Initiator(_Handshake):
    """The side that speaks first and knows whom it speaks to."""

    def __init__(self, prologue: bytes, static: ExchangeKey, remote_static: bytes, random_bytes: RandomBytes) -> None:
        """`remote_static` is the responder's public key."""
        super().__init__(prologue, static, remote_static, random_bytes)
        self._remote_static = remote_static

    def write(self, payload: bytes = b"") -> bytes:
        """Message 1. The payload has no forward secrecy and can be replayed: Shoal sends none. `Malformed` when the
        responder's static key is none, or of small order."""
        with self._step(State.NEW, State.HALFWAY) as symmetric:
            self._ephemeral = self._ephemeral_key()
            symmetric.mix_hash(self._ephemeral.public)
            symmetric.mix_key(self._ephemeral.agree(self._remote_static))
            sealed_static = symmetric.encrypt_and_hash(self._static.public)
            symmetric.mix_key(self._static.agree(self._remote_static))
            return self._ephemeral.public + sealed_static + symmetric.encrypt_and_hash(payload)

    def read(self, message: bytes) -> tuple[bytes, Established]:
        """Message 2: its payload, and the keys. Only the holder of the responder's static key can have made it."""
        with self._step(State.HALFWAY, State.ESTABLISHED) as symmetric:
            ephemeral, sealed = _parts(message, KEY_LENGTH)
            symmetric.mix_hash(ephemeral)
            symmetric.mix_key(self._ephemeral.agree(ephemeral))
            symmetric.mix_key(self._static.agree(ephemeral))
            payload = symmetric.decrypt_and_hash(sealed)
            send, receive = symmetric.split()
            return payload, Established(send, receive, symmetric.hash, self._remote_static)


class Responder(_Handshake):
    """The side that is spoken to, and learns by whom."""

    remote_static: bytes
    """The initiator's static public key, once message 1 was read. Whether to talk to it is the caller's affair, and
    that it is there now, not replayed, is known only when something opens under the keys of `Established`."""

    def __init__(self, prologue: bytes, static: ExchangeKey, random_bytes: RandomBytes) -> None:
        """`static` is the key that the initiator knows beforehand."""
        super().__init__(prologue, static, static.public, random_bytes)

    def read(self, message: bytes) -> bytes:
        """Message 1: its payload."""
        with self._step(State.NEW, State.HALFWAY) as symmetric:
            self._remote_ephemeral, sealed_static, sealed = _parts(message, KEY_LENGTH, _SEALED_KEY)
            symmetric.mix_hash(self._remote_ephemeral)
            symmetric.mix_key(self._static.agree(self._remote_ephemeral))
            remote_static = symmetric.decrypt_and_hash(sealed_static)
            symmetric.mix_key(self._static.agree(remote_static))
            payload = symmetric.decrypt_and_hash(sealed)
            self.remote_static = remote_static
            return payload

    def write(self, payload: bytes = b"") -> tuple[bytes, Established]:
        """Message 2, and the keys."""
        with self._step(State.HALFWAY, State.ESTABLISHED) as symmetric:
            ephemeral = self._ephemeral_key()
            symmetric.mix_hash(ephemeral.public)
            symmetric.mix_key(ephemeral.agree(self._remote_ephemeral))
            symmetric.mix_key(ephemeral.agree(self.remote_static))
            message = ephemeral.public + symmetric.encrypt_and_hash(payload)
            receive, send = symmetric.split()
            return message, Established(send, receive, symmetric.hash, self.remote_static)
