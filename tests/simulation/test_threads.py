"""The same simulation with real threads: what really runs beside what, no scheduler draws."""

import pytest

from tests.simulation.world import simulate

SEEDS = range(50)


def run(seed: int) -> None:
    outcome = simulate(seed, threaded=True)
    if outcome.violation is not None:
        print("\n".join(outcome.log.lines))
        command = f"python -m tests.simulation.run --threads --seed {seed} --log"
        pytest.fail(f"{outcome.violation}\nAgain, if it wants to: {command}", pytrace=False)


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_with_real_threads(seed: int) -> None:
    run(seed)
