"""`shoal-bench uplink`: what follows from its figures. The whole of it, which needs root: tests/privileged/."""

from typing import Any

from bench.sampling import Sample
from bench.uplink.figures import FREE, LIMITED, Moment, Turn, Uplink, moments


def turn(uplink: str, seconds: float, run: int = 1) -> Turn:
    return Turn(run, uplink, 1000, 0.1, seconds, (0.1, 0.2, 0.3), (0.3, 0.5, 0.4), True, 40.0, 1000, 0, ())


def words(*turns: Turn, judged: bool = True) -> list[str]:
    return [verdict.word for verdict in Uplink(judged, {}, list(turns)).verdicts()]


def test_the_limit_can_be_met_and_missed() -> None:
    assert words(turn(LIMITED, 3.0), turn(FREE, 2.0)) == ["ok"]
    assert words(turn(LIMITED, 3.01), turn(FREE, 2.0)) == ["RED"]
    assert words(turn(LIMITED, 9.0), turn(FREE, 2.0), judged=False) == ["not judged"]
    assert words(turn(LIMITED, 9.0)) == []


def test_the_verdict_is_on_medians() -> None:
    limited = [turn(LIMITED, seconds, run) for run, seconds in enumerate((1.0, 9.0, 2.0), 1)]
    free = [turn(FREE, seconds, run) for run, seconds in enumerate((1.0, 4.0, 0.1), 1)]
    (verdict,) = Uplink(True, {}, limited + free).verdicts()
    assert verdict.value == 2.0


def test_json_has_all_turns_and_medians() -> None:
    told: dict[str, Any] = dict(
        Uplink(True, {}, [turn(LIMITED, 3.0), turn(LIMITED, 5.0, 2), turn(FREE, 2.0)]).as_json()
    )
    assert [(row["uplink"], row["seconds"]) for row in told["turns"]] == [(LIMITED, 3.0), (LIMITED, 5.0), (FREE, 2.0)]
    limited, free = told["summary"]
    assert (limited["median"], limited["least"], limited["most"], limited["small_meanwhile"]) == (4.0, 3.0, 5.0, 0.4)
    assert (free["median"], free["small_at_rest"]) == (2.0, 0.2)


def test_samples_become_bytes_on_the_peer_and_in_the_cloud() -> None:
    moved = {
        "author": {"lan_in": 0, "lan_out": 9, "cloud_in": 0, "cloud_out": 5},
        "peer": {"lan_in": 7, "lan_out": 0, "cloud_in": 1, "cloud_out": 2},
    }
    assert moments([Sample(3.5, moved)], "author", "peer", 3.0) == (Moment(0.5, 8, 5),)
