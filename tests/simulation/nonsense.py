"""A tracker, or something before it, that answers nonsense: what can be seen to be wrong, and does no harm but that."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from peer.ports import Response
from protocol.api import (
    CHUNKS_PATH,
    COMMIT,
    DELTA,
    LARGE,
    WORKSPACES,
    CommitRefusal,
    FailedOperation,
    Member,
    Refusal,
    WorkspaceInfo,
    WorkspacesReply,
)
from protocol.codec import decode, encode
from protocol.deltas import SignedCommit, decode_delta
from protocol.errors import Code
from protocol.identifiers import ID_LENGTH, DeviceId, WorkspaceId
from tests.simulation.log import EventLog

_PAGE = b"<html><body>Welcome to your router</body></html>"
_OK = 200
_FAILED = 503
_BLAMED = 0.8
_REASONS = ("quota", "too-large", "name-taken", "no-parent")


class Nonsense:
    """Stands between one device and its tracker."""

    def __init__(self, rng: Random, log: EventLog, name: str) -> None:
        self._rng = rng
        self._log = log
        self._name = name

    def instead(self, path: str, chance: float) -> Response | None:
        """With this chance an answer to a request that the tracker is not given."""
        if not chance or self._rng.random() >= chance / 2:
            return None
        self._log.note(self._name, "is refused for no reason")
        if path == COMMIT.path and self._rng.random() < _BLAMED:
            return _refusal(Code.COMMIT, "look at the detail", encode(self._blame()))
        return _refusal(Code.UNAVAILABLE, "try again later")

    def _blame(self) -> CommitRefusal:
        """Of a commit that is as it should be."""
        if self._rng.random() < _BLAMED / 4:
            return CommitRefusal(epoch=7)
        index = self._rng.choice((0, 0, 0, 1, 500))
        return CommitRefusal(operations=(FailedOperation(index=index, reason=self._rng.choice(_REASONS)),))

    def of(self, path: str, answer: Response, chance: float) -> Response:
        """With this chance something else than the tracker has answered."""
        if not chance or answer.status != _OK or self._rng.random() >= chance:
            return answer
        kinds: list[Callable[[bytes], bytes]] = [_page, self._cut_off, *self._kinds_of(path)]
        kind = self._rng.choice(kinds)
        self._log.note(self._name, f"is answered nonsense: {kind.__name__.strip('_')}")
        return Response(_OK, kind(answer.body))

    def frame(self, frame: bytes, chance: float) -> bytes:
        """With this chance no notice at all."""
        return self._cut_off(frame) if chance and self._rng.random() < chance else frame

    def _kinds_of(self, path: str) -> list[Callable[[bytes], bytes]]:
        if path == DELTA.path:
            return [self._unknown_signer, _altered_signatures, _another_workspace, _more_to_come]
        if path == WORKSPACES.path:
            return [self._without_a_device, _without_a_home]
        if path == CHUNKS_PATH:
            return [_altered_chunk, _altered_chunk]
        return []

    def _cut_off(self, body: bytes) -> bytes:
        return body[: self._rng.randrange(max(1, len(body)))]

    # Deltas

    def _unknown_signer(self, body: bytes) -> bytes:
        stranger = DeviceId(self._rng.randbytes(ID_LENGTH))
        return _with_commits(body, lambda commit: replace(commit, device=stranger))

    # The list of devices

    def _without_a_device(self, body: bytes) -> bytes:
        def without(member: Member) -> Member:
            left = list(member.devices)
            left.pop(self._rng.randrange(len(left)))
            return replace(member, devices=tuple(left))

        def strip(workspace: WorkspaceInfo) -> WorkspaceInfo:
            return replace(workspace, members=tuple(map(without, workspace.members)))

        reply = decode(WorkspacesReply, body, LARGE)
        return encode(replace(reply, workspaces=tuple(map(strip, reply.workspaces))))


def _refusal(code: Code, message: str, detail: bytes = b"") -> Response:
    return Response(_FAILED, encode(Refusal(code=code, message=message, detail=detail)))


def _page(_: bytes) -> bytes:
    return _PAGE


def _with_commits(body: bytes, change: Callable[[SignedCommit], SignedCommit]) -> bytes:
    delta = decode_delta(body)
    commits = [None if entry.commit is None else change(entry.commit) for entry in delta.entries]
    entries = (replace(entry, commit=commit) for entry, commit in zip(delta.entries, commits, strict=True))
    return encode(replace(delta, entries=tuple(entries)))


def _altered_signatures(body: bytes) -> bytes:
    return _with_commits(body, lambda commit: replace(commit, signature=commit.signature[::-1]))


def _altered_chunk(body: bytes) -> bytes:
    """At its end a pack has nothing but chunks."""
    return body[:-1] + bytes([body[-1] ^ 1])


def _another_workspace(body: bytes) -> bytes:
    return encode(replace(decode_delta(body), workspace=WorkspaceId(bytes(ID_LENGTH))))


def _more_to_come(body: bytes) -> bytes:
    delta = decode_delta(body)
    return encode(replace(delta, head=delta.head + 1))


def _without_a_home(body: bytes) -> bytes:
    reply = decode(WorkspacesReply, body, LARGE)
    return encode(replace(reply, workspaces=()))
