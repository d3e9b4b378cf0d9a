"""Sessions: bearer tokens for devices, and the challenge that renews them.

A token is 32 random bytes; the database keeps its hash only. A challenge needs no memory here: it carries its own
expiry and a keyed hash over that and the device.

    nonce = expiry: u64 ms ‖ 16 random bytes ‖ BLAKE3-keyed(challenge key, device ‖ expiry ‖ random)
"""

import base64
import hmac
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from protocol.api import ChallengeReply, RenewRequest, Session
from protocol.errors import BadSignature, Code, Refused
from protocol.hashing import hash_for, keyed
from protocol.identifiers import DeviceId, UserId
from protocol.ports import Machine
from protocol.signing import verify
from tracker.clock import now_ms
from tracker.database import Database
from tracker.identity import Identity
from tracker.schema import devices, sessions, users

SESSION_MS = 24 * 3600 * 1000
CHALLENGE_MS = 60 * 1000
SEEN_MS = 60 * 1000
"""A device's last request is kept to this precision."""
_PURPOSE = "session"
_RANDOM = 16

_PRINCIPAL = (
    select(sessions.c.expires_ms, devices.c.id, devices.c.user, devices.c.signing_key, devices.c.retired)
    .add_columns(devices.c.seen_ms, users.c.suspended)
    .join_from(sessions, devices, sessions.c.device == devices.c.id)
    .join(users, devices.c.user == users.c.id)
    .where(sessions.c.token_hash == bindparam("token_hash"))
)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a device that is not retired, of a user who is not suspended."""

    user: UserId
    device: DeviceId
    signing_key: bytes
    seen_ms: int


def hash_token(token: str) -> bytes:
    """What the database knows of a token."""
    return hash_for("session token", token.encode("utf-8", "replace"))


def authenticate(connection: Connection, token_hash: bytes, now: int) -> Principal:
    """Whose token that is; `Refused` when nobody's, an expired one, a retired device's or a suspended user's."""
    row = connection.execute(_PRINCIPAL, {"token_hash": token_hash}).one_or_none()
    if row is None or row.retired or row.expires_ms <= now:
        raise Refused(Code.UNAUTHENTICATED, "this device has no valid session; log in again")
    refuse_suspended(row.suspended)
    return Principal(UserId(row.user), DeviceId(row.id), row.signing_key, row.seen_ms)


def refuse_suspended(suspended: bool) -> None:
    """`Refused` for a suspended account."""
    if suspended:
        raise Refused(Code.SUSPENDED, "this account is suspended")


def open_session(connection: Connection, device: DeviceId, token: str, now: int) -> Session:
    """Record a fresh token for a device, and forget its expired ones."""
    connection.execute(delete(sessions).where(sessions.c.device == device, sessions.c.expires_ms <= now))
    expires = now + SESSION_MS
    row = {"token_hash": hash_token(token), "device": device, "expires_ms": expires}
    connection.execute(insert(sessions), [row])
    return Session(token=token, expires_ms=expires, now_ms=now)


def retire_device(connection: Connection, device: DeviceId) -> None:
    """Take a device's sessions away for good; its certificate stays, so that its commits can be verified."""
    connection.execute(delete(sessions).where(sessions.c.device == device))
    connection.execute(update(devices).where(devices.c.id == device).values(retired=True))


def _touch(connection: Connection, device: DeviceId, now: int) -> None:
    connection.execute(update(devices).where(devices.c.id == device).values(seen_ms=now))


def _device_key(connection: Connection, device: DeviceId) -> bytes | None:
    """The signing key of a device that may have a session; None for any other id."""
    row = connection.execute(
        select(devices.c.signing_key, users.c.suspended)
        .join_from(devices, users, devices.c.user == users.c.id)
        .where(devices.c.id == device, devices.c.retired.is_(False))
    ).one_or_none()
    if row is None:
        return None
    refuse_suspended(row.suspended)
    return bytes(row.signing_key)


class Sessions:
    """Opens, renews and ends sessions."""

    def __init__(self, machine: Machine, database: Database, identity: Identity) -> None:
        self._machine = machine
        self._database = database
        self._challenge_key = identity.key_for("session challenge")

    def new_token(self) -> str:
        """43 characters nobody can guess."""
        return base64.urlsafe_b64encode(self._machine.random_bytes(32)).decode().rstrip("=")

    async def authenticate(self, token: str) -> Principal:
        """Whose token that is, noting to the minute that the device was here."""
        now = now_ms(self._machine)
        principal = await self._database.look(authenticate, hash_token(token), now)
        await self.note_presence(principal, now)
        return principal

    async def note_presence(self, principal: Principal, now: int) -> None:
        """Note to the minute that a device was here."""
        if not 0 <= now - principal.seen_ms < SEEN_MS:
            await self._database.transact(_touch, principal.device, now)

    def challenge(self, device: DeviceId) -> ChallengeReply:
        """A nonce to sign; unknown devices get one too."""
        head = (now_ms(self._machine) + CHALLENGE_MS).to_bytes(8, "big") + self._machine.random_bytes(_RANDOM)
        return ChallengeReply(nonce=head + keyed(self._challenge_key, device, head))

    async def renew(self, request: RenewRequest) -> Session:
        """A fresh token for a device that signed a challenge of ours."""
        self._check_nonce(request.device, request.nonce)
        key = await self._database.read(_device_key, request.device)
        if key is None:
            raise Refused(Code.UNAUTHENTICATED, "this device is not known here; log in again")
        try:
            verify(key, _PURPOSE, request.nonce, request.signature)
        except BadSignature as error:
            raise Refused(Code.BAD_SIGNATURE, str(error)) from None
        return await self._database.transact(open_session, request.device, self.new_token(), now_ms(self._machine))

    def _check_nonce(self, device: DeviceId, nonce: bytes) -> None:
        head, mac = nonce[: 8 + _RANDOM], nonce[8 + _RANDOM :]
        expected = keyed(self._challenge_key, device, head)
        if not hmac.compare_digest(mac, expected) or int.from_bytes(head[:8], "big") < now_ms(self._machine):
            raise Refused(Code.UNAUTHENTICATED, "the challenge is too old or not this tracker's; ask for another")

    async def end(self, device: DeviceId) -> None:
        """Log a device out for good."""
        await self._database.transact(retire_device, device)
