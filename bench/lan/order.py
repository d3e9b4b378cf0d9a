"""Who is measured when, and what has to be done for it."""

from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from bench.lan.works import WORKS, Work

T = TypeVar("T")


def interleaved(rivals: Sequence[T], runs: int) -> Iterator[tuple[int, T]]:
    """(run, rival): each once, then each again, so that what changes on the machine meanwhile meets all alike.

    Runs count from 1.
    """
    for run in range(1, runs + 1):
        for rival in rivals:
            yield run, rival


def to_do(chosen: Collection[str]) -> list[tuple[Work, bool]]:
    """The works to do for those named (if none is, those that are done by default), and whether each counts or only
    prepares for another."""
    counted = chosen or [work.name for work in WORKS if work.by_default]
    needed = {work.stands_on for work in WORKS if work.name in counted}
    return [(work, work.name in counted) for work in WORKS if work.name in counted or work.name in needed]
