"""What is expected of one tracker process on PostgreSQL at full scale, held against the figures."""

from collections.abc import Sequence

from bench.tracker.figures import Summary
from bench.tracker.works.base import TRACKER
from bench.verdicts import Verdict, Word

PAIR = "postgresql"
EXPECTED = {"commits": 300.0, "rows": 15_000.0}
"""A second, at least."""


def judge(summaries: Sequence[Summary], *, full_scale: bool) -> list[Verdict]:
    """A verdict for everything that was measured. Smaller works are not judged: most of their time is the beginning."""
    own = {summary.figure: summary for summary in summaries if summary.pair == PAIR and summary.who == TRACKER}
    verdicts = []
    for figure, limit in EXPECTED.items():
        if figure in own:
            value = own[figure].value
            word: Word = "not judged" if not full_scale else "ok" if value >= limit else "RED"
            verdicts.append(Verdict(f"{figure} on PostgreSQL, at least", own[figure].unit, limit, value, word))
    return verdicts
