"""Accounts from the device's side, against the real tracker app in this process: what works with e-mail and
password only, and what a tracker that lies can't do."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import trio.testing

from peer.account import (
    OpenWorkspace,
    checked_device_name,
    log_in,
    log_out,
    open_device_name,
    open_identity_by_recovery,
    open_workspaces,
    seal_device_name,
    sign_up,
)
from peer.home import Credentials, TrackerAddress
from peer.ports import Notifications, Response
from peer.tracker_client import DeviceClient, TrackerClient
from protocol.api import (
    ACCOUNT,
    EDITOR,
    ENDPOINTS,
    LOGIN,
    OWNER,
    REGISTER,
    SALT,
    SIGNUP,
    WORKSPACES,
    Empty,
    LoginReply,
    Member,
    MemberDevice,
    SaltReply,
    SignupRequest,
    WorkspaceInfo,
    WorkspacesReply,
)
from protocol.certificates import (
    Certificate,
    DeviceStatement,
    SealingKeyStatement,
    certify_device,
    certify_sealing_key,
)
from protocol.codec import decode, encode
from protocol.errors import BadSignature, CannotOpen, Code, Malformed, Refused, ShoalError, Unreachable, Usage
from protocol.grants import make_grant
from protocol.identifiers import DeviceId, UserId, WorkspaceId
from protocol.keys import new_workspace_keys
from protocol.login import FLOOR_MEMORY, KdfParameters, parse_recovery_key
from protocol.ports import Machine
from protocol.signing import ExchangeKey, SigningKey
from tests.support.tracker import Client, client_in, memory_tracker, seeded, seeded_machine

HERE = TrackerAddress(url="https://tracker.example")
RANDOM = seeded(3)
EMAIL, PASSWORD = "Ann@Example.org", "correct horse"


@dataclass
class LyingTracker:
    """A `TrackerTransport` to the real app in this process. `lies` alters answers, `seen` keeps requests."""

    client: Client
    machine: Machine
    lies: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    seen: dict[str, list[Any]] = field(default_factory=dict)
    lost_answers: int = 0

    async def request(
        self, path: str, body: bytes, *, token: str | None, patience: float, response_limit: int
    ) -> Response:
        endpoint = next(each for each in ENDPOINTS if each.path == path)
        self.seen.setdefault(path, []).append(decode(endpoint.request, body, endpoint.request_limit))
        self.client.token = token
        response = await self.client.post(path, body)
        if path in (SIGNUP.path, REGISTER.path) and self.lost_answers:
            self.lost_answers -= 1
            raise Unreachable("cut off")
        content = response.content
        if path in self.lies and response.status_code == 200:
            content = encode(self.lies[path](decode(endpoint.reply, content, endpoint.reply_limit)))
        return Response(response.status_code, content)

    def notifications(self, path: str, *, token: str) -> AbstractAsyncContextManager[Notifications]:
        raise NotImplementedError


@pytest.fixture
async def tracker() -> AsyncIterator[LyingTracker]:
    async with memory_tracker(seeded_machine(1)) as app, client_in(app) as client:
        yield LyingTracker(client, seeded_machine(2))


def client_of(tracker: LyingTracker) -> TrackerClient:
    return TrackerClient(tracker, tracker.machine)


async def signed_up(tracker: LyingTracker) -> tuple[Credentials, str]:
    return await sign_up(client_of(tracker), tracker.machine, EMAIL, PASSWORD, "laptop", HERE)


async def logged_in(tracker: LyingTracker, email: str = EMAIL, password: str = PASSWORD) -> Credentials:
    return await log_in(client_of(tracker), tracker.machine, email, password, "desktop", HERE)


async def workspaces(tracker: LyingTracker, credentials: Credentials) -> list[OpenWorkspace]:
    device = DeviceClient(client_of(tracker), credentials)
    return open_workspaces(credentials, await device.call(WORKSPACES, Empty()))


# The whole way


async def test_a_second_device_needs_address_and_password_only(tracker: LyingTracker) -> None:
    first, _ = await signed_up(tracker)
    second = await logged_in(tracker, email=" ann@EXAMPLE.ORG")
    assert (first.email, first.device_name, first.tracker) == ("ann@example.org", "laptop", HERE)
    assert (second.user, second.identity_key, second.sealing_keys) == (
        first.user,
        first.identity_key,
        first.sealing_keys,
    )
    assert second.device != first.device
    assert second.signing_seed != first.signing_seed

    (home,), (same,) = await workspaces(tracker, first), await workspaces(tracker, second)
    assert home == same
    assert (home.home, home.role, home.keys.newest.epoch) == (True, OWNER, 1)
    assert set(home.devices) == {first.device, second.device}
    for credentials in (first, second):
        known = home.devices[credentials.device]
        assert (known.user, known.role, known.retired) == (first.user, OWNER, False)
        assert known.signing_key == SigningKey(credentials.signing_seed).public
        assert known.exchange_key == ExchangeKey(credentials.exchange_private).public


async def test_devices_read_each_others_names_and_the_tracker_does_not(tracker: LyingTracker) -> None:
    first, _ = await signed_up(tracker)
    second = await logged_in(tracker)
    account = await DeviceClient(client_of(tracker), first).call(ACCOUNT, Empty())
    names = {each.device: open_device_name(first, each.device, each.name) for each in account.devices}
    assert names == {first.device: "laptop", second.device: "desktop"}
    assert not any(b"laptop" in each.name or b"desktop" in each.name for each in account.devices)
    with pytest.raises(CannotOpen):
        open_device_name(first, second.device, account.devices[0].name)


async def test_the_recovery_key_opens_the_identity(tracker: LyingTracker) -> None:
    first, written = await signed_up(tracker)
    request: SignupRequest = tracker.seen[SIGNUP.path][0]
    recovery = parse_recovery_key(written.lower().replace("-", " "))
    identity = open_identity_by_recovery(first.user, recovery, request.identity_by_recovery, first.identity_key)
    assert identity.public == first.identity_key
    with pytest.raises(CannotOpen):
        open_identity_by_recovery(first.user, bytes(20), request.identity_by_recovery, first.identity_key)


async def test_no_secret_reaches_the_tracker_or_stays_on_the_device(tracker: LyingTracker) -> None:
    first, written = await signed_up(tracker)
    (home,) = await workspaces(tracker, first)
    request: SignupRequest = tracker.seen[SIGNUP.path][0]
    recovery = parse_recovery_key(written)
    seed = open_identity_by_recovery(first.user, recovery, request.identity_by_recovery, first.identity_key).seed
    sent = b"".join(encode(each) for requests in tracker.seen.values() for each in requests)
    for secret in (seed, recovery, PASSWORD.encode(), b"laptop", first.signing_seed, first.exchange_private):
        assert secret not in sent
    for secret in (first.sealing_keys[0][1], home.keys.constant, home.keys.newest.secret):
        assert secret not in sent
    assert seed not in encode(first)


async def test_logged_out_is_logged_out(tracker: LyingTracker) -> None:
    first, _ = await signed_up(tracker)
    second = await logged_in(tracker)
    await log_out(client_of(tracker), first)
    with pytest.raises(Refused) as caught:
        await workspaces(tracker, first)
    assert caught.value.code is Code.UNAUTHENTICATED
    await log_out(client_of(tracker), first)  # once more changes nothing

    (home,) = await workspaces(tracker, second)  # granted by a device that is retired now
    assert home.devices[first.device].retired
    assert not home.devices[second.device].retired
    third = await logged_in(tracker)
    assert (await workspaces(tracker, third))[0].keys == home.keys


async def test_an_answer_lost_on_its_way_makes_no_second_account(
    tracker: LyingTracker, autojump_clock: trio.testing.MockClock
) -> None:
    tracker.lost_answers = 2
    first, _ = await signed_up(tracker)
    tracker.lost_answers = 1
    second = await logged_in(tracker)
    (home,) = await workspaces(tracker, second)
    assert set(home.devices) == {first.device, second.device}
    tracker.lost_answers = 9
    with pytest.raises(Unreachable):
        await logged_in(tracker)


# Refused


async def test_a_wrong_password_and_an_unknown_address_look_the_same(tracker: LyingTracker) -> None:
    await signed_up(tracker)
    refusals = []
    for email, password in ((EMAIL, "wrong"), ("bob@example.org", PASSWORD)):
        with pytest.raises(Refused) as caught:
            await logged_in(tracker, email, password)
        refusals.append((caught.value.code, str(caught.value), caught.value.detail))
    assert refusals[0] == refusals[1]
    assert refusals[0][0] is Code.WRONG_PASSWORD
    salts = [await client_of(tracker).call(SALT, each) for each in tuple(tracker.seen[SALT.path])]
    assert len({each.cost for each in salts}) == 1
    assert salts[0] == salts[1] != salts[2]
    assert REGISTER.path not in tracker.seen


async def test_an_address_is_taken_once(tracker: LyingTracker) -> None:
    await signed_up(tracker)
    with pytest.raises(Refused) as caught:
        await signed_up(tracker)
    assert caught.value.code is Code.ADDRESS_TAKEN


@pytest.mark.parametrize("cost", [KdfParameters(passes=2), KdfParameters(memory=FLOOR_MEMORY - 1)])
@pytest.mark.parametrize("enter", [signed_up, logged_in])
async def test_weak_password_hashing_is_refused_before_anything_is_sent(
    tracker: LyingTracker, cost: KdfParameters, enter: Callable[[LyingTracker], Any]
) -> None:
    tracker.lies[SALT.path] = lambda reply: replace(reply, cost=cost)
    with pytest.raises(Malformed, match="weaker password hashing"):
        await enter(tracker)
    assert set(tracker.seen) == {SALT.path}


async def test_what_can_t_be_is_said_before_the_tracker_is_asked(tracker: LyingTracker) -> None:
    client = client_of(tracker)
    for email, password, name in ((EMAIL, "", "x"), ("nobody", "x", "x"), (EMAIL, "x", ""), (EMAIL, "x", "a/b")):
        with pytest.raises(Usage):
            await sign_up(client, client.machine, email, password, name, HERE)
    assert set(tracker.seen) <= {SALT.path}


MALLORY = SigningKey(b"m" * 32)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def other_sealing_key(reply: LoginReply) -> LoginReply:
    """The same wrapped key under a certificate that Mallory made."""
    statement = SealingKeyStatement(user=reply.user, number=1, public=bytes(range(32)))
    forged = replace(reply.sealing_keys[0], certificate=certify_sealing_key(MALLORY, statement))
    return replace(reply, sealing_keys=(forged,))


def altered_sealing_key(reply: LoginReply) -> LoginReply:
    key = reply.sealing_keys[0]
    return replace(reply, sealing_keys=(replace(key, wrapped=flipped(key.wrapped)),))


LOGIN_LIES: dict[str, Callable[[LoginReply], LoginReply]] = {
    "another identity": lambda reply: replace(reply, identity_key=MALLORY.public),
    "another wrapping": lambda reply: replace(reply, identity_by_password=flipped(reply.identity_by_password)),
    "a wrapping cut off": lambda reply: replace(reply, identity_by_password=b"short"),
    "another generation": lambda reply: replace(reply, generation=reply.generation + 1),
    "another user": lambda reply: replace(reply, user=UserId(b"m" * 16)),
    "another cost": lambda reply: replace(reply, cost=KdfParameters(passes=4)),
    "a sealing key Mallory certified": other_sealing_key,
    "a sealing key altered": altered_sealing_key,
    "no sealing key": lambda reply: replace(reply, sealing_keys=()),
    "a sealing key twice": lambda reply: replace(reply, sealing_keys=2 * reply.sealing_keys),
}


async def test_a_lie_at_login_is_refused_and_no_device_made(tracker: LyingTracker) -> None:
    await signed_up(tracker)
    for what, lie in LOGIN_LIES.items():
        tracker.lies[LOGIN.path] = lie
        try:
            await logged_in(tracker)
        except (BadSignature, CannotOpen, Malformed):
            continue
        pytest.fail(f"{what} was believed")
    assert REGISTER.path not in tracker.seen
    tracker.lies.clear()
    await logged_in(tracker)


async def test_another_salt_gives_away_nothing_that_opens(tracker: LyingTracker) -> None:
    await signed_up(tracker)

    def salt(reply: SaltReply) -> SaltReply:
        return replace(reply, salt_part=bytes(16))

    tracker.lies[SALT.path] = salt
    with pytest.raises(Refused) as caught:
        await logged_in(tracker)
    assert caught.value.code is Code.WRONG_PASSWORD


# Workspaces: pure, so without a tracker

ANN, BOB = UserId(b"a" * 16), UserId(b"b" * 16)
ANN_IDENTITY, BOB_IDENTITY = SigningKey(b"A" * 32), SigningKey(b"B" * 32)
ANN_KEY = ExchangeKey(b"k" * 32)
LAPTOP, PHONE = DeviceId(b"l" * 16), DeviceId(b"p" * 16)
LAPTOP_KEY, PHONE_KEY = SigningKey(b"L" * 32), SigningKey(b"P" * 32)
CREDENTIALS = Credentials(
    tracker=HERE,
    email="ann@example.org",
    user=ANN,
    device=LAPTOP,
    device_name="laptop",
    signing_seed=LAPTOP_KEY.seed,
    exchange_private=b"x" * 32,
    identity_key=ANN_IDENTITY.public,
    sealing_keys=((1, ANN_KEY.private),),
)
SHARED = new_workspace_keys(WorkspaceId(b"w" * 16), RANDOM)


def certificate(identity: SigningKey, user: UserId, device: DeviceId, key: SigningKey) -> Certificate:
    statement = DeviceStatement(
        user=user, device=device, signing_key=key.public, exchange_key=bytes(range(32)), issued_ms=0
    )
    return certify_device(identity, statement)


ANN_MEMBER = Member(
    user=ANN,
    role=EDITOR,
    identity_key=ANN_IDENTITY.public,
    devices=(MemberDevice(certificate=certificate(ANN_IDENTITY, ANN, LAPTOP, LAPTOP_KEY)),),
)
BOB_MEMBER = Member(
    user=BOB,
    role=OWNER,
    identity_key=BOB_IDENTITY.public,
    devices=(MemberDevice(certificate=certificate(BOB_IDENTITY, BOB, PHONE, PHONE_KEY), retired=True),),
)


def grant_by(device: DeviceId, key: SigningKey, **changes: Any) -> Any:
    details: dict[str, Any] = {"recipient": ANN, "key_number": 1, "recipient_key": ANN_KEY.public, **changes}
    return make_grant(SHARED, granter=device, signing_key=key, random_bytes=RANDOM, **details)


BY_BOB = grant_by(PHONE, PHONE_KEY)
INFO = WorkspaceInfo(
    workspace=SHARED.workspace, role=EDITOR, home=False, epoch=1, grant=BY_BOB, members=(ANN_MEMBER, BOB_MEMBER)
)


def opened(info: WorkspaceInfo) -> OpenWorkspace:
    (found,) = open_workspaces(CREDENTIALS, WorkspacesReply(workspaces=(info,)))
    return found


def test_a_workspace_that_another_member_granted() -> None:
    found = opened(INFO)
    assert (found.keys, found.role, found.home) == (SHARED, EDITOR, False)
    assert found.devices[PHONE].retired
    assert (found.devices[LAPTOP].user, found.devices[PHONE].user) == (ANN, BOB)
    assert (found.devices[LAPTOP].role, found.devices[PHONE].role) == (EDITOR, OWNER)


def with_members(*members: Member) -> WorkspaceInfo:
    return replace(INFO, members=members)


def with_device(member: Member, made: Certificate) -> Member:
    return replace(member, devices=(MemberDevice(certificate=made),))


def as_owner(member: Member) -> Member:
    return replace(member, role=OWNER)


OWN_HOME = replace(INFO, home=True, role=OWNER, grant=grant_by(LAPTOP, LAPTOP_KEY), members=(as_owner(ANN_MEMBER),))

LIES: dict[str, WorkspaceInfo] = {
    "altered keys": replace(INFO, grant=replace(BY_BOB, sealed=flipped(BY_BOB.sealed))),
    "another workspace's grant": replace(INFO, workspace=WorkspaceId(b"v" * 16)),
    "a grant moved to another workspace": replace(
        INFO, workspace=WorkspaceId(b"v" * 16), grant=replace(BY_BOB, workspace=WorkspaceId(b"v" * 16))
    ),
    "somebody else's grant": replace(INFO, grant=grant_by(PHONE, PHONE_KEY, recipient=BOB)),
    "a grant of another epoch": replace(INFO, epoch=2),
    "an epoch moved": replace(INFO, epoch=2, grant=replace(BY_BOB, epoch=2)),
    "another signer": replace(INFO, grant=grant_by(PHONE, LAPTOP_KEY)),
    "an unknown signer": replace(INFO, grant=grant_by(DeviceId(b"?" * 16), MALLORY)),
    "a signer who may not grant": replace(INFO, grant=grant_by(LAPTOP, LAPTOP_KEY)),
    "a home that another granted": replace(INFO, home=True),
    "a stranger in a home": replace(OWN_HOME, members=(as_owner(ANN_MEMBER), BOB_MEMBER)),
    "sealed to a key we don't have": replace(INFO, grant=grant_by(PHONE, PHONE_KEY, key_number=2)),
    "sealed to another's key": replace(
        INFO, grant=grant_by(PHONE, PHONE_KEY, recipient_key=ExchangeKey(b"o" * 32).public)
    ),
    "our identity replaced": with_members(replace(ANN_MEMBER, identity_key=MALLORY.public, devices=()), BOB_MEMBER),
    "our device Mallory certified": with_members(
        with_device(ANN_MEMBER, certificate(MALLORY, ANN, LAPTOP, MALLORY)), BOB_MEMBER
    ),
    "a device of Bob's that Mallory certified": with_members(
        ANN_MEMBER, with_device(BOB_MEMBER, certificate(MALLORY, BOB, PHONE, PHONE_KEY))
    ),
    "a device certified for another": with_members(
        ANN_MEMBER, with_device(BOB_MEMBER, certificate(BOB_IDENTITY, ANN, PHONE, PHONE_KEY))
    ),
    "another key for this device": with_members(
        with_device(ANN_MEMBER, certificate(ANN_IDENTITY, ANN, LAPTOP, PHONE_KEY)), BOB_MEMBER
    ),
    "our device claimed by Bob": with_members(
        ANN_MEMBER, with_device(BOB_MEMBER, certificate(BOB_IDENTITY, BOB, LAPTOP, PHONE_KEY))
    ),
    "another role": with_members(as_owner(ANN_MEMBER), BOB_MEMBER),
    "we are no member": with_members(BOB_MEMBER),
    "a member twice": with_members(ANN_MEMBER, BOB_MEMBER, as_owner(ANN_MEMBER)),
    "a device twice": with_members(ANN_MEMBER, replace(BOB_MEMBER, devices=2 * BOB_MEMBER.devices)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_about_a_workspace_is_refused(lie: str) -> None:
    with pytest.raises((BadSignature, CannotOpen, Malformed)):
        opened(LIES[lie])


def test_a_home_of_its_own_user_only_opens() -> None:
    assert opened(OWN_HOME).home


def test_a_workspace_named_twice_is_refused() -> None:
    with pytest.raises(Malformed):
        open_workspaces(CREDENTIALS, WorkspacesReply(workspaces=(INFO, INFO)))


# Device names


@pytest.mark.parametrize("name", ["x", "Ann's laptop", "ü" * 32, "x" * 64])
def test_device_names_come_back(name: str) -> None:
    sealed = seal_device_name(CREDENTIALS, LAPTOP, name)
    assert open_device_name(CREDENTIALS, LAPTOP, sealed) == name
    assert len(sealed) == len(seal_device_name(CREDENTIALS, LAPTOP, "y"))


@pytest.mark.parametrize("name", ["", "  ", "x" * 65, "ü" * 33, "a/b", "a\nb", "\x1b[2J", "a\0", "\udcff"])
def test_what_is_no_device_name(name: str) -> None:
    with pytest.raises(Usage):
        checked_device_name(name)


def test_a_device_name_that_is_none_is_refused_when_read() -> None:
    with pytest.raises(ShoalError):
        open_device_name(CREDENTIALS, LAPTOP, seal_device_name(CREDENTIALS, LAPTOP, "a\x1bb"))
