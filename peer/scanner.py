"""Looking at the disk: what is in a directory, without judging it. Runs in a worker thread."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from peer.ignoring import IGNORE_FILE, MAX_BYTES
from peer.ports import EntryKind, Stat
from peer.root import Folder, Names
from protocol.names import RESERVED


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
    mount whose other end is away: it is in `unseen`. `device` is the root's. `rules` are what each `.shoalignore` says,
    or why it can't be read."""

    device: int = 0
    listings: dict[Names, list[Seen]] = field(default_factory=dict)
    failed: dict[Names, OSError] = field(default_factory=dict)
    unseen: dict[Names, OSError] = field(default_factory=dict)
    rules: dict[Names, bytes | OSError] = field(default_factory=dict)


def look(folder: Folder, directories: Iterable[Names]) -> Look:
    """List `directories`, each on its own: one that fails doesn't stop the others (law 15)."""
    found = Look(folder.device)
    for names in directories:
        try:
            entries, unseen = _list(folder, names)
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
    into.listings |= more.listings
    into.failed |= more.failed
    into.unseen |= more.unseen
    into.rules |= more.rules


def _list(folder: Folder, names: Names) -> tuple[list[Seen], dict[Names, OSError]]:
    """What is in a directory, and what couldn't be looked at. If that is all, it is the directory's own failure."""
    disk, directory = folder.disk, folder.directory(names)
    out: list[Seen] = []
    unseen: dict[Names, OSError] = {}
    for name in sorted(disk.scan(directory)):
        if not names and name == RESERVED:
            continue
        try:
            stat = disk.stat(directory, name)
            link = disk.read_link(directory, name) if stat.kind is EntryKind.SYMLINK else None
        except FileNotFoundError:
            continue  # gone since the listing
        except OSError as error:
            unseen[*names, name] = error
        else:
            out.append(Seen(name, stat, link))
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
