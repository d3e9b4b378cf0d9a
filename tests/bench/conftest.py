"""Fixtures for the demo and the measurements."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where demos and measurements put their things; its path is short enough for sockets.

    `tmp_path` is asked for so that pytest has made its own folder before this becomes the place for all such.
    """
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
