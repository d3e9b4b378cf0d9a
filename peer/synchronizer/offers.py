"""New files that are still being read for their first version, and are offered to the LAN meanwhile.

Reading and sealing takes a second or two per GiB. One linked device of a member hears of each stretch of chunks when it
is sealed, with the keys, and may fetch it at once. The version's id is drawn here, so the commit to come names what was
fetched. When the file turns out to change, no version of that id is ever announced.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from peer.chunker import Staged
from peer.lan.link import Link
from peer.lan.neighbours import Neighbours
from peer.synchronizer.holdings import Place
from peer.synchronizer.lists import ChunkList
from protocol.chunks import ChunkRef
from protocol.identifiers import DeviceId, NodeId, VersionId, WorkspaceId
from protocol.lan_messages import MAX_OFFERED, OFFERING, Offer

OFFERED_BYTES = 16 << 20
"""A file of at least so many is offered."""
KEPT = 8
"""Offers that are remembered. One of which nobody knows any more is only not given."""


@dataclass(eq=False)
class Offered:
    """One file under way. `sealed` is called in the thread that seals, all else elsewhere."""

    version: VersionId
    node: NodeId
    parent: NodeId
    place: Place
    size: int
    listener: Link
    refs: list[ChunkRef] = field(default_factory=list)
    offsets: list[int] = field(default_factory=lambda: [0])
    content: bytes | None = None
    """The digest of what it turned out to hold, once all is read."""
    told: int = 0

    def sealed(self, refs: Sequence[ChunkRef]) -> None:
        """The next chunks of the file."""
        for ref in refs:
            self.offsets.append(self.offsets[-1] + ref.length)
            self.refs.append(ref)  # last: who reads takes as many offsets as there are of these


class Offers:
    """All files that are offered, or were a moment ago."""

    def __init__(self, workspace: WorkspaceId, neighbours: Neighbours) -> None:
        """`neighbours` are told."""
        self._workspace = workspace
        self._neighbours = neighbours
        self._offered: dict[VersionId, Offered] = {}
        self.may_hear: Callable[[DeviceId], bool] = lambda _: False
        """Whether a device is one of a member's."""

    def listener(self) -> Link | None:
        """To whom anything is offered: one device only. Others get it from there, and the author sends it once."""
        links = self._neighbours.links
        may = (link for link in links if link.channel.version >= OFFERING and self.may_hear(link.device))
        return next(may, None)

    def begin(self, offered: Offered) -> None:
        """From now on its chunks may be fetched as they are sealed."""
        self._offered[offered.version] = offered
        while len(self._offered) > KEPT:
            del self._offered[next(iter(self._offered))]

    def read(self, offered: Offered, content: bytes | None) -> None:
        """All of it was read, and this is its digest; None if it couldn't be, or has changed."""
        offered.content = content
        if content is None:
            self._offered.pop(offered.version, None)
        else:
            self.tell(offered)

    def tell(self, offered: Offered) -> None:
        """Tell of what has been sealed since the last time."""
        end = len(offered.refs)
        while offered.told < end:
            first, offered.told = offered.told, min(end, offered.told + MAX_OFFERED)
            chunks = tuple((ref.id, ref.key, ref.length, ref.saved) for ref in offered.refs[first : offered.told])
            message = Offer(
                workspace=self._workspace,
                version=offered.version,
                parent=offered.parent,
                size=offered.size,
                first=first,
                chunks=chunks,
            )
            if offered.listener.ended is None:
                offered.listener.post(message)

    def version_of(self, node: NodeId, staged: Staged) -> VersionId | None:
        """The id under which just this content of a node was offered. Said once: an id stands for one version."""
        for offered in self._offered.values():
            is_it = offered.node == node and offered.content == staged.content.digest
            if is_it and tuple(offered.refs) == staged.chunks:
                offered.content = None
                return offered.version
        return None

    def lists(self, versions: Iterable[VersionId]) -> dict[VersionId, tuple[Place, ChunkList]]:
        """Where those of `versions` that are offered are, and the chunks of each so far."""
        found = (self._offered[version] for version in versions if version in self._offered)
        return {each.version: (each.place, ChunkList(list(each.refs), each.offsets)) for each in found}
