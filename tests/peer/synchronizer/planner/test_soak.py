"""All properties again, with many more examples: over 100,000 in all."""

import inspect

import pytest

from peer.database import Database
from tests.peer.synchronizer.model.drawn import SOAKED
from tests.peer.synchronizer.planner import (
    test_convergence,
    test_interruptions,
    test_naive,
    test_selection,
    test_slices,
)

TESTED = [vars(module) for module in (test_convergence, test_interruptions, test_naive, test_selection, test_slices)]


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", SOAKED)
def test_with_many_examples(name: str, database: Database) -> None:
    holds = SOAKED[name]
    holds(**{"database": database} if "database" in inspect.signature(holds).parameters else {})


def test_every_property_is_among_them() -> None:
    drawn = {name for tested in TESTED for name, test in tested.items() if hasattr(test, "hypothesis")}
    assert drawn == SOAKED.keys()
