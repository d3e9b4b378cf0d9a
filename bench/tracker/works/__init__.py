"""The works, in the order in which they are done."""

from bench.tracker.works.base import Work
from bench.tracker.works.chunks import CHUNKS
from bench.tracker.works.commits import COMMITS, ROWS
from bench.tracker.works.notices import NOTICES

WORKS: tuple[Work, ...] = (COMMITS, ROWS, CHUNKS, NOTICES)
WORK_NAMES = tuple(work.name for work in WORKS)
