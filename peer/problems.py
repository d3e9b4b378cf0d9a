"""What keeps single paths from being synced: kept until it is over, shown with a reason and advice (laws 9 and 15)."""

from collections.abc import Iterable
from dataclasses import dataclass

from peer.database import Database
from protocol.identifiers import WorkspaceId

PASSING = ("read", "send", "fetch", "disk")
"""Kinds that are over once the path is synced; the others are found anew by each scan."""

MOST_ALIKE, MOST = 100, 1000
"""Of how many problems people are told."""
_SOME = """SELECT path, kind, reason, advice, rank, total FROM (
        SELECT path, kind, reason, advice, count(*) OVER alike AS total,
               row_number() OVER (PARTITION BY kind, reason, advice ORDER BY path) AS rank
        FROM problems WHERE workspace = ? WINDOW alike AS (PARTITION BY kind, reason, advice))
    WHERE rank <= ? ORDER BY path, kind LIMIT ?"""


@dataclass(frozen=True, slots=True)
class PathProblem:
    """One path's problem; `kind` says which part of Shoal found it, and will clear it."""

    path: str
    kind: str
    reason: str
    advice: str


class Problems:
    """The problems of one workspace."""

    def __init__(self, database: Database, workspace: WorkspaceId) -> None:
        """Read and write those of `workspace`."""
        self._database = database
        self._workspace = workspace

    def report(self, path: tuple[str, ...], kind: str, reason: str, advice: str) -> None:
        """A path has this problem from now on."""
        self._database.run(
            "INSERT OR REPLACE INTO problems VALUES (?,?,?,?,?)", self._workspace, printable(path), kind, reason, advice
        )

    def clear(self, path: tuple[str, ...], kind: str) -> None:
        """The path's problem of this kind is over."""
        self._database.run(
            "DELETE FROM problems WHERE workspace = ? AND path = ? AND kind = ?", self._workspace, printable(path), kind
        )

    def clear_inside(self, directory: tuple[str, ...], kind: str, folders: Iterable[str]) -> None:
        """Problems of this kind right inside a directory are over, unless they are reported again; and those in folders
        that are not among its `folders` any more."""
        prefix, kept = printable((*directory, "")), {printable((name,)) for name in folders}
        sql = "SELECT path FROM problems WHERE workspace = ? AND kind = ? AND substr(path, 1, ?) = ?"
        for (path,) in self._database.rows(sql, self._workspace, kind, len(prefix), prefix):
            head, deep, _ = path[len(prefix) :].partition("/")
            if not deep or head not in kept:
                self._database.run(
                    "DELETE FROM problems WHERE workspace = ? AND path = ? AND kind = ?", self._workspace, path, kind
                )

    def settled(self, path: tuple[str, ...] | None = None) -> None:
        """A path, or with None all of them, is as it should be on both sides: what kept it from that is over."""
        sql = f"DELETE FROM problems WHERE workspace = ? AND kind IN {PASSING!r}"
        if path is None:
            self._database.run(sql, self._workspace)
        else:
            self._database.run(f"{sql} AND path = ?", self._workspace, printable(path))

    def settled_below(self, path: tuple[str, ...]) -> None:
        """A path, and all in it, is not wanted here: what kept it from being synced doesn't matter."""
        whole, inside = printable(path), printable((*path, ""))
        sql = (
            f"DELETE FROM problems WHERE workspace = ? AND kind IN {PASSING!r} AND (path = ? OR substr(path, 1, ?) = ?)"
        )
        self._database.run(sql, self._workspace, whole, len(inside), inside)

    def at(self, path: tuple[str, ...]) -> list[PathProblem]:
        """Those of one path."""
        sql = "SELECT path, kind, reason, advice FROM problems WHERE workspace = ? AND path = ? ORDER BY kind"
        return [PathProblem(*row) for row in self._database.rows(sql, self._workspace, printable(path))]

    def any(self) -> bool:
        """Whether there are any."""
        return self._database.row("SELECT 1 FROM problems WHERE workspace = ?", self._workspace) is not None

    def count(self) -> int:
        """How many there are."""
        return int(self._database.row("SELECT count(*) FROM problems WHERE workspace = ?", self._workspace)[0])

    def some(self) -> list[tuple[PathProblem, int]]:
        """By path, at most MOST_ALIKE of those that are alike but for their paths, and at most MOST in all; the last of
        those alike with how many more there are."""
        found = self._database.rows(_SOME, self._workspace, MOST_ALIKE, MOST)
        return [(PathProblem(*row), total - rank if rank == MOST_ALIKE else 0) for *row, rank, total in found]

    def all(self) -> list[PathProblem]:
        """All problems, by path."""
        sql = "SELECT path, kind, reason, advice FROM problems WHERE workspace = ? ORDER BY path, kind"
        return [PathProblem(*row) for row in self._database.rows(sql, self._workspace)]


def printable(path: tuple[str, ...]) -> str:
    """A path for people and logs: bytes that are not UTF-8, and control characters, are escaped."""
    raw = "/".join(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in raw)
