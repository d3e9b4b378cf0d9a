"""`shoal-bench traffic`: what follows from its figures. The whole of it, which needs root: tests/privileged/."""

from pathlib import Path
from typing import Any

import pytest

from bench.network.machine import Carried
from bench.traffic.figures import Measure, Traffic, summarise
from bench.traffic.updates import UPDATES, Sizes, scaled

SIZES = scaled(0.05)


def measure(
    update: str, sender: int, receiver: int, rival: str = "shoal", run: int = 1, payload: int = 1000
) -> Measure:
    return Measure(update, rival, run, payload, 1.0, Carried(sender, 0), Carried(0, receiver))


def words(*measures: Measure, judged: bool = True) -> dict[str, str]:
    found = Traffic(judged, {}, {}, {}, list(measures))
    return {verdict.what.partition(",")[0]: verdict.word for verdict in found.verdicts()}


def test_what_just_meets_its_limit_is_well() -> None:
    well = (
        measure("one", 4000, 1),
        measure("many", 1, 132_000),
        measure("edit", 50_000, 1),
        measure("append", 6400, 1),
    )
    assert words(*well) == dict.fromkeys(("one", "many", "edit", "append"), "ok")
    assert words(*well, measure("rest", 10**9, 0)).keys() == {"one", "many", "edit", "append"}


@pytest.mark.parametrize(("update", "most"), [("one", 4001), ("many", 132_001), ("edit", 50_001), ("append", 6401)])
def test_each_limit_can_be_missed(update: str, most: int) -> None:
    assert words(measure(update, most, 0)) == words(measure(update, 0, most)) == {update: "RED"}
    assert words(measure(update, most, 0), judged=False) == {update: "not judged"}
    assert words(measure(update, most, 0, rival="syncthing")) == {}


def test_a_summary_takes_medians_of_all_runs() -> None:
    measures = [measure("one", sender, 500, run=run) for run, sender in enumerate((300, 900, 100), 1)]
    (summary,) = summarise(measures)
    assert (summary.at_sender, summary.at_receiver, summary.most) == (300, 500, 500)
    assert (summary.least_run, summary.most_run, summary.each) == (500, 900, 0.5)


def test_json_has_all_measures() -> None:
    found = Traffic(False, {}, {}, {}, [measure("one", 3, 2), measure("rest", 1, 1, payload=0)])
    told: dict[str, Any] = dict(found.as_json())
    assert [(row["update"], row["most"]) for row in told["measures"]] == [("one", 3), ("rest", 1)]
    assert [row["each"] for row in told["summary"]] == [0.003, None]


@pytest.mark.parametrize("update", UPDATES, ids=lambda update: update.name)
def test_an_update_writes_what_it_says(update: Any, tmp_path: Path) -> None:
    if update.before is not None:
        update.before(SIZES).write(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    for save in update.saves(SIZES):
        save.write(tmp_path)
        assert all((tmp_path / saved.name).stat().st_size == saved.size for saved in save.files)
    after = {file: file.read_bytes() for file in tmp_path.iterdir()}
    new = sum(len(data) for file, data in after.items() if file not in before)
    flipped = sum(a != b for file, data in before.items() for a, b in zip(data, after[file], strict=True))
    assert new + flipped == update.payload(SIZES)


def test_the_full_scale_is_that_of_the_expectations() -> None:
    assert scaled(1.0) == Sizes()
    assert Sizes() != SIZES
