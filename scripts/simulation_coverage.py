"""How much of the executor and of the disk layer the simulations reach by themselves: `make coverage SEEDS=n`.

Measures lines and branches while seeds from 0 on are run; prints what was not reached. Exit 1 below LEAST percent.
"""

import sys

from coverage import Coverage

LEAST = 95
MEASURED = ("peer/synchronizer/*.py", "peer/root.py", "peer/scanner.py", "peer/indexer.py", "peer/watcher.py")
LEFT_OUT = ("peer/synchronizer/planner.py",)  # pure, and held by properties of its own


def main() -> int:
    """Run the seeds under measurement."""
    seeds = int(sys.argv[1])
    coverage = Coverage(branch=True, include=MEASURED, omit=LEFT_OUT, data_file=None)
    coverage.start()
    from tests.simulation.run import attempt

    bad = [seed for seed in range(seeds) if not attempt(seed).good]
    coverage.stop()
    percent = coverage.report(show_missing=True, skip_covered=True, file=sys.stdout)
    print(f"{percent:.1f} % of lines and branches in {seeds} seeds; seeds that failed: {bad or 'none'}")
    return int(percent < LEAST or bool(bad))


if __name__ == "__main__":
    sys.exit(main())
