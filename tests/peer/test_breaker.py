"""The device's breaker: what may pass, what waits, what counts, for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.breaker import Breaker, Direction, Kind, Mark, State
from protocol.breaker import WINDOW_MS, Limits
from protocol.identifiers import NodeId

LIMITS = Limits(delete_percent=25, delete_least=5, delete_most=20, overwrite_percent=50, overwrite_least=8)
MINUTE = 60_000
FILES = 16


def nodes(*numbers: int) -> set[NodeId]:
    return {NodeId(number.to_bytes(16, "big")) for number in numbers}


def some(count: int, start: int = 0) -> set[NodeId]:
    return nodes(*range(start, start + count))


def judge(
    breaker: Breaker,
    planned: set[NodeId],
    now_ms: int = 0,
    *,
    kind: Kind = Kind.DELETE,
    direction: Direction = Direction.OUT,
    pending: set[NodeId] | None = None,
    files: int = FILES,
) -> set[NodeId]:
    """Those of the planned that are held."""
    return set(breaker.judge(direction, kind, planned, pending or set(), files, LIMITS, now_ms))


def reborn(breaker: Breaker, kept: dict[tuple[Direction, NodeId], Mark]) -> Breaker:
    """After a restart, from what was stored."""
    for key, mark in breaker.stored():
        kept.pop(key, None)
        if mark is not None:
            kept[key] = mark
    return Breaker(kept.values())


def test_up_to_the_least_nothing_is_held() -> None:
    assert not judge(Breaker(), some(4), files=4)


def test_more_than_the_share_is_held_whole() -> None:
    assert judge(Breaker(), some(5)) == some(5)
    assert not judge(Breaker(), some(5), files=20)


def test_more_than_the_most_is_held_however_many_there_are() -> None:
    assert not judge(Breaker(), some(20), files=10_000)
    assert judge(Breaker(), some(21), files=10_000) == some(21)


def test_overwrites_have_a_limit_of_their_own() -> None:
    assert not judge(Breaker(), some(8), kind=Kind.OVERWRITE)
    assert judge(Breaker(), some(9), kind=Kind.OVERWRITE) == some(9)


def test_what_is_still_to_be_planned_counts_and_waits_too() -> None:
    breaker = Breaker()
    assert judge(breaker, some(1), pending=some(5)) == some(1)
    assert {mark.node for mark in breaker.marks(State.HELD)} == some(5)


def test_what_passed_counts_for_ten_minutes() -> None:
    breaker = Breaker()
    assert not judge(breaker, some(4))
    assert judge(breaker, some(1, 4), WINDOW_MS) == some(1, 4)
    breaker = Breaker()
    assert not judge(breaker, some(4))
    assert not judge(breaker, some(1, 4), WINDOW_MS + 1)


def test_a_file_counts_once() -> None:
    breaker = Breaker()
    for now in range(20):
        assert not judge(breaker, some(4), now)


def test_directions_and_kinds_dont_count_together() -> None:
    breaker = Breaker()
    assert not judge(breaker, some(4))
    assert not judge(breaker, some(4, 4), direction=Direction.IN)
    assert not judge(breaker, some(8, 8), kind=Kind.OVERWRITE)


def test_what_is_held_stays_so_when_the_window_is_over() -> None:
    breaker = Breaker()
    judge(breaker, some(4))
    assert judge(breaker, some(1, 4)) == some(1, 4)
    assert judge(breaker, some(1, 4), 100 * MINUTE) == some(1, 4)
    assert judge(breaker, some(1, 5), 100 * MINUTE) == some(1, 5)  # and whatever comes after it


def test_what_had_passed_and_was_not_made_yet_is_held_with_the_rest() -> None:
    breaker = Breaker()
    assert not judge(breaker, some(4))
    assert judge(breaker, some(5)) == some(5)


def test_nothing_is_held_any_more_once_what_was_is_gone() -> None:
    breaker = Breaker()
    judge(breaker, some(5))
    breaker.settle(some(5))
    assert not breaker.holds(Direction.OUT)
    assert not judge(breaker, some(3, 5))


def test_an_approval_is_for_what_was_held_and_nothing_else() -> None:
    breaker = Breaker()
    judge(breaker, some(5))
    assert {mark.node for mark in breaker.decide(State.APPROVED, 1)} == some(5)
    assert not judge(breaker, some(5))
    assert judge(breaker, some(10)) == some(5, 5)


def test_what_was_approved_doesnt_count() -> None:
    breaker = Breaker()
    judge(breaker, some(5))
    breaker.decide(State.APPROVED, 1)
    assert not judge(breaker, some(5))
    breaker.settle(some(5))
    assert not judge(breaker, some(4, 5), 2)


def test_a_restart_forgets_nothing() -> None:
    kept: dict[tuple[Direction, NodeId], Mark] = {}
    breaker = Breaker()
    judge(breaker, some(4), MINUTE)
    breaker = reborn(breaker, kept)
    assert judge(breaker, some(1, 4), 2 * MINUTE) == some(1, 4)
    breaker = reborn(breaker, kept)
    assert breaker.holds(Direction.OUT, Kind.DELETE)
    breaker.decide(State.REJECTED, 3 * MINUTE)
    breaker = reborn(breaker, kept)
    assert {mark.node for mark in breaker.marks(State.REJECTED)} == some(1, 4)
    breaker.settle(some(10))
    judge(breaker, some(1, 9), 30 * MINUTE)
    breaker = reborn(breaker, kept)
    assert {mark.node for mark in kept.values()} == some(1, 9)  # nothing is kept for ever


def test_a_clock_that_is_set_back_makes_nothing_count_for_longer() -> None:
    breaker = Breaker()
    judge(breaker, some(4), 1000 * MINUTE)
    assert judge(breaker, some(1, 4), 0) == some(1, 4)
    breaker.settle(some(5))
    assert not judge(breaker, some(4, 5), WINDOW_MS + 1)


@pytest.mark.parametrize("state", [State.APPROVED, State.REJECTED])
def test_what_the_tracker_holds_is_held_whatever_was_decided(state: State) -> None:
    breaker = Breaker()
    judge(breaker, some(5))
    breaker.decide(state, 1)
    breaker.hold(Direction.OUT, Kind.DELETE, some(1), 2)
    assert judge(breaker, some(5)) == some(1)


@given(st.lists(st.tuples(st.integers(0, 5 * MINUTE), st.sets(st.integers(0, 40), max_size=6)), max_size=40))
def test_never_more_pass_in_ten_minutes_than_may(steps: list[tuple[int, set[int]]]) -> None:
    breaker, now, made, kept = Breaker(), 0, list[tuple[int, set[NodeId]]](), dict[tuple[Direction, NodeId], Mark]()
    for pause, numbers in steps:
        now += pause
        planned = nodes(*numbers)
        made.append((now, planned - judge(breaker, planned, now)))
        breaker = reborn(breaker, kept)
        lately = set[NodeId]().union(*(passed for at, passed in made if now - at <= WINDOW_MS))
        assert not LIMITS.too_many_deletes(len(lately), FILES)
