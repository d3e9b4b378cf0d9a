"""What is here of files that are still on their way into place, so that others on the LAN needn't wait for the rest.

A piece that has been written to `.shoal/temp` was held against its id, and is again when it is sealed for somebody.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from peer.root import TEMP
from peer.synchronizer.holdings import Place
from peer.synchronizer.jobs import Job
from protocol.identifiers import VersionId
from protocol.lan_messages import MAX_BITMAP, Share
from protocol.names import RESERVED


class Partials:
    """The files under way, by their versions."""

    def __init__(self) -> None:
        self._jobs: dict[VersionId, Job] = {}

    @contextmanager
    def gathering(self, jobs: Iterable[Job]) -> Iterator[None]:
        """These may be given to others until they are in place or given up."""
        mine = {job.version.id: job for job in jobs if len(job.assembly.bitmap) <= MAX_BITMAP}
        self._jobs.update(mine)
        try:
            yield
        finally:
            for version in mine:
                self._jobs.pop(version, None)

    def shares(self, versions: Iterable[VersionId]) -> list[Share]:
        """What is here of those of `versions` that are under way, where it is anything."""
        under_way = ((version, self._jobs[version].assembly.bitmap) for version in versions if version in self._jobs)
        return [(version, bitmap) for version, bitmap in under_way if any(bitmap)]

    def places(self, versions: Iterable[VersionId]) -> dict[VersionId, tuple[Place, bytes]]:
        """Where those that are under way are now, and what is there of each."""
        jobs = (self._jobs[version] for version in versions if version in self._jobs)
        return {job.version.id: (_place(job), job.assembly.bitmap) for job in jobs if job.failure is None}


def _place(job: Job) -> Place:
    return Place(job.target.parent, job.target.name) if job.placed else Place((RESERVED, TEMP), job.temp)
