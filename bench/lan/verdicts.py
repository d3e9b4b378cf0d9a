"""What is expected of Shoal at full scale, held against the figures."""

from collections.abc import Sequence

from bench.lan.figures import ANCHOR, Summary
from bench.lan.works import MIB
from bench.verdicts import Verdict, Word

SUBJECT = "shoal"
PEERS = ("sender", "receiver")
LATENCY_SECONDS, LATENCY_P99_SECONDS = 0.04, 0.12
TIMES = {"bulk": 5.0, "small": 8.0, "insert": 8.0}
INSERT_MOVED = 2 * MIB
PEER_BYTES = 200_000_000


def judge(summaries: Sequence[Summary], *, full_scale: bool) -> list[Verdict]:
    """A verdict for everything that was measured. Smaller works are not judged: the limits are not theirs."""
    own = {summary.work: summary for summary in summaries if summary.rival == SUBJECT}
    verdicts = []

    def at_most(what: str, unit: str, limit: float, value: float) -> None:
        verdicts.append(Verdict(what, unit, limit, value, _word(value <= limit, full_scale)))

    def at_least(what: str, limit: float, value: float | None) -> None:
        if value is not None:
            verdicts.append(Verdict(what, "×", limit, value, _word(value >= limit, full_scale)))

    for work in ("latency", "crowded"):
        if work in own:
            at_most(f"{work}, median, at most", "ms", LATENCY_SECONDS * 1000, own[work].median * 1000)
            at_most(f"{work}, p99, at most", "ms", LATENCY_P99_SECONDS * 1000, own[work].p99 * 1000)
    for work, limit in TIMES.items():
        if work in own:
            at_least(f"{work}, as fast as {ANCHOR}, at least", limit, own[work].times_faster)
    if "insert" in own:
        at_most("insert, bytes to the receiver, at most", "bytes", INSERT_MOVED, own["insert"].moved)
    if own:
        peak = max(summary.usage[peer].peak_bytes for summary in own.values() for peer in PEERS)
        at_most("peak memory of a peer in any work, at most", "bytes", PEER_BYTES, peak)
    return verdicts


def _word(met: bool, full_scale: bool) -> Word:
    if not full_scale:
        return "not judged"
    return "ok" if met else "RED"
