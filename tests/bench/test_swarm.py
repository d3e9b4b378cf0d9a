"""`shoal-bench swarm`: what follows from its figures. The whole of it, which needs root: tests/privileged/."""

import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bench import cli
from bench.sampling import Sample
from bench.swarm.figures import Received, Round, Swarm, moments

SIZE = 1000


def a_round(*seconds: float, run: int = 1, lan_out: int = SIZE, sent: int = SIZE, uplink: int = 0) -> Round:
    received = tuple(Received(f"receiver-{number}", SIZE, number) for number in range(len(seconds)))
    return Round(run, SIZE, 0.1, seconds, lan_out, sent, uplink, received, ())


def swarm(*rounds: Round, judged: bool = True) -> Swarm:
    return Swarm(3, judged, {}, list(rounds))


def words(found: Swarm) -> list[str]:
    return [verdict.word for verdict in found.verdicts()]


def test_what_just_meets_its_limit_is_well() -> None:
    found = swarm(a_round(5.0), a_round(1.0, 10.0, 2.0, lan_out=1500))
    assert words(found) == ["ok", "ok"]
    assert found.is_well


@pytest.mark.parametrize(
    ("all_", "expected"),
    [
        (a_round(1.0, 10.1, 2.0), ["RED", "ok"]),
        (a_round(1.0, 2.0, 3.0, lan_out=1501), ["ok", "RED"]),
    ],
    ids=["the last", "copies"],
)
def test_each_limit_can_be_missed(all_: Round, expected: list[str]) -> None:
    found = swarm(a_round(5.0), all_)
    assert words(found) == expected
    assert not found.is_well
    assert words(swarm(a_round(5.0), all_, judged=False)) == ["not judged", "not judged"]


def test_verdicts_are_on_medians_of_all_runs() -> None:
    alone = [a_round(seconds, run=run) for run, seconds in enumerate((4.0, 6.0, 5.0), 1)]
    all_ = [a_round(1.0, last, 1.0, run=run) for run, last in enumerate((30.0, 9.0, 8.0), 1)]
    last, _ = swarm(*alone, *all_).verdicts()
    assert last.value == 9.0 / 5.0


def test_what_goes_up_to_the_tracker_is_no_copy_for_the_lan() -> None:
    found = a_round(1.0, lan_out=1200, sent=2000, uplink=700)
    assert (found.copies, found.wire_copies) == (1.2, 1.3)


def test_json_has_all_rounds_and_medians() -> None:
    told: dict[str, Any] = dict(swarm(a_round(5.0), a_round(7.0, run=2), a_round(1.0, 2.0, 9.0)).as_json())
    assert [(row["receivers"], row["run"], row["last"]) for row in told["rounds"]] == [
        (1, 1, 5.0),
        (1, 2, 7.0),
        (3, 1, 9.0),
    ]
    alone, all_ = told["summary"]
    assert (alone["last"], alone["least"], alone["most"]) == (6.0, 5.0, 7.0)
    assert (all_["first"], all_["last"], all_["from_cloud"]) == (1.0, 9.0, 0 + 1 + 2)


def test_samples_become_bytes_by_source() -> None:
    def counters(lan_out: int, cloud_in: int, cloud_out: int) -> dict[str, int]:
        return {"lan_in": 7, "lan_out": lan_out, "cloud_in": cloud_in, "cloud_out": cloud_out}

    moved = {"origin": counters(10, 0, 5), "one": counters(20, 3, 0), "two": counters(30, 4, 1)}
    (moment,) = moments([Sample(12.5, moved)], "origin", 12.0)
    assert moment.seconds == 0.5
    assert (moment.from_origin, moment.from_receivers, moment.from_cloud, moment.to_cloud) == (10, 50, 7, 6)


def test_without_root_there_is_a_reason(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(cli.main, ["swarm"])
    assert result.exit_code == 1
    assert result.output == (
        "the measurement can't begin: swarm needs root: it makes a network of its own, of network namespaces\n"
    )
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("option", ["--json", "--plot"])
def test_figures_that_could_not_be_written_are_not_measured(option: str, place: Path) -> None:
    result = CliRunner().invoke(cli.main, ["swarm", option, str(place / "nowhere" / "out")])
    assert result.exit_code == 1
    assert result.output == f"the measurement can't begin: there is no folder {place}/nowhere for out\n"
