"""What the parts of the synchronizer share: the ports, the stores, and a few notes they leave each other."""

import errno
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from peer.device_names import DeviceNames
from peer.ignoring import IGNORE_FILE
from peer.lan.neighbours import Neighbours
from peer.ports import Disk
from peer.problems import Problems, printable
from peer.quiet import Quiet
from peer.root import Folder, Names, SyncRoot, open_folder
from peer.selection import Selection
from peer.synchronizer.holdings import Holdings, Place
from peer.synchronizer.lists import ChunkLists
from peer.synchronizer.offers import Offers
from peer.synchronizer.partials import Partials
from peer.synchronizer.replacing import Outgoing
from peer.synchronizer.surprises import Surprises
from peer.traffic import Traffic
from peer.tree_store import TreeStore
from peer.trees import Fingerprint, Local, Remote, Synced
from peer.version_store import Origin, Version, VersionStore, content_of
from protocol.commits import FILE
from protocol.identifiers import DeviceId, NodeId, VersionId, new_id
from protocol.keys import WorkspaceKeys
from protocol.names import RESERVED
from protocol.ports import Machine

T = TypeVar("T")
log = logging.getLogger(__name__)
POSTPONED, LONGEST = 15.0, 300.0
"""Seconds until a step that the disk or the tracker refused is tried again: twice, then after twice as long each time.
Sooner when something changes where it was refused."""
COMING_AND_GOING = (errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.ELOOP)
"""Refusals that mean that somebody else is at work on the same path."""
SOON, QUIET_TRIES = 0.5, 5
"""After those, seconds until the next try, and how many of them nobody is told of; so many are made at once when the
disk isn't as LOCAL says."""

STALLED_MS = 24 * 3600 * 1000
"""Milliseconds from its announcement after which a head that is not in the cloud may have stalled."""
STALLED_AGAIN = 3600.0
"""Seconds until the tracker is asked again whether it has."""
FOLLOWED = 60.0
"""Seconds for which news that come under a moved folder's old path are followed to the new one."""
MOVES = 1000


@dataclass
class Transfer:
    """How far what is on its way has come, in bytes in clear; both start from 0 when nothing is left."""

    goal: int = 0
    done: int = 0

    def expect(self, count: int) -> None:
        """So much more is to be moved."""
        self.goal += count

    def moved(self, count: int) -> None:
        """So much has been moved, or needs moving no longer."""
        self.done = min(self.goal, self.done + count)
        if self.done == self.goal:
            self.goal = self.done = 0


@dataclass
class Context:
    """One workspace in one folder."""

    machine: Machine
    disk: Disk
    root: SyncRoot
    keys: WorkspaceKeys
    device: DeviceId
    device_name: str
    store: TreeStore
    versions: VersionStore
    problems: Problems
    quiet: Quiet
    limiter: trio.CapacityLimiter
    """Bounds the threads that read and write files."""
    turn: trio.Lock = field(default_factory=trio.Lock)
    """Held while the disk is looked at or changed, until the database knows of it."""
    counters: Counter[str] = field(default_factory=Counter)
    """Bytes moved since the start: sealed chunks "lan_in" and "lan_out", packs "cloud_in" and "cloud_out"."""
    transfer: Transfer = field(default_factory=Transfer)
    traffic: Traffic = field(default_factory=Traffic)
    to_look_at: set[Names] = field(default_factory=set)
    """Directories that turned out not to be as LOCAL says."""
    moves: deque[tuple[Names, Names, float]] = field(default_factory=lambda: deque(maxlen=MOVES))
    """Folders that Shoal moved: old path, new path, when by `trio.current_time()`; the oldest are forgotten."""
    stuck: set[NodeId] = field(default_factory=set)
    """Nodes that can't be synced as things are, each with a problem that says why."""
    stumbles: Counter[NodeId] = field(default_factory=Counter)
    """How often in a row the disk refused a node's step."""
    shifts: Counter[NodeId] = field(default_factory=Counter)
    """How often in a row a node's step found something else on the disk than LOCAL says."""
    refusals: Counter[NodeId] = field(default_factory=Counter)
    """How often in a row a node was postponed."""
    look_at_all: bool = True
    """The whole folder is to be looked at."""
    postponed: dict[NodeId, float] = field(default_factory=dict)
    """Nodes whose step was refused, and when to try again, by `trio.current_time()`."""
    wake: trio.Event = field(default_factory=trio.Event)
    """Set when there may be something to do."""
    doubted: dict[NodeId, Fingerprint] = field(default_factory=dict)
    """Files that were read again because of what they gave, and how they looked then."""
    moving: dict[VersionId, float] = field(default_factory=dict)
    """Heads that the tracker doesn't take for stalled, and until when that is believed."""
    partials: Partials = field(default_factory=Partials)
    offers: Offers = field(init=False)
    neighbours: Neighbours = field(init=False)
    holdings: Holdings = field(init=False)
    lists: ChunkLists = field(init=False)
    names: DeviceNames = field(init=False)
    surprises: Surprises = field(init=False)
    selection: Selection = field(init=False)

    def __post_init__(self) -> None:
        """Make what follows from the rest."""
        self.neighbours = Neighbours(self.keys.workspace, lambda: self.wake.set())
        self.holdings = Holdings(self.store, self.disk, self.root)
        self.lists = ChunkLists(self.versions)
        self.offers = Offers(self.keys.workspace, self.neighbours)
        self.names = DeviceNames(self.store.database)
        self.surprises = Surprises(self.store, lambda: self.machine.now() // 1_000_000)
        self.selection = Selection(self.store)

    async def in_folder(self, work: Callable[[Folder], T]) -> T:
        """Do something in the open folder, in a thread. Raises what `open_folder` does, and what `work` does."""

        def run() -> T:
            with open_folder(self.disk, self.root) as folder:
                return work(folder)

        return await self.machine.offload(run, self.limiter)

    # What the planner has to know of heads that are not in the cloud; see `Outlook`

    def offered(self, version: VersionId, origin: Origin) -> bool:
        """Whether a device on the LAN offers its content."""
        return self.neighbours.offers(version, origin.author)

    def stalled(self, version: VersionId, origin: Origin) -> bool:
        """Whether the tracker may let it be passed over. That is for the tracker to judge; this device only knows when
        it was announced."""
        moving = self.moving.get(version, 0.0) > trio.current_time()
        return not moving and self.machine.now() // 1_000_000 - origin.announced_ms >= STALLED_MS

    def keeps_moving(self, version: VersionId) -> None:
        """The tracker said that a head hasn't stalled: don't ask again for a while."""
        self.moving = {each: until for each, until in self.moving.items() if until > trio.current_time()}
        self.moving[version] = trio.current_time() + STALLED_AGAIN

    def spare(self, synced: Synced | None) -> VersionId | None:
        """The version in SYNCED, if the cloud isn't known to have it: its file is not to be thrown away yet."""
        version = None if synced is None else synced.version
        return None if version is None or self.versions.is_durable(version) else version

    def look_again(self, directory: Names) -> None:
        """Scan a directory before planning goes on."""
        self.to_look_at.add(directory)
        self.wake.set()

    def written(self, directory: Names, name: str) -> None:
        """Shoal itself has put a file here, or taken it away; what a `.shoalignore` says is to be read."""
        if name == IGNORE_FILE:
            self.look_again(directory)

    def doubt(self, places: Iterable[Place]) -> None:
        """These files didn't give the chunks that they should. They are looked at, and read again whatever lstat(2)
        says: a power cut may have left newer bytes under older times. Once, as long as they look the same: if they have
        the right bytes then, the chunks were compressed by another version of zstd, and can't be made here."""
        for place in places:
            folder = None if place.parent[:1] == (RESERVED,) else self.store.find(place.parent)
            if folder is None:
                continue
            row = self.store.local_at(folder, place.name)
            if row is not None and row.kind == FILE and row.content is not None:
                if self.doubted.get(row.node) == row.print:
                    continue
                self.doubted[row.node] = row.print
                self.store.put_local(row._replace(content=None))
            self.look_again(place.parent)

    def makeable(self, versions: Iterable[VersionId]) -> list[VersionId]:
        """Without those whose chunks can't all be made here, though their content is."""
        wanted = list(versions)
        known = self.versions.get_many(wanted) if self.doubted else {}
        return [each for each in wanted if each not in known or not self.cannot_make(known[each])]

    def cannot_make(self, version: Version) -> bool:
        """Whether the file here has a version's content, and yet, read again for that, couldn't give all its chunks."""
        row = self.store.local(version.node)
        if row is None or row.content is None or self.doubted.get(row.node) != row.print:
            return False
        return row.content.same_bytes(content_of(version.manifest))

    def folder_moved(self, old: Names, new: Names) -> None:
        """Shoal itself has moved a folder. News of a change in it may still come under the old path."""
        self.moves.append((old, new, trio.current_time()))
        if self.selection.has_rules():
            self.look_at_all = True  # other rules may hold there

    def followed(self, directories: set[Names]) -> set[Names]:
        """These directories, and where those are now that were in a folder moved a moment ago."""
        out = set(directories)
        for old, new, when in self.moves:
            if trio.current_time() - when < FOLLOWED:
                out |= {new + names[len(old) :] for names in out if names[: len(old)] == old}
        return out

    def postpone(self, node: NodeId, *, steadily: bool = False) -> None:
        """Leave a node alone for a while; its problem has been reported. `steadily`: never for longer, as it costs
        nothing to find out whether it can be done."""
        doublings = 0 if steadily else max(0, self.refusals[node] - 1)
        self.refusals[node] += 1
        self.postponed[node] = trio.current_time() + min(POSTPONED * 2**doublings, LONGEST)
        self.stuck.add(node)

    def stirred(self, folders: Set[NodeId]) -> None:
        """Something has changed in these folders, or they have: what was refused there may be possible now."""
        if not folders or not self.postponed:
            return
        rows: list[Local | Remote] = [*self.store.locals(self.postponed).values()]
        for row in [*rows, *self.store.remotes(self.postponed).values()]:
            if row.parent in folders or row.node in folders:
                self.postponed[row.node] = min(self.postponed[row.node], trio.current_time() + SOON)

    def try_all_again(self) -> None:
        """Whatever was refused is tried again soon."""
        soon = trio.current_time() + SOON
        self.postponed = {node: min(due, soon) for node, due in self.postponed.items()}
        self.refusals.clear()

    def stumble(self, node: NodeId, error: OSError) -> bool:
        """Note that the disk refused a step of a node; True when a person should hear of it. What comes and goes under
        our hands is tried again soon, a few times, before that."""
        self.stumbles[node] += 1
        if error.errno in COMING_AND_GOING and self.stumbles[node] <= QUIET_TRIES:
            self.postponed[node] = trio.current_time() + SOON
            return False
        self.postpone(node, steadily=error.errno == errno.ENOSPC)
        return True

    def shifted(self, node: NodeId) -> None:
        """A node's step found something else than LOCAL says. As a rule a look makes that known, and it is planned anew
        at once. What can't be synced doesn't get into LOCAL: it is a problem already, and not looked at without end."""
        self.shifts[node] += 1
        if self.shifts[node] > QUIET_TRIES:
            self.postpone(node)

    def clean(self, node: NodeId) -> None:
        """The trees agree on a node: whatever kept them from it is over."""
        self.stumbles.pop(node, None)
        self.shifts.pop(node, None)
        self.refusals.pop(node, None)
        self.stuck.discard(node)

    def renew(self, node: NodeId, *, wanted: bool = True) -> None:
        """Give a local node a fresh id and no past: it goes on as a new node. Not `wanted` is a folder that stays for
        what is ignored in it."""
        fresh = NodeId(new_id(self.machine.random_bytes))
        with self.store.database.transaction():
            self.store.rename_local_node(node, fresh)
            self.store.drop_synced(node)
            row = self.store.local(fresh)
            if row is not None and not wanted:
                self.store.put_local(row._replace(wanted=False))
            elif row is not None and self.store.local_at(fresh, IGNORE_FILE) is None:
                self._forget_rules(fresh)

    def _forget_rules(self, folder: NodeId) -> None:
        """A folder goes on, and has no ignore rules any more: what they kept out of LOCAL is to be found."""
        if self.selection.bodies([folder]):
            self.selection.put_rules(folder, None)
            names = self.store.path(folder)
            if names is not None:
                self.look_again(names)

    def remember_outgoing(self, outgoing: Outgoing, row: Local, spare: VersionId | None) -> None:
        """Something is in `.shoal/outgoing`; it is let go when it has stayed unchanged for a minute, and the version
        `spare`, which it holds, is in the cloud."""
        print_ = outgoing.print
        self.store.database.run(
            "INSERT OR REPLACE INTO outgoing VALUES (?,?,?,?,?,?,?,?,?,?)",
            outgoing.name,
            self.store.workspace,
            row.parent,
            row.name,
            print_.inode,
            print_.size,
            print_.mtime_ns,
            self.machine.now() // 1_000_000,
            spare,
            None if row.content is None else row.content.digest,
        )

    def log_conflict(self, directory: Names, name: str, kept: str) -> None:
        """Say that a conflict copy was made."""
        log.warning("conflict: %s is kept as %s", printable((*directory, name)), printable((*directory, kept)))
