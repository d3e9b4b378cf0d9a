"""The table of faults fits the code, and the simulation catches each of them."""

import json
import subprocess
import sys

import pytest

from tests.simulation.counts import SEEDS
from tests.simulation.mutation.patching import ROOT
from tests.simulation.mutation.run import recorded
from tests.simulation.mutation.table import FAULTS

AT_LEAST = 25
IN_EVERY_RUN = 8
"""Of the faults so many are put in and caught each time that all tests run; the others by `make soak`."""


def test_the_table_is_whole() -> None:
    assert len(FAULTS) >= AT_LEAST
    assert recorded().keys() == FAULTS.keys()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fits_the_code(name: str) -> None:
    for edit in FAULTS[name].edits:
        compile(edit.patched(), edit.module, "exec")


def catch(name: str) -> None:
    first = recorded()[name].seed
    command = [sys.executable, "-m", "tests.simulation.mutation.run", name, "--from", str(first), "--until", str(SEEDS)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"no seed from {first} to {SEEDS} catches it\n{done.stderr}", pytrace=False)
    print(f"{name}: {json.loads(done.stdout)}")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAULTS)[:: len(FAULTS) // IN_EVERY_RUN])
def test_a_fault_is_caught(name: str) -> None:
    catch(name)


@pytest.mark.soak
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_caught(name: str) -> None:
    catch(name)
