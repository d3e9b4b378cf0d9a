"""The table of faults fits the code, and the simulation catches those that it is recorded to catch."""

import json
import subprocess
import sys

import pytest

from tests.simulation.counts import SEEDS
from tests.simulation.mutation.run import recorded
from tests.simulation.mutation.table import FAULTS
from tests.support.patching import ROOT, patched

AT_LEAST = 25


def test_the_table_and_the_record_go_together() -> None:
    assert len(FAULTS) >= AT_LEAST
    assert recorded().keys() <= FAULTS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fits_the_code(name: str) -> None:
    for edit in FAULTS[name].edits:
        compile(patched(edit.module, FAULTS[name].edits), edit.module, "exec")


@pytest.mark.soak
@pytest.mark.parametrize("name", recorded())
def test_a_fault_is_caught(name: str) -> None:
    first = recorded()[name].seed
    command = [sys.executable, "-m", "tests.simulation.mutation.run", name, "--from", str(first), "--until", str(SEEDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"no seed from {first} to {SEEDS} catches it\n{done.stderr}", pytrace=False)
    print(f"{name}: {json.loads(done.stdout)}")
