"""How devices find each other on a LAN and agree on keys, without any I/O (docs/protocol.md §11).

    advertisement       instance name, tag      "who knows this device's exchange key can tell it by the tag"
    listener → dialler  preface                 33 bytes: 01 ‖ nonce: 16 bytes ‖ tag: 16 bytes
    dialler → listener  message 1               96 bytes of Noise IK (protocol/noise.py)
    listener → dialler  message 2               48 bytes
    both ways           frames                  protocol/lan_frames.py

Neither the tags nor the preface nor the messages tell a listener on the network whose they are; both tags change, one
every hour, the other with every connection. The static keys of the handshake are the exchange keys in the devices'
certificates, and the preface is in its prologue: a message 1 is good for one connection only.
"""

import hmac
from dataclasses import dataclass, field

from protocol.errors import Malformed
from protocol.hashing import derive_key, keyed
from protocol.noise import FIRST_LENGTH, SECOND_LENGTH, Initiator, Responder
from protocol.ports import RandomBytes
from protocol.signing import ExchangeKey

FORMAT = b"\x01"
NONCE_LENGTH = 16
TAG_LENGTH = 16
PREFACE_LENGTH = len(FORMAT) + NONCE_LENGTH + TAG_LENGTH
MESSAGE_1, MESSAGE_2 = FIRST_LENGTH, SECOND_LENGTH
"""How long the two messages of the handshake are, in bytes."""
HOUR_NS = 3600 * 10**9
_PROLOGUE = b"Shoal 1 lan"


def _tag(exchange_public: bytes, *parts: bytes) -> bytes:
    return keyed(derive_key("lan tag", exchange_public), *parts)[:TAG_LENGTH]


def make_preface(exchange_public: bytes, random_bytes: RandomBytes) -> bytes:
    """What a listener with this exchange key says first on a new connection, fresh each time."""
    nonce = random_bytes(NONCE_LENGTH)
    return FORMAT + nonce + _tag(exchange_public, b"preface", nonce)


def preface_is_of(preface: bytes, exchange_public: bytes) -> bool:
    """Whether the device with this exchange key made the preface, or somebody who knows that key: no proof yet.
    `Malformed` for bytes that are no preface."""
    if len(preface) != PREFACE_LENGTH:
        raise Malformed(f"a preface of {len(preface)} bytes")
    if preface[:1] != FORMAT:
        raise Malformed(f"a preface of format {preface[0]}, which this version does not know")
    nonce, tag = preface[len(FORMAT) : -TAG_LENGTH], preface[-TAG_LENGTH:]
    return hmac.compare_digest(tag, _tag(exchange_public, b"preface", nonce))


def hour_of(now_ns: int) -> int:
    """The hour since 1970 UTC that a wall clock says; 0 for one before that."""
    return max(0, now_ns // HOUR_NS)


def beacon_tag(exchange_public: bytes, name: str, hour: int) -> bytes:
    """The 16 bytes in an advertisement with this instance name (ASCII, else `Malformed`) in this hour."""
    try:
        instance = name.encode("ascii")
    except UnicodeEncodeError:
        raise Malformed("an instance name that isn't ASCII") from None
    return _tag(exchange_public, b"beacon", hour.to_bytes(8, "big"), instance)


def beacon_is_of(tag: bytes, name: str, exchange_public: bytes, now_ns: int) -> bool:
    """Whether the device with this exchange key made the tag within the hour, the one before or the one after: clocks
    differ, and an advertisement is made anew a little late. False for what can't be a tag or a name."""
    if not name.isascii():
        return False
    hour = hour_of(now_ns)
    made = (beacon_tag(exchange_public, name, at) for at in range(max(0, hour - 1), hour + 2))
    return any(hmac.compare_digest(tag, expected) for expected in made)


@dataclass(frozen=True, slots=True)
class Keys:
    """A connection's two 32-byte keys, one a direction; the other side has them the other way round."""

    send: bytes = field(repr=False)
    receive: bytes = field(repr=False)


class Dialler:
    """The handshake of who dialled: `first`, then `finish`, each once. After an error it is of no use."""

    def __init__(self, static: ExchangeKey, remote_static: bytes, preface: bytes, random_bytes: RandomBytes) -> None:
        """`static` is this device's exchange key, `remote_static` the one whose preface this is."""
        self._noise = Initiator(_PROLOGUE + preface, static, remote_static, random_bytes)

    def first(self) -> bytes:
        """Message 1, 96 bytes. `Malformed` when `remote_static` is no key, or one of small order."""
        return self._noise.write()

    def finish(self, message2: bytes) -> Keys:
        """The keys; `Malformed` or `CannotOpen` unless the holder of `remote_static` has answered message 1."""
        _, established = self._noise.read(_exactly(message2, MESSAGE_2))
        return Keys(established.send, established.receive)


class Answerer:
    """The handshake of who listened: `take`, then `answer`, each once. After an error it is of no use."""

    def __init__(self, static: ExchangeKey, preface: bytes, random_bytes: RandomBytes) -> None:
        """`static` is this device's exchange key, `preface` what it said first on this connection."""
        self._noise = Responder(_PROLOGUE + preface, static, random_bytes)

    def take(self, message1: bytes) -> bytes:
        """The dialler's static public key, which isn't to be trusted before it is found to be a known device's.
        `Malformed` or `CannotOpen` for anything but a message 1 to this device on this connection."""
        self._noise.read(_exactly(message1, MESSAGE_1))
        return self._noise.remote_static

    def answer(self) -> tuple[bytes, Keys]:
        """Message 2, 48 bytes, and the keys. That the dialler is there, and not somebody who repeats its message 1,
        is known with the first frame that opens."""
        message, established = self._noise.write()
        return message, Keys(established.send, established.receive)


def _exactly(message: bytes, length: int) -> bytes:
    if len(message) != length:
        raise Malformed(f"a handshake message of {len(message)} bytes instead of {length}")
    return message
