"""Fixtures of the tracker's tests."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.tracker.served import Served, open_served
from tests.tracker.workshop import Workshop, open_workshop


@pytest.fixture
async def shop() -> AsyncIterator[Workshop]:
    """A workspace in memory."""
    async with open_workshop() as workshop:
        yield workshop


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    """A real tracker in a process of its own."""
    async with open_served(tmp_path / "data") as made:
        yield made
