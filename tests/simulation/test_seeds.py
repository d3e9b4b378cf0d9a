"""Hundreds of simulations of everything at once, in shards that run beside other tests, and what they made happen."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.counts import ACTED, ACTED_BETWEEN, LEAST, LEAST_BETWEEN, REQUIRED, SEEDS
from tests.simulation.run import attempt

SHARDS = 15
ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_nothing_is_lost_and_all_comes_to_rest(shard: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    happened, failures = run(range(shard, SEEDS, SHARDS))
    together = all_shards(tmp_path_factory, shard, happened)
    if together is not None:
        failures += lacking(together)
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)


@pytest.mark.timeout(0)
@pytest.mark.soak
def test_more_seeds() -> None:
    """`make soak SEEDS=n`."""
    happened, failures = run(range(SEEDS, SEEDS + int(os.environ.get("SEEDS", "2000"))))
    print(dict(happened))
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)


def run(seeds: range) -> tuple[Counter[str], list[str]]:
    """What they made happen, and what went wrong."""
    happened, failures = Counter[str](), list[str]()
    for seed in seeds:
        result = attempt(seed)
        happened.update(result.happened)
        if not result.good:
            failures.append(f"{result.text}\nReplay: python -m tests.simulation.run --seed {seed} --log")
    return happened, failures


def all_shards(factory: pytest.TempPathFactory, shard: int, happened: Counter[str]) -> Counter[str] | None:
    """Leave this shard's counts for the others; the sum, if all shards of this run have left theirs by now."""
    run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    base = factory.getbasetemp() if run_id is None else factory.getbasetemp().parent
    room = base / f"simulations-{run_id}"
    room.mkdir(exist_ok=True)
    draft = room / f"draft-{shard}"
    draft.write_text(json.dumps(happened))
    draft.rename(room / f"{shard}.json")
    done = list(room.glob("*.json"))
    if len(done) < SHARDS:
        return None
    return sum((Counter(json.loads(each.read_text())) for each in done), Counter())


def lacking(happened: Counter[str]) -> list[str]:
    """What happened too seldom for the simulations to say anything of it."""
    print(dict(happened))
    seldom = [f"{event}: only {happened[event]} times" for event in REQUIRED if happened[event] < LEAST]
    if happened[ACTED_BETWEEN] < LEAST_BETWEEN * happened[ACTED]:
        seldom.append(f"of {happened[ACTED]} user actions only {happened[ACTED_BETWEEN]} within a piece of work")
    return seldom


def test_a_seed_says_all_that_happens() -> None:
    """Hashes of the whole event log, from two processes whose sets and dicts are in different orders."""
    reports = [_hashes(hash_seed) for hash_seed in ("1", "20261123")]
    assert reports[0] == reports[1]
    assert reports[0].count("hash") == 2


def _hashes(hash_seed: str) -> str:
    command = [sys.executable, "-m", "tests.simulation.run", "--seeds", "0", "2", "--all"]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=True)
    return done.stdout
