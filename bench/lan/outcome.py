"""Everything that a measurement came to, and JSON of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.lan.facts import Facts
from bench.lan.figures import Measure, Summary, summarise
from bench.lan.order import to_do
from bench.lan.session import Plan
from bench.lan.verdicts import judge
from bench.lan.works import Sizes
from bench.verdicts import Verdict


@dataclass(frozen=True)
class Outcome:
    """Everything that a measurement came to. `left_out` tells why, by the rival's name; `rivals` what they were."""

    facts: Facts
    plan: Plan
    rivals: Mapping[str, str]
    left_out: Mapping[str, str]
    measures: Sequence[Measure]
    failure: str | None  # why there are no more measures

    @property
    def summaries(self) -> list[Summary]:
        """Of all measures."""
        return summarise(self.measures)

    @property
    def verdicts(self) -> list[Verdict]:
        """On all measures."""
        return judge(self.summaries, full_scale=self.plan.sizes == Sizes())

    @property
    def is_well(self) -> bool:
        """Whether all was measured and nothing that is expected is missed."""
        return self.failure is None and all(verdict.word != "RED" for verdict in self.verdicts)


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Everything as plain values; times in seconds, sizes in bytes."""
    plan = outcome.plan
    return {
        "machine": asdict(outcome.facts) | {"busy": outcome.facts.busy, "slow_files": outcome.facts.slow_files},
        "runs": plan.runs,
        "sizes": asdict(plan.sizes),
        "full_scale": plan.sizes == Sizes(),
        "profiled": plan.profile is not None,
        "works": {work.name: work.what(plan.sizes) for work, counts in to_do(plan.works) if counts},
        "rivals": dict(outcome.rivals),
        "left_out": dict(outcome.left_out),
        "measures": [asdict(measure) for measure in outcome.measures],
        "summary": [asdict(summary) for summary in outcome.summaries],
        "verdicts": [asdict(verdict) for verdict in outcome.verdicts],
        "failure": outcome.failure,
    }
