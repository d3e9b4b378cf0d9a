"""REMOTE believes only what a member's device signed, and says so of whatever else a tracker may send."""

from dataclasses import dataclass, replace

import pytest

from bench.seeded import seeded_bytes
from peer.account import CertifiedDevice
from peer.database import Database, open_database
from peer.problems import Problems
from peer.remote import Cursor, Fold, NeedsSnapshot, RemoteTree, UnknownDevice, own_entry
from peer.tree_store import TreeStore
from peer.trees import Fingerprint, Local
from peer.version_store import VersionStore
from protocol.api import EDITOR, OWNER, VIEWER
from protocol.breaker import Approval, Changes, sign_approval
from protocol.commits import (
    DIRECTORY,
    FILE,
    Commit,
    Content,
    Create,
    Delete,
    Move,
    Operation,
    Place,
    Write,
    chain,
    encode_operation,
    first_chain_hash,
    operation_hash,
    sign_commit,
)
from protocol.deltas import Delta, Entry, Record, entry_digest
from protocol.errors import BadSignature
from protocol.identifiers import (
    ROOT,
    ApprovalId,
    CommitHash,
    CommitId,
    DeviceId,
    NodeId,
    PlaceMark,
    TrackerEpoch,
    UserId,
    VersionId,
    WorkspaceId,
)
from protocol.keys import WorkspaceKeys, new_workspace_keys
from protocol.manifests import Manifest, seal_manifest
from protocol.names import seal_name
from protocol.signing import SigningKey

EPOCH = TrackerEpoch(b"E" * 16)
OWN, OTHER = DeviceId(b"1" * 16), DeviceId(b"2" * 16)


@dataclass
class Signers:
    """The devices that count, as a test wants them."""

    devices: dict[DeviceId, CertifiedDevice]

    def find(self, device: DeviceId) -> CertifiedDevice | None:
        return self.devices.get(device)


class Desk:
    """A workspace's keys, two devices that write in it, and one's REMOTE tree."""

    def __init__(self) -> None:
        self.random = seeded_bytes("test_remote")
        self.keys: WorkspaceKeys = new_workspace_keys(WorkspaceId(self.random(16)), self.random)
        self.signing = {device: SigningKey(self.random(32)) for device in (OWN, OTHER)}
        self.signers = Signers({device: self.certified(device, OWNER) for device in (OWN, OTHER)})
        self.database: Database = open_database(":memory:")
        self.store = TreeStore(self.database, self.keys.workspace)
        self.versions = VersionStore(self.database, self.keys.workspace)
        self.problems = Problems(self.database, self.keys.workspace)
        self.remote = RemoteTree(
            database=self.database,
            store=self.store,
            versions=self.versions,
            problems=self.problems,
            keys=self.keys,
        )

    def certified(self, device: DeviceId, role: int) -> CertifiedDevice:
        return CertifiedDevice(UserId(b"u" * 16), self.signing[device].public, bytes(32), role, retired=False)

    def place(self, node: NodeId, name: str, parent: NodeId = ROOT) -> Place:
        sealed = seal_name(self.keys, parent, node, name, self.random)
        return Place(parent=parent, token=sealed.token, name=sealed.sealed, mark=sealed.place)

    def content(self, node: NodeId, data: bytes) -> Content:
        manifest = Manifest(size=len(data), mtime_ns=1, inline=data)
        sealed = seal_manifest(self.keys.newest, self.keys.workspace, node, manifest, (), self.random)
        return Content(version=sealed.version, manifest=sealed.sealed)

    def file(self, name: str, data: bytes = b"data", parent: NodeId = ROOT) -> Create:
        node = NodeId(self.random(16))
        return Create(node=node, kind=FILE, place=self.place(node, name, parent), content=self.content(node, data))

    def folder(self, name: str) -> Create:
        node = NodeId(self.random(16))
        return Create(node=node, kind=DIRECTORY, place=self.place(node, name))

    def commit(self, *operations: Operation, device: DeviceId = OTHER) -> Commit:
        return sign_commit(
            workspace=self.keys.workspace,
            device=device,
            epoch=1,
            commit=CommitId(self.random(16)),
            seen=self.remote.cursor().hash,
            operations=tuple(encode_operation(operation) for operation in operations),
            runs=(),
            signing_key=self.signing[device],
        )

    def delta(self, *entries: Entry, since: int | None = None, announced: tuple[VersionId, ...] = ()) -> Delta:
        cursor = self.remote.cursor()
        start = cursor.revision if since is None else since
        after = cursor.hash
        for entry in entries:
            after = chain(after, entry.revision, entry_digest(self.keys.workspace, entry))
        through = max((entry.revision for entry in entries), default=start)
        return Delta(
            workspace=self.keys.workspace,
            tracker_epoch=EPOCH,
            since=start,
            through=through,
            head=through,
            hash=after,
            entries=entries,
            announced=announced,
        )

    def take(self, *entries: Entry, snapshot: bool = False, announced: tuple[VersionId, ...] = ()) -> None:
        delta = self.delta(*entries, since=0 if snapshot else None, announced=announced)
        fold = Fold(snapshot=snapshot)
        if not snapshot:
            self.remote.check_chain(delta)
        self.remote.take_in(fold, delta, self.signers)
        self.remote.show(fold, delta)

    def names(self) -> set[str]:
        return {row[0] for row in self.database.rows("SELECT name FROM remote")}


@pytest.fixture
def desk() -> Desk:
    return Desk()


def entry(commit: Commit, revision: int, device: DeviceId = OTHER) -> Entry:
    return own_entry(commit, device, revision, 1000)


def test_a_signed_commit_is_taken_in(desk: Desk) -> None:
    desk.take(entry(desk.commit(desk.folder("docs"), desk.file("letter.txt")), 1))
    assert desk.names() == {"docs", "letter.txt"}
    assert desk.remote.cursor().revision == 1


def test_a_commit_signed_by_another_key_is_refused_whole(desk: Desk) -> None:
    commit = replace(desk.commit(desk.file("letter.txt")), signature=bytes(64))
    with pytest.raises(BadSignature):
        desk.take(entry(commit, 1))
    assert desk.names() == set()
    assert desk.remote.cursor().revision == 0


def test_an_operation_added_by_the_tracker_is_refused(desk: Desk) -> None:
    honest = entry(desk.commit(desk.file("letter.txt")), 1)
    assert honest.commit is not None
    smuggled = encode_operation(desk.file("smuggled"))
    forged = replace(honest, commit=replace(honest.commit, items=(*honest.commit.items, smuggled)))
    with pytest.raises(BadSignature):
        desk.take(forged)


def test_a_device_nobody_certified_is_asked_about(desk: Desk) -> None:
    del desk.signers.devices[OTHER]
    with pytest.raises(UnknownDevice):
        desk.take(entry(desk.commit(desk.file("letter.txt")), 1))


def test_a_viewer_writes_nothing(desk: Desk) -> None:
    desk.signers.devices[OTHER] = desk.certified(OTHER, VIEWER)
    with pytest.raises(BadSignature):
        desk.take(entry(desk.commit(desk.file("letter.txt")), 1))
    desk.signers.devices[OTHER] = desk.certified(OTHER, EDITOR)
    desk.take(entry(desk.commit(desk.file("letter.txt")), 1))


def approval(desk: Desk, device: DeviceId) -> Approval:
    id = ApprovalId(bytes(16))
    return sign_approval(desk.keys.workspace, device, id, 1, Changes(1, 1), desk.signing[device])


def test_what_its_device_has_approved_is_told(desk: Desk) -> None:
    told: list[set[NodeId]] = []
    desk.remote.tell_approved = lambda operations: told.append({each.node for each in operations})
    gone, changed = desk.file("gone"), desk.file("changed")
    assert gone.content is not None
    assert changed.content is not None
    delete = Delete(node=gone.node, base=gone.place.mark, mark=PlaceMark(b"m" * 16), content_base=gone.content.version)
    write = Write(node=changed.node, base=changed.content.version, content=desk.content(changed.node, b"new"))
    commit = replace(desk.commit(delete, write, desk.file("new")), approval=approval(desk, OTHER))
    desk.take(entry(desk.commit(gone, changed), 1))
    desk.take(entry(commit, 2))
    assert told == [set(), {gone.node, changed.node}]


def test_an_approval_of_another_device_is_none_but_the_commit_stands(desk: Desk) -> None:
    told: list[Operation] = []
    desk.remote.tell_approved = told.extend
    gone = desk.file("gone")
    assert gone.content is not None
    delete = Delete(node=gone.node, base=gone.place.mark, mark=PlaceMark(b"m" * 16), content_base=gone.content.version)
    desk.take(entry(desk.commit(gone), 1))
    desk.take(entry(replace(desk.commit(delete), approval=approval(desk, OWN)), 2))
    assert not told
    assert desk.names() == set()


def test_one_name_that_cannot_be_opened_stops_only_its_node(desk: Desk) -> None:
    good, bad = desk.file("good"), desk.file("bad")
    moved_name = replace(bad, place=replace(bad.place, name=good.place.name))
    desk.take(entry(desk.commit(good, moved_name), 1))
    assert desk.names() == {"good"}
    assert len(desk.problems.all()) == 1


def test_one_manifest_of_another_node_stops_only_its_node(desk: Desk) -> None:
    good, bad = desk.file("good"), desk.file("bad")
    desk.take(entry(desk.commit(good, replace(bad, content=good.content)), 1))
    assert desk.names() == {"good"}


def test_a_rewritten_order_asks_for_a_snapshot(desk: Desk) -> None:
    delta = replace(desk.delta(entry(desk.commit(desk.file("letter.txt")), 1)), hash=CommitHash(bytes(32)))
    with pytest.raises(NeedsSnapshot):
        desk.remote.check_chain(delta)


def test_a_change_of_an_unknown_node_asks_for_a_snapshot(desk: Desk) -> None:
    node = NodeId(desk.random(16))
    write = Write(node=node, base=VersionId(bytes(16)), content=desk.content(node, b"x"))
    with pytest.raises(NeedsSnapshot):
        desk.take(entry(desk.commit(write), 1))
    assert desk.remote.cursor().revision == 0


def test_a_move_and_a_write_stand_without_their_overtaken_create(desk: Desk) -> None:
    create = desk.file("first name")
    commit = desk.commit(create)
    overtaken = entry(commit, 1)
    assert overtaken.commit is not None
    hashed = replace(overtaken, commit=replace(overtaken.commit, items=(operation_hash(commit.operations[0]),)))
    assert create.content is not None
    write = Write(node=create.node, base=create.content.version, content=desk.content(create.node, b"second"))
    place = desk.place(create.node, "second name")
    move = Move(node=create.node, base=create.place.mark, place=place, kind=FILE)
    desk.take(hashed, entry(desk.commit(write), 2), entry(desk.commit(move), 3), snapshot=True)
    row = desk.store.remote(create.node)
    assert row is not None
    assert (row.name, row.kind, row.version) == ("second name", FILE, write.content.version)


def test_names_that_change_hands_on_the_way_do_not_collide(desk: Desk) -> None:
    first, second = desk.file("a"), desk.file("b")
    desk.take(entry(desk.commit(first, second), 1))
    away = Move(node=first.node, base=first.place.mark, place=desk.place(first.node, "c"), kind=FILE)
    takes = Move(node=second.node, base=second.place.mark, place=desk.place(second.node, "a"), kind=FILE)
    back = Move(node=first.node, base=away.place.mark, place=desk.place(first.node, "b"), kind=FILE)
    early = entry(desk.commit(away), 2)
    assert early.commit is not None
    hashed = replace(early, commit=replace(early.commit, items=(operation_hash(encode_operation(away)),)))
    desk.take(hashed, entry(desk.commit(takes), 3), entry(desk.commit(back), 4))
    assert [desk.store.remote(node) and desk.store.remote(node).name for node in (first.node, second.node)] == [  # type: ignore[union-attr]
        "b",
        "a",
    ]


def test_an_announced_version_waits_for_its_record(desk: Desk) -> None:
    create = desk.file("large")
    assert create.content is not None
    version = create.content.version
    desk.take(entry(desk.commit(create), 1), announced=(version,))
    row = desk.store.remote(create.node)
    assert row is not None
    assert not row.in_the_cloud
    desk.take(Entry(revision=2, time_ms=1, record=Record(durable=((create.node, version),))))
    row = desk.store.remote(create.node)
    assert row is not None
    assert row.in_the_cloud


def test_a_withdrawn_version_becomes_an_edit_of_whoever_has_it(desk: Desk) -> None:
    create = desk.file("report", b"one")
    assert create.content is not None
    desk.take(entry(desk.commit(create), 1))
    second = desk.content(create.node, b"two")
    write = Write(node=create.node, base=create.content.version, content=second)
    desk.take(entry(desk.commit(write), 2), announced=(second.version,))
    desk.store.agree(create.node)
    desk.store.put_local(Local(create.node, ROOT, "report", FILE, None, Fingerprint(1, 1, 1, 1, 1, 0o644)))
    row = (create.node, second.version, create.content.version)
    desk.take(Entry(revision=3, time_ms=1, record=Record(withdrawn=(row,))))
    remote, synced = desk.store.remote(create.node), desk.store.synced(create.node)
    assert remote is not None
    assert synced is not None
    assert remote.version == synced.version == create.content.version


def test_a_delete_of_a_withdrawn_version_is_none_of_the_one_before(desk: Desk) -> None:
    create = desk.file("report", b"one")
    assert create.content is not None
    desk.take(entry(desk.commit(create), 1))
    for content, kept in ((desk.content(create.node, b"two"), False), (desk.content(create.node, b"one"), True)):
        write = Write(node=create.node, base=create.content.version, content=content)
        desk.take(entry(desk.commit(write), 2), announced=(content.version,))
        desk.store.agree(create.node)
        row = (create.node, content.version, create.content.version)
        desk.take(Entry(revision=3, time_ms=1, record=Record(withdrawn=(row,))))
        assert (desk.store.synced(create.node) is not None) == kept


@pytest.mark.parametrize("held", ["the withdrawn version", "an older one", "none"])
def test_a_withdrawal_that_leaves_nothing_makes_new_what_is_here(desk: Desk, held: str) -> None:
    create = desk.file("report", b"one")
    assert create.content is not None
    first, second = create.content.version, desk.content(create.node, b"two")
    desk.take(entry(desk.commit(create), 1), announced=(first,))
    if held == "an older one":
        desk.store.agree(create.node)
    write = Write(node=create.node, base=first, content=second)
    desk.take(entry(desk.commit(write), 2), announced=(second.version,))
    if held == "the withdrawn version":
        desk.store.agree(create.node)
    desk.take(Entry(revision=3, time_ms=1, record=Record(withdrawn=((create.node, second.version, None),))))
    assert desk.names() == set()
    assert desk.store.synced(create.node) is None, "agreed on and not there would count as deleted"


def test_a_record_about_a_node_that_is_not_known_says_nothing(desk: Desk) -> None:
    create = desk.file("old")
    assert create.content is not None
    node, version = create.node, create.content.version
    desk.take(entry(desk.commit(create), 1), announced=(version,))
    delete = Delete(node=node, base=create.place.mark, mark=PlaceMark(desk.random(16)), content_base=version)
    desk.take(entry(desk.commit(delete), 2))
    withdrawn = ((node, version, VersionId(bytes(16))), (NodeId(bytes(16)), version, None))
    desk.take(Entry(revision=3, time_ms=1, record=Record(durable=((node, version),))))
    desk.take(Entry(revision=4, time_ms=1, record=Record(withdrawn=withdrawn)))
    assert desk.names() == set()
    assert desk.remote.cursor().revision == 4


def test_a_snapshot_never_makes_a_delete(desk: Desk) -> None:
    kept, lacking = desk.file("kept"), desk.file("lacking")
    first = entry(desk.commit(kept), 1)
    desk.take(first, entry(desk.commit(lacking), 2))
    desk.store.agree(kept.node)
    desk.store.agree(lacking.node)
    desk.take(first, snapshot=True)
    assert desk.names() == {"kept"}
    assert desk.store.synced(kept.node) is not None
    assert desk.store.synced(lacking.node) is None, "agreed on and not there would count as deleted"


def test_an_accepted_commit_is_in_both_trees_at_once_even_with_revisions_between(desk: Desk) -> None:
    desk.take(entry(desk.commit(desk.file("theirs")), 1))
    mine = desk.file("mine")
    desk.store.put_local(Local(mine.node, ROOT, "mine", FILE, None, Fingerprint(1, 1, 1, 1, 1, 0o644)))
    commit = desk.commit(mine, device=OWN)
    cursor = desk.remote.cursor()
    between = Cursor(cursor.tracker_epoch, cursor.revision, cursor.hash)
    with desk.database.transaction():
        fold = desk.remote.accept(commit, own_entry(commit, OWN, 3, 1000), OWN)
        desk.remote.show_own(fold, replace(desk.delta(entry(commit, 3, OWN)), since=2), between)
    assert desk.store.synced(mine.node) is not None
    assert desk.store.remote(mine.node) is not None
    assert desk.remote.cursor().revision == 1, "what lies between is still to be pulled"


def test_what_is_ignored_by_the_time_its_commit_is_answered_is_not_agreed_on(desk: Desk) -> None:
    """LOCAL has forgotten it: as agreed on it would count as deleted here, once it is ignored no longer. Found by the
    simulation with ignore rules."""
    mine = desk.file("mine")
    commit = desk.commit(mine, device=OWN)
    with desk.database.transaction():
        desk.remote.accept(commit, own_entry(commit, OWN, 1, 1000), OWN)
    assert desk.store.synced(mine.node) is None


def test_a_deleted_node_leaves_remote_and_stays_agreed_on(desk: Desk) -> None:
    create = desk.file("old")
    assert create.content is not None
    desk.take(entry(desk.commit(create), 1))
    desk.store.agree(create.node)
    mark = PlaceMark(desk.random(16))
    delete = Delete(node=create.node, base=create.place.mark, mark=mark, content_base=create.content.version)
    desk.take(entry(desk.commit(delete), 2))
    assert desk.store.remote(create.node) is None
    assert desk.store.synced(create.node) is not None


def test_the_first_cursor_is_the_start_of_the_chain(desk: Desk) -> None:
    assert desk.remote.cursor() == (None, 0, first_chain_hash(desk.keys.workspace))


def test_a_tracker_that_was_restored_from_a_backup_replaces_nothing_newer(desk: Desk) -> None:
    create = desk.file("report", b"one")
    assert create.content is not None
    first = entry(desk.commit(create), 1)
    desk.take(first)
    write = Write(node=create.node, base=create.content.version, content=desk.content(create.node, b"two"))
    desk.take(entry(desk.commit(write), 2))
    desk.store.agree(create.node)
    desk.take(first, snapshot=True)
    remote = desk.store.remote(create.node)
    assert remote is not None
    assert remote.version == create.content.version
    assert desk.store.synced(create.node) is None, "what is here counts as an edit, and is kept beside"


def test_what_cannot_be_used_does_not_count_as_deleted(desk: Desk) -> None:
    kept, good = desk.file("kept"), desk.file("good")
    desk.take(entry(desk.commit(kept, good), 1))
    desk.store.agree(kept.node)
    assert kept.content is not None
    assert good.content is not None
    write = Write(
        node=kept.node, base=kept.content.version, content=replace(good.content, version=VersionId(b"v" * 16))
    )
    desk.take(entry(desk.commit(write), 2))
    row = desk.store.remote(kept.node)
    assert row is not None
    assert row.version == kept.content.version
    assert len(desk.problems.all()) == 1


def test_a_node_that_cannot_be_used_is_left_as_it_was_by_a_snapshot_too(desk: Desk) -> None:
    kept, other = desk.file("kept"), desk.file("other")
    desk.take(entry(desk.commit(kept, other), 1))
    desk.store.agree(kept.node)
    moved = Move(node=kept.node, base=kept.place.mark, place=replace(other.place, name=kept.place.name), kind=FILE)
    desk.take(entry(desk.commit(replace(kept, content=other.content), other), 1), snapshot=True)
    assert desk.names() == {"kept", "other"}
    desk.take(entry(desk.commit(moved), 2))
    assert desk.names() == {"kept", "other"}


def test_a_node_that_cannot_be_used_and_whose_name_is_taken_counts_as_new(desk: Desk) -> None:
    kept = desk.file("kept")
    desk.take(entry(desk.commit(kept), 1))
    desk.store.agree(kept.node)
    taker, moved = desk.file("kept"), desk.place(kept.node, "elsewhere")
    unusable = Move(node=kept.node, base=kept.place.mark, place=replace(moved, name=taker.place.name), kind=FILE)
    desk.take(entry(desk.commit(unusable, taker), 2))
    assert desk.store.remote(kept.node) is None
    assert desk.store.synced(kept.node) is None
    assert desk.names() == {"kept"}
