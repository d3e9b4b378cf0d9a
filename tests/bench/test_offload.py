"""`shoal-bench offload`: what follows from its figures. The whole of it, which needs root: tests/privileged/."""

from typing import Any

import pytest

from bench.offload.figures import Offload, Scene, Taken

SIZE = 1000


def scene(*cloud: int, name: str = "running", run: int = 1) -> Scene:
    taken = tuple(Taken(f"device-{number}", max(0, SIZE - each), each) for number, each in enumerate(cloud))
    return Scene(run, name, SIZE, tuple(1.0 + number for number in range(len(cloud))), taken, sum(cloud) + 10)


@pytest.mark.parametrize(
    ("cloud", "copies", "percent"),
    [
        ((1000, 0, 0), 1.0, 100.0),
        ((400, 300, 300), 1.0, 100.0),
        ((1000, 500, 0), 1.5, 75.0),
        ((1000, 1000, 1000), 3.0, 0.0),
        ((1010, 1010, 1010), 3.03, 0.0),
    ],
    ids=["one takes it", "a third each", "half of it twice", "everybody", "with what sealing adds"],
)
def test_only_what_goes_beyond_one_copy_is_not_from_the_lan(
    cloud: tuple[int, ...], copies: float, percent: float
) -> None:
    found = scene(*cloud)
    assert (found.copies, found.lan_percent) == (copies, percent)
    assert found.wire_copies > found.copies


def words(*scenes: Scene, judged: bool = True) -> list[str]:
    return [verdict.word for verdict in Offload(judged, {}, list(scenes)).verdicts()]


def test_each_limit_can_be_met_and_missed() -> None:
    assert words(scene(1000, 20, 0)) == ["ok", "ok"]
    assert words(scene(1000, 21, 0)) == ["ok", "RED"]
    assert words(scene(1000, 41, 0)) == ["RED", "RED"]
    assert words(scene(1000, 1000), judged=False) == ["not judged", "not judged"]


def test_each_kind_is_judged_by_its_median() -> None:
    bad, good = scene(1000, 1000), scene(1000, 0, run=2)
    late = scene(1000, 1000, name="started")
    assert words(bad, good, scene(900, 100, run=3), late) == ["ok", "ok", "RED", "RED"]


def test_json_has_all_scenes_and_medians() -> None:
    told: dict[str, Any] = dict(Offload(True, {}, [scene(1000, 0), scene(1000, 500, run=2)]).as_json())
    assert [row["copies"] for row in told["scenes"]] == [1.0, 1.5]
    (summary,) = told["summary"]
    assert (summary["copies"], summary["least"], summary["most"], summary["lan_percent"]) == (1.25, 1.0, 1.5, 75.0)
