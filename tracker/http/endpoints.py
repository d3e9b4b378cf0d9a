"""The CBOR endpoints: each handler authorises, calls one rule and hands the result on."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from protocol import api
from protocol.deltas import Delta
from protocol.failpoints import failpoint
from protocol.history import ChangedRequest, DeletedRequest, HistoryReply, HistoryRequest
from tracker.accounts import account_of
from tracker.clock import now_ms
from tracker.failpoints import DELTA_ANSWERING
from tracker.http.commits import close_commit, stage_part
from tracker.metadata.access import memberships_of
from tracker.metadata.damage import wanted
from tracker.metadata.deltas import read_delta
from tracker.metadata.history import read_changed, read_deleted, read_history
from tracker.metadata.lease import lease
from tracker.metadata.runs import read_runs
from tracker.metadata.withdraw import withdraw
from tracker.metadata.workspaces import workspaces_of
from tracker.publishing import publish_members, publish_record
from tracker.services import Services
from tracker.sessions import Principal

Q = TypeVar("Q")
A = TypeVar("A")

Open = Callable[[Services, Q], Awaitable[A]]
"""A handler for anybody."""
Closed = Callable[[Services, Principal, Q], Awaitable[A]]
"""A handler for a device with a session."""


async def _salt(services: Services, request: api.SaltRequest) -> api.SaltReply:
    return await services.accounts.salt(request.email)


async def _sign_up(services: Services, request: api.SignupRequest) -> api.Session:
    return await services.accounts.sign_up(request)


async def _log_in(services: Services, request: api.LoginRequest) -> api.LoginReply:
    return await services.accounts.log_in(request)


async def _register(services: Services, request: api.RegisterRequest) -> api.Session:
    session = await services.accounts.register(request)
    who = await services.sessions.authenticate(session.token)
    publish_members(services, await services.database.read(memberships_of, who.user))
    return session


async def _challenge(services: Services, request: api.ChallengeRequest) -> api.ChallengeReply:
    return services.sessions.challenge(request.device)


async def _renew(services: Services, request: api.RenewRequest) -> api.Session:
    return await services.sessions.renew(request)


async def _log_out(services: Services, who: Principal, _: api.Empty) -> api.Empty:
    await services.sessions.end(who.device)
    services.hub.disconnect(who.device)
    publish_members(services, await services.database.read(memberships_of, who.user))
    return api.Empty()


async def _account(services: Services, who: Principal, _: api.Empty) -> api.AccountReply:
    return await services.database.read(account_of, who.user)


async def _workspaces(services: Services, who: Principal, _: api.Empty) -> api.WorkspacesReply:
    return await services.database.read(workspaces_of, who.user)


async def _delta(services: Services, who: Principal, request: api.DeltaRequest) -> Delta:
    delta = await services.database.read(read_delta, who.user, request, services.identity.epoch)
    failpoint(DELTA_ANSWERING)
    return delta


async def _runs(services: Services, who: Principal, request: api.RunsRequest) -> api.RunsReply:
    return await services.database.read(read_runs, who.user, request)


async def _lease(services: Services, who: Principal, request: api.LeaseRequest) -> api.LeaseReply:
    return await services.database.transact(lease, who.user, who.device, request, now_ms(services.machine))


async def _withdraw(services: Services, who: Principal, request: api.WithdrawRequest) -> api.Empty:
    new = await services.database.transact(withdraw, who.user, who.device, request, now_ms(services.machine))
    if new is not None:
        publish_record(services, new)
    return api.Empty()


async def _wanted(services: Services, who: Principal, request: api.WantedRequest) -> api.WantedReply:
    return await services.database.read(wanted, who.user, request)


async def _history(services: Services, who: Principal, request: HistoryRequest) -> HistoryReply:
    return await services.database.read(read_history, who.user, request, now_ms(services.machine))


async def _deleted(services: Services, who: Principal, request: DeletedRequest) -> HistoryReply:
    return await services.database.read(read_deleted, who.user, request, now_ms(services.machine))


async def _changed(services: Services, who: Principal, request: ChangedRequest) -> HistoryReply:
    return await services.database.read(read_changed, who.user, request, now_ms(services.machine))


OPEN: dict[api.Endpoint[Any, Any], Open[Any, Any]] = {
    api.SALT: _salt,
    api.SIGNUP: _sign_up,
    api.LOGIN: _log_in,
    api.REGISTER: _register,
    api.CHALLENGE: _challenge,
    api.RENEW: _renew,
}
CLOSED: dict[api.Endpoint[Any, Any], Closed[Any, Any]] = {
    api.LOGOUT: _log_out,
    api.ACCOUNT: _account,
    api.WORKSPACES: _workspaces,
    api.DELTA: _delta,
    api.RUNS: _runs,
    api.LEASE: _lease,
    api.WITHDRAW: _withdraw,
    api.WANTED: _wanted,
    api.HISTORY: _history,
    api.DELETED: _deleted,
    api.CHANGED: _changed,
    api.STAGE: stage_part,
    api.CLOSE: close_commit,
}
