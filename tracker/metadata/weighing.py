"""What a commit's new versions weigh, and which of their chunks the tracker holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, update

from protocol import chunks as sealed_chunks
from protocol.commits import Content, Create, Operation, Write
from protocol.errors import Code, Refused
from protocol.identifiers import ChunkId, RunId, VersionId, WorkspaceId
from protocol.runs import Listed
from tracker.metadata.batches import batches, lookup
from tracker.metadata.rules import Measured
from tracker.metadata.runs import bodies_of, list_runs
from tracker.schema import chunks

MAX_LISTED = 100_000
"""Chunks that the versions of one commit may list, each time counted: what one answer can name as missing."""


_CHUNKS = lookup(chunks.c.chunk, chunks.c.chunk, chunks.c.length, chunks.c.condemned_ms)


@dataclass(frozen=True, slots=True)
class Weighed:
    """What is known of a commit's contents before it is judged."""

    measured: Mapping[VersionId, Measured]  # without those of which a run is unknown
    missing: Mapping[VersionId, Mapping[ChunkId, int]]  # chunk → sealed length, in the order listed
    condemned: Sequence[ChunkId]  # held and named, but marked by garbage collection
    new_runs: Mapping[RunId, bytes]  # named, brought along and not stored yet


def contents_of(operations: Iterable[Operation]) -> list[Content]:
    """The new versions in a commit."""
    return [op.content for op in operations if isinstance(op, Create | Write) and op.content is not None]


def weigh(
    connection: Connection, workspace: WorkspaceId, contents: Sequence[Content], brought: Mapping[RunId, bytes]
) -> Weighed:
    """Measure new versions. `Refused` when they list more than one commit may, or another length than a chunk has."""
    named = dict.fromkeys(run for content in contents for run in content.runs)
    stored = bodies_of(connection, workspace, named)
    new_runs = {run: brought[run] for run in named if run in brought and run not in stored}
    lists = list_runs(stored | new_runs)
    known = [content for content in contents if all(run in lists for run in content.runs)]
    lists_of = {content.version: _listed(content, lists) for content in known}
    if sum(map(len, lists_of.values())) > MAX_LISTED:
        raise Refused(Code.TOO_LARGE, f"a commit whose versions list more than {MAX_LISTED} chunks")
    held, condemned = _held(connection, workspace, [item.id for items in lists_of.values() for item in items])
    missing = {version: _missing(items, held) for version, items in lists_of.items()}
    measured = {content.version: _measure(content, lists_of[content.version], missing) for content in known}
    return Weighed(measured, missing, condemned, new_runs)


def weighed_together(parts: Sequence[Weighed]) -> Weighed:
    """What is known of the contents of several parts of one commit."""
    if len(parts) == 1:
        return parts[0]
    together = Weighed({}, {}, [each for part in parts for each in part.condemned], {})
    for part in parts:
        together = Weighed(
            {**together.measured, **part.measured},
            {**together.missing, **part.missing},
            together.condemned,
            {**together.new_runs, **part.new_runs},
        )
    return together


def _listed(content: Content, lists: Mapping[RunId, list[Listed]]) -> list[Listed]:
    return [item for run in content.runs for item in lists[run]]


def _held(
    connection: Connection, workspace: WorkspaceId, ids: Iterable[ChunkId]
) -> tuple[dict[ChunkId, int], list[ChunkId]]:
    """The lengths of the chunks that are held, and which of them are condemned."""
    held: dict[ChunkId, int] = {}
    condemned: list[ChunkId] = []
    for batch in batches(dict.fromkeys(ids)):
        for row in _CHUNKS.execute(connection, {"workspace": workspace, "ids": batch}):
            held[ChunkId(row.chunk)] = row.length
            if row.condemned_ms is not None:
                condemned.append(ChunkId(row.chunk))
    return held, condemned


def _missing(items: Iterable[Listed], held: Mapping[ChunkId, int]) -> dict[ChunkId, int]:
    missing: dict[ChunkId, int] = {}
    for item in items:
        length = held.get(item.id)
        if length is None:
            length = missing.setdefault(item.id, item.length)
        if length != item.length:
            raise Refused(Code.MALFORMED, "a version lists a chunk with another length than it has")
    return missing


def _measure(content: Content, items: Sequence[Listed], missing: Mapping[VersionId, object]) -> Measured:
    sealed = sum(item.length for item in items)
    return Measured(
        size=sealed + len(content.manifest),
        content=sealed - len(items) * sealed_chunks.OVERHEAD,
        durable=not missing[content.version],
    )


def pardon(connection: Connection, workspace: WorkspaceId, condemned: Iterable[ChunkId]) -> None:
    """Clear garbage collection's mark: a commit names these chunks again."""
    for batch in batches(condemned):
        connection.execute(
            update(chunks).where(chunks.c.workspace == workspace, chunks.c.chunk.in_(batch)).values(condemned_ms=None)
        )
