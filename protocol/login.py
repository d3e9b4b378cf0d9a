"""From a password, or a recovery key, to the two secrets that it stands for; and keys wrapped under them.

    salt      = first 16 bytes of BLAKE3-derive("login salt", salt part from the tracker ‖ normalised e-mail address)
    auth secret ‖ wrapping key = Argon2id(password, salt), 32 bytes each
    wrapped   = nonce: 32 random bytes ‖ 01 ‖ AEGIS-256(key, nonce, secret, associated data)
    associated data = "Shoal 1 wrapped" ‖ owner ‖ generation: u32 ‖ passes: u32 ‖ memory: u64 ‖ purpose

The tracker keeps a hash of the auth secret; the wrapping key never leaves the device. What the tracker asks for is held
against a floor and a ceiling here, so that it can't make password hashing weak or a device run out of memory.
"""

import base64
import unicodedata
from dataclasses import dataclass

from nacl.bindings import crypto_pwhash_alg, crypto_pwhash_ALG_ARGON2ID13

from protocol import aead
from protocol.codec import message, unsigned, wire
from protocol.errors import Malformed, Usage
from protocol.hashing import derive_key, hash_for
from protocol.identifiers import UserId
from protocol.ports import RandomBytes

SALT_PART_LENGTH = 16
SECRET_LENGTH = 32
MAX_EMAIL = 254
RECOVERY_LENGTH, CHECK_LENGTH = 20, 5
FLOOR_PASSES, FLOOR_MEMORY = 3, 64 << 20
CEILING_PASSES, CEILING_MEMORY = 32, 1 << 30


@message
class KdfParameters:
    """The cost of Argon2id: `passes` over `memory` bytes."""

    passes: int = wire(1, unsigned(1 << 31), default=FLOOR_PASSES)
    memory: int = wire(2, unsigned(1 << 40), default=FLOOR_MEMORY)


@dataclass(frozen=True, slots=True)
class LoginSecrets:
    """`auth` proves the password to the tracker; `wrapping` opens the identity key and never leaves the device."""

    auth: bytes
    wrapping: bytes


def normalise_email(email: str) -> str:
    """The one form of an address that Shoal compares and salts with; `Usage` when it can't be an address."""
    normal = unicodedata.normalize("NFC", email).strip().casefold()
    local, at, domain = normal.rpartition("@")
    if (
        not (local and at and domain)
        or len(normal) > MAX_EMAIL
        or any(c.isspace() or not c.isprintable() for c in normal)
    ):
        raise Usage(f"{email!r} is not an e-mail address")
    return normal


def _check_cost(cost: KdfParameters) -> None:
    if cost.passes < FLOOR_PASSES or cost.memory < FLOOR_MEMORY:
        raise Malformed("the tracker asks for weaker password hashing than this program accepts")
    if cost.passes > CEILING_PASSES or cost.memory > CEILING_MEMORY:
        raise Malformed("the tracker asks for more costly password hashing than this program accepts")


def secrets_from_password(password: str, email: str, salt_part: bytes, cost: KdfParameters) -> LoginSecrets:
    """Argon2id with the tracker's part of the salt: 0.1 to 0.5 s of CPU and `cost.memory` bytes."""
    _check_cost(cost)
    salt = hash_for("login salt", salt_part, normalise_email(email).encode())[:16]
    try:
        normal = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        raise Usage("the password is not valid UTF-8") from None
    out: bytes = crypto_pwhash_alg(
        2 * SECRET_LENGTH, normal, salt, cost.passes, cost.memory, crypto_pwhash_ALG_ARGON2ID13
    )
    return LoginSecrets(out[:SECRET_LENGTH], out[SECRET_LENGTH:])


def secrets_from_recovery_key(recovery: bytes) -> LoginSecrets:
    """A recovery key is random, so no slow hash is needed."""
    return LoginSecrets(derive_key("recovery auth", recovery), derive_key("recovery wrapping", recovery))


def format_recovery_key(recovery: bytes) -> str:
    """40 letters and digits in groups of four, the last 8 of them a check against mistyping."""
    letters = base64.b32encode(recovery + hash_for("recovery check", recovery)[:CHECK_LENGTH]).decode()
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def parse_recovery_key(typed: str) -> bytes:
    """The 20 bytes of a recovery key as a person typed it; `Usage` when it has a mistake."""
    letters = "".join(c for c in typed.upper() if c.isalnum()).replace("0", "O").replace("1", "I")
    try:
        raw = base64.b32decode(letters)
    except ValueError:
        raise Usage("that is not a recovery key: it has 40 letters and digits") from None
    recovery, check = raw[:RECOVERY_LENGTH], raw[RECOVERY_LENGTH:]
    if len(recovery) != RECOVERY_LENGTH or check != hash_for("recovery check", recovery)[:CHECK_LENGTH]:
        raise Usage("that recovery key has a mistake in it")
    return recovery


def _associated(owner: UserId, purpose: str, generation: int, cost: KdfParameters) -> bytes:
    numbers = generation.to_bytes(4, "big") + cost.passes.to_bytes(4, "big") + cost.memory.to_bytes(8, "big")
    return b"Shoal 1 wrapped" + owner + numbers + purpose.encode()


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What a wrapped key is tied to: whose it is, what for, which generation of it, under which password cost."""

    owner: UserId
    purpose: str
    generation: int
    cost: KdfParameters


def wrap(key: bytes, tie: Wrapping, secret: bytes, random_bytes: RandomBytes) -> bytes:
    """Seal `secret` under `key` with a random nonce."""
    nonce = random_bytes(aead.NONCE_LENGTH)
    return nonce + aead.seal(key, nonce, secret, _associated(tie.owner, tie.purpose, tie.generation, tie.cost))


def unwrap(key: bytes, tie: Wrapping, wrapped: bytes) -> bytes:
    """The secret; `CannotOpen` for another key, owner, purpose, generation or cost."""
    nonce, sealed = wrapped[: aead.NONCE_LENGTH], wrapped[aead.NONCE_LENGTH :]
    if len(nonce) != aead.NONCE_LENGTH:
        raise Malformed("a wrapped key is too short")
    return aead.unseal(key, nonce, sealed, _associated(tie.owner, tie.purpose, tie.generation, tie.cost))
