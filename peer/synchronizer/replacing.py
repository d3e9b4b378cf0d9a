"""Putting files in place and taking them away, so that nothing a person wrote is ever the price (design §7,
"Replacing").

Everything here runs in a worker thread on an open `Folder`. A file comes into place whole, by one rename; what it
replaces is checked before and after the swap, and waits in `.shoal/outgoing` until nobody can be writing to it any
more.
"""

import errno
from dataclasses import dataclass

from peer.chunker import file_mode, is_executable, is_private
from peer.ports import Descriptor, Disk, Stat
from peer.root import Folder, Names
from peer.trees import Content, Fingerprint, Synced, fingerprint
from protocol.errors import ShoalError
from protocol.failpoints import failpoint
from protocol.identifiers import VersionId
from protocol.names import RESERVED

NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
"""How a file system says that it can't exchange two names."""

MAX_LABEL = 255
"""Bytes of a name in `.shoal/outgoing`."""
_DIGEST = "."
"""Before a digest in such a name."""


class Changed(ShoalError):
    """The disk is no longer as LOCAL says; look again before deciding anything."""


class InTheWay(Changed):
    """Something that LOCAL doesn't know stands where nothing should. If a look doesn't make it known, it is nothing
    that can be synced: a pipe, say, or a mount."""


class Clash(OSError):
    """This disk takes a name for that of `other`, which is written otherwise: it ignores case, or how accents are made
    up."""

    def __init__(self, other: str) -> None:
        """`other` stands in the same directory."""
        super().__init__(errno.ENOTUNIQ, "another name is the same to this disk")
        self.other = other


@dataclass(frozen=True, slots=True)
class Target:
    """Where something goes: a folder, a name in it, and what stands there now (None: nothing may). `published` is the
    digest of what was agreed on there, if that is in the cloud."""

    parent: Names
    name: str
    expected: Fingerprint | None
    published: bytes | None = None


def digest_of(synced: Synced | None, spare: VersionId | None) -> bytes | None:
    """The digest of what was agreed on, unless its version is `spare`: not known to be in the cloud."""
    return None if synced is None or synced.content is None or spare is not None else synced.content.digest


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something that left its place: its name in `.shoal/outgoing`, and how it was when it left."""

    name: str
    print: Fingerprint


@dataclass(frozen=True, slots=True)
class Placed:
    """What came of putting something in place. `kept` is the conflict name under which an edit made during the swap was
    kept; otherwise what was replaced is `outgoing`, if there was anything."""

    print: Fingerprint
    outgoing: Outgoing | None = None
    kept: str | None = None


def still_expected(stat: Stat, expected: Fingerprint) -> bool:
    """Whether a path is exactly as it was when LOCAL last saw it."""
    return fingerprint(stat) == expected


def same_file(stat: Stat, expected: Fingerprint) -> bool:
    """Whether an inode that was just renamed is the one expected, unwritten: a rename touches its ctime only."""
    return (stat.inode, stat.size, stat.mtime_ns) == (expected.inode, expected.size, expected.mtime_ns)


def check_target(folder: Folder, target: Target) -> Descriptor:
    """The open parent of a target that is as expected; `Changed` otherwise."""
    disk = folder.disk
    try:
        parent = folder.directory(target.parent)
        stat = disk.stat(parent, target.name)
    except FileNotFoundError:
        if target.expected is not None:
            raise Changed("a file is no longer where it was") from None
        return folder.directory(target.parent)
    if target.expected is None:
        raise taken(disk, parent, target.name)
    if not still_expected(stat, target.expected):
        raise Changed("a file has changed since it was last looked at")
    return parent


def taken(disk: Disk, parent: Descriptor, name: str) -> InTheWay | Clash:
    """What to raise when a name that should be free isn't."""
    other = namesake(disk, parent, name)
    return InTheWay("something else has its name") if other is None else Clash(other)


def namesake(disk: Disk, parent: Descriptor, name: str) -> str | None:
    """What stands in a directory in place of a name that isn't in it and can be looked up all the same."""
    listed = disk.scan(parent)
    if name in listed:
        return None
    try:
        inode = disk.stat(parent, name).inode
        return next((each for each in sorted(listed) if disk.stat(parent, each).inode == inode), None)
    except FileNotFoundError:
        return None


def put_in_place(folder: Folder, temp: str, before: Fingerprint, target: Target, conflict: str) -> Placed:
    """Bring `.shoal/temp/TEMP`, complete, fsynced and looking as `before`, to its target. An edit that lands between
    the last check and the swap is kept under the name `conflict` beside it. `Changed` when the target is not as
    expected. It stays there after a power cut once the folder has been fsynced, which is the caller's part: many files
    share one."""
    disk = folder.disk
    parent = check_target(folder, target)
    failpoint("peer.swap.checked")
    outgoing, kept = None, None
    if target.expected is None:
        _rename_new(folder, temp, parent, target.name)
        failpoint("peer.swap.done")
    else:
        label = _swap(folder, temp, parent, target)
        failpoint("peer.swap.done")
        outgoing, kept = _judge_swapped(folder, label, parent, target.expected, conflict)
    return Placed(_print_in_place(disk, parent, target.name, before), outgoing, kept)


def _rename_new(folder: Folder, temp: str, parent: Descriptor, name: str) -> None:
    try:
        folder.disk.rename(folder.temp, temp, parent, name)
    except FileExistsError:
        raise taken(folder.disk, parent, name) from None
    except FileNotFoundError:
        raise Changed("a file went during the swap") from None


def _swap(folder: Folder, temp: str, parent: Descriptor, target: Target) -> str:
    """Exchange by way of `.shoal/outgoing`, so that what comes out is there from the first moment, whatever happens
    next: in `temp` it would be in the way of the next attempt. Returns its name there."""
    disk, room, name = folder.disk, folder.outgoing, target.name
    label = send_out(folder, folder.temp, temp, target).name
    try:
        disk.exchange(room, label, parent, name)
    except OSError as error:
        if error.errno in NO_EXCHANGE:
            return _swap_in_turn(folder, label, parent, target)
        disk.unlink(room, label)  # what was fetched, and never in place
        if isinstance(error, FileNotFoundError):
            raise Changed("a file went during the swap") from None
        raise
    return label


def _swap_in_turn(folder: Folder, label: str, parent: Descriptor, target: Target) -> str:
    """Where a file system can't exchange: what is there goes out, then the new one in, neither over anything. After a
    crash in between the name is missing; that is no delete for the tracker, as what was to come is newer there (case
    5.1). Returns the name of what went out."""
    disk, room, name = folder.disk, folder.outgoing, target.name
    try:
        old = send_out(folder, parent, name, target).name
    except OSError as error:
        disk.unlink(room, label)
        if isinstance(error, FileNotFoundError):
            raise Changed("a file went during the swap") from None
        raise
    try:
        disk.rename(room, label, parent, name)
    except OSError as error:
        disk.unlink(room, label)
        if isinstance(error, FileExistsError):  # what went out waits there, until it is known for what it is
            raise Changed("a file came during the swap") from None
        disk.rename(room, old, parent, name)
        raise
    return old


def _judge_swapped(
    folder: Folder, label: str, parent: Descriptor, expected: Fingerprint, conflict: str
) -> tuple[Outgoing | None, str | None]:
    """What came out is as expected and waits, or goes beside its old place. Where that can't be, it waits under the
    looks it should have had, and comes back from there as a conflict copy."""
    disk, room = folder.disk, folder.outgoing
    stat = disk.stat(room, label)
    if same_file(stat, expected):
        return Outgoing(label, fingerprint(stat)), None
    try:
        disk.rename(room, label, parent, conflict)
    except OSError:
        return Outgoing(label, expected), None
    return None, conflict


def _print_in_place(disk: Disk, parent: Descriptor, name: str, before: Fingerprint) -> Fingerprint:
    """How a file looks that was just put in place. If it was written to since, how it looked before, so that LOCAL
    doesn't take the one for the other."""
    try:
        stat = disk.stat(parent, name)
    except FileNotFoundError:
        return before
    return fingerprint(stat) if same_file(stat, before) else before


def send_out(folder: Folder, parent: Descriptor, name: str, target: Target) -> Outgoing:
    """Move something to `.shoal/outgoing` under a name of its own, which tells the name that it had there, and what was
    `published` of it: who has lost the database sees by that whether it is anybody's edit."""
    disk, room = folder.disk, folder.outgoing
    stat = disk.stat(parent, name)
    number = 0
    while True:
        label = _label(f"{stat.inode:x}-{stat.ctime_ns:x}-{number}", target)
        try:
            disk.rename(parent, name, room, label)
        except FileExistsError:
            number += 1
            continue
        return Outgoing(label, fingerprint(disk.stat(room, label)))


def _label(unique: str, target: Target) -> str:
    """Of what there is room for: the name before the digest."""
    told = unique if target.published is None else f"{unique}{_DIGEST}{_short(target.published)}"
    labels = (f"{told}-{target.name}", f"{unique}-{target.name}", told)
    return next(label for label in labels if len(label.encode("utf-8", "surrogateescape")) <= MAX_LABEL)


def _short(digest: bytes) -> str:
    return digest[:16].hex()


def original_of(label: str) -> str:
    """The name that something in `.shoal/outgoing` had, as far as its name there tells."""
    return label.split("-", 3)[-1]


def was_published(label: str, digest: bytes) -> bool:
    """Whether something in `.shoal/outgoing` with this digest holds what its name says was in the cloud."""
    return "-".join(label.split("-", 3)[:3]).endswith(f"{_DIGEST}{_short(digest)}")


def take_away(folder: Folder, target: Target) -> Outgoing:
    """Take a file or symlink off the folder; `Changed`, with everything as it was, when it isn't what LOCAL says."""
    disk = folder.disk
    parent = check_target(folder, target)
    assert target.expected is not None
    try:
        outgoing = send_out(folder, parent, target.name, target)
    except FileNotFoundError:
        raise Changed("a file went while it was being removed") from None
    failpoint("peer.remove.outgoing")
    if not same_file(disk.stat(folder.outgoing, outgoing.name), target.expected):
        disk.rename(folder.outgoing, outgoing.name, parent, target.name)
        raise Changed("a file changed while it was being removed")
    disk.fsync(parent)
    return outgoing


def move(folder: Folder, source: Target, to_parent: Names, to_name: str) -> Fingerprint:
    """Rename within the folder. Only what stands there, not its content, has to be as expected."""
    disk = folder.disk
    assert source.expected is not None
    parent, goal = folder.directory(source.parent), folder.directory(to_parent)
    try:
        if disk.stat(parent, source.name).inode != source.expected.inode:
            raise Changed("another file has taken its place")
        _rename_within(disk, parent, source, goal, to_name)
    except FileExistsError:
        raise taken(disk, goal, to_name) from None
    except FileNotFoundError:
        raise Changed("a file went during a move") from None
    folder.forget((*source.parent, source.name))
    disk.fsync(goal)
    if goal != parent:
        disk.fsync(parent)
    return fingerprint(disk.stat(goal, to_name))


def _rename_within(disk: Disk, parent: Descriptor, source: Target, goal: Descriptor, to_name: str) -> None:
    """Where the new name is the old one written otherwise, and the disk takes both for one, by way of a third."""
    try:
        disk.rename(parent, source.name, goal, to_name)
    except FileExistsError:
        if parent != goal or namesake(disk, goal, to_name) != source.name:
            raise
        aside = f"{RESERVED}-{disk.stat(parent, source.name).inode:x}"
        disk.rename(parent, source.name, goal, aside)
        try:
            disk.rename(goal, aside, goal, to_name)
        except OSError:
            disk.rename(goal, aside, goal, source.name)
            raise


def set_attributes(folder: Folder, target: Target, content: Content, *, symlink: bool) -> Fingerprint:
    """Give a file its time and permissions, or a symlink its time."""
    disk = folder.disk
    parent = check_target(folder, target)
    if symlink:
        disk.set_link_times(parent, target.name, content.mtime_ns)
    else:
        descriptor = disk.open_file(parent, target.name)
        try:
            if fingerprint(disk.stat_open(descriptor)) != target.expected:
                raise Changed("a file has changed since it was last looked at")
            dress(disk, descriptor, content, target.expected)
        finally:
            disk.close(descriptor)
    now, expected = fingerprint(disk.stat(parent, target.name)), target.expected
    if expected is None or (now.inode, now.size) != (expected.inode, expected.size):
        raise Changed("a file changed while its attributes were set")
    return now


def dress(disk: Disk, descriptor: Descriptor, content: Content, before: Fingerprint | None) -> None:
    """Set permissions and time. Permissions that already say the right thing are left as the user made them."""
    mode = file_mode(content.executable, content.private)
    if before is not None and (is_executable(before), is_private(before)) == (content.executable, content.private):
        mode = before.mode
    disk.set_mode(descriptor, mode)
    disk.set_times(descriptor, content.mtime_ns)
