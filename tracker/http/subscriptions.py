"""The notification WebSocket: one subscription for all of a device's workspaces.

The device's first frame must be a `Subscribe`, within SUBSCRIBE_S; after that it has nothing more to say. Every task
pair here ends as soon as either side does: the reader sees the device go, the writer sees the tracker stop.
"""

import logging

import trio
from quart import Websocket
from sqlalchemy import Connection, select

from protocol.api import PROTOCOL_HEADER
from protocol.errors import Malformed, Refused
from protocol.identifiers import UserId, WorkspaceId
from protocol.notices import CatchUp, Changed, Notice, Subscribe, decode_notice, encode_notice
from tracker.http.envelope import check_protocol, principal_of
from tracker.metadata.batches import batches
from tracker.notifications import Mailbox
from tracker.schema import members, workspaces
from tracker.services import Services
from tracker.sessions import Principal

SUBSCRIBE_S = 10.0
RECHECK_S = 300.0
"""How often an open subscription's token is looked at again: it expires, or its user is suspended."""
SEND_S = 60.0
"""A device that takes a notice no faster than this is gone."""

GOING_AWAY, PROTOCOL_ERROR, POLICY = 1001, 1002, 1008
"""WebSocket close codes (RFC 6455, 7.4.1)."""

_log = logging.getLogger("shoal.tracker.notifications")


class _Close(Exception):
    """End this connection with a close code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


async def subscribe(services: Services, websocket: Websocket) -> None:
    """Serve one notification WebSocket until either side ends it."""
    await websocket.accept()  # nothing can be received, and no disconnect seen, before this
    try:
        await _serve(services, websocket)
    except* _Close as group:
        closing = group.exceptions[0]
        while isinstance(closing, BaseExceptionGroup):
            closing = closing.exceptions[0]
        assert isinstance(closing, _Close)
        await _close(websocket, closing.code, str(closing))
    except* (Malformed, Refused) as refusals:
        await _close(websocket, POLICY, _first_line(refusals))


def _first_line(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


async def _close(websocket: Websocket, code: int, reason: str) -> None:
    with trio.move_on_after(5, shield=True):
        await websocket.close(code, reason[:100])


async def _serve(services: Services, websocket: Websocket) -> None:
    check_protocol(websocket.headers.get(PROTOCOL_HEADER))
    authorization = websocket.headers.get("Authorization")
    who = await principal_of(services, authorization)
    asked = await _first_frame(websocket)
    with services.hub.subscribed(who.device, [workspace for workspace, _ in asked.cursors]) as mailbox:
        for notice in await services.database.read(_behind, who, asked):
            mailbox.put(notice)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read, websocket)
            nursery.start_soon(_recheck, services, authorization)
            await _write(websocket, mailbox)
            nursery.cancel_scope.cancel()
    raise _Close(GOING_AWAY, "the subscription has ended")


async def _first_frame(websocket: Websocket) -> Subscribe:
    with trio.move_on_after(SUBSCRIBE_S):
        frame = await websocket.receive()
        if not isinstance(frame, bytes):
            raise _Close(PROTOCOL_ERROR, "binary frames are expected")
        notice = decode_notice(frame)
        if not isinstance(notice, Subscribe):
            raise _Close(PROTOCOL_ERROR, "the first frame must subscribe")
        return notice
    raise _Close(POLICY, "nothing was subscribed in time")


def _behind(connection: Connection, who: Principal, asked: Subscribe) -> list[Notice]:
    """What the device has missed; `Refused` when it may not know of one of the workspaces."""
    heads = _heads(connection, who.user, [workspace for workspace, _ in asked.cursors])
    notices: list[Notice] = []
    for workspace, revision in asked.cursors:
        if workspace not in heads:
            raise Malformed("there is no such workspace among yours")
        head = heads[workspace]
        if head > revision:
            notices.append(Changed(workspace=workspace, since=revision, through=head))
        elif head < revision:
            notices.append(CatchUp())  # a cursor from before the tracker was restored
    return notices


def _heads(connection: Connection, user: UserId, asked: list[WorkspaceId]) -> dict[WorkspaceId, int]:
    heads: dict[WorkspaceId, int] = {}
    for batch in batches(asked):
        rows = connection.execute(
            select(workspaces.c.id, workspaces.c.revision)
            .join_from(members, workspaces, members.c.workspace == workspaces.c.id)
            .where(members.c.user == user, members.c.workspace.in_(batch))
        )
        heads.update((WorkspaceId(row.id), row.revision) for row in rows)
    return heads


async def _read(websocket: Websocket) -> None:
    """A device says nothing after it has subscribed; receiving is how its going is seen."""
    await websocket.receive()
    raise _Close(PROTOCOL_ERROR, "nothing is expected after the subscription")


async def _recheck(services: Services, authorization: str | None) -> None:
    while True:
        await trio.sleep(RECHECK_S)
        await principal_of(services, authorization)


async def _write(websocket: Websocket, mailbox: Mailbox) -> None:
    while (notice := await mailbox.take()) is not None:
        with trio.move_on_after(SEND_S) as scope:
            await websocket.send(encode_notice(notice))
        if scope.cancelled_caught:
            raise _Close(POLICY, "notices are taken too slowly")
