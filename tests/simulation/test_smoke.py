"""The smoke simulation: some seeds of everything at once, and the same again in another process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.world import simulate

SEEDS = range(20)
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("seed", SEEDS)
def test_all_comes_to_rest_and_nothing_is_lost(seed: int) -> None:
    outcome = simulate(seed)
    if outcome.violation is not None:
        pytest.fail(f"{outcome.violation}\nReplay: python -m tests.simulation.run --seed {seed} --log", pytrace=False)


def test_a_seed_says_all_that_happens() -> None:
    """Hashes of the whole event log, from two processes whose sets and dicts are in different orders."""
    reports = [_hashes(hash_seed) for hash_seed in ("1", "20261123")]
    assert reports[0] == reports[1]
    assert reports[0].count("hash") == 4


def _hashes(hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation.run", "--seeds", "0", "4", "--all"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout
