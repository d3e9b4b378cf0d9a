"""Changes of the past as commits: what they say, where they are cut, and what is done when no answer comes."""

from typing import Any

import pytest
from trio.testing import MockClock

from peer.history import committing
from peer.history.committing import STAGINGS, TRIES, Committing
from peer.history.past import CHANGED, DELETED, MOVED, RESTORED, Change, Located, Past, Stored
from peer.history.restoring import Found, Restoring
from peer.tracker_client import Backoff
from protocol.api import CLOSE, COMMIT, STAGE, CommitReply, Endpoint
from protocol.breaker import Approval, Changes, sign_approval
from protocol.commits import DIRECTORY, FILE, Commit, Create, Delete, Move, Operation, Restore, Write, decode_operation
from protocol.errors import Code, Problem, Refused, Unreachable
from protocol.history import PastNode
from protocol.identifiers import ROOT, ApprovalId, CommitHash, NodeId, PlaceMark, VersionId
from protocol.manifests import Manifest, open_manifest
from tests.peer.test_remote import OWN, Desk
from tests.support.tracker import seeded_machine

NODE, MARK, VERSION = NodeId(b"n" * 16), PlaceMark(b"p" * 16), VersionId(b"v" * 16)
STORED = Stored(VersionId(b"o" * 16), Manifest(size=4, mtime_ns=5, inline=b"text", executable=True), ())
REPLY = CommitReply(since=1, revision=2, hash=CommitHash(bytes(32)), time_ms=3)


class Client:
    """Fails as it is told, then answers."""

    def __init__(self, failures: dict[str, list[Exception]] | None = None) -> None:
        self.failures = failures or {}
        self.asked: list[tuple[str, Any]] = []
        self.client = self

    def backoff(self) -> Backoff:
        return Backoff(seeded_machine().random_bytes)

    async def call(self, endpoint: Endpoint[Any, Any], request: Any, **_: object) -> Any:
        self.asked.append((endpoint.path, request))
        if self.failures.get(endpoint.path):
            raise self.failures[endpoint.path].pop(0)
        return REPLY

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def maker(desk: Desk, client: Client) -> Committing:
    def approve(bound: Changes) -> Approval:
        return sign_approval(desk.remote.keys.workspace, OWN, ApprovalId(bytes(16)), 1, bound, desk.signing[OWN])

    return Committing(seeded_machine(), client, desk.remote, OWN, desk.signing[OWN], approve)  # type: ignore[arg-type]


def change(what: str, **more: Any) -> Change:
    return Change(NODE, more.pop("kind", FILE), what, ("a",), MARK, VERSION)._replace(**more)


async def operations(*changes: Change) -> list[Operation]:
    client = Client()
    await maker(Desk(), client).commit(changes)
    ((path, commit),) = client.asked
    assert path == COMMIT.path
    assert isinstance(commit, Commit)
    return [decode_operation(data) for data in commit.operations]


async def test_what_each_change_is() -> None:
    (delete,) = await operations(change(DELETED))
    assert isinstance(delete, Delete)
    assert (delete.base, delete.content_base) == (MARK, VERSION)
    (write,) = await operations(change(CHANGED, stored=STORED))
    assert isinstance(write, Write)
    assert write.base == VERSION
    move, write = await operations(change(MOVED, to=(ROOT, "b"), stored=STORED))
    assert (type(move), type(write)) == (Move, Write)
    restore, write = await operations(change(RESTORED, to=(ROOT, "b"), stored=STORED))
    assert isinstance(restore, Restore)
    assert (restore.base, restore.content_base, type(write)) == (MARK, VERSION, Write)
    (restore,) = await operations(change(RESTORED, to=(ROOT, "b"), kind=DIRECTORY, version=None))
    assert isinstance(restore, Restore)
    assert restore.kind == DIRECTORY


async def test_content_is_sealed_for_its_new_version() -> None:
    desk, client = Desk(), Client()
    await maker(desk, client).commit([change(CHANGED, stored=STORED)])
    write = decode_operation(client.asked[0][1].operations[0])
    assert isinstance(write, Write)
    assert write.content.version != STORED.version
    keys, content = desk.keys.newest, write.content
    manifest = open_manifest(keys, desk.keys.workspace, NODE, content.version, content.manifest, ())
    assert manifest == STORED.manifest


async def test_a_file_without_any_last_content_becomes_a_new_node() -> None:
    """Case 6 of restoring: its last version was withdrawn, an older one is in the cloud."""
    desk = Desk()
    now = PastNode(node=NODE, kind=FILE, parent=ROOT, place=MARK, deleted=True)
    past = Past(now, Located(ROOT, "a", MARK), STORED)
    found = Found(("a",), gone=[past])
    restoring = Restoring(None, desk.store, found, seeded_machine().random_bytes, 0)  # type: ignore[arg-type]
    (planned,) = await restoring.last()
    assert planned.node != NODE
    (create,) = await operations(planned)
    assert isinstance(create, Create)
    assert create.node == planned.node


async def test_what_is_large_goes_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [change(DELETED, node=NodeId(number.to_bytes(16, "big"))) for number in range(1, 2501)]
    desk, client = Desk(), Client()
    await maker(desk, client).commit(many)
    assert client.paths == [STAGE.path] * 3 + [CLOSE.path]
    assert [len(part.operations) for _, part in client.asked[:3]] == [1000, 1000, 500]
    monkeypatch.setattr(committing, "PART_BYTES", 1000)
    with pytest.raises(Problem, match="folder by folder"):
        await maker(desk, Client()).commit(many * 2)
    runs = Stored(STORED.version, STORED.manifest, tuple(bytes([number]) * 32 for number in range(200)))  # type: ignore[misc]
    monkeypatch.setattr(committing, "PART_BYTES", 1 << 20)
    parts = maker(desk, Client())._parts([change(CHANGED, stored=runs)] * 20)
    assert [len(part.operations) for part in parts] == [7, 7, 6]


async def test_lost_parts_are_staged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committing, "MAX_COMMIT_OPERATIONS", 1)
    two, lost = [change(DELETED)] * 2, Refused(Code.NOT_FOUND, "1 of 2 parts are not staged")
    client = Client({CLOSE.path: [lost]})
    assert await maker(Desk(), client).commit(two) == REPLY
    assert client.paths == [STAGE.path, STAGE.path, CLOSE.path] * 2
    assert client.asked[2] == client.asked[5], "the same ids, so that it can't be done twice"
    client = Client({CLOSE.path: [lost] * STAGINGS})
    with pytest.raises(Refused):
        await maker(Desk(), client).commit(two)


async def test_no_answer(autojump_clock: MockClock) -> None:
    client = Client({COMMIT.path: [Unreachable("no answer")] * (TRIES - 1)})
    assert await maker(Desk(), client).commit([change(DELETED)]) == REPLY
    assert len({commit.id for _, commit in client.asked}) == 1
    client = Client({COMMIT.path: [Unreachable("no answer")] * TRIES})
    with pytest.raises(Unreachable):
        await maker(Desk(), client).commit([change(DELETED)])
