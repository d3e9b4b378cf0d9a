"""The format's cost for small changes stays within the plan; the rows in 1,000 MiB are for `shoal-bench metadata`."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import cli, metadata
from bench.made import BLOCK, MadeFile
from bench.metadata import SMALL_CHANGES, Row, measure_all


def read(made: MadeFile, step: int) -> bytes:
    out = bytearray()
    buffer = bytearray(step)
    while count := made.readinto(memoryview(buffer)):
        out += buffer[:count]
    return bytes(out)


def test_made_files_differ_where_they_say() -> None:
    size = 3 * BLOCK // 2
    plain = read(MadeFile(size), 100_000)
    flipped = read(MadeFile(size, flipped=size - 1), 99_999)
    around = read(MadeFile(size, front=b"<", end=b">"), 1 << 20)
    assert len(plain) == size
    assert flipped[:-1] == plain[:-1]
    assert flipped[-1] == plain[-1] ^ 1
    assert around == b"<" + plain + b">"


@pytest.mark.parametrize("change", SMALL_CHANGES)
def test_metadata_of_small_changes_is_within_the_plan(change: "metadata.Change") -> None:
    row = change()
    assert row.metadata <= row.limit
    assert row.verdict == ("chunker" if row.name.startswith("1 KiB") else "ok")


def test_figures_are_the_same_in_every_run() -> None:
    assert [change() for change in SMALL_CHANGES] == [change() for change in SMALL_CHANGES]


@pytest.mark.parametrize(("limit", "code"), [(4_000, 0), (1_000, 1)])
def test_command_writes_json_and_fails_on_red(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int, code: int
) -> None:
    def small() -> list[Row]:
        return [metadata.make_files("one 1 KB file", 1, limit)]

    monkeypatch.setattr(metadata, "measure_all", small)
    result = CliRunner().invoke(cli.main, ["metadata", "--json", str(tmp_path / "out.json")])
    assert result.exit_code == code, result.output
    (row,) = json.loads((tmp_path / "out.json").read_text())
    assert row["verdict"] == ("RED" if code else "ok")
    assert row["verdict"] in result.output


@pytest.mark.slow
def test_every_change_is_within_the_plan() -> None:
    assert not [row for row in measure_all() if row.verdict == "RED"]
