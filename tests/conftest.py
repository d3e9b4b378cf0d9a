"""Which tests `make quick` leaves out: those that start programs, and the long searches. `make test` runs them all.

Hypothesis looks for wrong answers only: how long one takes says how busy the machine is, with tests beside each other.
It draws the same examples in each run; what draws anew is a soak. And the one S3 server of a session.
"""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.seaweed import SeaweedServer, seaweed_server

settings.register_profile(
    "shoal", settings.default, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("shoal")

TESTS = Path(__file__).parent
SLOW = (
    "bench",
    "end_to_end",
    "peer/synchronizer/planner",
    "peer/synchronizer/test_replacing.py",
    "peer/test_account.py",
    "peer/test_beacons.py",
    "peer/test_cli.py",
    "peer/test_disk.py",
    "scenarios",
    "simulation/test_ports.py",
    "simulation/test_seeds.py",
    "storage/test_s3.py",
    "tracker/test_app.py",
    "tracker/test_cli.py",
    "tracker/test_end_to_end.py",
    "tracker/test_notifications.py",
)


SOAKED_ON_POSTGRESQL = (
    "test_a_crash_at_each_failpoint_is_healed_by_asking_again",
    "test_a_device_reads_any_history_from_any_cursor_without_a_snapshot",
    "test_check_tells_damage_by_its_exit_code",
    "test_pages",
    "test_the_keepers_commands_beside_a_server",
)
"""Tests that take long on PostgreSQL, and show little there that others don't."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what takes its time."""
    places = [TESTS / place for place in SLOW]
    for item in items:
        if any(item.path.is_relative_to(place) for place in places):
            item.add_marker(pytest.mark.slow)
        if item.name.startswith(SOAKED_ON_POSTGRESQL) and "[postgresql" in item.name:
            item.add_marker(pytest.mark.soak)


def pytest_collection_finish() -> None:
    """Thousands of collected tests stay until the end: going through them again and again took a tenth of the time, and
    looking for garbage after each 700 objects another tenth where simulations make millions."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedServer]:
    """An S3 server. Who uses it takes a prefix of its own; who kills it starts another."""
    with seaweed_server() as server:
        yield server
