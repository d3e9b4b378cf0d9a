"""Looking at the disk: what is in a directory, without judging it, and whether that is just as known. Runs in a worker
thread."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from peer.ignoring import IGNORE_FILE, MAX_BYTES
from peer.ports import EntryKind, Stat
from peer.root import Folder, Names
from peer.tree_store import AsSeen
from protocol.commits import DIRECTORY, FILE, SYMLINK
from protocol.names import RESERVED

KINDS = {EntryKind.FILE: FILE, EntryKind.DIRECTORY: DIRECTORY, EntryKind.SYMLINK: SYMLINK}


@dataclass(frozen=True, slots=True)
class Seen:
    """One directory entry; `link` is a symlink's text."""

    name: str
    stat: Stat
    link: str | None = None


@dataclass(slots=True)
class Look:
    """What a look at some directories found. A directory that couldn't be listed is in `failed`, never an empty
    list: no file is gone because a look failed (law 2). Nor is a single entry that couldn't be looked at, such as a
    mount whose other end is away: it is in `unseen`. One in which all is as known is in `same`, with the names of the
    folders in it: of a large folder that is nearly everything, and nothing else has to be kept of it. `device` is the
    root's. `rules` are what each `.shoalignore` says, or why it can't be read; not of one in `same`."""

    device: int = 0
    same: dict[Names, list[str]] = field(default_factory=dict)
    listings: dict[Names, list[Seen]] = field(default_factory=dict)
    failed: dict[Names, OSError] = field(default_factory=dict)
    unseen: dict[Names, OSError] = field(default_factory=dict)
    rules: dict[Names, bytes | OSError] = field(default_factory=dict)

    def drop_replaced(self) -> None:
        """Leave out what was in folders of which there was nothing, or something else, when the one above was listed:
        somebody was at work between the two, and will be heard of."""
        folders: dict[Names, set[str]] = {}
        replaced: set[Names] = set()
        for names in sorted(self.listings, key=len):
            above = names[:-1]
            if names and above in self.listings and names not in self.unseen:
                if above not in folders:
                    folders[above] = {
                        entry.name for entry in self.listings[above] if entry.stat.kind is EntryKind.DIRECTORY
                    }
                if above in replaced or names[-1] not in folders[above]:
                    replaced.add(names)
        for names in replaced:
            del self.listings[names]


def look(folder: Folder, directories: Iterable[Names], known: Mapping[Names, Mapping[str, AsSeen]] = {}) -> Look:
    """List `directories`, each on its own: one that fails doesn't stop the others (law 15). `known` is what LOCAL says
    of some of them."""
    found = Look(folder.device)
    for names in directories:
        try:
            stats, unseen = _stats(folder, names)
            if names in known and not unseen and _all_as_known(stats, known[names], folder.device):
                found.same[names] = [name for name, stat in stats if stat.kind is EntryKind.DIRECTORY]
            else:
                entries = _with_links(folder, names, stats, unseen)
                found.rules |= _rules(folder, names, entries)
                found.listings[names] = entries
                found.unseen |= unseen
        except OSError as error:
            found.failed[names] = error
        folder.trim()
    return found


def merge(into: Look, more: Look) -> None:
    """Add what another look found."""
    into.device = more.device
    into.same |= more.same
    into.listings |= more.listings
    into.failed |= more.failed
    into.unseen |= more.unseen
    into.rules |= more.rules


_Stats = Sequence[tuple[str, Stat]]


def _stats(folder: Folder, names: Names) -> tuple[_Stats, dict[Names, OSError]]:
    """What is in a directory, and what couldn't be looked at. If that is all, it is the directory's own failure."""
    disk, directory = folder.disk, folder.directory(names)
    out: list[tuple[str, Stat]] = []
    unseen: dict[Names, OSError] = {}
    for name in sorted(disk.scan(directory)):
        if not names and name == RESERVED:
            continue
        try:
            out.append((name, disk.stat(directory, name)))
        except FileNotFoundError:
            continue  # gone since the listing
        except OSError as error:
            unseen[*names, name] = error
    if unseen and not out:
        raise next(iter(unseen.values()))
    return out, unseen


def _rules(folder: Folder, names: Names, entries: Iterable[Seen]) -> dict[Names, bytes | OSError]:
    """What a `.shoalignore` among these entries says; one byte more than there may be of one that is too large."""
    if not any(entry.name == IGNORE_FILE and entry.stat.kind is EntryKind.FILE for entry in entries):
        return {}
    disk = folder.disk
    try:
        descriptor = disk.open_file(folder.directory(names), IGNORE_FILE)
        try:
            return {names: disk.read_at(descriptor, MAX_BYTES + 1, 0)}
        finally:
            disk.close(descriptor)
    except FileNotFoundError:
        return {}
    except OSError as error:
        return {names: error}


def _with_links(folder: Folder, names: Names, stats: _Stats, unseen: dict[Names, OSError]) -> list[Seen]:
    """The entries with the texts of symlinks. One that can't be read adds to `unseen`."""
    disk, directory = folder.disk, folder.directory(names)
    out: list[Seen] = []
    for name, stat in stats:
        try:
            link = disk.read_link(directory, name) if stat.kind is EntryKind.SYMLINK else None
        except FileNotFoundError:
            continue
        except OSError as error:
            unseen[*names, name] = error
        else:
            out.append(Seen(name, stat, link))
    return out


def _all_as_known(stats: _Stats, known: Mapping[str, AsSeen], device: int) -> bool:
    """Whether there is what LOCAL says and nothing else, each as it was, on the root's own file system. This goes over
    all files of a folder."""
    if len(stats) != len(known):
        return False
    for name, stat in stats:
        row = known.get(name)
        if row is None or row.kind != KINDS.get(stat.kind) or row.blocked or stat.device != device:
            return False
        if stat.kind is EntryKind.DIRECTORY:
            if (row.inode, row.mode) != (stat.inode, stat.mode):
                return False
        elif row[2:8] != stat[1:7]:  # device, inode, size, times, mode
            return False
    return True
