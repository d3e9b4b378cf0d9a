"""Fixtures of the end-to-end tests. Programs that a test leaves behind are ended; their logs go with a failure."""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
import trio

from tests.support.processes import DeviceProgram, Lab, TrackerProgram, lab
from tests.support.relay import Relay, port_of


@pytest.fixture(scope="session")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab of what many tests share."""
    with lab(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture(scope="session")
def shared_tracker(shared_lab: Lab) -> TrackerProgram:
    """A running tracker for tests that neither stop nor look into it; each brings accounts of its own."""
    tracker = shared_lab.tracker()
    trio.run(tracker.start)
    return tracker


@pytest.fixture(name="lab")
def own_lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab of the test's own."""
    with lab(tmp_path) as made:
        yield made


@pytest.fixture
async def tracker(lab: Lab) -> TrackerProgram:
    """A running tracker of the test's own, to stop, kill and look into."""
    made = lab.tracker()
    await made.start()
    return made


@pytest.fixture
async def uplink(tracker: TrackerProgram, nursery: trio.Nursery) -> Relay:
    """A line to the test's own tracker, for the devices that are to use it."""
    made = Relay(port_of(tracker.url))
    await nursery.start(made.run)
    return made


@pytest.fixture
async def pair(lab: Lab, shared_tracker: TrackerProgram) -> tuple[DeviceProgram, DeviceProgram]:
    """Two running devices of one fresh account, with empty folders."""
    one, two = await lab.devices(shared_tracker, "one", "two")
    await one.start()
    await two.start()
    return one, two


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the programs' logs into the report of a failure."""
    report = yield
    if report.failed:
        for value in {id(value): value for value in item.funcargs.values()}.values():
            if isinstance(value, Lab):
                report.sections.extend(value.logs())
    return report
