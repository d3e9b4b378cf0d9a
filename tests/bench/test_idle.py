"""`shoal-bench scan` and `shoal-bench idle`: their verdicts, and both on a tiny scale."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import cli
from bench.idle.figures import FILES, RESIDENT_BYTES, Found, Rest, Start
from bench.lan import facts
from peer.watcher import EVERYTHING
from tests.support.leftovers import assert_nothing_is_left


def found(files: int = FILES) -> Found:
    machine = facts.Facts("", 2, 0, "", "", 0.0, "", "", 0.0)
    return Found(machine, files)


def test_the_median_scan_is_judged() -> None:
    all_ = found()
    all_.starts = [Start(scan, 3.0, 1.0, 0) for scan in (1.0, 9.0, 1.4)]
    assert [(verdict.value, verdict.word) for verdict in all_.verdicts] == [(1.4, "ok")]
    all_.starts.append(Start(2.0, 3.0, 1.0, 0))
    assert [verdict.word for verdict in all_.verdicts] == ["RED"]
    assert not all_.is_well


def test_the_looks_of_ten_minutes_are_part_of_rest() -> None:
    rest = Rest(seconds=100.0, cpu=0.2, look_cpu=0.006 * EVERYTHING, resident_bytes=RESIDENT_BYTES, peak_bytes=0)
    assert rest.percent == pytest.approx(0.8)
    all_ = found()
    all_.rests = [rest]
    assert [verdict.word for verdict in all_.verdicts] == ["RED", "ok"]
    few = found(files=10)
    few.rests = [rest]
    assert [verdict.word for verdict in few.verdicts] == ["not judged", "not judged"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("scan", "--runs", "2"), pytest.param(("idle", "--seconds", "1"), marks=pytest.mark.soak)]
)
def test_the_whole_on_a_tiny_scale(place: Path, tmp_path: Path, command: tuple[str, ...]) -> None:
    out = tmp_path / "out.json"
    result = CliRunner().invoke(cli.main, [*command, "--files", "150", "--json", str(out)])
    figures = json.loads(out.read_text())
    assert figures["failure"] is None, result.output
    assert result.exit_code == 0, result.output
    if command[0] == "scan":
        assert len(figures["starts"]) == 2
        assert all(0 < start["scan"] < start["synced"] for start in figures["starts"])
    else:
        (rest,) = figures["rests"]
        assert rest["seconds"] >= 1
        assert rest["peak_bytes"] >= rest["resident_bytes"] > 1 << 20
    assert {verdict["word"] for verdict in figures["verdicts"]} == {"not judged"}
    assert_nothing_is_left(place)
