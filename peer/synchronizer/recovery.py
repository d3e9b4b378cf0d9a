"""What a crash or a failing disk left half done: files that were in place already, but not yet recorded.

Such a file holds neither what SYNCED says nor, once the others have gone on, what REMOTE says: it would be taken for an
edit of the user's, and kept as a needless conflict copy, or brought back after a delete (law 11). So what is about to
be put in place is noted first, and a file that turns out to hold just that is agreed on.
"""

from collections.abc import Container

from peer.tree_store import TreeStore
from peer.trees import Local, Synced
from protocol.commits import FILE
from protocol.identifiers import NodeId


def recover_placed(store: TreeStore, fetching: Container[NodeId], postponed: Container[NodeId]) -> set[NodeId]:
    """Settle all notes but those of the nodes being fetched now. Returns the nodes to leave alone for the moment: what
    stands at their place has to be read first. LOCAL must be as the disk is.

    What can't be read, and so is `postponed`, holds nothing up.
    """
    notes = [note for note in store.placing() if note.node not in fetching]
    unsettled: set[NodeId] = set()
    if not notes:
        return unsettled
    with store.database.transaction():
        for note in notes:
            local = store.local_at(note.parent, note.name)
            if local is not None and _is_unread(local):
                if local.node != note.node and local.node not in postponed:
                    unsettled.add(note.node)
                continue
            if local is not None and _is_it(local, note):
                _agree(store, local, note)
            store.drop_placing([note.node])
    return unsettled


def _is_unread(local: Local) -> bool:
    return local.kind == FILE and local.content is None and not local.blocked


def _is_it(local: Local, note: Synced) -> bool:
    if local.kind != note.kind or local.content is None or note.content is None:
        return False
    return local.content.same_bytes(note.content)


def _agree(store: TreeStore, local: Local, note: Synced) -> None:
    if local.node != note.node:
        if store.local(note.node) is not None or store.synced(local.node) is not None:
            return  # another stands here, whatever it holds
        store.rename_local_node(local.node, note.node)
    store.put_synced(note)
