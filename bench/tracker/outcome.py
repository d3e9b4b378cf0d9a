"""Everything that a measurement came to, and JSON of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.lan.facts import Facts
from bench.tracker.figures import Measure, Summary, summarise
from bench.tracker.prepared import Sizes
from bench.tracker.session import Plan
from bench.tracker.verdicts import judge
from bench.verdicts import Verdict


@dataclass(frozen=True)
class Outcome:
    """Everything that a measurement came to. `left_out` tells why, by the pair's name; `grounds` what each pair was."""

    facts: Facts
    plan: Plan
    left_out: Mapping[str, str]
    grounds: Mapping[str, tuple[str, str]]
    measures: Sequence[Measure]
    failure: str | None  # why there are no more measures

    @property
    def summaries(self) -> list[Summary]:
        """Of all measures."""
        return summarise(self.measures)

    @property
    def full_scale(self) -> bool:
        """Whether the works were as large as they should be, and nothing slowed them."""
        return self.plan.sizes == Sizes(watchers=self.plan.sizes.watchers) and self.plan.profile is None

    @property
    def verdicts(self) -> list[Verdict]:
        """On all measures."""
        return judge(self.summaries, full_scale=self.full_scale)

    @property
    def is_well(self) -> bool:
        """Whether all was measured and nothing that is expected is missed."""
        return self.failure is None and all(verdict.word != "RED" for verdict in self.verdicts)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Everything as plain values; times in seconds, sizes in bytes. Of single requests only the summary tells."""
    plan = outcome.plan
    return {
        "machine": asdict(outcome.facts) | {"busy": outcome.facts.busy, "slow_files": outcome.facts.slow_files},
        "runs": plan.runs,
        "sizes": asdict(plan.sizes),
        "full_scale": outcome.full_scale,
        "profiled": plan.profile is not None,
        "works": {work.name: work.what(plan.sizes) for work in plan.works},
        "pairs": {
            name: {"database": database, "storage": storage} for name, (database, storage) in outcome.grounds.items()
        },
        "left_out": dict(outcome.left_out),
        "measures": [_measure(measure) for measure in outcome.measures],
        "summary": [asdict(summary) for summary in outcome.summaries],
        "verdicts": [asdict(verdict) for verdict in outcome.verdicts],
        "failure": outcome.failure,
    }


def _measure(measure: Measure) -> dict[str, Any]:
    plain = asdict(measure) | {"value": measure.value}
    del plain["latencies"], plain["lasts"]
    return plain
