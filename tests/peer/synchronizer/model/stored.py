"""The trees in a client database."""

from peer.database import Database
from peer.tree_store import TreeStore
from protocol.identifiers import ROOT, WorkspaceId
from tests.peer.synchronizer.model.trees import identifier, revision_of
from tests.peer.synchronizer.model.world import World


def store_of(database: Database, world: World) -> TreeStore:
    """The world's three trees, in a workspace of their own."""
    number = database.row("SELECT count(DISTINCT workspace) FROM dirty")[0] + 1
    store = TreeStore(database, WorkspaceId(identifier(number)))
    with database.transaction():
        store.mark_dirty(ROOT)
        for local in world.local.values():
            store.put_local(local)
        for remote in world.remote.values():
            store.put_remote(remote)
        for synced in world.synced.values():
            store.put_synced(synced)
        for version, content in world.versions.items():
            row = (store.workspace, version, b"", b"", b"", b"", content.digest, content.mtime_ns)
            marks = (content.executable, content.private, revision_of(version), 0, False)
            database.run("INSERT INTO versions VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?)", *row, *marks)
    return store
