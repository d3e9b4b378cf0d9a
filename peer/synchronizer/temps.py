"""Files in `.shoal/temp` on their way into place: begun, filled with what comes, verified; in a thread, in an open
folder."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from peer.ports import Descriptor
from peer.root import Folder
from peer.synchronizer.jobs import Job, Wanted
from peer.synchronizer.pool import Outcome
from peer.synchronizer.replacing import Changed, check_target, dress
from peer.trees import fingerprint
from peer.version_store import content_of
from protocol.chunks import chunk_id, open_in_place
from protocol.commits import SYMLINK
from protocol.errors import CannotOpen, Malformed, ShoalError

ONE_BY_ONE = 8
"""Up to this many files, or folders, are fsynced one by one; more share one barrier for the whole file system."""


class Lacking(ShoalError):
    """Chunks of a file are not to be had now."""


def unfailed(jobs: Iterable[Job]) -> Iterator[Job]:
    """Those at which nothing has failed so far."""
    return (job for job in jobs if job.failure is None)


def begin(folder: Folder, jobs: Sequence[Job]) -> None:
    """Make the temporary files, with what is at hand: inline content, link texts, chunks of the file to be replaced."""
    for job in unfailed(jobs):
        try:
            if job.wary:
                check_target(folder, job.target)
            job.sync = len(jobs) <= ONE_BY_ONE
            if job.remote.kind == SYMLINK:
                _begin_symlink(folder, job)
            else:
                _begin_file(folder, job)
        except (OSError, Malformed, Changed) as error:
            job.failure = error
        folder.trim()


def _begin_symlink(folder: Folder, job: Job) -> None:
    discard(folder, job.temp)
    folder.disk.make_symlink(job.version.manifest.link or "", folder.temp, job.temp)
    folder.disk.set_link_times(folder.temp, job.temp, job.version.manifest.mtime_ns)
    job.whole = fingerprint(folder.disk.stat(folder.temp, job.temp))


def _begin_file(folder: Folder, job: Job) -> None:
    disk = folder.disk
    descriptor = disk.open_for_writing(folder.temp, job.temp) if job.ahead else create(folder, job.temp)
    try:
        if job.version.manifest.inline is not None:
            disk.write_at(descriptor, job.version.manifest.inline, 0)
        if job.base:
            job.here = _copy_from_base(folder, job, descriptor)
        if job.assembly.complete:
            _verify_and_dress(folder, job, descriptor)
    finally:
        disk.close(descriptor)


def create(folder: Folder, temp: str) -> Descriptor:
    """A new file in place of what an earlier attempt may have left."""
    try:
        return folder.disk.create_file(folder.temp, temp, 0o600)
    except FileExistsError:
        discard(folder, temp)
        return folder.disk.create_file(folder.temp, temp, 0o600)


def _copy_from_base(folder: Folder, job: Job, descriptor: Descriptor) -> int:
    disk = folder.disk
    source = disk.open_file(folder.directory(job.target.parent), job.target.name)
    copied = 0
    try:
        for piece in job.pieces:
            held = job.base.get(piece.ref.id)
            if held is not None:
                data = disk.read_at(source, held.ref.length, held.offset)
                job.assembly.write(disk, descriptor, piece, data)
                job.to_come -= len(data)
                copied += len(data)
    finally:
        disk.close(source)
    return copied


def write(folder: Folder, wanted: Sequence[Wanted], bodies: Sequence[memoryview], *, is_cloud: bool) -> Outcome:
    """Hold each chunk against its id, open it, and write it wherever it belongs."""
    writer, missing = _Writer(folder), list[Wanted]()
    try:
        for each, sealed in zip(wanted, bodies, strict=True):
            if not sealed:
                missing.append(each)
            elif chunk_id(sealed) == each.ref.id:
                writer.write(each, sealed)
            elif is_cloud:
                missing.append(each)
            else:
                return Outcome(wrong=Malformed("it sent a chunk that isn't what its id says"))
    finally:
        writer.close()
    return Outcome(missing)


class _Writer:
    """Keeps the file open that was written last: chunks of one file come together."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._temp: str | None = None
        self._descriptor: Descriptor | None = None

    def write(self, wanted: Wanted, sealed: memoryview) -> None:
        try:
            body = open_in_place(wanted.ref, sealed)
        except (Malformed, CannotOpen) as error:  # the version's author sealed it so
            for job, _ in wanted.users:
                job.failure = job.failure or error
            return
        for job, piece in wanted.users:
            if job.failure is None:
                try:
                    descriptor = self._open(job.temp)
                    if job.assembly.write(self._folder.disk, descriptor, piece, body):
                        _verify_and_dress(self._folder, job, descriptor)
                except (OSError, Malformed) as error:
                    job.failure = error

    def _open(self, temp: str) -> Descriptor:
        if self._descriptor is None or temp != self._temp:
            self.close()
            self._descriptor = self._folder.disk.open_for_writing(self._folder.temp, temp)
            self._temp = temp
        return self._descriptor

    def close(self) -> None:
        if self._descriptor is not None:
            self._folder.disk.close(self._descriptor)
        self._descriptor = None


def finish(folder: Folder, jobs: list[Job]) -> None:
    """Make those durable that haven't been, and take away what has failed."""
    if any(not job.sync for job in unfailed(jobs)):
        folder.disk.sync_file_system(folder.temp)
    for job in jobs:
        if not job.whole:
            job.failure = job.failure or Lacking("parts of it are missing")
        if job.failure is not None:
            discard(folder, job.temp)


def _verify_and_dress(folder: Folder, job: Job, descriptor: Descriptor) -> None:
    """All of a file is there: hold it against its manifest, give it its time and permissions."""
    disk, content = folder.disk, content_of(job.version.manifest)
    if job.assembly.digest(disk, descriptor) != content.digest:
        raise Malformed("what was fetched is not what its manifest says")
    dress(disk, descriptor, content, None if job.replaced is None else job.replaced.print)
    if job.sync:
        disk.fsync(descriptor)
    job.whole = fingerprint(disk.stat_open(descriptor))


def discard(folder: Folder, name: str) -> None:
    """Remove what is there in `.shoal/temp` under a name, if anything is."""
    with suppress(FileNotFoundError):
        folder.disk.unlink(folder.temp, name)
