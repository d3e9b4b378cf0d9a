"""Commits over HTTP."""

from collections.abc import Sequence
from functools import partial

from quart import Request
from sqlalchemy import Connection

from protocol.api import COMMIT, CommitReply, Empty
from protocol.codec import encode
from protocol.commits import Close, Commit, check_commit, decode_commit, verify_close
from protocol.failpoints import failpoint
from tracker.clock import now_ms
from tracker.failpoints import COMMIT_AFTER, COMMIT_BEFORE
from tracker.http.envelope import read_body, token_of
from tracker.metadata.commit import Committed, Prepared, commit, prepare
from tracker.metadata.staging import close_parts, stage, staged_parts
from tracker.publishing import publish_commit, publish_parts
from tracker.services import Services
from tracker.sessions import Principal, authenticate, hash_token

SMALL_BYTES = 16 << 10
"""Up to this long a thread costs more than taking a commit apart (some 10 µs an operation)."""

Done = tuple[Prepared, Committed]


async def take_commit(services: Services, request: Request) -> bytes:
    """POST /v1/commit."""
    token = token_of(request.headers.get("Authorization"))
    if request.content_length is not None and request.content_length <= SMALL_BYTES:
        prepared, done = await _take_small(services, token, await read_body(request, SMALL_BYTES))
    else:
        who = await services.sessions.authenticate(token)
        prepared, done = await _take_large(services, who, await read_body(request, COMMIT.request_limit))
    publish_commit(services, prepared, done)
    failpoint(COMMIT_AFTER)
    return encode(done.reply)


async def _take_small(services: Services, token: str, body: bytes) -> Done:
    """All in one transaction: another one for the token alone would cost a tenth of a commit."""
    now = now_ms(services.machine)
    failpoint(COMMIT_BEFORE)
    who, prepared, done = await services.database.transact(_authenticate_and_commit, hash_token(token), body, now)
    await services.sessions.note_presence(who, now)
    return prepared, done


def _authenticate_and_commit(
    connection: Connection, token_hash: bytes, body: bytes, now: int
) -> tuple[Principal, Prepared, Committed]:
    who = authenticate(connection, token_hash, now)
    prepared = prepare(decode_commit(body), who.user, who.device, who.signing_key)
    return who, prepared, commit(connection, prepared, now)


async def _take_large(services: Services, who: Principal, body: bytes) -> Done:
    taken_apart = partial(prepare, decode_commit(body), who.user, who.device, who.signing_key)
    prepared = await services.machine.offload(taken_apart, services.decoding)
    failpoint(COMMIT_BEFORE)
    return prepared, await services.database.transact(commit, prepared, now_ms(services.machine))


async def stage_part(services: Services, who: Principal, part: Commit) -> Empty:
    """POST /v1/stage."""
    check_commit(part)
    taken_apart = partial(prepare, part, who.user, who.device, who.signing_key)
    prepared = await services.machine.offload(taken_apart, services.decoding)
    await services.database.transact(stage, prepared, now_ms(services.machine))
    return Empty()


async def close_commit(services: Services, who: Principal, close: Close) -> CommitReply:
    """POST /v1/close."""
    verify_close(close, who.device, who.signing_key)
    bodies = await services.database.read(staged_parts, who.user, who.device, close)
    parts = await services.machine.offload(partial(_prepare_all, who, bodies), services.decoding)
    done = await services.database.transact(close_parts, parts, now_ms(services.machine))
    publish_parts(services, parts[0], done)
    return done.reply


def _prepare_all(who: Principal, bodies: Sequence[bytes]) -> list[Prepared]:
    return [prepare(decode_commit(body), who.user, who.device, who.signing_key) for body in bodies]
