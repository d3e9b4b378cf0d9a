"""The indexer: turns looks at the disk into the LOCAL tree.

A look is gathered first and judged afterwards, all in one transaction: appearances before disappearances, so that a
moved file is found at its new place before it is missed at the old one, and keeps its node. What a look didn't cover
stays as it was; nothing is gone because it couldn't be seen (law 2).
"""

import errno
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

import trio

from peer.ignoring import IGNORE_FILE
from peer.moves import Moves, is_unchanged
from peer.ports import Disk, EntryKind, Stat
from peer.problems import Problems
from peer.quiet import Quiet
from peer.root import Folder, Names, SyncRoot, is_speakable, open_folder
from peer.ruling import Ruling, left_out
from peer.scanner import KINDS, Look, Seen, look, merge
from peer.synchronizer.steps import aside_node
from peer.tree_store import AsSeen, TreeStore
from peer.trees import Content, Local, fingerprint
from protocol.commits import DIRECTORY, FILE
from protocol.errors import Malformed, WrongRoot, reason_of
from protocol.hashing import digest
from protocol.identifiers import MAX_FILE_SIZE, MAX_LINK_BYTES, NodeId, new_id
from protocol.manifests import MAX_MTIME_NS
from protocol.names import check_name
from protocol.ports import Machine

KIND = "scan"
"""The kind of problem this module reports."""
TOGETHER = 64
"""Directories looked at in one go, after which others have their turn."""
_TOO_LARGE = "larger than 1 GiB"


class Indexer:
    """Keeps the LOCAL tree of one workspace."""

    def __init__(
        self,
        *,
        machine: Machine,
        disk: Disk,
        root: SyncRoot,
        store: TreeStore,
        problems: Problems,
        quiet: Quiet,
        limiter: trio.CapacityLimiter,
        turn: trio.Lock,
    ) -> None:
        """`limiter` bounds the threads that look at the disk. `turn` is held from a look until it is judged, so that
        nothing is put in place in between and then missed."""
        self._machine = machine
        self._disk = disk
        self._root = root
        self._store = store
        self._problems = problems
        self._quiet = quiet
        self._limiter = limiter
        self._turn = turn
        self._ruling = Ruling(store, problems)
        self.unlisted: set[Names] = set()
        """Folders that couldn't be listed; tried again whenever theirs is looked at."""
        self.unseen: set[Names] = set()
        """Entries that couldn't be looked at, in folders that could be listed."""
        self._unruled: set[Names] = set()  # folders whose `.shoalignore` couldn't be read
        self.stirred: set[NodeId] = set()
        """Folders in which the last look found a change, and those that have changed."""
        self._seen: list[Local] = []  # what is new or changed in a folder, to be stored together
        self.vanished_at = float("-inf")
        """When something last disappeared, by `trio.current_time()`."""
        self._closed: dict[Names, set[str]] = {}  # files that were before the look of now
        self.took = 0.0
        """Seconds that the last `scan` took."""

    async def scan_everything(self) -> None:
        """Look at the whole folder. Raises `WrongRoot` when it isn't there or can't be listed."""
        async with self._turn:
            await self._scan({()}, deep=True)

    async def scan(self, directories: Iterable[Names]) -> set[Names]:
        """Look at these directories, and at all that turns out to be new in them. Returns the new ones: a file may have
        been written there before it was watched, so they deserve a second look."""
        async with self._turn:
            began = trio.current_time()
            found = await self._scan({names for names in directories if is_speakable(names)}, deep=False)
            self.took = trio.current_time() - began
            return found

    async def unlike(self, changed: Mapping[Names, set[str]]) -> set[Names]:
        """Those of these directories in which one of the names has something else than a file that is just as LOCAL
        says, or nothing where LOCAL has nothing."""
        async with self._turn:
            known = {names: self._known(names, changed[names]) for names in sorted(changed)}

            def work() -> set[Names]:
                with open_folder(self._disk, self._root) as folder:
                    return {
                        names for names, rows in known.items() if rows is None or not _all_as_known(folder, names, rows)
                    }

            return await self._machine.offload(work, self._limiter)

    def _known(self, directory: Names, names: set[str]) -> dict[str, Local | None] | None:
        node = self._store.find(directory) if all(map(is_speakable, [directory, names])) else None
        if node is None or self._any_troubled(directory, names):
            return None
        rows = self._store.locals_at(node, names)
        return {name: rows.get(name) for name in sorted(names)}

    def _any_troubled(self, directory: Names, names: Iterable[str]) -> bool:
        """Whether anything is wrong with these: what can't be synced is not in LOCAL, and not missed there."""
        return self._problems.any() and any(self._problems.at((*directory, name)) for name in names)

    async def _scan(self, pending: set[Names], *, deep: bool) -> set[Names]:
        self._ruling.begin(Look())
        pending = {names for names in pending if not self._ruling.is_ignored_folder(names)}
        start, seen = set(pending), Look()
        self._closed, self.stirred = {}, set()
        anew: set[Names] = set()  # directories whose rules have changed: all in them is looked at
        while pending:
            self._closed |= self._quiet.closed_in(pending)
            fresh = sorted(pending)
            for start_at in range(0, len(fresh), TOGETHER):
                batch = fresh[start_at : start_at + TOGETHER]
                merge(
                    seen,
                    await self._look(
                        batch, [names for names in batch if deep and not self._is_to_be_judged(names, anew)]
                    ),
                )
            self._ruling.begin(seen)
            changed = {names for names in pending if names in seen.listings and self._ruling.are_new(names)}
            anew |= changed
            if changed:
                seen.same = {names: folders for names, folders in seen.same.items() if not _is_in(names, changed)}
            again = pending | {names for names in seen.listings if changed and _is_in(names, changed)}
            wanted = set(self._worth_a_look(seen, again, anew=anew, deep=deep))
            pending = wanted - seen.listings.keys() - seen.failed.keys() - seen.same.keys()
        if () in seen.failed:
            raise WrongRoot(f"the folder {self._root.path} can't be listed: {seen.failed[()].strerror}")
        with self._store.database.transaction():
            self._apply(seen)
        return (seen.listings.keys() | seen.same.keys()) - start

    def _is_to_be_judged(self, names: Names, anew: set[Names]) -> bool:
        """Whether a directory is to be judged anew, also if all in it is as known: its rules have changed, couldn't be
        read before, or are faulty, which is to be said again."""
        return names in self._unruled or _is_in(names, anew) or self._any_troubled(names, (IGNORE_FILE,))

    async def _look(self, directories: Sequence[Names], steady: Iterable[Names]) -> Look:
        """The `steady` ones are likely to be just as known, as most are when everything is looked at."""
        known = {}
        for names in steady:
            node = None if names in self._closed else self._store.find(names)
            if node is not None:
                known[names] = self._store.as_seen(node)

        def work() -> Look:
            with open_folder(self._disk, self._root) as folder:
                return look(folder, directories, known)

        return await self._machine.offload(work, self._limiter)

    # Where else to look --------------------

    def _worth_a_look(self, seen: Look, fresh: set[Names], *, anew: set[Names], deep: bool) -> Iterator[Names]:
        for names in fresh:
            if names in seen.same:
                yield from ((*names, name) for name in seen.same[names])
                continue
            failure = seen.failed.get(names)
            if failure is not None and failure.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP) and names:
                yield names[:-1]
            node = self._store.find(names)
            known = {} if node is None or names not in seen.listings else self._store.as_seen(node)
            fresh_inodes = list[int]()
            chain = self._ruling.chain(names) if names in seen.listings else ()
            everything = deep or (bool(anew) and _is_in(names, anew))
            for entry in seen.listings.get(names, ()):
                row = known.get(entry.name)
                if (row is None or row.kind == DIRECTORY) and left_out(chain, names, entry):
                    continue
                if row is None or row.inode != entry.stat.inode:
                    fresh_inodes.append(entry.stat.inode)
                directory = entry.stat.kind is EntryKind.DIRECTORY and _unfit(entry, seen.device) is None
                inside = (*names, entry.name)
                if directory and (everything or inside in self.unlisted or not _is_as_known(row, entry.stat)):
                    yield inside
            yield from self._former_folders(seen.device, fresh_inodes)

    def _former_folders(self, device: int, inodes: Sequence[int]) -> Iterator[Names]:
        """Where nodes with these inodes were: only a look there tells a move from a hard link."""
        for folder in sorted(self._store.folders_with(device, inodes)):
            path = self._store.path(folder)
            if path is not None:
                yield path

    # From what was seen to LOCAL --------------------

    def _apply(self, seen: Look) -> None:
        seen.drop_replaced()
        self._ruling.begin(seen)
        shells = self._store.unwanted_folders()
        paths = sorted(seen.listings, key=lambda names: (len(names), names))
        nodes: dict[Names, NodeId] = {}
        claimed: set[NodeId] = set()
        moves = Moves(self._store, seen)
        known: dict[Names, dict[str, Local]] = {}
        for names in paths:
            node = nodes.get(names) or self._folder_at(names)
            if node is not None:
                self._forget_trouble(names, self._followed_folders(names, seen), seen)
                nodes[names] = node
                self._ruling.learn(node, names)
                known[names] = self._store.local_children(node)
                self._seen = []
                for name, child in self._appearances(node, names, known[names], seen, claimed, moves):
                    nodes[(*names, name)] = child
                    if node in shells and child not in shells:
                        self._store.want(node)
                self._store.put_locals(self._seen)
                if self._seen:
                    self.stirred |= {node, *(row.node for row in self._seen if row.kind == DIRECTORY)}
        for names, before in known.items():
            self._disappearances(names, before, seen, claimed)
        for names, folders in seen.same.items() if seen.same and self._troubled() else ():
            self._forget_trouble(names, set(folders), seen)
        looked = seen.listings.keys() | seen.same.keys()
        self.unseen = {path for path in self.unseen if path[:-1] not in looked} | seen.unseen.keys()
        for path, error in seen.unseen.items():
            reason = f"it can't be looked at: {reason_of(error)}"
            self._problems.report(path, KIND, reason, "it is left alone, and not taken as deleted; it is tried again")
        self._unruled -= seen.listings.keys()
        self._unruled |= {names for names, body in seen.rules.items() if isinstance(body, OSError)}
        self.unlisted -= looked
        for names, error in seen.failed.items():
            self._report_failure(names, error)

    def _folder_at(self, names: Names) -> NodeId | None:
        """The folder that LOCAL has at a path. Where it has a file, the look at the one above is still to come."""
        node = self._store.find(names)
        row = None if node is None else self._store.local(node)
        return None if row is not None and row.kind != DIRECTORY else node

    def _troubled(self) -> bool:
        return bool(self.unlisted or self.unseen or self._problems.any())

    def _followed_folders(self, names: Names, seen: Look) -> set[str]:
        """The folders in one that was listed, without those that are ignored."""
        chain, listing = self._ruling.chain(names), seen.listings[names]
        folders = {entry.name for entry in listing if entry.stat.kind is EntryKind.DIRECTORY}
        return folders - {entry.name for entry in listing if left_out(chain, names, entry)} if chain else folders

    def _forget_trouble(self, names: Names, folders: set[str], seen: Look) -> None:
        """What was wrong in a directory is seen anew; what was wrong in folders that are ignored or no longer in it is
        over."""
        folders |= {path[-1] for path in seen.unseen if path[:-1] == names}
        self._problems.clear_inside(names, KIND, folders)
        depth = len(names)
        for known in (self.unlisted, self.unseen):
            known.difference_update(
                [path for path in known if len(path) > depth and path[:depth] == names and path[depth] not in folders]
            )

    def _appearances(
        self,
        parent: NodeId,
        names: Names,
        known: Mapping[str, Local],
        seen: Look,
        claimed: set[NodeId],
        moves: Moves,
    ) -> Iterator[tuple[str, NodeId]]:
        closed, chain = self._closed.get(names, ()), self._ruling.chain(names)
        unheard_of = self._unheard_of(parent, known, seen.listings[names], seen.device)
        for entry in seen.listings[names]:
            reason = _unfit(entry, seen.device)
            row = known.get(entry.name)
            if left_out(chain, names, entry):
                if row is not None and row.node not in claimed:
                    claimed.add(row.node)
                    self._store.unfollow(row.node)
                continue
            if reason is not None:
                self._problems.report((*names, entry.name), KIND, reason, "it is left alone")
                continue
            if row is not None and row.node in claimed:
                row = None  # it has just been found under another name
            if row is not None and row.kind == KINDS[entry.stat.kind] and not moves.changed_places(row, entry):
                self._refresh(names, row, entry)
                node = row.node
            else:
                if row is not None:
                    self._store.set_gone(row.node)
                    self.vanished_at = trio.current_time()
                found = None if entry.name in unheard_of else self._recognised(parent, names, entry, claimed, moves)
                node = self._appeared(parent, names, entry, found, claimed)
            if entry.name in closed:
                self._quiet.let_go(node, trio.current_time())
            claimed.add(node)
            yield entry.name, node

    def _refresh(self, names: Names, row: Local, entry: Seen) -> None:
        now = fingerprint(entry.stat)
        if row.kind == DIRECTORY:
            if (row.print.device, row.print.inode, row.print.mode) != (now.device, now.inode, now.mode):
                self._seen.append(row._replace(print=now))
        elif row.print != now:
            self._put(names, row.parent, row.node, entry)
        elif row.blocked:
            self._problems.report((*names, row.name), KIND, _TOO_LARGE, "make it smaller, or move it out of the folder")

    def _unheard_of(self, parent: NodeId, known: Container[str], listing: Iterable[Seen], device: int) -> set[str]:
        """The names in a directory that LOCAL doesn't have, and of which it knows no more: neither their inodes nor
        that they were there before. That is most of what is new, so it is asked about all of it at once."""
        new = (entry for entry in listing if entry.name not in known)
        fresh = {entry.name: entry.stat.inode for entry in new if is_speakable((entry.name,))}
        inodes, names = self._store.inodes_known(device, fresh.values()), self._store.names_gone(parent, fresh)
        return {name for name, inode in fresh.items() if inode not in inodes and name not in names}

    def _appeared(self, parent: NodeId, names: Names, entry: Seen, node: NodeId | None, claimed: set[NodeId]) -> NodeId:
        """Something new, which was recognised as this node if it was."""
        aside = self._aside(entry.name, KINDS[entry.stat.kind], claimed)
        if aside is not None and (node is None or self._store.synced(node) is None):
            node = aside
        if node is None:
            node = NodeId(new_id(self._machine.random_bytes))
        self._put(names, parent, node, entry)
        return node

    def _aside(self, name: str, kind: int, claimed: set[NodeId]) -> NodeId | None:
        """The node that Shoal had moved out of the way under this name, of which a power cut or the loss of the
        database has left no record. Not if that is something of another kind: somebody has used the name."""
        node = aside_node(name)
        if node is None or node in claimed or self._store.local(node) is not None:
            return None
        known = self._store.remote(node) or self._store.synced(node)
        return node if known is None or known.kind == kind else None

    def _recognised(
        self, parent: NodeId, names: Names, entry: Seen, claimed: set[NodeId], moves: Moves
    ) -> NodeId | None:
        """The node that this is: one that was moved here, or one that was here before."""
        kind = KINDS[entry.stat.kind]
        node = self._moved_here(names, entry, kind, claimed, moves) or self._store.gone_at(parent, entry.name, kind)
        return None if node in claimed else node

    def _moved_here(self, names: Names, entry: Seen, kind: int, claimed: set[NodeId], moves: Moves) -> NodeId | None:
        """The node that has the same inode, is gone from where it was, and unchanged."""
        stat, place = entry.stat, (*names, entry.name)
        for row, gone in self._store.locals_by_inode(stat.device, stat.inode):
            may_be = row.kind == kind and row.node not in claimed and is_unchanged(row, stat)
            if may_be and (gone or moves.has_left(row)) and moves.goes_on(row, place, stat):
                return row.node
        return None

    def _put(self, names: Names, parent: NodeId, node: NodeId, entry: Seen) -> None:
        stat, kind, print_ = entry.stat, KINDS[entry.stat.kind], fingerprint(entry.stat)
        content = None
        if entry.link is not None:
            content = Content(digest(entry.link.encode()), stat.mtime_ns)
        blocked = kind == FILE and stat.size > MAX_FILE_SIZE
        if blocked:
            self._problems.report(
                (*names, entry.name), KIND, _TOO_LARGE, "make it smaller, or move it out of the folder"
            )
        self._seen.append(Local(node, parent, entry.name, kind, content, print_, blocked))
        if kind == FILE:
            self._quiet.changed(node, print_, trio.current_time())

    def _disappearances(self, names: Names, before: Mapping[str, Local], seen: Look, claimed: set[NodeId]) -> None:
        """What was in a directory `before`, and was not found there or elsewhere, is gone."""
        there = {entry.name: entry.stat.kind for entry in seen.listings[names]}
        for name, row in before.items():
            if row.node in claimed:
                continue
            kind = there.get(name)
            if (kind is None and (*names, name) not in seen.unseen) or kind is EntryKind.OTHER:
                self._store.set_gone(row.node)
                self.vanished_at = trio.current_time()
                self.stirred.add(row.parent)

    def _report_failure(self, names: Names, error: OSError) -> None:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            self.unlisted.discard(names)
        else:
            self.unlisted.add(names)
            reason = f"the folder can't be listed: {reason_of(error)}"
            self._problems.report(names, KIND, reason, "nothing in it is taken as deleted; give Shoal access to it")


def _all_as_known(folder: Folder, directory: Names, rows: Mapping[str, Local | None]) -> bool:
    """Whether lstat(2) says of each name what LOCAL says of it; not of what isn't a file. Runs in a thread."""
    folder.trim()
    for name, row in rows.items():
        try:
            now = fingerprint(folder.disk.stat(folder.directory(directory), name))
        except FileNotFoundError:
            now = None
        except OSError:
            return False
        if now != (None if row is None else row.print) or (row is not None and row.kind != FILE):
            return False
    return True


def _is_in(names: Names, folders: Container[Names]) -> bool:
    return any(names[:depth] in folders for depth in range(len(names) + 1))


def _is_as_known(row: AsSeen | None, now: Stat) -> bool:
    """Whether a folder is the one that was listed before, with the permissions it had then."""
    return row is not None and (row.inode, row.mode) == (now.inode, now.mode)


def _unfit(entry: Seen, device: int) -> str | None:
    """Why an entry can't be synced at all; None when it can."""
    if entry.stat.kind is EntryKind.OTHER:
        return "a socket, pipe or device"
    try:
        check_name(entry.name)
    except Malformed:
        return "its name is not valid UTF-8"
    if entry.stat.device != device:
        return "another file system is mounted here"
    if entry.stat.kind is not EntryKind.DIRECTORY and abs(entry.stat.mtime_ns) > MAX_MTIME_NS:
        return "its modification time is before 1824 or after 2116"
    if entry.link is not None:
        try:
            if not 0 < len(entry.link.encode()) <= MAX_LINK_BYTES:
                return "a symlink whose text is too long"
        except UnicodeEncodeError:
            return "a symlink whose text is not valid UTF-8"
    return None
