"""What a crash or a failing disk left half done: files that were in place already, but not yet recorded.

Such a file holds neither what SYNCED says nor, once the others have gone on, what REMOTE says: it would be taken for an
edit of the user's, and kept as a needless conflict copy, or brought back after a delete; one that somebody has moved
meanwhile would be new where it is, and come again where it was (law 11). So what is about to be put in place is noted
first, and a file that turns out to hold just that is agreed on.
"""

from collections.abc import Container, Iterator

from peer.tree_store import TreeStore
from peer.trees import Local, Placing, Synced
from protocol.commits import FILE
from protocol.identifiers import NodeId


def recover_placed(store: TreeStore, busy: Container[NodeId], postponed: Container[NodeId]) -> set[NodeId]:
    """Settle all notes but those of nodes with which something is under way. Returns the nodes to leave alone for the
    moment: what may be theirs has to be read first. LOCAL must be as the disk is.

    What can't be read, and so is `postponed`, holds nothing up.
    """
    notes = [note for note in store.placing() if note.agreed.node not in busy]
    unsettled: set[NodeId] = set()
    if not notes:
        return unsettled
    with store.database.transaction():
        for note in notes:
            agreed = note.agreed
            local = _found(store, note, busy)
            if local is not None and _is_unread(local):
                if local.node != agreed.node and local.node not in postponed:
                    unsettled.add(agreed.node)
                continue
            if local is not None:
                _agree(store, local, agreed)
            store.drop_placing([agreed.node])
    return unsettled


def waiting_for_a_look(store: TreeStore, busy: Container[NodeId]) -> set[NodeId]:
    """The nodes to leave alone while LOCAL may not be as the disk is: those of all notes, and what may turn out to be
    theirs. That would be sent as something new, though it may have been deleted elsewhere."""
    notes = store.placing()
    found = (_found(store, note, busy) for note in notes)
    return {note.agreed.node for note in notes} | {local.node for local in found if local is not None}


def _found(store: TreeStore, note: Placing, busy: Container[NodeId]) -> Local | None:
    """What is the file that was put in place, or may be once it is read."""
    places = (row for row in _places(store, note, busy) if _is_unread(row) or _is_it(row, note.agreed))
    return next(places, None)


def _places(store: TreeStore, note: Placing, busy: Container[NodeId]) -> Iterator[Local]:
    """What stands where the file was put, and what has its inode now: somebody may have moved it."""
    there = store.local_at(note.agreed.parent, note.agreed.name)
    if there is not None:
        yield there
    for row, gone in store.locals_by_inode(note.device, note.inode):
        if not gone and row.node not in busy:
            yield row


def _is_unread(local: Local) -> bool:
    return local.kind == FILE and local.content is None and not local.blocked


def _is_it(local: Local, agreed: Synced) -> bool:
    if local.kind != agreed.kind or local.content is None or agreed.content is None:
        return False
    return local.content.same_bytes(agreed.content)


def _agree(store: TreeStore, local: Local, agreed: Synced) -> None:
    if local.node != agreed.node:
        if store.local(agreed.node) is not None or store.synced(local.node) is not None:
            return  # another stands here, whatever it holds
        store.rename_local_node(local.node, agreed.node)
    store.put_synced(agreed)
