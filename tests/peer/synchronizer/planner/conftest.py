"""A database in memory, and cases that are held against their slices."""

from collections.abc import Iterator

import pytest

from peer.database import Database, open_database
from tests.peer.synchronizer.model.cases import Case, SlicedCase


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    opened = open_database(":memory:")
    yield opened
    opened.close()


@pytest.fixture
def case(database: Database) -> Case:
    return SlicedCase(database)
