"""Events, and what nodes were, as opened from the tracker's answers. Times are the tracker's, in ms since 1970 UTC."""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from peer.trees import Content
from peer.version_store import content_of
from protocol.commits import DIRECTORY
from protocol.history import PastNode
from protocol.identifiers import CommitHash, DeviceId, NodeId, PlaceMark, RunId, VersionId
from protocol.manifests import Manifest

CREATED, CHANGED, MOVED, DELETED, RESTORED = "created", "changed", "moved", "deleted", "restored"
"""What may happen to a node."""
TOGETHER_MS = 60_000
"""Milliseconds between two deletes that are taken for one act."""


class Located(NamedTuple):
    """A place that an operation gave."""

    parent: NodeId
    name: str
    mark: PlaceMark


class Stored(NamedTuple):
    """A version's content, as it can be written anew: nothing of it travels again but its manifest."""

    version: VersionId
    manifest: Manifest
    runs: tuple[RunId, ...]

    @property
    def content(self) -> Content:
        """Comparable with what the trees say."""
        return content_of(self.manifest)


class Event(NamedTuple):
    """One operation on one node."""

    revision: int
    position: int
    time_ms: int
    device: DeviceId
    node: NodeId
    what: str
    kind: int | None = None  # as far as the operation says
    place: Located | None = None
    stored: Stored | None = None
    durable: bool = False  # the content, if any


@dataclass
class Answer:
    """All pages of one answer."""

    revision: int
    time_ms: int
    head: int
    hash: CommitHash
    now_ms: int
    events: list[Event] = field(default_factory=list)
    nodes: dict[NodeId, PastNode] = field(default_factory=dict)


class Past(NamedTuple):
    """A node as it was, and its registers as they are now. Of one that didn't exist then, `place` is None."""

    now: PastNode
    place: Located | None
    stored: Stored | None
    deleted: Event | None = None

    @property
    def node(self) -> NodeId:
        return self.now.node

    @property
    def is_directory(self) -> bool:
        return self.now.kind == DIRECTORY

    @property
    def can_be_had(self) -> bool:
        """Whether it can be brought back: a file whose content never reached the cloud can't."""
        return self.place is not None and (self.is_directory or self.stored is not None)


def pasts(answer: Answer) -> list[Past]:
    """What the nodes of an answer were: of each the last place it tells of, its durable content, its deletion."""
    places: dict[NodeId, Located] = {}
    stored: dict[NodeId, Stored] = {}
    deleted: dict[NodeId, Event] = {}
    for event in answer.events:
        if event.place is not None:
            places[event.node] = event.place
        if event.stored is not None and event.durable:
            stored[event.node] = event.stored
        if event.what == DELETED:
            deleted[event.node] = event
    return [Past(now, places.get(node), stored.get(node), deleted.get(node)) for node, now in answer.nodes.items()]


class Moved(NamedTuple):
    """What had a place once: where it is now, or was when it was `deleted`."""

    place: Located
    deleted: bool


def moved_from(events: Iterable[Event], places: Container[tuple[NodeId, str]]) -> list[Moved]:
    """Of nodes, of which all events are given in order, those that had one of the places and left it; those that were
    the last to move come last."""
    were, now = set[NodeId](), dict[NodeId, Moved]()
    for event in events:
        if event.place is not None:
            if (event.place.parent, event.place.name) in places:
                were.add(event.node)
            now.pop(event.node, None)
            now[event.node] = Moved(event.place, deleted=False)
        elif event.what == DELETED and event.node in now:
            now[event.node] = now[event.node]._replace(deleted=True)
    return [
        moved for node, moved in now.items() if node in were and (moved.place.parent, moved.place.name) not in places
    ]


def deleted_together(last_ms: int, times: Iterable[int]) -> int:
    """Since when deletes belong to the one at `last_ms`: back from it, as long as the next is at most a minute away."""
    since = last_ms
    for time in sorted((each for each in times if each <= last_ms), reverse=True):
        if since - time > TOGETHER_MS:
            break
        since = time
    return since


class Change(NamedTuple):
    """What one node is to become. `place` and `version` are the marks it is changed on."""

    node: NodeId
    kind: int
    what: str
    path: tuple[str, ...]  # for people
    place: PlaceMark | None  # None for a new node
    version: VersionId | None
    to: tuple[NodeId, str] | None = None  # its parent and name from now on, where they change
    stored: Stored | None = None  # its content from now on, where that changes


def counted(changes: Iterable[Change]) -> Mapping[str, int]:
    """How many changes there are of each sort."""
    counts = dict.fromkeys((RESTORED, CHANGED, MOVED, DELETED), 0)
    for change in changes:
        counts[change.what] += 1
    return counts
