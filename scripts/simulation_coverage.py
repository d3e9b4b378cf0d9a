"""How much of the executor and of the disk layer the simulations reach by themselves: `make coverage SEEDS=n`.

Measures lines and branches while seeds from 0 on are run; prints what was not reached. Exit 1 when fewer than LEAST
percent of the branches alone were taken, or a seed failed.

The executor is all of `peer/synchronizer`, but for the pure planner. The disk layer is what lies between the ports and
LOCAL: the way into the folder, the looks at it, what is made of them, and the watcher that asks for them.
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coverage import Coverage

LEAST = 95
DISK_LAYER = ("root", "scanner", "indexer", "moves", "ruling", "quiet", "watcher")
MEASURED = ("peer/synchronizer/*.py", *(f"peer/{module}.py" for module in DISK_LAYER))
LEFT_OUT = ("peer/synchronizer/planner.py",)  # pure, and held by properties of its own


def main() -> int:
    """Run the seeds under measurement."""
    seeds = int(sys.argv[1])
    coverage = Coverage(branch=True, include=MEASURED, omit=LEFT_OUT, data_file=None)
    coverage.start()
    from tests.simulation.run import attempt

    bad = [seed for seed in range(seeds) if not attempt(seed).good]
    coverage.stop()
    both = coverage.report(show_missing=True, skip_covered=True, file=sys.stdout)
    totals = totals_of(coverage)
    lines = percent(totals["covered_lines"], totals["num_statements"])
    branches = percent(totals["covered_branches"], totals["num_branches"])
    print(f"in {seeds} seeds: {branches:.1f} % of {totals['num_branches']} branches alone (at least {LEAST} % are due)")
    print(f"{lines:.1f} % of the lines, {both:.1f} % of both together; seeds that failed: {bad or 'none'}")
    return int(branches < LEAST or bool(bad))


def totals_of(coverage: Coverage) -> dict[str, Any]:
    """The sums of coverage's own report for programs."""
    with TemporaryDirectory() as room:
        report = Path(room, "report.json")
        coverage.json_report(outfile=str(report))
        totals: dict[str, Any] = json.loads(report.read_text())["totals"]
        return totals


def percent(covered: int, whole: int) -> float:
    """Of nothing, all is covered."""
    return 100 * covered / whole if whole else 100.0


if __name__ == "__main__":
    sys.exit(main())
