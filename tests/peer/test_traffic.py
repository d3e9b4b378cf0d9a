"""Keeping to a rate, and how much to put into one request."""

import pytest
import trio
from trio.testing import MockClock

from peer.traffic import BURST, FIRST, LEAST, SECONDS, Fit, Pace, Traffic, TrafficOptions, Withheld
from protocol.identifiers import PACK_TARGET

RATE = 50_000


async def test_what_passes_keeps_to_the_rate_however_many_share_it(autojump_clock: MockClock) -> None:
    pace, began = Pace(RATE), trio.current_time()

    async def pass_all() -> None:
        for _ in range(100):
            await pace.keep(1000)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(pass_all)
    assert 300_000 / RATE - 2 * BURST <= trio.current_time() - began <= 300_000 / RATE


async def test_a_pause_is_made_up_for_a_little_only(autojump_clock: MockClock) -> None:
    pace = Pace(RATE)
    await pace.keep(1000)
    await trio.sleep(100)
    began = trio.current_time()
    for _ in range(100):
        await pace.keep(1000)
    assert trio.current_time() - began >= 100_000 / RATE - 2 * BURST


async def test_what_passes_at_once_is_made_up_for_by_the_next(autojump_clock: MockClock) -> None:
    pace, began = Pace(RATE), trio.current_time()
    pace.count(5 * RATE)
    assert trio.current_time() == began
    await pace.keep(1000)
    assert 5 - BURST <= trio.current_time() - began <= 5


@pytest.mark.parametrize("line", [20_000, 100_000, 1_000_000, 5_000_000, 1_000_000_000])
def test_requests_come_to_take_two_seconds_on_any_line(line: int) -> None:
    fit, round_trip = Fit(), 0.1
    for _ in range(12):
        fit.took(fit.size, round_trip + fit.size / line)
    seconds = fit.size / line
    assert LEAST <= fit.size <= PACK_TARGET
    assert seconds <= SECONDS or fit.size == LEAST
    assert seconds >= 0.8 * SECONDS or fit.size == PACK_TARGET


def test_a_line_that_has_become_slow_is_noticed_at_once() -> None:
    fit = Fit()
    for _ in range(5):
        fit.took(fit.size, 0.01)
    assert fit.size == PACK_TARGET
    fit.took(fit.size, 40.0)
    assert fit.size <= PACK_TARGET / 20


def test_small_requests_say_nothing_about_the_line() -> None:
    fit = Fit()
    fit.took(500, 0.2)
    fit.took(0, 0.0)
    assert fit.size == FIRST


def test_what_was_too_much_for_the_line_is_not_tried_for_ever() -> None:
    fit = Fit()
    for _ in range(3):
        fit.failed()
    assert fit.size == LEAST


def test_with_a_limit_the_first_request_fits_it() -> None:
    assert Fit(RATE).size == int(RATE * SECONDS)
    fit = Fit(RATE)
    fit.took(fit.size, 0.001)
    assert fit.size == int(RATE * SECONDS)
    assert Fit(10_000).size == LEAST


def test_what_is_withheld_says_why() -> None:
    traffic = Traffic(TrafficOptions(upload=RATE))
    traffic.require()
    traffic.withheld = "this machine runs on battery"
    with pytest.raises(Withheld, match="battery"):
        traffic.require()
