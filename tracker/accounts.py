"""Accounts: salts, sign-up, login, and making a device known.

The tracker checks everything that it can check without a key: that certificates are the identity key's, and that the
home workspace's grant is the new device's. A password is never seen, only the auth secret derived from it, of which a
hash is kept. A request that is repeated because its answer was lost is answered again.
"""

import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, insert, select
from sqlalchemy.engine import Row

from protocol.api import (
    OWNER,
    AccountReply,
    DeviceInfo,
    LoginReply,
    LoginRequest,
    NewDevice,
    RegisterRequest,
    SaltReply,
    Session,
    SignupRequest,
    WrappedSealingKey,
)
from protocol.certificates import Certificate, DeviceStatement, open_device_certificate, open_sealing_key_certificate
from protocol.codec import encode
from protocol.commits import first_chain_hash
from protocol.errors import BadSignature, Code, Malformed, Refused, Usage
from protocol.failpoints import failpoint
from protocol.grants import verify_grant
from protocol.hashing import hash_for, keyed
from protocol.identifiers import DeviceId, UserId
from protocol.login import FLOOR_MEMORY, FLOOR_PASSES, SALT_PART_LENGTH, KdfParameters, normalise_email
from protocol.ports import Machine
from tracker.attempts import forget, note_failure, pause
from tracker.clock import now_ms
from tracker.database import Database
from tracker.failpoints import SIGNUP_RECORDED
from tracker.identity import Identity
from tracker.plans import FREE, plan_called
from tracker.schema import devices, grants, members, sealing_keys, users, workspaces
from tracker.sessions import Sessions, open_session, refuse_suspended

MAX_DEVICES = 1000
"""What one answer can list, retired devices included."""


def hash_auth(auth: bytes) -> bytes:
    """What is kept of an auth secret, which has the entropy of Argon2id's output, so no slow hash is needed here."""
    return hash_for("auth secret", auth)


def _normalise(email: str) -> str:
    try:
        return normalise_email(email)
    except Usage as error:
        raise Refused(Code.MALFORMED, str(error)) from None


@dataclass(frozen=True, slots=True)
class _Signup:
    """A sign-up whose certificates and signatures have been verified."""

    email: str
    request: SignupRequest
    device: DeviceStatement


def _check_signup(request: SignupRequest) -> _Signup:
    """Everything about a sign-up that needs no database; `Refused` or `BadSignature`."""
    if request.cost.passes < FLOOR_PASSES or request.cost.memory < FLOOR_MEMORY:
        raise Refused(Code.MALFORMED, "the password hashing is weaker than allowed")
    device = open_device_certificate(request.identity_key, request.user, request.device.certificate)
    sealing = open_sealing_key_certificate(request.identity_key, request.user, request.sealing_key.certificate)
    verify_grant(request.home, device.signing_key)
    named = (request.home.recipient, request.home.granter, request.home.epoch, request.home.key_number, sealing.number)
    if named != (request.user, device.device, 1, 1, 1):
        raise Refused(Code.MALFORMED, "the home workspace's grant is not the first device's to its own user")
    return _Signup(_normalise(request.email), request, device)


def _sign_up(connection: Connection, signup: _Signup, token: str, now: int) -> Session:
    request = signup.request
    # The ids before the address: this very sign-up, sent twice at once, may get in between, and is no stranger's then.
    taken = any(_is_taken(connection, *id) for id in _ids_of(signup))
    known = connection.execute(select(users).where(users.c.email == signup.email)).one_or_none()
    if known is not None:
        _refuse_another(connection, known, signup)
        return open_session(connection, signup.device.device, token, now)
    if taken:
        raise Refused(Code.FORBIDDEN, "an id in this request belongs to somebody else")
    _insert_user(connection, signup, now)
    _insert_device(connection, request.user, signup.device, request.device, now)
    _insert_home(connection, request)
    return open_session(connection, signup.device.device, token, now)


def _ids_of(signup: _Signup) -> Iterator[tuple[Column[Any], bytes]]:
    yield users.c.id, signup.request.user
    yield devices.c.id, signup.device.device
    yield workspaces.c.id, signup.request.home.workspace


def _is_taken(connection: Connection, column: Column[Any], id: bytes) -> bool:
    """Whether a row has this id. If one gets it right after, the database refuses ours, and all is tried again."""
    return connection.execute(select(column).where(column == id)).first() is not None


def _insert_user(connection: Connection, signup: _Signup, now: int) -> None:
    request = signup.request
    user = {
        "id": request.user,
        "email": signup.email,
        "auth_hash": hash_auth(request.auth),
        "kdf_passes": request.cost.passes,
        "kdf_memory": request.cost.memory,
        "generation": 1,
        "identity_key": request.identity_key,
        "identity_by_password": request.identity_by_password,
        "identity_by_recovery": request.identity_by_recovery,
        "recovery_hash": hash_auth(request.recovery_auth),
        "plan": FREE.name,
        "suspended": False,
        "used_bytes": 0,
        "created_ms": now,
    }
    sealing_key = {
        "user": request.user,
        "number": 1,
        "body": request.sealing_key.certificate.body,
        "signature": request.sealing_key.certificate.signature,
        "wrapped": request.sealing_key.wrapped,
    }
    connection.execute(insert(users), [user])
    connection.execute(insert(sealing_keys), [sealing_key])


def _insert_device(
    connection: Connection, user: UserId, statement: DeviceStatement, device: NewDevice, now: int
) -> None:
    row = {
        "id": statement.device,
        "user": user,
        "body": device.certificate.body,
        "signature": device.certificate.signature,
        "signing_key": statement.signing_key,
        "name": device.name,
        "retired": False,
        "added_ms": now,
        "seen_ms": now,
    }
    connection.execute(insert(devices), [row])


def _insert_home(connection: Connection, request: SignupRequest) -> None:
    workspace = request.home.workspace
    row = {
        "id": workspace,
        "owner": request.user,
        "home": True,
        "epoch": 1,
        "revision": 0,
        "hash": first_chain_hash(workspace),
    }
    connection.execute(insert(workspaces), [row])
    connection.execute(insert(members), [{"workspace": workspace, "user": request.user, "role": OWNER}])
    grant = {"workspace": workspace, "user": request.user, "epoch": 1, "body": encode(request.home)}
    connection.execute(insert(grants), [grant])


def _refuse_another(connection: Connection, known: Row[*tuple[object, ...]], signup: _Signup) -> None:
    """`Refused` unless this sign-up is the one that made the `known` account, sent again."""
    same = known.id == signup.request.user and hmac.compare_digest(known.auth_hash, hash_auth(signup.request.auth))
    if not same or not _is_known(connection, signup.device.device, signup.request.device):
        raise Refused(Code.ADDRESS_TAKEN, "there is an account with this address already")
    refuse_suspended(bool(known.suspended))


def _is_known(connection: Connection, id: DeviceId, device: NewDevice) -> bool:
    """Whether exactly this device is known; `Refused` when it is and was retired."""
    row = connection.execute(
        select(devices.c.retired).where(devices.c.id == id, devices.c.signature == device.certificate.signature)
    ).one_or_none()
    if row is not None and row.retired:
        raise Refused(Code.UNAUTHENTICATED, "this device was logged out; make a new one")
    return row is not None


def _prove(connection: Connection, email: str, auth: bytes) -> Row[*tuple[object, ...]]:
    """The user who proved the password. An unknown address costs and answers the same as a wrong password."""
    user = connection.execute(select(users).where(users.c.email == email)).one_or_none()
    expected = bytes(32) if user is None else user.auth_hash
    if not hmac.compare_digest(expected, hash_auth(auth)) or user is None:
        raise Refused(Code.WRONG_PASSWORD, "wrong address or password")
    refuse_suspended(user.suspended)
    return user


def _log_in(connection: Connection, email: str, auth: bytes) -> LoginReply:
    user = _prove(connection, email, auth)
    rows = connection.execute(
        select(sealing_keys).where(sealing_keys.c.user == user.id).order_by(sealing_keys.c.number)
    )
    return LoginReply(
        user=user.id,
        identity_key=user.identity_key,
        identity_by_password=user.identity_by_password,
        generation=user.generation,
        cost=KdfParameters(passes=user.kdf_passes, memory=user.kdf_memory),
        sealing_keys=tuple(
            WrappedSealingKey(certificate=Certificate(body=row.body, signature=row.signature), wrapped=row.wrapped)
            for row in rows
        ),
    )


def _register(connection: Connection, email: str, request: RegisterRequest, token: str, now: int) -> Session:
    user = _prove(connection, email, request.auth)
    connection.execute(select(users.c.id).where(users.c.id == user.id).with_for_update())  # its devices are counted
    try:
        statement = open_device_certificate(user.identity_key, user.id, request.device.certificate)
    except BadSignature as error:
        raise Refused(Code.BAD_SIGNATURE, str(error)) from None
    if not _is_known(connection, statement.device, request.device):
        _refuse_too_many(connection, user.id)
        if _is_taken(connection, devices.c.id, statement.device):
            raise Refused(Code.FORBIDDEN, "this device id is taken; make a new one")
        _insert_device(connection, user.id, statement, request.device, now)
    return open_session(connection, statement.device, token, now)


def _refuse_too_many(connection: Connection, user: UserId) -> None:
    known = connection.execute(select(devices.c.id).where(devices.c.user == user).limit(MAX_DEVICES)).all()
    if len(known) == MAX_DEVICES:
        raise Refused(Code.FORBIDDEN, f"an account can't have more than {MAX_DEVICES} devices")


def account_of(connection: Connection, user: UserId) -> AccountReply:
    """The account as its own devices may see it."""
    row = connection.execute(select(users).where(users.c.id == user)).one()
    own = connection.execute(
        select(devices)
        .where(devices.c.user == user, devices.c.retired.is_(False))
        .order_by(devices.c.added_ms, devices.c.id)
    )
    return AccountReply(
        email=row.email,
        plan=row.plan,
        quota_bytes=plan_called(row.plan).quota,
        used_bytes=row.used_bytes,
        devices=tuple(
            DeviceInfo(device=DeviceId(each.id), name=each.name, added_ms=each.added_ms, seen_ms=each.seen_ms)
            for each in own
        ),
    )


def _cost_of(connection: Connection, email: str) -> KdfParameters:
    row = connection.execute(select(users.c.kdf_passes, users.c.kdf_memory).where(users.c.email == email)).one_or_none()
    return KdfParameters() if row is None else KdfParameters(passes=row.kdf_passes, memory=row.kdf_memory)


class Accounts:
    """Requests of those who have no token yet."""

    def __init__(self, machine: Machine, database: Database, identity: Identity, sessions: Sessions) -> None:
        self._machine = machine
        self._database = database
        self._sessions = sessions
        self._salt_key = identity.key_for("login salt part")
        self._attempts_key = identity.key_for("failed logins")

    async def salt(self, email: str) -> SaltReply:
        """An address's part of the salt: a keyed hash, so the known and the unknown can't be told apart."""
        normal = _normalise(email)
        cost = await self._database.read(_cost_of, normal)
        return SaltReply(salt_part=keyed(self._salt_key, normal.encode())[:SALT_PART_LENGTH], cost=cost)

    async def sign_up(self, request: SignupRequest) -> Session:
        """A new user, device and home workspace."""
        try:
            signup = _check_signup(request)
        except BadSignature as error:
            raise Refused(Code.BAD_SIGNATURE, str(error)) from None
        except Malformed as error:
            raise Refused(Code.MALFORMED, str(error)) from None
        session = await self._database.transact(_sign_up, signup, self._sessions.new_token(), now_ms(self._machine))
        failpoint(SIGNUP_RECORDED)
        return session

    async def log_in(self, request: LoginRequest) -> LoginReply:
        """The account's sealed keys, for who knows the password."""
        email = _normalise(request.email)
        async with self._guarded(email):
            reply = await self._database.read(_log_in, email, request.auth)
        await self._database.transact(forget, self._key(email))
        return reply

    async def register(self, request: RegisterRequest) -> Session:
        """A further device of an account, with its first token."""
        email, token = _normalise(request.email), self._sessions.new_token()
        async with self._guarded(email):
            return await self._database.transact(_register, email, request, token, now_ms(self._machine))

    @asynccontextmanager
    async def _guarded(self, email: str) -> AsyncIterator[None]:
        """Refuse who has failed too often; count a wrong password."""
        key = self._key(email)
        left = await self._database.read(pause, key, now_ms(self._machine))
        if left > 0:
            raise Refused(Code.UNAVAILABLE, f"too many failed logins; try again in {left / 1000:.0f} s")
        try:
            yield
        except Refused as error:
            if error.code is Code.WRONG_PASSWORD:
                await self._database.transact(note_failure, key, now_ms(self._machine))
            raise

    def _key(self, email: str) -> bytes:
        """Failures are counted under a keyed hash: what people type into a login is not kept in clear."""
        return keyed(self._attempts_key, email.encode())
