"""Changes of the past as commits: sealed, signed and sent, in one commit however large.

They never pass through the outbox: what the tracker takes comes back with the next delta, like another device's commit.
A commit whose answer is lost is sent again under the same id; if the daemon ends meanwhile, it was taken or it wasn't,
and the next delta tells.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import trio

from peer.history.past import DELETED, RESTORED, Change, Stored
from peer.remote import RemoteTree
from peer.tracker_client import DeviceClient
from protocol.api import CLOSE, COMMIT, STAGE, CommitReply
from protocol.breaker import Approval, Changes
from protocol.commits import (
    DIRECTORY,
    Commit,
    Content,
    Create,
    Delete,
    Move,
    Operation,
    Place,
    Restore,
    Write,
    digest_of,
    encode_operation,
    sign_close,
    sign_commit,
)
from protocol.errors import Code, Problem, Refused, Unreachable
from protocol.identifiers import (
    MAX_COMMIT_OPERATIONS,
    MAX_PARTS,
    MAX_STAGED_BYTES,
    CommitId,
    DeviceId,
    NodeId,
    PlaceMark,
    VersionId,
    new_id,
)
from protocol.manifests import seal_manifest
from protocol.names import seal_name
from protocol.ports import Machine
from protocol.signing import SigningKey

log = logging.getLogger(__name__)
PART_BYTES = 900_000
"""Of operations in one part, leaving room for its frame."""
PART_RUNS = 1500
"""Runs that the contents of one part name: they list at most 64 chunks each, and a commit at most 100,000."""
TRIES = 6
"""How often a request is made that gets no answer."""
STAGINGS = 6
"""How often the parts are staged, as the tracker may have lost some, or have taken them all into a commit whose answer
was lost: that is answered again once they are staged again."""
CLOSE_PATIENCE = 280.0
"""Seconds that the tracker may take over a large commit."""
T = TypeVar("T")


class Committing:
    """Makes this device's commits out of changes of the past."""

    def __init__(
        self,
        machine: Machine,
        client: DeviceClient,
        remote: RemoteTree,
        device: DeviceId,
        signing_key: SigningKey,
        approve: Callable[[Changes], Approval],
    ) -> None:
        """`remote` knows how far this device has seen the order. `approve` gives this device's word for the breaker:
        what comes here a person has asked for."""
        self._machine = machine
        self._client = client
        self._remote = remote
        self._device = device
        self._signing_key = signing_key
        self._approve = approve

    async def commit(self, changes: Sequence[Change]) -> CommitReply:
        """Have all of these changes, or none. `Refused` as the tracker says no, `Unreachable` when it has said nothing
        several times; `Problem` for more than one commit can hold."""
        parts = self._parts(changes)
        if len(parts) == 1:
            return await self._insist(lambda: self._client.call(COMMIT, parts[0]))
        for left in reversed(range(STAGINGS)):
            try:
                return await self._commit_parts(parts)
            except Refused as refusal:
                if refusal.code is not Code.NOT_FOUND or not left:
                    raise
                log.info("parts are staged again: %s", refusal)
        raise AssertionError

    async def _commit_parts(self, parts: Sequence[Commit]) -> CommitReply:
        for part in parts:
            await self._insist(lambda part=part: self._client.call(STAGE, part))  # type: ignore[misc]
        digests = tuple(digest_of(part, self._device) for part in parts)
        close = sign_close(parts[0].workspace, self._device, digests, self._signing_key)
        return await self._insist(lambda: self._client.call(CLOSE, close, patience=CLOSE_PATIENCE))

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again when no answer comes: the answer to what was done is the same."""
        backoff = self._client.client.backoff()
        for _ in range(TRIES - 1):
            try:
                return await ask()
            except Unreachable as error:
                log.info("asked again: %s", error)
                await trio.sleep(backoff.next_delay())
        return await ask()

    # Making

    def _parts(self, changes: Sequence[Change]) -> list[Commit]:
        made = list(self._operations(changes))
        operations = [(encode_operation(operation), _runs(operation)) for operation in made]
        if sum(len(data) for data, _ in operations) > MAX_STAGED_BYTES * 9 // 10:
            raise Problem("that is too much for one commit: go folder by folder")
        approval = self._approve(_changes_in(made))
        parts = [self._signed(part, approval) for part in _cut(operations)]
        if len(parts) > MAX_PARTS:
            raise Problem("that is too much for one commit: go folder by folder")
        return parts

    def _signed(self, operations: Sequence[bytes], approval: Approval) -> Commit:
        return sign_commit(
            workspace=self._remote.keys.workspace,
            device=self._device,
            epoch=self._remote.keys.newest.epoch,
            commit=CommitId(new_id(self._machine.random_bytes)),
            seen=self._remote.cursor().hash,
            operations=tuple(operations),
            runs=(),
            signing_key=self._signing_key,
            approval=approval,
        )

    def _operations(self, changes: Iterable[Change]) -> Iterator[Operation]:
        for change in changes:
            if change.what == DELETED:
                assert change.place is not None
                mark = PlaceMark(new_id(self._machine.random_bytes))
                yield Delete(node=change.node, base=change.place, mark=mark, content_base=change.version)
            elif change.place is None:
                yield self._create(change)
            else:
                yield from self._changed(change, change.place)

    def _create(self, change: Change) -> Create:
        """A node of its own for a content whose node can't come back."""
        assert change.to is not None
        assert change.stored is not None
        place, content = self._place(change.node, change.to), self._content(change.node, change.stored)
        return Create(node=change.node, kind=change.kind, place=place, content=content)

    def _changed(self, change: Change, base: PlaceMark) -> Iterator[Operation]:
        """A restored file gets its content anew: who reads only what came after its deletion wouldn't know it."""
        node, kind = change.node, change.kind
        if change.to is not None and change.what == RESTORED:
            place = self._place(node, change.to)
            yield Restore(node=node, base=base, place=place, content_base=change.version, kind=kind)
        elif change.to is not None:
            yield Move(node=node, base=base, place=self._place(node, change.to), kind=kind)
        if change.stored is not None and kind != DIRECTORY:
            assert change.version is not None
            yield Write(node=node, base=change.version, content=self._content(node, change.stored))

    def _place(self, node: NodeId, to: tuple[NodeId, str]) -> Place:
        parent, name = to
        sealed = seal_name(self._remote.keys, parent, node, name, self._machine.random_bytes)
        return Place(parent=parent, token=sealed.token, name=sealed.sealed, mark=sealed.place)

    def _content(self, node: NodeId, stored: Stored) -> Content:
        """The chunks stay what they are, and so do the runs that list them: only the manifest is sealed anew."""
        keys = self._remote.keys
        random_bytes = self._machine.random_bytes
        sealed = seal_manifest(keys.newest, keys.workspace, node, stored.manifest, stored.runs, random_bytes)
        return Content(version=VersionId(sealed.version), manifest=sealed.sealed, runs=stored.runs)


def _changes_in(operations: Iterable[Operation]) -> Changes:
    kinds = Counter(map(type, operations))
    return Changes(kinds[Delete], kinds[Write])


def _runs(operation: Operation) -> int:
    content = operation.content if isinstance(operation, Create | Write) else None
    return 0 if content is None else len(content.runs)


def _cut(operations: Iterable[tuple[bytes, int]]) -> Iterator[list[bytes]]:
    """Lists of operations, each small enough for one commit."""
    part: list[bytes] = []
    size = runs = 0
    for data, named in operations:
        full = len(part) == MAX_COMMIT_OPERATIONS or size + len(data) > PART_BYTES or runs + named > PART_RUNS
        if part and full:
            yield part
            part, size, runs = [], 0, 0
        part.append(data)
        size, runs = size + len(data) + 16, runs + named
    if part:
        yield part
