"""The planner: given a slice of the three trees, which step comes next for each dirty node.

Pure: no clock, no disk, no network. It doesn't aim at the end in one go; each step is right on its own, the executor
carries out what it can, the trees change, and the planner is asked again until nothing is left to do.

The cases, by where a node is (L: on the disk, R: at the tracker, S: when both last agreed):

     1  none of L, R                          forgotten
     2  L only                                new here: sent, unless its name is taken (10)
     3  R only                                new there: made here, once its folder, its name and its content are there
        3.1  its head can't be had            the durable head until it can; without one it is awaited
     4  L, S; not R                           deleted there
        4.1  its bytes changed here           kept as a new node (edit beats delete), also if it can't be sent
        4.2  a folder with something worth keeping inside: kept as a new node
        4.3  otherwise                        taken off the disk
     5  R, S; not L                           deleted here
        5.1  its bytes changed there          taken as new there (edit beats delete)
        5.2  a folder that got something new there: taken as new there
        5.3  otherwise                        delete sent
     6  L and R at different places
        6.1  moved there, or on both sides    moved here: the tracker's order wins
        6.2  moved here only                  sent; where that would put a folder into itself, moved back
        6.3  names that wait for each other   one of them steps aside
        6.4  of different kinds               ours is kept as a new node
     7  L and R at one place, same content    agreed
     8  changed on one side only              sent or fetched
        8.1  the head there can't be had      the durable head, if it is newer than what is here; else it is awaited
     9  changed on both sides
        9.1  same bytes                       the tracker's time and permissions win
        9.2  other bytes on one side only     sent or fetched, with that side's time and permissions
        9.3  otherwise                        ours becomes a conflict copy, also if it can't be sent; theirs is fetched
        9.4  the head there can't be had      awaited; once it has stalled, ours is sent as made on the durable head
    10  the name that L has or wants belongs to another at the tracker
        10.1 both are new folders, or new with the same bytes: ours takes over the other's id
        10.2 the other leaves that name in the same commit: sent
        10.3 the other is new there or was moved there: ours takes a conflict name, also if it can't be sent
    11  R is not wanted here: it is excluded or ignored, or in a folder that is
        11.1 not on the disk                  left alone: not fetched; nothing is agreed on it, so nothing is deleted
        11.2 L is as agreed                   taken off the disk
        11.3 L was changed or moved here      sent as ever (6.2, 8, 9), then taken off the disk
        11.4 a folder with something inside that can't be sent: kept as a new node
        11.5 the name that L has or wants is its: ours takes a conflict name
        11.6 a folder whose name something inside waits for: it steps aside, as in 6.3
    12  L is a folder that was to be removed (4.3, 11.2) and holds what is ignored: it stays, and isn't sent
    13  R only, and the ignore rules of a folder above are there but not here: they come first
"""

from collections.abc import Iterable, Sequence

from peer.synchronizer.slices import Slice
from peer.synchronizer.steps import (
    Adopt,
    Agree,
    Await,
    Clean,
    Fetch,
    Forget,
    MakeDirectory,
    MoveLocal,
    Read,
    RemoveLocal,
    Renew,
    SendCreate,
    SendDelete,
    SendMove,
    SendWrite,
    SetAside,
    SetAttributes,
    Step,
    StepAside,
    Wait,
    aside_name,
    aside_node,
)
from peer.trees import Local, Remote, Synced
from protocol.commits import DIRECTORY
from protocol.identifiers import ROOT, NodeId, VersionId


def plan(view: Slice) -> list[Step]:
    """One step for each dirty node, in an order in which they can be carried out one after the other."""
    planner = _Planner(view)
    steps = {node: planner.decide(node) for node in view.dirty}
    return ground(view, sorted(steps.values(), key=lambda step: _rank(view, step)))


class _Planner:
    """Decides node by node, remembering what it decided: one node's step may hang on another's."""

    def __init__(self, view: Slice) -> None:
        self.view = view
        self.decided: dict[NodeId, Step] = {}
        self.open: set[NodeId] = set()
        # What open nodes become if all that they hang on comes true. One commit may hold it all, so those who hang on
        # each other hope for each other, and `ground` drops them together where one can't.
        self.hopes: dict[NodeId, type[Step]] = {}

    def decide(self, node: NodeId) -> Step:
        """The next step for one node."""
        if node in self.decided:
            return self.decided[node]
        if node in self.open:
            return Wait(node, "each waits for the other")
        self.open.add(node)
        step = self._decide(node)
        self.open.discard(node)
        self.decided[node] = step
        return step

    def _will(self, node: NodeId, *kinds: type[Step]) -> bool:
        if node in self.open:
            return self.hopes.get(node) in kinds
        return isinstance(self.decide(node), kinds)

    def _decide(self, node: NodeId) -> Step:
        local, remote, synced = self.view.local.get(node), self.view.remote.get(node), self.view.synced.get(node)
        if local is None and remote is None:  # 1
            return Forget(node) if synced is not None else Clean(node)
        if local is not None and remote is not None and local.kind != remote.kind:  # 6.4
            return kept(local)
        if remote is not None and node in self.view.unwanted:
            return self._not_wanted(local, remote, synced)
        if local is not None and remote is not None:
            return self._on_both_sides(local, remote, synced)
        if local is not None:
            return self._new_here(local) if synced is None else self._deleted_there(local, synced)
        assert remote is not None
        return self._new_there(remote) if synced is None else self._deleted_here(remote, synced)

    # Cases 2 and 3 --------------------

    def _new_here(self, local: Local) -> Step:
        holder = self.view.remote_at(local.parent, local.name)
        if local.blocked:  # it stands among the problems, and is left alone, but can't keep a name that isn't free
            return Clean(local.node) if holder is None else self._name_taken(local, holder, Clean(local.node))
        send: Step = SendCreate(local.node) if local.wanted else Clean(local.node)  # 12
        if local.content is None and local.kind != DIRECTORY:
            return Read(local.node)
        if aside_node(local.name) is not None:
            return SetAside(local.node, renew=True)  # what name it had is not known any more
        self.hopes[local.node] = SendCreate
        if holder is not None:
            return self._name_taken(local, holder, send)
        if not local.wanted:
            return send
        if not self._parent_will_be_there(local.parent):
            return Wait(local.node, "its folder comes first")
        return send

    def _new_there(self, remote: Remote) -> Step:
        node = remote.node
        if node in self.view.ruleless:  # 13
            return Wait(node, "the ignore rules of its folder come first")
        if not self._parent_will_be_here(remote.parent):
            return Wait(node, "its folder comes first")
        if self.view.local_at(remote.parent, remote.name) is not None:
            return Wait(node, "its name is taken here")
        if remote.kind == DIRECTORY:
            return MakeDirectory(node)
        return self._fetch(remote, None)

    def _parent_will_be_there(self, parent: NodeId) -> bool:
        return parent == ROOT or parent in self.view.remote or self._will(parent, SendCreate)

    def _parent_will_be_here(self, parent: NodeId) -> bool:
        return parent == ROOT or parent in self.view.local or isinstance(self.decide(parent), MakeDirectory)

    # Case 4 --------------------

    def _deleted_there(self, local: Local, synced: Synced) -> Step:
        node = local.node
        if local.kind == DIRECTORY:
            return self._deleted_directory(local)
        if local.blocked:
            return kept(local)  # 4.1
        if local.content is None:
            return Read(node)
        if synced.content is None or not local.content.same_bytes(synced.content):
            return kept(local)  # 4.1
        return RemoveLocal(node)  # 4.3

    def _deleted_directory(self, local: Local) -> Step:
        node = local.node
        fates = {self._fate_here(child) for child in self.view.local_children(node)}
        if "stays" in fates:  # 4.2
            return kept(local)
        if "waits" not in fates:  # 4.3
            return RemoveLocal(node)
        return StepAside(node) if self._steps_aside(node) else Wait(node, "what is inside goes first")

    def _fate_here(self, child: NodeId) -> str:
        synced, remote = self.view.synced.get(child), self.view.remote.get(child)
        if remote is None and not self.view.local[child].wanted:
            return "goes"  # as far as it ever will
        if synced is None or (remote is not None and not _moved(remote, synced)):
            return "stays"  # new here, or brought here by the user
        step = self.decide(child)
        if isinstance(step, RemoveLocal | MoveLocal):
            return "goes"
        return "stays" if isinstance(step, Renew | SetAside) else "waits"

    # Case 5 --------------------

    def _deleted_here(self, remote: Remote, synced: Synced) -> Step:
        node = remote.node
        self.hopes[node] = SendDelete
        if remote.kind == DIRECTORY:
            fates = {self._fate_there(child) for child in self.view.remote_children(node)}
            if "stays" in fates:
                return Forget(node)  # 5.2
            return Wait(node, "what is inside goes first") if "waits" in fates else SendDelete(node)  # 5.3
        if remote.content is None or synced.content is None or not remote.content.same_bytes(synced.content):
            return Forget(node)  # 5.1
        return SendDelete(node)  # 5.3

    def _fate_there(self, child: NodeId) -> str:
        remote, synced = self.view.remote[child], self.view.synced.get(child)
        if synced is None or (child in self.view.local and _moved(remote, synced)):
            return "stays"  # new there, or brought there by another device
        if self._will(child, SendDelete, SendMove):
            return "goes"
        return "stays" if self._will(child, Forget) else "waits"

    # Case 6 --------------------

    def _on_both_sides(self, local: Local, remote: Remote, synced: Synced | None) -> Step:
        if (local.parent, local.name) != (remote.parent, remote.name):
            if self._goes_where_remote_is(local, remote, synced):
                return self._move_here(local, remote)  # 6.1
            return self._move_there(local, remote)  # 6.2
        if local.kind == DIRECTORY:
            return _agree(remote, synced)
        return self._content(local, remote, synced)

    def _goes_where_remote_is(self, local: Local, remote: Remote, synced: Synced | None) -> bool:
        """Of a node whose places differ: whether it is moved here, not sent."""
        if synced is None or _moved(remote, synced) or local.name == aside_name(local.node):
            return True
        return self._would_contain_itself(local)

    def _would_contain_itself(self, local: Local) -> bool:
        """Whether sending its place, with all other moves made here, would put a folder into itself."""
        above, seen = local.parent, set[NodeId]()
        while above not in (ROOT, local.node) and above not in seen:
            seen.add(above)
            here, there, synced = self.view.local.get(above), self.view.remote.get(above), self.view.synced.get(above)
            sent = there is None or (here is not None and synced is not None and not _moved(there, synced))
            row = here if sent else there
            if row is None:
                return False
            above = row.parent
        return above == local.node

    def _move_here(self, local: Local, remote: Remote) -> Step:
        node = local.node
        if not self._parent_will_be_here(remote.parent):
            return StepAside(node) if self._steps_aside(node) else Wait(node, "its folder comes first")
        if node in self.view.local_path(remote.parent):
            return StepAside(node) if self._steps_aside(node) else Wait(node, "a folder can't be moved into itself")
        holder = self.view.local_at(remote.parent, remote.name)
        if holder is None or holder == node:
            return MoveLocal(node)
        return StepAside(node) if self._steps_aside(node) else Wait(node, "its name is taken here")

    def _steps_aside(self, node: NodeId) -> bool:  # 6.3
        """Whether this is the one to free its name, of nodes that wait for each other's on the disk."""
        blocks = self._blocks(node)
        ring = {node} & blocks.keys()
        fresh = ring
        while fresh:  # those who wait, in turn, for one of the ring
            fresh = {other for other, before in blocks.items() if other not in ring and before & ring}
            ring |= fresh
        wanted = (self._wanted_name(other) for other in ring)
        return node == min((other for other in wanted if other in ring and self._may_step_aside(other)), default=None)

    def _blocks(self, node: NodeId) -> dict[NodeId, set[NodeId]]:
        """What `node` waits for on the disk, what that waits for, and so on."""
        blocks: dict[NodeId, set[NodeId]] = {}
        fresh = {node}
        while fresh:
            blocks |= {other: self._waits_for(other) for other in fresh}
            fresh = {before for other in fresh for before in blocks[other]} - blocks.keys()
        return blocks

    def _waits_for(self, node: NodeId) -> set[NodeId]:
        """The nodes that have to move, come or go on the disk before this one can be as REMOTE has it."""
        local, remote, synced = self.view.local.get(node), self.view.remote.get(node), self.view.synced.get(node)
        if node in self.view.unwanted:
            return set(self.view.local_children(node))
        if remote is None:
            return set(self.view.local_children(node)) if synced is not None else set()
        if local is not None:
            stays = (local.parent, local.name) == (remote.parent, remote.name)
            if stays or not self._goes_where_remote_is(local, remote, synced):
                return set()
        holder = self.view.local_at(remote.parent, remote.name)
        out = {holder} if holder is not None and holder != node else set()
        if remote.parent != ROOT and remote.parent not in self.view.local:
            out.add(remote.parent)
        path = list(self.view.local_path(remote.parent))
        return out | set(path[: path.index(node)]) if node in path else out

    def _wanted_name(self, node: NodeId) -> NodeId | None:
        """Who has, on the disk, the name that a node waits for."""
        remote = self.view.remote.get(node)
        if remote is None or node in self.view.unwanted:
            return None
        return self.view.local_at(remote.parent, remote.name)

    def _may_step_aside(self, node: NodeId) -> bool:
        """Not if it turns out to be worth keeping: then its name is the user's."""
        if node in self.view.remote:
            return True
        return all(self._leaves(child) for child in self.view.local_children(node))

    def _leaves(self, child: NodeId) -> bool:
        synced, remote = self.view.synced.get(child), self.view.remote.get(child)
        if remote is not None or synced is None:
            return remote is not None and synced is not None and _moved(remote, synced)
        if self.view.local[child].kind == DIRECTORY:
            return self._may_step_aside(child)
        return isinstance(self.decide(child), RemoveLocal)

    def _move_there(self, local: Local, remote: Remote) -> Step:
        node = local.node
        self.hopes[node] = SendMove
        if not self._parent_will_be_there(local.parent):
            return Wait(node, "its folder comes first")
        holder = self.view.remote_at(local.parent, local.name)
        return SendMove(node) if holder is None else self._name_taken(local, holder, SendMove(node))

    # Cases 7 to 9 --------------------

    def _content(self, local: Local, remote: Remote, synced: Synced | None) -> Step:
        node = local.node
        assert remote.content is not None
        if local.blocked:
            return self._too_large(remote, synced)
        if local.content is None:
            return Read(node)
        if local.content == remote.content:  # 7
            return _agree(remote, synced)
        if synced is not None and synced.content == remote.content:  # 8, here
            return SendWrite(node)
        if local.content.same_bytes(remote.content):  # 9.1, and 8 where only attributes changed there
            return SetAttributes(node)
        base = None if synced is None else synced.content
        if base is not None and base.same_bytes(local.content):  # 8, there; 9.2, there
            return self._fetch(remote, synced)
        if base is not None and base.same_bytes(remote.content):  # 9.2, here
            return SendWrite(node)
        return SetAside(node, renew=True) if self._to_be_had(remote) else self._despite_head(remote, synced)  # 9.3

    def _too_large(self, remote: Remote, synced: Synced | None) -> Step:
        """Of a file that can't be sent: what it was changed from may change there all the same."""
        node, base = remote.node, None if synced is None else synced.content
        assert remote.content is not None
        assert remote.version is not None
        if base is not None and base.same_bytes(remote.content):  # 8, here
            return Wait(node, "it can't be sent")
        return SetAside(node, renew=True) if self._to_be_had(remote) else Await(node, remote.version)  # 9.3

    def _to_be_had(self, remote: Remote) -> bool:
        return remote.in_the_cloud or remote.version in self.view.offered

    def _fetch(self, remote: Remote, synced: Synced | None) -> Step:
        assert remote.version is not None
        if self._to_be_had(remote):
            return Fetch(remote.node, remote.version)
        durable = remote.durable  # 3.1, 8.1
        if durable is None or (synced is not None and not self._is_newer(durable, synced.version)):
            return Await(remote.node, remote.version)
        return Fetch(remote.node, durable)

    def _is_newer(self, version: VersionId, held: VersionId | None) -> bool:
        """What is here may have come over the LAN and be newer than what is in the cloud."""
        revisions = self.view.revisions
        return held is None or revisions.get(version, 0) > revisions.get(held, 0)

    def _despite_head(self, remote: Remote, synced: Synced | None) -> Step:  # 9.4
        assert remote.version is not None
        on_durable = synced is not None and synced.version is not None and synced.version == remote.durable
        if on_durable and remote.version in self.view.stalled:
            return SendWrite(remote.node, skip=True)
        return Await(remote.node, remote.version)

    # Case 10 --------------------

    def _name_taken(self, local: Local, holder: NodeId, send: Step) -> Step:
        ours, theirs = self.view.synced.get(local.node), self.view.remote[holder]
        if holder in self.view.unwanted and holder not in self.view.local:  # 11.5
            return SetAside(local.node, renew=ours is None) if local.wanted else send
        here, synced = self.view.local.get(holder), self.view.synced.get(holder)
        if synced is None and here is None and ours is None and _same_thing(local, theirs):
            return Adopt(local.node, holder)  # 10.1
        if synced is None or (here is not None and self._goes_where_remote_is(here, theirs, synced)):
            return SetAside(local.node, renew=ours is None)  # 10.3
        if self._will(holder, SendDelete, SendMove):
            return send  # 10.2
        return Wait(local.node, "its name is taken there")

    # Case 11 --------------------

    def _not_wanted(self, local: Local | None, remote: Remote, synced: Synced | None) -> Step:
        node = remote.node
        if local is None:  # 11.1
            return Clean(node) if synced is None else Forget(node)
        moved = (local.parent, local.name) != (remote.parent, remote.name)
        if moved and synced is None:
            return Renew(node)  # nobody can tell who moved it
        if moved and not self._goes_where_remote_is(local, remote, synced):
            return self._move_there(local, remote)  # 11.3
        if local.kind == DIRECTORY:
            return self._unwanted_directory(local)
        if local.blocked:
            return Renew(node)  # 11.4
        return self._unwanted_content(local, remote, synced)

    def _unwanted_content(self, local: Local, remote: Remote, synced: Synced | None) -> Step:
        step = self._content(local, remote, synced)
        base = None if synced is None else synced.content
        if base is None or local.content is None:
            return step  # it is agreed on first, so that it is known whether the cloud has it
        agreed = isinstance(step, Clean | Agree) and synced is not None and synced.version == remote.version
        overtaken = isinstance(step, Fetch | Await) and base.same_bytes(local.content)
        return RemoveLocal(local.node, unwanted=True) if agreed or overtaken else step  # 11.2, 11.3

    def _unwanted_directory(self, local: Local) -> Step:
        node = local.node
        fates = {self._fate_unwanted(child) for child in self.view.local_children(node)}
        if "stays" in fates:  # 11.4
            return kept(local)
        if "waits" not in fates:  # 11.2
            return RemoveLocal(node, unwanted=True)
        return StepAside(node) if self._steps_aside(node) else Wait(node, "what is inside goes first")  # 11.6

    def _fate_unwanted(self, child: NodeId) -> str:
        local = self.view.local[child]
        if child not in self.view.remote and (local.blocked or not local.wanted):
            return "stays" if local.wanted else "goes"
        return "goes" if isinstance(self.decide(child), RemoveLocal | MoveLocal) else "waits"


def kept(local: Local) -> Step:
    """Worth keeping though it is not what is there, or nothing is; one that has stepped aside must not keep the name it
    has for a moment."""
    return SetAside(local.node, renew=True) if local.name == aside_name(local.node) else Renew(local.node)


def _moved(remote: Remote, synced: Synced) -> bool:
    return (remote.parent, remote.name) != (synced.parent, synced.name)


def _same_thing(local: Local, remote: Remote) -> bool:
    if local.kind != remote.kind:
        return False
    if local.content is None or remote.content is None:
        return local.kind == DIRECTORY
    return local.content.same_bytes(remote.content)


def _agree(remote: Remote, synced: Synced | None) -> Step:
    if synced is None or (synced.version, synced.place) != (remote.version, remote.place):
        return Agree(remote.node)
    return Clean(remote.node)


# The order of a plan --------------------

_ORDER: tuple[type[Step], ...] = (
    Clean,
    Wait,
    Await,
    Agree,
    Forget,
    Renew,
    Adopt,
    Read,
    SetAside,
    StepAside,
    MakeDirectory,
    MoveLocal,
    Fetch,
    SetAttributes,
    RemoveLocal,
    SendCreate,
    SendMove,
    SendWrite,
    SendDelete,
)
_RANK = {kind: rank for rank, kind in enumerate(_ORDER)}


def _rank(view: Slice, step: Step) -> tuple[int, int, NodeId]:
    depth = 0
    if isinstance(step, MakeDirectory | MoveLocal):
        depth = _depth(view.remote_path(step.node))
    elif isinstance(step, SendCreate | SendMove):
        depth = _depth(view.local_path(step.node))
    elif isinstance(step, RemoveLocal):
        depth = -_depth(view.local_path(step.node))
    elif isinstance(step, SendDelete):
        depth = -_depth(view.remote_path(step.node))
    return _RANK[type(step)], depth, step.node


def _depth(path: Iterable[NodeId]) -> int:
    return sum(1 for _ in path)


def ground(view: Slice, steps: Sequence[Step]) -> list[Step]:
    """Let steps wait whose condition is a step of a node that isn't planned this time."""
    planned = {step.node: step for step in steps}
    while groundless := [step.node for step in planned.values() if not _grounded(view, planned, step)]:
        planned |= {node: Wait(node, "another step comes first") for node in groundless}
    return [planned[step.node] for step in steps]


def _grounded(view: Slice, planned: dict[NodeId, Step], step: Step) -> bool:
    def is_planned(node: NodeId, *kinds: type[Step]) -> bool:
        return isinstance(planned.get(node), kinds)

    if isinstance(step, MakeDirectory | Fetch | MoveLocal):
        parent = view.remote[step.node].parent
        return parent == ROOT or parent in view.local or is_planned(parent, MakeDirectory)
    if isinstance(step, SendCreate | SendMove):
        local = view.local[step.node]
        holder = view.remote_at(local.parent, local.name)
        if holder is not None and holder != step.node and not is_planned(holder, SendMove, SendDelete):
            return False
        return local.parent == ROOT or local.parent in view.remote or is_planned(local.parent, SendCreate)
    if isinstance(step, RemoveLocal):
        return all(
            is_planned(child, RemoveLocal, MoveLocal) or not view.local[child].wanted
            for child in view.local_children(step.node)
        )
    if isinstance(step, SendDelete):
        return all(is_planned(child, SendDelete, SendMove) for child in view.remote_children(step.node))
    return True
