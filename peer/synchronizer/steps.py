"""What the planner can ask for. Each step names one node; the executor re-checks its ground before it acts."""

from dataclasses import dataclass
from typing import TypeAlias

from protocol.identifiers import ID_LENGTH, NodeId, VersionId

_ASIDE = ".shoal-"
_HEX = frozenset("0123456789abcdef")

# Steps that only change the client database --------------------


@dataclass(frozen=True, slots=True)
class Agree:
    """LOCAL and REMOTE hold the same: SYNCED becomes REMOTE."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Forget:
    """SYNCED loses the node: it is gone on both sides, or what is left of it is to be taken as new."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Renew:
    """The local node gets a fresh id and no SYNCED: it was deleted elsewhere but is worth keeping."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Adopt:
    """The new local node `node` is the same thing as the new remote node `remote`: it takes over that id."""

    node: NodeId
    remote: NodeId


@dataclass(frozen=True, slots=True)
class Overrule:
    """What REMOTE has is not wanted: SYNCED takes its version, so that what is here counts as an edit made on it. The
    planner never asks for it; somebody who rejects what others wrote does."""

    node: NodeId


# Steps that read or change the disk --------------------


@dataclass(frozen=True, slots=True)
class Read:
    """A file whose content isn't known is to be read first; files are, as soon as they are quiet, before each plan."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """Create a directory where REMOTE has it."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Fetch:
    """Put the content of `version` where REMOTE has the node: a new file or symlink, or the replacement of what SYNCED
    says is there."""

    node: NodeId
    version: VersionId


@dataclass(frozen=True, slots=True)
class SetAttributes:
    """Give a file whose bytes are right REMOTE's time and permissions."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class MoveLocal:
    """Move the node on the disk to where REMOTE has it."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class StepAside:
    """Give the local node another name, `aside_name`, for a moment: others wait for its own, and it for them."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class SetAside:
    """Another has the name: rename the local node to a conflict name. With `renew` its content goes on as a new file,
    otherwise it stays the same node."""

    node: NodeId
    renew: bool


@dataclass(frozen=True, slots=True)
class RemoveLocal:
    """Take the node off the disk: it was deleted elsewhere or, if `unwanted`, is excluded here and stays there."""

    node: NodeId
    unwanted: bool = False


def aside_name(node: NodeId) -> str:
    """The name of a node that has stepped aside."""
    return f"{_ASIDE}{node.hex()}"


def aside_node(name: str) -> NodeId | None:
    """The node that has stepped aside under this name; None for any other name."""
    text = name.removeprefix(_ASIDE)
    if text == name or len(text) != 2 * ID_LENGTH or not _HEX.issuperset(text):
        return None
    return NodeId(bytes.fromhex(text))


# Steps that become operations of a commit --------------------


@dataclass(frozen=True, slots=True)
class SendCreate:
    """Tell the tracker of a new node."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class SendWrite:
    """Tell the tracker of new content. With `skip` it is made on the durable head, and passes over a head that has
    stalled."""

    node: NodeId
    skip: bool = False


@dataclass(frozen=True, slots=True)
class SendMove:
    """Tell the tracker of a new place."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class SendDelete:
    """Tell the tracker that the node is gone here."""

    node: NodeId


# No step --------------------


@dataclass(frozen=True, slots=True)
class Clean:
    """Nothing to do: the three trees agree on this node."""

    node: NodeId


@dataclass(frozen=True, slots=True)
class Wait:
    """Another node's step has to come first."""

    node: NodeId
    why: str


@dataclass(frozen=True, slots=True)
class Await:
    """The content of `version` is not to be had yet: it is not in the cloud, and nobody on the LAN offers it."""

    node: NodeId
    version: VersionId


Send: TypeAlias = SendCreate | SendWrite | SendMove | SendDelete
LocalStep: TypeAlias = MakeDirectory | Fetch | SetAttributes | MoveLocal | StepAside | SetAside | RemoveLocal
Bookkeeping: TypeAlias = Agree | Forget | Renew | Adopt | Overrule
Step: TypeAlias = Bookkeeping | Read | LocalStep | Send | Clean | Wait | Await
