"""Run simulations by hand: `python -m tests.simulation.run --seed N [--log]`, or `--seeds FROM TO` for many."""

import argparse
import sys
import time

from tests.simulation.world import Outcome, simulate


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--seeds", type=int, nargs=2, metavar=("FROM", "TO"), help="many, the last one left out")
    parser.add_argument("--log", action="store_true", help="print every event")
    options = parser.parse_args()
    seeds = range(*options.seeds) if options.seeds else [options.seed or 0]
    failed = 0
    for seed in seeds:
        started = time.monotonic()
        try:
            outcome = simulate(seed, keep=options.log, echo=options.log)
        except BaseExceptionGroup as group:
            failed += 1
            print(f"seed {seed}: a program failed: {first_of(group)!r}")
            if options.seed is not None:
                raise
            continue
        failed += outcome.violation is not None
        if outcome.violation is not None or options.seed is not None:
            print(summary(outcome), f"({time.monotonic() - started:.2f} s)")
    if options.seeds:
        print(f"{failed} of {len(seeds)} failed")
    return 1 if failed else 0


def first_of(group: BaseException) -> BaseException:
    """The first exception that is no group."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group


def summary(outcome: Outcome) -> str:
    """One line, or the violation."""
    if outcome.violation is not None:
        return f"seed {outcome.seed}: {outcome.violation}"
    return f"seed {outcome.seed}: good, {outcome.events} events, hash {outcome.hash[:16]}"


if __name__ == "__main__":
    sys.exit(main())
