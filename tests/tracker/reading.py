"""A device's REMOTE tree over this tracker's deltas: the real reader, where `folding.py` is one written apart."""

from collections.abc import Sequence

from peer.account import CertifiedDevice
from peer.database import open_database
from peer.problems import Problems
from peer.remote import Fold, RemoteTree, own_entry
from peer.tree_store import TreeStore
from peer.trees import Fingerprint, Local, Remote, Synced
from peer.version_store import VersionStore
from protocol.api import OWNER, CommitReply, DeltaRequest
from protocol.codec import encode
from protocol.commits import Commit
from protocol.deltas import Delta, decode_delta
from protocol.identifiers import DeviceId, NodeId, VersionId
from tests.support.tracker import Device
from tests.tracker.workshop import Workshop
from tracker.metadata.deltas import read_delta


class Reader:
    """REMOTE and SYNCED of one device, which takes in what the tracker says as `peer/synchronizer` does."""

    def __init__(self, shop: Workshop, device: Device | None = None) -> None:
        self._shop = shop
        self._device = (device or shop.author.device).id
        self._database = open_database(":memory:")
        workspace = shop.author.workspace
        self._store = TreeStore(self._database, workspace)
        self.remote = RemoteTree(
            database=self._database,
            store=self._store,
            versions=VersionStore(self._database, workspace),
            problems=Problems(self._database, workspace),
            keys=shop.account.keys,
        )

    def find(self, device: DeviceId) -> CertifiedDevice:
        """See `peer.remote.Signers`: every device that signs is the first one's user's."""
        key = next(each.signing.public for each in self._shop.devices if each.id == device)
        return CertifiedDevice(self._shop.account.user, key, bytes(32), OWNER, retired=False)

    async def pull(self) -> Sequence[Delta]:
        """Everything after the cursor; raises `NeedsSnapshot` where a device would start anew."""
        cursor = self.remote.cursor()
        fold, pages = Fold(snapshot=cursor.tracker_epoch is None), list[Delta]()
        request = DeltaRequest(workspace=self._shop.author.workspace, revision=0)
        if not fold.snapshot:
            request = DeltaRequest(
                workspace=request.workspace,
                revision=cursor.revision,
                tracker_epoch=cursor.tracker_epoch,
                hash=cursor.hash,
            )
        while not pages or pages[-1].through < pages[-1].head:
            if pages:
                last = pages[-1]
                request = DeltaRequest(
                    workspace=last.workspace, revision=last.through, tracker_epoch=last.tracker_epoch, hash=last.hash
                )
            pages.append(await self._ask(request))
            self._take(fold, pages[-1])
        self.remote.show(fold, pages[-1])
        return pages

    async def _ask(self, request: DeltaRequest) -> Delta:
        shop, epoch = self._shop, self._shop.tracker.services.identity.epoch
        return decode_delta(encode(await shop.database.read(read_delta, shop.account.user, request, epoch)))

    def take(self, delta: Delta) -> None:
        """A delta that came with a notice and follows on the cursor."""
        assert delta.since == self.remote.cursor().revision
        fold = Fold(snapshot=False)
        self._take(fold, delta)
        self.remote.show(fold, delta)

    def _take(self, fold: Fold, delta: Delta) -> None:
        if not fold.snapshot:
            self.remote.check_chain(delta)
        self.remote.take_in(fold, delta, self)

    def accept(self, commit: Commit, reply: CommitReply) -> None:
        """The answer to this device's own commit, as `Sending` takes it in."""
        cursor, device = self.remote.cursor(), self._device
        assert cursor.tracker_epoch is not None
        delta = Delta(
            workspace=commit.workspace,
            tracker_epoch=cursor.tracker_epoch,
            since=reply.since,
            through=reply.revision,
            head=reply.revision,
            hash=reply.hash,
            entries=(own_entry(commit, device, reply.revision, reply.time_ms),),
            announced=reply.announced,
        )
        fold = self.remote.accept(commit, delta.entries[0], device, reply.announced, reply.withdrawn)
        self.remote.show_own(fold, delta, cursor)

    def agree(self, node: NodeId, version: VersionId | None = None) -> None:
        """The folder has what REMOTE says, or this version of it."""
        self._store.agree(node, version)
        row = self._store.synced(node)
        assert row is not None
        self._store.put_local(
            Local(node, row.parent, row.name, row.kind, row.content, Fingerprint(1, 1, 1, 1, 1, 0o644))
        )

    def node(self, node: NodeId) -> Remote | None:
        return self._store.remote(node)

    def synced(self, node: NodeId) -> Synced | None:
        return self._store.synced(node)

    def nodes(self) -> dict[NodeId, Remote]:
        """All living nodes that it knows."""
        ids = [NodeId(node) for (node,) in self._database.rows("SELECT node FROM remote")]
        return {id: row for id in ids if (row := self._store.remote(id)) is not None}
