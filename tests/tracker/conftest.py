"""Fixtures of the tracker's tests."""

from collections.abc import AsyncIterator

import pytest

from tests.tracker.workshop import Workshop, open_workshop


@pytest.fixture
async def shop() -> AsyncIterator[Workshop]:
    """A workspace in memory."""
    async with open_workshop() as workshop:
        yield workshop
