"""What a path means: the node that has it in one of the three trees, and the node's rows in all of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peer.peer import Peer
from peer.root import Names, open_folder
from peer.synchronizer.steps import Step
from peer.tree_store import TreeStore
from peer.trees import Local, Remote, Synced
from protocol.errors import WrongRoot
from protocol.identifiers import ROOT, NodeId
from protocol.names import RESERVED


@dataclass(frozen=True, slots=True)
class Subject:
    """A path and what stands there, or stood when both sides last agreed. `node` is None when no tree has it. Where
    LOCAL hasn't it, `on_disk` is whether the disk has. `shadowed`: the tracker has another node under this name."""

    names: Names
    node: NodeId | None = None
    local: Local | None = None
    remote: Remote | None = None
    synced: Synced | None = None
    step: Step | None = None
    dirty: bool = False
    on_disk: bool = False
    shadowed: bool = False

    @property
    def reserved(self) -> bool:
        """Whether it is Shoal's own."""
        return self.names[:1] == (RESERVED,)


async def find_subject(peer: Peer, names: Names) -> Subject:
    """Look a path up: what is here under this name first, then what the tracker has, then what was agreed on."""
    store = peer.context.store
    finders: Sequence[_Finder] = (_local_at(store), _remote_at(store), store.synced_at)
    if not _speakable(names):
        finders = ()
    found = [node for finder in finders if (node := _walk(finder, names)) not in (None, ROOT)]
    if not found:
        return Subject(names, on_disk=await _is_on_disk(peer, names))
    node = found[0]
    assert node is not None
    there, local = _walk(_remote_at(store), names), store.local(node)
    return Subject(
        names,
        node,
        local,
        store.remote(node),
        store.synced(node),
        peer.synchronizer.progress.steps.get(node),
        store.is_dirty(node),
        on_disk=local is None and await _is_on_disk(peer, names),
        shadowed=there is not None and there != node,
    )


_Finder = Callable[[NodeId, str], NodeId | None]


def _local_at(store: TreeStore) -> _Finder:
    def find(parent: NodeId, name: str) -> NodeId | None:
        row = store.local_at(parent, name)
        return None if row is None else row.node

    return find


def _remote_at(store: TreeStore) -> _Finder:
    def find(parent: NodeId, name: str) -> NodeId | None:
        row = store.remote_at(parent, name)
        return None if row is None else row.node

    return find


def _walk(finder: _Finder, names: Names) -> NodeId | None:
    node: NodeId | None = ROOT
    for name in names:
        node = None if node is None else finder(node, name)
    return node


def _speakable(names: Names) -> bool:
    """Whether the trees can hold such a path: they are UTF-8."""
    try:
        "/".join(names).encode()
    except UnicodeEncodeError:
        return False
    return True


async def _is_on_disk(peer: Peer, names: Names) -> bool:
    context = peer.context

    def look() -> bool:
        try:
            with open_folder(context.disk, context.root) as folder:
                context.disk.stat(folder.directory(names[:-1]), names[-1])
        except (OSError, WrongRoot):
            return False
        return True

    return bool(names) and await context.machine.offload(look, context.limiter)
