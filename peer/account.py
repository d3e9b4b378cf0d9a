"""An account from the device's side: sign up, log in on another device, open what the tracker keeps, log out.

    password ──Argon2id──┬─ auth secret      proves the password to the tracker
                         └─ wrapping key ─┐
    recovery key ── wrapping key ─────────┴─ opens the identity key (Ed25519), which certifies devices and sealing keys
    identity key ── opens the user's sealing keys (X25519) ── open the grants ── hold the workspaces' keys

The tracker's answers are claims. What this file returns has been verified against the identity key; everything else
raises `BadSignature`, `CannotOpen` or `Malformed`. The identity key's private part lives as long as the function that
opens it (Python can't promise more); no device stores it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import trio

from peer.home import MAX_DEVICE_NAME, Credentials, TrackerAddress
from peer.tracker_client import DeviceClient, TrackerClient
from protocol import aead
from protocol.api import (
    LOGIN,
    LOGOUT,
    OWNER,
    REGISTER,
    SALT,
    SIGNUP,
    Empty,
    Endpoint,
    LoginReply,
    LoginRequest,
    Member,
    NewDevice,
    RegisterRequest,
    SaltRequest,
    Session,
    SignupRequest,
    WorkspaceInfo,
    WorkspacesReply,
    WrappedSealingKey,
)
from protocol.breaker import Limits
from protocol.certificates import (
    DeviceStatement,
    SealingKeyStatement,
    certify_device,
    certify_sealing_key,
    open_device_certificate,
    open_sealing_key_certificate,
)
from protocol.errors import BadSignature, CannotOpen, Code, Malformed, Refused, Unreachable, Usage
from protocol.grants import make_grant, open_grant, verify_grant
from protocol.hashing import derive_key
from protocol.identifiers import DeviceId, UserId, WorkspaceId, new_id
from protocol.keys import WorkspaceKeys, new_workspace_keys
from protocol.login import (
    RECOVERY_LENGTH,
    KdfParameters,
    LoginSecrets,
    Wrapping,
    format_recovery_key,
    normalise_email,
    secrets_from_password,
    secrets_from_recovery_key,
    unwrap,
    wrap,
)
from protocol.ports import Machine, RandomBytes
from protocol.signing import KEY_LENGTH, ExchangeKey, SigningKey

Q = TypeVar("Q")

IDENTITY_BY_PASSWORD, IDENTITY_BY_RECOVERY, SEALING_KEY = "identity by password", "identity by recovery", "sealing key"
"""Purposes of wrapped keys."""
UNHASHED = KdfParameters(passes=0, memory=0)
"""The cost that a wrapping is tied to where no password is involved."""
_FIRST = 1
_RETRIES = 2
_NAME_ROOM = 64
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class CertifiedDevice:
    """A device that signed or may sign in a workspace. Who is `retired` signs nothing new; a viewer never does."""

    user: UserId
    signing_key: bytes  # Ed25519 public
    exchange_key: bytes  # X25519 public
    role: int  # the user's: protocol.api.OWNER, EDITOR, VIEWER
    retired: bool


DeviceDirectory = Mapping[DeviceId, CertifiedDevice]


@dataclass(frozen=True, slots=True)
class OpenWorkspace:
    """A workspace with its keys in hand and the devices whose signatures count in it."""

    workspace: WorkspaceId
    role: int
    home: bool
    keys: WorkspaceKeys
    devices: DeviceDirectory
    limits: Limits


# Sign up -------------------------------------------------------------------------------------------------------------


async def sign_up(
    client: TrackerClient, machine: Machine, email: str, password: str, device_name: str, tracker: TrackerAddress
) -> tuple[Credentials, str]:
    """Make an account with this as its first device, and a home workspace. The second value is the recovery key, to be
    shown once and never stored.

    `Usage` for an address or name that can't be, `Refused` with `ADDRESS_TAKEN`, and what `TrackerClient.call` raises.
    """
    email, device_name = normalise_email(email), checked_device_name(device_name)
    salt = await client.call(SALT, SaltRequest(email=email))
    by_password = await _hash_password(machine, password, email, salt.salt_part, salt.cost)
    recovery = machine.random_bytes(RECOVERY_LENGTH)
    by_recovery = secrets_from_recovery_key(recovery)
    identity = SigningKey(machine.random_bytes(KEY_LENGTH))
    user = UserId(new_id(machine.random_bytes))
    sealing_key = ExchangeKey(machine.random_bytes(KEY_LENGTH))
    credentials, device = _new_device(
        machine, identity, tracker, email, user, device_name, sealing_keys=((_FIRST, sealing_key.private),)
    )
    keys = new_workspace_keys(WorkspaceId(new_id(machine.random_bytes)), machine.random_bytes)
    await _insist(
        client,
        SIGNUP,
        SignupRequest(
            email=email,
            auth=by_password.auth,
            cost=salt.cost,
            user=user,
            identity_key=identity.public,
            identity_by_password=_wrap_identity(identity, by_password, user, salt.cost, machine.random_bytes),
            identity_by_recovery=wrap(by_recovery.wrapping, _recovery_tie(user), identity.seed, machine.random_bytes),
            recovery_auth=by_recovery.auth,
            sealing_key=_wrap_sealing_key(identity, user, _FIRST, sealing_key, machine.random_bytes),
            device=device,
            home=make_grant(
                keys,
                recipient=user,
                key_number=_FIRST,
                recipient_key=sealing_key.public,
                granter=credentials.device,
                signing_key=SigningKey(credentials.signing_seed),
                random_bytes=machine.random_bytes,
            ),
        ),
    )
    return credentials, format_recovery_key(recovery)


async def _insist(client: TrackerClient, endpoint: Endpoint[Q, Session], request: Q) -> None:
    """Ask again when the answer was lost on its way: the tracker answers the same request alike, and to give up might
    leave an account behind whose recovery key nobody has seen."""
    delays = client.backoff()
    for _ in range(_RETRIES):
        try:
            await client.call(endpoint, request)
        except Unreachable:
            await trio.sleep(delays.next_delay())
        else:
            return
    await client.call(endpoint, request)


async def _hash_password(
    machine: Machine, password: str, email: str, salt_part: bytes, cost: KdfParameters
) -> LoginSecrets:
    if not password:
        raise Usage("the password is empty")
    return await machine.offload(
        partial(secrets_from_password, password, email, salt_part, cost), trio.CapacityLimiter(1)
    )


def _new_device(
    machine: Machine,
    identity: SigningKey,
    tracker: TrackerAddress,
    email: str,
    user: UserId,
    name: str,
    sealing_keys: tuple[tuple[int, bytes], ...],
) -> tuple[Credentials, NewDevice]:
    """Fresh device keys, and what makes them known to the tracker."""
    credentials = Credentials(
        tracker=tracker,
        email=email,
        user=user,
        device=DeviceId(new_id(machine.random_bytes)),
        device_name=name,
        signing_seed=machine.random_bytes(KEY_LENGTH),
        exchange_private=machine.random_bytes(KEY_LENGTH),
        identity_key=identity.public,
        sealing_keys=sealing_keys,
    )
    statement = DeviceStatement(
        user=user,
        device=credentials.device,
        signing_key=SigningKey(credentials.signing_seed).public,
        exchange_key=ExchangeKey(credentials.exchange_private).public,
        issued_ms=max(0, machine.now()) // _NS_PER_MS,
    )
    sealed_name = seal_device_name(credentials, credentials.device, name)
    return credentials, NewDevice(certificate=certify_device(identity, statement), name=sealed_name)


def _wrap_identity(
    identity: SigningKey, secrets: LoginSecrets, user: UserId, cost: KdfParameters, random_bytes: RandomBytes
) -> bytes:
    return wrap(secrets.wrapping, Wrapping(user, IDENTITY_BY_PASSWORD, _FIRST, cost), identity.seed, random_bytes)


def _recovery_tie(user: UserId) -> Wrapping:
    return Wrapping(user, IDENTITY_BY_RECOVERY, _FIRST, UNHASHED)


def _wrap_sealing_key(
    identity: SigningKey, user: UserId, number: int, key: ExchangeKey, random_bytes: RandomBytes
) -> WrappedSealingKey:
    statement = SealingKeyStatement(user=user, number=number, public=key.public)
    tie = Wrapping(user, SEALING_KEY, number, UNHASHED)
    wrapped = wrap(_sealing_key_wrapping(identity), tie, key.private, random_bytes)
    return WrappedSealingKey(certificate=certify_sealing_key(identity, statement), wrapped=wrapped)


def _sealing_key_wrapping(identity: SigningKey) -> bytes:
    return derive_key("sealing key wrapping", identity.seed)


# Log in --------------------------------------------------------------------------------------------------------------


async def log_in(
    client: TrackerClient, machine: Machine, email: str, password: str, device_name: str, tracker: TrackerAddress
) -> Credentials:
    """Become a new device of an account, with nothing but its address and password.

    `Refused` with `WRONG_PASSWORD` also for an address that nobody has; `CannotOpen` or `BadSignature` when the keys
    that the tracker hands out are not the ones this account was made with.
    """
    email, device_name = normalise_email(email), checked_device_name(device_name)
    salt = await client.call(SALT, SaltRequest(email=email))
    secrets = await _hash_password(machine, password, email, salt.salt_part, salt.cost)
    reply = await client.call(LOGIN, LoginRequest(email=email, auth=secrets.auth))
    if reply.cost != salt.cost:
        raise Malformed("the tracker names two different costs of one password")
    tie = Wrapping(reply.user, IDENTITY_BY_PASSWORD, reply.generation, reply.cost)
    identity = open_identity(secrets, tie, reply.identity_by_password, reply.identity_key)
    credentials, device = _new_device(
        machine, identity, tracker, email, reply.user, device_name, sealing_keys=_open_sealing_keys(identity, reply)
    )
    await _insist(client, REGISTER, RegisterRequest(email=email, auth=secrets.auth, device=device))
    return credentials


def open_identity(secrets: LoginSecrets, tie: Wrapping, wrapped: bytes, announced: bytes) -> SigningKey:
    """The identity key, if it is the one whose public part is `announced`."""
    try:
        identity = SigningKey(unwrap(secrets.wrapping, tie, wrapped))
    except CannotOpen:
        raise CannotOpen(
            "the account's identity key does not open: the tracker's copy is not the one you made"
        ) from None
    if len(identity.seed) != KEY_LENGTH or identity.public != announced:
        raise BadSignature("the tracker announces another identity key than the account's own")
    return identity


def open_identity_by_recovery(user: UserId, recovery: bytes, wrapped: bytes, announced: bytes) -> SigningKey:
    """The identity key, by the recovery key (`protocol.login.parse_recovery_key`)."""
    return open_identity(secrets_from_recovery_key(recovery), _recovery_tie(user), wrapped, announced)


def _open_sealing_keys(identity: SigningKey, reply: LoginReply) -> tuple[tuple[int, bytes], ...]:
    """All numbered sealing keys, 1 and up without a gap, each what its certificate says."""
    opened = sorted(_open_sealing_key(identity, reply.user, key) for key in reply.sealing_keys)
    if not opened or [number for number, _ in opened] != list(range(_FIRST, _FIRST + len(opened))):
        raise Malformed("the tracker left out some of the account's sealing keys")
    return tuple(opened)


def _open_sealing_key(identity: SigningKey, user: UserId, key: WrappedSealingKey) -> tuple[int, bytes]:
    statement = open_sealing_key_certificate(identity.public, user, key.certificate)
    tie = Wrapping(user, SEALING_KEY, statement.number, UNHASHED)
    private = unwrap(_sealing_key_wrapping(identity), tie, key.wrapped)
    if len(private) != KEY_LENGTH or ExchangeKey(private).public != statement.public:
        raise BadSignature("a sealing key is not the one its certificate names")
    return statement.number, private


async def log_out(client: TrackerClient, credentials: Credentials) -> None:
    """Retire this device at the tracker; a device that it no longer knows is logged out already."""
    try:
        await DeviceClient(client, credentials).call(LOGOUT, Empty())
    except Refused as refusal:
        if refusal.code is not Code.UNAUTHENTICATED:
            raise


# Workspaces ----------------------------------------------------------------------------------------------------------


def open_workspaces(credentials: Credentials, reply: WorkspacesReply) -> list[OpenWorkspace]:
    """The keys and devices of all the user's workspaces, each claim of the tracker's verified."""
    if len({info.workspace for info in reply.workspaces}) != len(reply.workspaces):
        raise Malformed("the tracker names a workspace twice")
    return [_open_workspace(credentials, info) for info in reply.workspaces]


def _open_workspace(credentials: Credentials, info: WorkspaceInfo) -> OpenWorkspace:
    grant = info.grant
    if (grant.workspace, grant.recipient, grant.epoch) != (info.workspace, credentials.user, info.epoch):
        raise BadSignature("a grant is for another workspace, user or key epoch than the tracker says")
    devices = _directory(credentials, info)
    granter = devices.get(grant.granter)
    if granter is None:
        raise BadSignature("a grant is signed by a device that is no member's")
    # Retired devices count: what they granted before stays granted.
    if granter.role != OWNER or (info.home and granter.user != credentials.user):
        raise BadSignature("a grant is signed by somebody who may not grant")
    verify_grant(grant, granter.signing_key)
    keys = open_grant(grant, credentials.sealing_key(grant.key_number))
    return OpenWorkspace(info.workspace, info.role, info.home, keys, devices, info.limits)


def _directory(credentials: Credentials, info: WorkspaceInfo) -> dict[DeviceId, CertifiedDevice]:
    """Every member's certified devices. The user's own must be certified by the identity key pinned at login."""
    roles = {member.user: member.role for member in info.members}
    if len(roles) != len(info.members):
        raise Malformed("the tracker names a member twice")
    if roles.get(credentials.user) != info.role:
        raise Malformed("the tracker names a workspace in which you have another role, or none")
    if info.home and len(roles) > 1:
        raise BadSignature("the tracker names somebody else as a member of your home")
    devices: dict[DeviceId, CertifiedDevice] = {}
    for member in info.members:
        if member.user == credentials.user and member.identity_key != credentials.identity_key:
            raise BadSignature("the tracker announces another identity key for you than the one this device knows")
        for device, certified in _devices_of(member):
            if device in devices:
                raise Malformed("the tracker names a device twice")
            devices[device] = certified
    own = devices.get(credentials.device)
    if own is not None and own.signing_key != SigningKey(credentials.signing_seed).public:
        raise BadSignature("the tracker announces another key for this device than its own")
    return devices


def _devices_of(member: Member) -> list[tuple[DeviceId, CertifiedDevice]]:
    found = []
    for device in member.devices:
        statement = open_device_certificate(member.identity_key, member.user, device.certificate)
        certified = CertifiedDevice(
            member.user, statement.signing_key, statement.exchange_key, member.role, device.retired
        )
        found.append((statement.device, certified))
    return found


# Device names --------------------------------------------------------------------------------------------------------


def checked_device_name(name: str) -> str:
    """A device's name, fit to stand in a file name; `Usage` for anything else."""
    trimmed = name.strip()
    if not trimmed.isprintable() or "/" in trimmed or not 1 <= len(trimmed.encode()) <= MAX_DEVICE_NAME:
        raise Usage(f"a device name has 1 to {MAX_DEVICE_NAME} bytes, no '/' and nothing unprintable")
    return trimmed


def _name_sealing(credentials: Credentials, device: DeviceId) -> tuple[bytes, bytes, bytes]:
    """Key, nonce and associated data. One nonce a device: a device that could be renamed would need another."""
    key = derive_key("device name", credentials.sealing_key(_FIRST).private)
    return key, device + bytes(aead.NONCE_LENGTH - len(device)), b"Shoal 1 device name" + credentials.user


def seal_device_name(credentials: Credentials, device: DeviceId, name: str) -> bytes:
    """A name that only the user's own devices can read, padded so that its length says nothing."""
    key, nonce, associated = _name_sealing(credentials, device)
    return aead.seal(key, nonce, name.encode().ljust(_NAME_ROOM, b"\0"), associated)


def open_device_name(credentials: Credentials, device: DeviceId, sealed: bytes) -> str:
    """The name of one of the user's devices; `CannotOpen` or `Malformed` when another made it."""
    key, nonce, associated = _name_sealing(credentials, device)
    try:
        return checked_device_name(aead.unseal(key, nonce, sealed, associated).rstrip(b"\0").decode())
    except (UnicodeDecodeError, Usage):
        raise Malformed("a device's name is no name") from None
