"""Chunk lists, opened, of the versions that devices on the LAN ask for.

Those of what this device has just announced are put here when they are made, as they are about to be asked for.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

from peer.version_store import VersionStore, chunks_of
from protocol.chunks import ChunkRef
from protocol.errors import CannotOpen, Malformed
from protocol.identifiers import VersionId

MOST_CHUNKS = 20_000
"""In all lists that are kept; those that were used longest ago are let go."""


class ChunkList(NamedTuple):
    """A version's chunks, and where in the file each begins."""

    refs: Sequence[ChunkRef]
    offsets: Sequence[int]


class ChunkLists:
    """A bounded number of them."""

    def __init__(self, versions: VersionStore) -> None:
        """What isn't here is opened from `versions`."""
        self._versions = versions
        self._lists: OrderedDict[VersionId, ChunkList] = OrderedDict()
        self._chunks = 0

    def put(self, version: VersionId, refs: Sequence[ChunkRef]) -> ChunkList:
        """Keep a version's list."""
        made = ChunkList(refs, [0, *accumulate(ref.length for ref in refs)])
        if version not in self._lists:
            self._lists[version] = made
            self._chunks += len(refs)
        while self._chunks > MOST_CHUNKS and len(self._lists) > 1:
            _, oldest = self._lists.popitem(last=False)
            self._chunks -= len(oldest.refs)
        return made

    def get_many(self, versions: Iterable[VersionId]) -> dict[VersionId, ChunkList]:
        """These versions' lists, where they can be had."""
        found, fresh = dict[VersionId, ChunkList](), list[VersionId]()
        for version in versions:
            kept = self._lists.get(version)
            if kept is None:
                fresh.append(version)
            else:
                found[version] = kept
                self._lists.move_to_end(version)
        return found | self._open(fresh)

    def _open(self, versions: Sequence[VersionId]) -> dict[VersionId, ChunkList]:
        kept = self._versions.get_many(versions) if versions else {}
        bodies, opened = self._versions.run_bodies(kept.values()), dict[VersionId, ChunkList]()
        for version in kept.values():
            try:
                refs = chunks_of(version, bodies)
            except (Malformed, CannotOpen):
                continue
            opened[version.id] = self.put(version.id, refs)
        return opened
