"""Fixtures of the stores' tests."""

from collections.abc import Iterator
from typing import Any

import pytest

from storage.s3 import connect
from tests.support.seaweed import SeaweedServer


@pytest.fixture
def s3_environment(seaweed: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's environment as of one that may use the server."""
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def s3_client(seaweed: SeaweedServer) -> Iterator[Any]:
    """One client for all: making one takes longer than most tests."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in seaweed.environment.items():
            patched.setenv(name, value)
        client = connect(seaweed.endpoint)
    yield client
    client.close()
