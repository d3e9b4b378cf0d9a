"""Run simulations by hand.

python -m tests.simulation.run --seed N [--log]          one seed, with every event
python -m tests.simulation.run --seeds FROM TO [--all]   many, the last one left out; the bad ones, or all, in a line
"""

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.world import Outcome, simulate


@dataclass
class Result:
    """What came of one seed, in a line, and what happened in it."""

    good: bool
    text: str
    happened: Counter[str] = field(default_factory=Counter)


def main() -> int:
    """Exit 1 when a seed failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int)
    which.add_argument("--seeds", type=int, nargs=2, metavar=("FROM", "TO"))
    parser.add_argument("--log", action="store_true", help="print every event")
    parser.add_argument("--all", action="store_true", help="report good seeds too")
    parser.add_argument("--threads", action="store_true", help="with real threads, on a clock that runs by itself")
    options = parser.parse_args()
    if options.seed is not None:
        outcome = simulate(options.seed, echo=options.log, threaded=options.threads)
        print(summary(outcome))
        return int(outcome.violation is not None)
    started, failed, happened = time.process_time(), 0, Counter[str]()
    seeds = range(*options.seeds)
    for seed in seeds:
        result = attempt(seed, threaded=options.threads)
        happened.update(result.happened)
        failed += not result.good
        if options.all or not result.good:
            print(result.text, flush=True)
    for event, times in sorted(happened.items()):
        print(f"{times:6} {event}", file=sys.stderr)
    print(f"{failed} of {len(seeds)} failed", file=sys.stderr)
    print(f"{(time.process_time() - started) / max(1, len(seeds)):.2f} s of CPU a seed", file=sys.stderr)
    return int(failed > 0)


def attempt(seed: int, *, threaded: bool = False) -> Result:
    """Run a seed, also one in which a program fails."""
    try:
        outcome = simulate(seed, threaded=threaded)
    except BaseExceptionGroup as group:
        return Result(False, f"seed {seed}: a program failed: {_first(group)!r}")
    return Result(outcome.violation is None, summary(outcome), outcome.log.happened)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def summary(outcome: Outcome) -> str:
    """One line, or the violation."""
    if outcome.violation is not None:
        return f"seed {outcome.seed}: {outcome.violation}"
    return f"seed {outcome.seed}: good, {outcome.events} events, hash {outcome.hash}"


if __name__ == "__main__":
    sys.exit(main())
