"""When the LAN goes before the cloud, and for how long."""

from peer.synchronizer.precedence import LAN_ALONE, LAN_LONGEST, Precedence
from protocol.identifiers import VersionId

FILM, SONG = VersionId(b"film".ljust(16)), VersionId(b"song".ljust(16))
STEP = 0.25


def alone_for(precedence: Precedence, pattern: list[tuple[float, bool]], start: float = 100.0) -> float:
    """Seconds for which nothing went to the cloud while the LAN was busy, or not, for so many seconds each."""
    now, alone = start, 0.0
    for seconds, busy in pattern:
        for _ in range(round(seconds / STEP)):
            now += STEP
            alone += STEP * precedence.is_alone(busy=busy, now=now)
    return alone


def test_nothing_waits_for_a_lan_at_rest() -> None:
    assert alone_for(Precedence(), [(60, False)]) == 0


def test_a_lan_that_stays_busy_has_all_for_a_while_only() -> None:
    assert alone_for(Precedence(), [(600, True)]) == LAN_ALONE


def test_after_a_rest_it_has_all_again() -> None:
    assert alone_for(Precedence(), [(3, True), (4, False)] * 20) == 60
    assert alone_for(Precedence(), [(60, True), (LAN_ALONE + 1, False), (60, True)]) == 2 * LAN_ALONE


def test_who_asks_again_and_again_does_not_keep_the_rest_from_the_cloud() -> None:
    """Many devices, each with a pause now and then."""
    seconds = 600.0
    assert alone_for(Precedence(), [(9, True), (0.75, False)] * round(seconds / 9.75)) < seconds / 8


def test_a_version_that_is_waited_for_stays_off_the_uplink_but_not_for_ever() -> None:
    precedence = Precedence()
    assert precedence.keeps(FILM, wanted=True, now=1.0)
    assert precedence.keeps(FILM, wanted=True, now=LAN_LONGEST)
    assert not precedence.keeps(FILM, wanted=True, now=LAN_LONGEST + 2)
    assert precedence.keeps(SONG, wanted=True, now=LAN_LONGEST + 2)
    assert not precedence.keeps(FILM, wanted=False, now=LAN_LONGEST + 3)
    assert precedence.keeps(FILM, wanted=True, now=LAN_LONGEST + 4)
    precedence.forget()
    assert precedence.keeps(FILM, wanted=True, now=3 * LAN_LONGEST)
