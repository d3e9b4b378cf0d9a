"""A lab on file systems that the test itself mounts, and on a network that it makes."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.conftest import pytest_runtest_makereport
from tests.support.lan_lab import Network
from tests.support.lan_lab import network as open_network
from tests.support.processes import Lab
from tests.support.processes import lab as open_lab

__all__ = ["pytest_runtest_makereport"]

Mount = Callable[..., None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.privileged)


@pytest.fixture
def mounted() -> Iterator[list[Path]]:
    """What was mounted, and is unmounted when all programs have ended."""
    places: list[Path] = []
    yield places
    for place in reversed(places):
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.fixture
def mount(mounted: list[Path]) -> Mount:
    """`mount(place, "-t", "tmpfs", ...)`: mount on a folder until the test ends."""

    def make(place: Path, *arguments: str) -> None:
        place.mkdir(exist_ok=True, parents=True)
        subprocess.run(["mount", *arguments, str(place)], check=True)
        mounted.append(place)

    return make


@pytest.fixture
def lab(tmp_path: Path, mounted: list[Path]) -> Iterator[Lab]:
    """A lab of the test's own, closed before anything is unmounted."""
    with open_lab(tmp_path) as made:
        yield made


@pytest.fixture
def network() -> Iterator[Network]:
    """A network of the test's own, for machines to be added to."""
    with open_network() as made:
        yield made
