"""Asking the tracker for the past. What it says is verified and opened as a delta is; a single name or manifest that
can't be used leaves out that operation alone."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NoReturn, TypeVar

from peer.history.past import CHANGED as WRITTEN
from peer.history.past import CREATED, MOVED, RESTORED, Answer, Event, Located, Moved, Past, Stored, moved_from, pasts
from peer.history.past import DELETED as GONE
from peer.remote import RemoteTree, Signers, UnknownDevice
from peer.tracker_client import DeviceClient
from protocol.api import CHANGED, DELETED, HISTORY, Endpoint
from protocol.commits import Content, Create, Delete, Move, Operation, Place, Restore, Write, decode_operation
from protocol.deltas import Entry, SignedCommit, item_hash
from protocol.errors import BadSignature, CannotOpen, Malformed, Problem
from protocol.history import (
    MAX_ASKED,
    MAX_KNOWN,
    ChangedRequest,
    DeletedRequest,
    HistoryReply,
    HistoryRequest,
    PastNode,
)
from protocol.identifiers import HASH_LENGTH, NodeId, VersionId, WorkspaceId
from protocol.names import name_token, open_name

log = logging.getLogger(__name__)
MAX_PAGES = 1000
ENDLESS = "the tracker's answer goes on without end"
Q = TypeVar("Q")


class Reader:
    """Reads the past of one workspace. Its methods raise what `DeviceClient.call` does."""

    def __init__(
        self,
        client: DeviceClient,
        remote: RemoteTree,
        signers: Callable[[], Signers],
        refresh_signers: Callable[[], Awaitable[None]],
    ) -> None:
        """`refresh_signers` asks the tracker for the members' certificates once more."""
        self._client = client
        self._remote = remote
        self._signers = signers
        self._refresh_signers = refresh_signers

    @property
    def _workspace(self) -> WorkspaceId:
        return self._remote.keys.workspace

    async def history(self, nodes: Sequence[NodeId]) -> Answer:
        """All events of some nodes, oldest first."""
        request = HistoryRequest(workspace=self._workspace, nodes=tuple(nodes[:MAX_ASKED]))
        return await self._all(HISTORY, request, _after_entry)

    async def deleted(self, parents: Sequence[NodeId], name: str | None = None) -> list[Past]:
        """What was deleted in some directories, that which had a name if one is given."""
        found: list[Past] = []
        for at in range(0, len(parents), MAX_ASKED):
            part = tuple(parents[at : at + MAX_ASKED])
            tokens = () if name is None else tuple(name_token(self._remote.keys, parent, name) for parent in part)
            request = DeletedRequest(workspace=self._workspace, parents=part, tokens=tokens)
            found += pasts(await self._all(DELETED, request, _after_deleted))
        return [past for past in found if past.place is not None and name in (None, past.place.name)]

    async def moved(self, parents: Sequence[NodeId], name: str) -> list[Moved]:
        """What had a name in one of some directories and has gone elsewhere, the latest last. Those nodes that the
        tracker names count only if what was signed of them says the same."""
        parents = parents[:MAX_ASKED]
        tokens = tuple(name_token(self._remote.keys, parent, name) for parent in parents)
        request = DeletedRequest(workspace=self._workspace, parents=tuple(parents), tokens=tokens, moved=True)
        page = await self._client.call(DELETED, request)
        if not page.nodes:
            return []
        events = (await self.history([node.node for node in page.nodes])).events
        return moved_from(events, {(parent, name) for parent in parents})

    async def changed(self, **since: int) -> Answer:
        """What has changed since a `revision`, a `time_ms` or for the last `ago_ms`."""
        request = ChangedRequest(
            workspace=self._workspace,
            revision=since.get("revision"),
            time_ms=since.get("time_ms"),
            ago_ms=since.get("ago_ms"),
        )
        return await self._all(CHANGED, request, _after_changed)

    def is_up_to_date(self, answer: Answer) -> bool:
        """Whether REMOTE has come as far as an answer."""
        return self._remote.cursor().revision >= answer.head

    async def _all(
        self, endpoint: Endpoint[Q, HistoryReply], request: Q, following: Callable[[Q, HistoryReply, list[int]], Q]
    ) -> Answer:
        """All pages."""
        answer: Answer | None = None
        seen: Seen = {}
        for _ in range(MAX_PAGES):
            page = await self._client.call(endpoint, request)
            events = await self._opened(page, seen)
            if answer is None:
                answer = Answer(page.revision, page.time_ms, page.head, page.hash, page.now_ms)
            answer.events += events
            answer.nodes |= {node.node: node for node in page.nodes}
            if not page.more:
                return answer
            request = following(request, page, list(seen)[-MAX_KNOWN:])
        raise Problem("there is too much of it: ask for a single folder or a later time")

    async def _opened(self, page: HistoryReply, seen: "Seen") -> list[Event]:
        try:
            return list(self._events(page, seen))
        except (UnknownDevice, BadSignature, KeyError):
            # A device or a key epoch that is newer than the list held here; fetched once, then it must fit.
            await self._refresh_signers()
            try:
                return list(self._events(page, seen))
            except UnknownDevice as error:
                raise BadSignature(str(error)) from None

    def _events(self, page: HistoryReply, seen: "Seen") -> Iterator[Event]:
        durable = set(page.durable)
        for entry in page.entries:
            if entry.commit is None:
                raise Malformed("the tracker told a record for history")
            self._remote.verify(entry.commit, self._signers())
            seen[entry.revision] = entry, entry.commit, [item_hash(item) for item in entry.commit.items]
            for position, item in enumerate(entry.commit.items):
                if len(item) != HASH_LENGTH:
                    yield from self._event(entry, entry.commit, position, item, durable)
        for revision, position, item in page.operations:
            entry, commit, hashes = seen[revision] if revision in seen else _never_told()
            if position >= len(hashes) or item_hash(item) != hashes[position]:
                raise BadSignature("an operation that its commit doesn't have")
            yield from self._event(entry, commit, position, item, durable)

    def _event(
        self, entry: Entry, commit: SignedCommit, position: int, item: bytes, durable: set[VersionId]
    ) -> Iterator[Event]:
        """What an operation says; nothing, if it can't be used."""
        try:
            yield self._opened_event(entry, commit, position, decode_operation(item), durable)
        except (CannotOpen, Malformed) as error:
            log.warning("a part of the history can't be used: %s", error)

    def _opened_event(
        self, entry: Entry, commit: SignedCommit, position: int, operation: Operation, durable: set[VersionId]
    ) -> Event:
        event = Event(entry.revision, position, entry.time_ms, commit.device, operation.node, _WHAT[type(operation)])
        if isinstance(operation, Create | Move | Restore):
            place = self._located(commit.epoch, operation.node, operation.place)
            event = event._replace(kind=operation.kind, place=place)
        content = operation.content if isinstance(operation, Create | Write) else None
        if content is None:
            return event
        stored = self._stored(entry, commit, operation.node, content)
        return event._replace(stored=stored, durable=stored.version in durable)

    def _located(self, epoch: int, node: NodeId, place: Place) -> Located:
        name = open_name(self._remote.keys, epoch, place.parent, node, place.mark, place.token, place.name)
        return Located(place.parent, name, place.mark)

    def _stored(self, entry: Entry, commit: SignedCommit, node: NodeId, content: Content) -> Stored:
        version = self._remote.open_version(entry, commit.epoch, commit.device, node, content)
        return Stored(version.id, version.manifest, version.runs)


_WHAT: dict[type[Operation], str] = {
    Create: CREATED,
    Write: WRITTEN,
    Move: MOVED,
    Delete: GONE,
    Restore: RESTORED,
}


Seen = dict[int, tuple[Entry, SignedCommit, list[bytes]]]
"""Verified entries of earlier pages, by their revisions, with the hashes of all of their operations."""


def _never_told() -> NoReturn:
    raise Malformed("the tracker told of an operation without its commit")


def _after_entry(request: HistoryRequest, page: HistoryReply, _: list[int]) -> HistoryRequest:
    if not page.entries:
        raise Malformed(ENDLESS)
    return replace(request, after=page.entries[-1].revision)


def _after_deleted(request: DeletedRequest, page: HistoryReply, known: list[int]) -> DeletedRequest:
    """Without the directories that are done."""
    last = _last_node(page)
    if last.parent not in request.parents:
        raise Malformed(ENDLESS)
    left = request.parents[request.parents.index(last.parent) :]
    return replace(request, parents=left, after=last.node, known=tuple(known))


def _after_changed(request: ChangedRequest, page: HistoryReply, known: list[int]) -> ChangedRequest:
    """What a time means is settled by the first page."""
    after = _last_node(page).node
    return ChangedRequest(workspace=request.workspace, revision=page.revision, after=after, known=tuple(known))


def _last_node(page: HistoryReply) -> PastNode:
    if not page.nodes:
        raise Malformed(ENDLESS)
    return page.nodes[-1]


def latest(found: Iterable[Past]) -> list[Past]:
    """Those that were deleted, the last first; withdrawn ones, whose time isn't known, come last."""
    return sorted(found, key=lambda past: -1 if past.deleted is None else past.deleted.revision, reverse=True)
