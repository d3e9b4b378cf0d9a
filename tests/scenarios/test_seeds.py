"""Every scenario with other seeds: other delays, other ids, tasks in another order. The end must be the same."""

from importlib import import_module
from pathlib import Path

import pytest

from tests.scenarios.play import SCENES

HERE = Path(__file__)
SEEDS = range(2, 32)
for path in sorted(HERE.parent.glob("test_*.py")):
    if path != HERE:
        import_module(f"tests.scenarios.{path.stem}")


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENES)
def test_with_other_seeds(name: str) -> None:
    for seed in SEEDS:
        try:
            SCENES[name](seed)
        except BaseException as error:
            error.add_note(f"with seed {seed}")
            raise
