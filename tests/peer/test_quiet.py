"""When a changed file may be read (design §7, "Publishing")."""

import pytest

from peer.quiet import BRIEF, CLOSED, LONG, LONGEST, SHORT, SMALL, Quiet
from peer.trees import Fingerprint
from protocol.identifiers import NodeId

NODE, OTHER = NodeId(b"n" * 16), NodeId(b"o" * 16)
SECOND = 1_000_000_000


def look(size: int, *, inode: int = 1, mtime_ns: int = 5 * SECOND, after_ns: int = 0) -> Fingerprint:
    """A file written to at `mtime_ns`, whose inode changed `after_ns` later."""
    return Fingerprint(1, inode, size, mtime_ns, mtime_ns + after_ns, 0o644)


def test_what_nobody_saw_change_may_be_read_at_once() -> None:
    assert Quiet().due(NODE, 100.0) == 0


def test_a_small_file_is_read_soon() -> None:
    quiet = Quiet()
    quiet.changed(NODE, look(SMALL), 100.0)
    assert quiet.due(NODE, 100.0) == pytest.approx(SHORT)
    assert quiet.due(NODE, 100.0 + SHORT / 2) == pytest.approx(SHORT / 2)
    assert quiet.due(NODE, 100.0 + SHORT) == pytest.approx(0)
    assert quiet.due(NODE, 200.0) == 0
    assert quiet.due(OTHER, 100.0) == 0


def test_a_large_file_that_is_being_written_is_read_later() -> None:
    quiet = Quiet()
    quiet.changed(NODE, look(SMALL + 1), 100.0)
    assert quiet.due(NODE, 100.0) == pytest.approx(LONG)


def test_a_large_file_that_arrived_whole_is_read_soon() -> None:
    """It was renamed or linked to where it is, after it had been written."""
    quiet = Quiet()
    quiet.changed(NODE, look(SMALL + 1, after_ns=SECOND), 100.0)
    assert quiet.due(NODE, 100.0) == pytest.approx(SHORT)


def test_the_pause_is_as_long_as_it_has_been_growing_up_to_a_bound() -> None:
    """However often it was looked at: a copy of a second is not left for eight."""
    quiet, pauses = Quiet(), []
    for step in range(121):
        time = 100 + step * 0.1
        quiet.changed(NODE, look(SMALL + step + 1, mtime_ns=step), time)
        pauses.append(quiet.due(NODE, time))
    assert [pauses[step] for step in (0, 1, 5, 10, 40, 80, 120)] == pytest.approx(
        [LONG, LONG, 0.5, 1, 4, LONGEST, LONGEST]
    )


def test_a_small_file_that_grows_is_no_longer_read_soon() -> None:
    quiet = Quiet()
    quiet.changed(NODE, look(10), 100.0)
    quiet.changed(NODE, look(20), 100.01)
    assert quiet.due(NODE, 100.01) == pytest.approx(LONG)


def test_a_file_that_shrinks_is_being_written_too() -> None:
    quiet = Quiet()
    quiet.changed(NODE, look(20), 100.0)
    quiet.changed(NODE, look(0), 100.01)
    assert quiet.due(NODE, 100.01) == pytest.approx(LONG)


def test_looking_again_at_the_same_file_changes_nothing() -> None:
    quiet = Quiet()
    quiet.changed(NODE, look(SMALL + 1), 100.0)
    quiet.changed(NODE, look(SMALL + 1), 100.4)
    assert quiet.due(NODE, 100.4) == pytest.approx(LONG - 0.4)


def test_saved_anew_by_rename_is_whole() -> None:
    """Another size, but another inode as well: nobody goes on writing to it."""
    quiet = Quiet()
    quiet.changed(NODE, look(10), 100.0)
    quiet.changed(NODE, look(20, inode=2), 100.01)
    assert quiet.due(NODE, 100.01) == pytest.approx(SHORT)


def test_written_in_place_with_its_size_kept() -> None:
    quiet = Quiet()
    quiet.changed(NODE, look(10), 100.0)
    quiet.changed(NODE, look(10)._replace(mtime_ns=6 * SECOND, ctime_ns=6 * SECOND), 100.01)
    assert quiet.due(NODE, 100.01) == pytest.approx(SHORT)


def test_after_it_was_read_the_next_change_starts_anew() -> None:
    quiet = Quiet()
    for size in (10, 20, 30, 40):
        quiet.changed(NODE, look(size), 100.0)
    quiet.read(NODE, 100.0)
    assert quiet.due(NODE, 100.0) == 0
    quiet.changed(NODE, look(50), 100.0)
    assert quiet.due(NODE, 100.0) == pytest.approx(SHORT)


def test_a_large_file_that_was_closed_is_read_soon() -> None:
    """However long it has been growing."""
    quiet = Quiet()
    for step in range(30):
        quiet.changed(NODE, look(SMALL + step + 1), 100 + step * 0.1)
    quiet.let_go(NODE, 103.0)
    assert quiet.due(NODE, 103.0) == pytest.approx(CLOSED)


def test_closed_and_written_to_once_more() -> None:
    quiet = Quiet()
    quiet.changed(NODE, look(SMALL + 1), 100.0)
    quiet.let_go(NODE, 100.0)
    quiet.changed(NODE, look(SMALL + 2), 100.01)
    assert quiet.due(NODE, 100.01) == pytest.approx(LONG)
    quiet.let_go(NODE, 100.02)
    assert quiet.due(NODE, 100.02) == pytest.approx(LONG - 0.01)


def test_what_is_opened_and_closed_for_each_line_is_read_soon_once_in_a_while() -> None:
    quiet, pauses = Quiet(), []
    for step in range(1, 10):
        quiet.changed(NODE, look(SMALL + step), 100.0 + step)
        quiet.let_go(NODE, 100.0 + step)
        pauses.append(quiet.due(NODE, 100.0 + step))
        quiet.read(NODE, 100.0)
    assert pauses == pytest.approx([CLOSED, *[LONG] * 7, CLOSED])


def test_closing_delays_nothing() -> None:
    quiet = Quiet()
    quiet.let_go(OTHER, 100.0)
    assert quiet.due(OTHER, 100.0) == 0
    quiet.changed(NODE, look(10), 100.0)
    quiet.let_go(NODE, 100.018)
    assert quiet.due(NODE, 100.018) == pytest.approx(0.002)


def test_a_small_file_that_was_closed_is_read_at_once_but_not_for_each_line() -> None:
    quiet, pauses = Quiet(), []
    for step in range(1, 10):
        quiet.changed(NODE, look(step), 100.0 + step)
        quiet.let_go(NODE, 100.0 + step)
        pauses.append(quiet.due(NODE, 100.0 + step))
        quiet.read(NODE, 100.0)
    assert pauses == pytest.approx([BRIEF, *[SHORT] * 7, BRIEF])


def test_what_was_closed_is_told_to_one_look() -> None:
    quiet = Quiet()
    quiet.closed(("a",), "f")
    quiet.closed(("a",), "g")
    quiet.closed((), "h")
    assert quiet.closed_in({("b",)}) == {}
    assert quiet.closed_in({("a",), ("b",)}) == {("a",): {"f", "g"}}
    assert quiet.closed_in({(), ("a",)}) == {(): {"h"}}


def test_what_is_added_to_all_the_time_is_read_now_and_then() -> None:
    """A line a second, as to a log: read at once a few times, then every five seconds, however it is closed."""
    quiet, reads = Quiet(), []
    for second in range(30):
        now = 100.0 + second
        quiet.changed(NODE, look(1000 + second), now)
        quiet.let_go(NODE, now)
        if quiet.due(NODE, now + 0.5) == 0:
            quiet.read(NODE, now + 0.4)
            reads.append(second)
    assert reads == [0, 1, 2, 3, 8, 13, 18, 23, 28]
    quiet.changed(NODE, look(2000), 200.0)
    assert quiet.due(NODE, 200.0) == pytest.approx(SHORT), "it has rested"


def test_what_is_written_anew_all_the_time_is_no_log() -> None:
    quiet = Quiet()
    for second in range(10):
        quiet.changed(NODE, look(1000 - second), 100.0 + second)
        assert quiet.due(NODE, 100.0 + second) == pytest.approx(SHORT)
        quiet.read(NODE, 100.0 + second)


def test_of_many_small_files_that_are_closed_only_a_few_are_read_sooner() -> None:
    quiet = Quiet()
    nodes = [NodeId(bytes([number]) * 16) for number in range(10)]
    for node in nodes:
        quiet.changed(node, look(10), 100.0)
        quiet.let_go(node, 100.0)
    assert [quiet.due(node, 100.0) for node in nodes] == pytest.approx([BRIEF] * 4 + [SHORT] * 6)
