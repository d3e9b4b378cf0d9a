"""What the three trees and the planner say of a path, in words."""

from collections.abc import Mapping

from peer.explaining.subject import Subject
from peer.peer import Peer
from peer.problems import printable
from peer.root import Names
from peer.synchronizer import steps
from peer.synchronizer.steps import Await, Step, Wait
from protocol.commits import DIRECTORY, FILE, SYMLINK
from protocol.identifiers import NodeId

KINDS = {FILE: "file", DIRECTORY: "directory", SYMLINK: "symlink"}

STEPS: Mapping[type[Step], str] = {
    steps.Agree: "both sides have the same: that is to be noted",
    steps.Forget: "gone on both sides: that is to be noted",
    steps.Renew: "deleted elsewhere, but changed here: it goes on as a new one",
    steps.Adopt: "the same was found at the tracker: it becomes one with it",
    steps.Overrule: "rejected here: what others did to it is to be undone",
    steps.Read: "to be read, once nobody is writing to it",
    steps.MakeDirectory: "to be made here",
    steps.Fetch: "its content is to be fetched",
    steps.SetAttributes: "to be given the tracker's time and permissions",
    steps.MoveLocal: "to be moved here, as it was moved elsewhere",
    steps.StepAside: "to step aside for a moment, as others wait for its name",
    steps.SetAside: "to be renamed to a conflict name, as another has its name",
    steps.RemoveLocal: "to be removed here, as it was deleted elsewhere",
    steps.SendCreate: "the tracker is to be told of it",
    steps.SendWrite: "its new content is to be sent",
    steps.SendMove: "its new place is to be sent",
    steps.SendDelete: "its deletion is to be sent",
    steps.Clean: "nothing",
}


def kind_of(subject: Subject) -> str | None:
    """file, directory or symlink; None when no tree knows it."""
    row = subject.local or subject.remote or subject.synced
    return None if row is None else KINDS.get(row.kind)


def local_words(peer: Peer, subject: Subject) -> str:
    """What LOCAL says: how it is on this disk, against what was agreed on."""
    local, synced = subject.local, subject.synced
    if local is None:
        if subject.on_disk:
            return "there, but not seen yet, or left alone"
        return "no" if synced is None else "no: deleted here, or not put here yet"
    changes = []
    if local.blocked:
        changes.append("can't be read or sent as it is")
    elif local.content is None and local.kind != DIRECTORY:
        changes.append("perhaps changed: not read yet" if synced else "new: not read yet")
    elif synced is None:
        changes.append("never agreed on with the tracker")
    elif local.content != synced.content and local.kind != DIRECTORY:
        changes.append("changed since both sides last agreed")
    changes += _moved(local.parent, local.name, peer, subject, peer.context.store.path(local.node))
    return ", ".join(["yes", *changes])


def remote_words(peer: Peer, subject: Subject) -> str:
    """What REMOTE says: how the tracker has it, against what was agreed on."""
    remote, synced = subject.remote, subject.synced
    if remote is None:
        other = "; another has its name there" if subject.shadowed else ""
        return ("no" if synced is None else "no: deleted there") + other
    changes = []
    if synced is None:
        changes.append("never agreed on with this device")
    elif remote.version != synced.version:
        changes.append("another version than was last agreed on")
    changes += _moved(remote.parent, remote.name, peer, subject, peer.context.store.remote_path(remote.node))
    return ", ".join(["yes", *changes])


def synced_words(peer: Peer, subject: Subject) -> str:
    """What SYNCED says: whether both sides ever agreed, and where it was then."""
    if subject.synced is None:
        return "never"
    path = peer.context.store.synced_path(subject.synced.node)
    return "yes" if path is None or path == subject.names else f"yes, as {printable(path)}"


def _moved(parent: NodeId, name: str, peer: Peer, subject: Subject, now: Names | None) -> list[str]:
    """Where it has gone, or come from."""
    synced = subject.synced
    if now is not None and now != subject.names:
        return [f"as {printable(now)}"]
    if synced is not None and (synced.parent, synced.name) != (parent, name):
        before = peer.context.store.synced_path(synced.node)
        return ["moved" if before is None or before == now else f"moved from {printable(before)}"]
    return []


def pending_words(peer: Peer, subject: Subject) -> str | None:
    """What is to be done next; None when nothing is."""
    progress, node, step = peer.synchronizer.progress, subject.node, subject.step
    if node in progress.fetching:
        return "its content is being fetched"
    if node in progress.sending:
        return "it is being sent to the tracker"
    if isinstance(step, Await):
        return "waiting: its content is neither in the cloud nor on the LAN yet"
    if isinstance(step, Wait):
        return f"waiting: {step.why}"
    if step is not None and not isinstance(step, steps.Clean):
        return STEPS[type(step)]
    return "to be compared with the tracker" if subject.dirty else None
