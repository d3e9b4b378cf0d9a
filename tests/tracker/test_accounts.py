"""Accounts and sessions: certificates checked, passwords proven, tokens that end, guessing slowed down."""

import dataclasses
from collections.abc import AsyncIterator

import pytest
import trio
from sqlalchemy import select

from protocol import api
from protocol.errors import Code, Refused
from protocol.identifiers import DeviceId
from protocol.login import KdfParameters
from protocol.system import real_machine
from storage.memory import MemoryStorage
from tests.support.databases import Databases
from tests.support.tracker import Account, Clock, Device, new_account, seeded_machine
from tracker.accounts import Accounts
from tracker.administration import set_suspended
from tracker.assembly import Tracker, build
from tracker.attempts import PAUSE_MS, TRIES, forget_oldest, note_failure, pause
from tracker.metadata.workspaces import workspaces_of
from tracker.migrating import migrate
from tracker.schema import metadata
from tracker.sessions import CHALLENGE_MS, SESSION_MS, Sessions


@dataclasses.dataclass
class Office:
    """A tracker and its clock."""

    tracker: Tracker
    clock: Clock
    account: Account

    @property
    def accounts(self) -> Accounts:
        return self.tracker.services.accounts

    @property
    def sessions(self) -> Sessions:
        return self.tracker.services.sessions

    async def refused(self, call: object) -> Code:
        with pytest.raises(Refused) as caught:
            await call  # type: ignore[misc]
        return caught.value.code

    def login(self, auth: bytes | None = None, email: str | None = None) -> api.LoginRequest:
        return api.LoginRequest(email=email or self.account.email, auth=auth or self.account.auth)

    def register(self, device: Device, auth: bytes | None = None) -> api.RegisterRequest:
        return api.RegisterRequest(email=self.account.email, auth=auth or self.account.auth, device=device.new())

    async def renew(self, device: Device, nonce: bytes | None = None) -> api.Session:
        nonce = nonce or self.sessions.challenge(device.id).nonce
        signature = device.signing.sign("session", nonce)
        return await self.sessions.renew(api.RenewRequest(device=device.id, nonce=nonce, signature=signature))


@pytest.fixture
async def office(databases: Databases) -> AsyncIterator[Office]:
    clock = Clock()
    machine = seeded_machine(clock=clock)
    async with databases.migrated(machine) as database:
        yield Office(await build(machine, database, MemoryStorage()), clock, new_account())


# Sign-up -------------------------------------------------------------------------------------------------------------


async def test_sign_up_makes_user_device_and_home(office: Office) -> None:
    session = await office.accounts.sign_up(office.account.signup())
    who = await office.sessions.authenticate(session.token)
    assert (who.user, who.device) == (office.account.user, office.account.first.id)
    (info,) = (await office.tracker.services.database.read(workspaces_of, who.user)).workspaces
    assert (info.workspace, info.role, info.home, info.epoch) == (office.account.home, api.OWNER, True, 1)
    assert [len(member.devices) for member in info.members] == [1]


async def test_an_address_is_taken_once_however_it_is_written(office: Office) -> None:
    await office.accounts.sign_up(office.account.signup())
    other = dataclasses.replace(new_account("other@example.org").signup(), email=" ANN@Example.org ")
    assert await office.refused(office.accounts.sign_up(other)) is Code.ADDRESS_TAKEN


async def test_a_sign_up_whose_answer_was_lost_is_answered_again(office: Office) -> None:
    request = office.account.signup()
    first = await office.accounts.sign_up(request)
    again = await office.accounts.sign_up(request)
    assert first.token != again.token
    assert (await office.sessions.authenticate(again.token)).device == office.account.first.id
    stolen = dataclasses.replace(request, auth=bytes(32))
    assert await office.refused(office.accounts.sign_up(stolen)) is Code.ADDRESS_TAKEN


async def test_ids_of_others_are_refused(office: Office) -> None:
    await office.accounts.sign_up(office.account.signup())
    other = new_account("other@example.org")
    other.keys = dataclasses.replace(other.keys, workspace=office.account.home)
    assert await office.refused(office.accounts.sign_up(other.signup())) is Code.FORBIDDEN


@pytest.mark.parametrize("wrong", ["identity", "device", "sealing", "grant", "granter", "cost", "email"])
async def test_a_sign_up_that_does_not_fit_together_is_refused(office: Office, wrong: str) -> None:
    account, other = office.account, new_account("other@example.org")
    good, foreign = account.signup(), other.signup()
    changed = {
        "identity": {"identity_key": foreign.identity_key},
        "device": {"device": foreign.device},
        "sealing": {"sealing_key": foreign.sealing_key},
        "grant": {"home": foreign.home},
        "granter": {"home": dataclasses.replace(good.home, granter=DeviceId(bytes(16)))},
        "cost": {"cost": KdfParameters(passes=1)},
        "email": {"email": "not an address"},
    }[wrong]
    request = dataclasses.replace(good, **changed)  # type: ignore[arg-type]
    code = await office.refused(office.accounts.sign_up(request))
    assert code in (Code.BAD_SIGNATURE, Code.MALFORMED)


async def test_no_secret_is_stored_as_it_came(office: Office) -> None:
    request = office.account.signup()
    session = await office.accounts.sign_up(request)
    stored = await office.tracker.services.database.read(
        lambda connection: repr([connection.execute(select(table)).all() for table in metadata.sorted_tables])
    )
    for secret in (request.auth, request.recovery_auth, session.token.encode()):
        assert repr(secret)[2:-1] not in stored


# Salts ---------------------------------------------------------------------------------------------------------------


async def test_salts_tell_nothing_about_who_is_known(office: Office) -> None:
    before = await office.accounts.salt(office.account.email)
    await office.accounts.sign_up(office.account.signup())
    assert await office.accounts.salt(" Ann@EXAMPLE.org") == before
    assert (await office.accounts.salt("other@example.org")).salt_part != before.salt_part


# Login ---------------------------------------------------------------------------------------------------------------


async def test_login_gives_the_sealed_keys_for_the_password_only(office: Office) -> None:
    request = office.account.signup()
    await office.accounts.sign_up(request)
    reply = await office.accounts.log_in(office.login())
    assert (reply.user, reply.identity_by_password) == (request.user, request.identity_by_password)
    assert reply.sealing_keys == (request.sealing_key,)
    wrong = await office.refused(office.accounts.log_in(office.login(bytes(32))))
    unknown = await office.refused(office.accounts.log_in(office.login(email="nobody@example.org")))
    assert (wrong, unknown) == (Code.WRONG_PASSWORD, Code.WRONG_PASSWORD)


async def test_a_device_is_registered_with_the_password(office: Office) -> None:
    await office.accounts.sign_up(office.account.signup())
    device = office.account.new_device()
    request = office.register(device)
    assert await office.refused(office.accounts.register(office.register(device, bytes(32)))) is Code.WRONG_PASSWORD
    session = await office.accounts.register(request)
    assert (await office.sessions.authenticate(session.token)).device == device.id
    again = await office.accounts.register(request)
    assert (await office.sessions.authenticate(again.token)).device == device.id
    foreign = dataclasses.replace(request, device=new_account("other@example.org").first.new())
    assert await office.refused(office.accounts.register(foreign)) is Code.BAD_SIGNATURE


async def test_guessing_is_slowed_down_for_that_address_only(office: Office) -> None:
    await office.accounts.sign_up(office.account.signup())
    for _ in range(TRIES):
        assert await office.refused(office.accounts.log_in(office.login(bytes(32)))) is Code.WRONG_PASSWORD
    assert await office.refused(office.accounts.log_in(office.login())) is Code.UNAVAILABLE
    other = office.login(email="other@example.org")
    assert await office.refused(office.accounts.log_in(other)) is Code.WRONG_PASSWORD
    office.clock.advance(PAUSE_MS / 1000 + 1)
    await office.accounts.log_in(office.login())
    assert await office.refused(office.accounts.log_in(office.login(bytes(32)))) is Code.WRONG_PASSWORD


async def test_a_clock_that_was_set_back_makes_nobody_wait_longer(office: Office) -> None:
    for _ in range(TRIES):
        await office.refused(office.accounts.log_in(office.login(bytes(32))))
    office.clock.advance(-1_000_000)
    with pytest.raises(Refused, match="try again in 60 s"):
        await office.accounts.log_in(office.login())


async def test_the_memory_of_failures_is_bounded(databases: Databases) -> None:
    keys = [number.to_bytes(32, "big") for number in range(20)]
    async with databases.migrated(seeded_machine()) as database:
        for now, key in enumerate(keys):
            for _ in range(TRIES):
                await database.transact(note_failure, key, now)
        await database.transact(forget_oldest, 20)
        assert await database.read(pause, keys[0], 19) > 0
        await database.transact(forget_oldest, 5)
        assert [await database.read(pause, key, 19) > 0 for key in keys] == [False] * 15 + [True] * 5
        await database.transact(forget_oldest, 5)
        assert await database.read(pause, keys[-1], 19) > 0


async def test_failures_at_once_are_all_counted(databases: Databases) -> None:
    machine, url, key = real_machine(), await databases.migrated_url(), bytes(32)
    async with databases.opened(machine, url) as one, databases.opened(machine, url) as two:
        await one.transact(migrate)
        async with trio.open_nursery() as nursery:
            for database in (one, two) * (TRIES // 2):
                nursery.start_soon(database.transact, note_failure, key, 5)
        assert await one.read(pause, key, 5) == PAUSE_MS


# Sessions ------------------------------------------------------------------------------------------------------------


async def test_a_session_ends_after_a_day_and_is_renewed_by_signature(office: Office) -> None:
    session = await office.accounts.sign_up(office.account.signup())
    assert session.expires_ms - session.now_ms == SESSION_MS
    office.clock.advance(SESSION_MS / 1000 - 1)
    await office.sessions.authenticate(session.token)
    office.clock.advance(1)
    assert await office.refused(office.sessions.authenticate(session.token)) is Code.UNAUTHENTICATED
    renewed = await office.renew(office.account.first)
    await office.sessions.authenticate(renewed.token)


async def test_a_challenge_is_good_for_a_minute_and_one_device(office: Office) -> None:
    await office.accounts.sign_up(office.account.signup())
    device, other = office.account.first, office.account.new_device()
    nonce = office.sessions.challenge(device.id).nonce
    office.clock.advance(CHALLENGE_MS / 1000 + 1)
    assert await office.refused(office.renew(device, nonce)) is Code.UNAUTHENTICATED
    assert await office.refused(office.renew(device, office.sessions.challenge(other.id).nonce)) is Code.UNAUTHENTICATED
    assert await office.refused(office.renew(device, bytes(56))) is Code.UNAUTHENTICATED
    assert await office.refused(office.renew(other)) is Code.UNAUTHENTICATED
    impostor = dataclasses.replace(other, id=device.id)
    assert await office.refused(office.renew(impostor)) is Code.BAD_SIGNATURE


@pytest.mark.parametrize("token", ["", "nonsense", "é" * 10])
async def test_other_tokens_are_nobodys(office: Office, token: str) -> None:
    assert await office.refused(office.sessions.authenticate(token)) is Code.UNAUTHENTICATED


async def test_a_logged_out_device_is_out_for_good(office: Office) -> None:
    session = await office.accounts.sign_up(office.account.signup())
    device = office.account.new_device()
    request = office.register(device)
    second = await office.accounts.register(request)
    await office.sessions.end(device.id)
    assert await office.refused(office.sessions.authenticate(second.token)) is Code.UNAUTHENTICATED
    assert await office.refused(office.renew(device)) is Code.UNAUTHENTICATED
    assert await office.refused(office.accounts.register(request)) is Code.UNAUTHENTICATED
    who = await office.sessions.authenticate(session.token)
    (info,) = (await office.tracker.services.database.read(workspaces_of, who.user)).workspaces
    assert sorted(known.retired for known in info.members[0].devices) == [False, True]


async def test_a_suspended_user_is_refused_everything_until_resumed(office: Office) -> None:
    session = await office.accounts.sign_up(office.account.signup())
    database = office.tracker.services.database
    await database.transact(set_suspended, office.account.email, True)
    assert await office.refused(office.sessions.authenticate(session.token)) is Code.SUSPENDED
    assert await office.refused(office.accounts.log_in(office.login())) is Code.SUSPENDED
    assert await office.refused(office.renew(office.account.first)) is Code.SUSPENDED
    assert await office.refused(office.accounts.log_in(office.login(bytes(32)))) is Code.WRONG_PASSWORD
    await database.transact(set_suspended, office.account.email, False)
    await office.sessions.authenticate(session.token)
