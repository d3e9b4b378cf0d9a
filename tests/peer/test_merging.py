"""What a first sync of two sides that both hold something is said to be about (design §7)."""

from collections.abc import Iterator

import pytest

from peer.database import Database, open_database
from peer.merging import MergeCount, count_merge
from tests.peer.synchronizer.model.cases import Case
from tests.peer.synchronizer.model.stored import store_of


@pytest.fixture
def database() -> Iterator[Database]:
    opened = open_database(":memory:")
    yield opened
    opened.close()


def test_nothing_on_either_side(database: Database) -> None:
    assert count_merge(store_of(database, Case())) == MergeCount()


def test_files_are_counted_by_path(database: Database) -> None:
    case = Case()
    for person in (case.here, case.there):
        case.new(person, "d/")
        case.new(person, "d/same", case.pooled_content(1))
        case.new(person, "d/differs")
    case.new(case.here, "d/mine")
    case.new(case.there, "yours")
    case.new(case.there, "empty/")
    assert count_merge(store_of(database, case)) == MergeCount(same=1, differ=1, only_here=1, only_there=1)


def test_everything_in_a_folder_that_one_side_lacks(database: Database) -> None:
    case = Case()
    for path in ("d/", "d/e/", "d/e/f", "d/g"):
        case.new(case.here, path)
    for path in ("h/", "h/i"):
        case.new(case.there, path)
    assert count_merge(store_of(database, case)) == MergeCount(only_here=2, only_there=1)


def test_a_file_here_and_a_folder_there(database: Database) -> None:
    case = Case()
    case.new(case.here, "a")
    case.new(case.there, "a/")
    case.new(case.there, "a/f")
    case.new(case.there, "b")
    case.new(case.here, "b/")
    assert count_merge(store_of(database, case)) == MergeCount(only_here=1, only_there=2)


def test_a_file_that_was_not_read_yet_is_not_said_to_differ(database: Database) -> None:
    case = Case()
    case.here.read = False
    case.new(case.here, "a", case.pooled_content(1))
    case.new(case.there, "a", case.pooled_content(1))
    assert count_merge(store_of(database, case)) == MergeCount(unread=1)


def test_the_count_is_what_the_merge_then_does(database: Database) -> None:
    """Files on both sides, 10 of them different: exactly 10 conflict copies (issue 2, 7)."""
    case = Case()
    for number in range(200):
        same = case.new_content()
        for person in (case.here, case.there):
            case.new(person, f"f{number}", case.new_content() if number < 10 else same)
    assert count_merge(store_of(database, case)) == MergeCount(same=190, differ=10)
    case.end()
    assert case.conflicts == 10
    assert len(case.remote) == 210


def test_one_line_for_a_person() -> None:
    assert str(MergeCount(1, 2, 3, 4)) == (
        "first sync of this folder: 1 the same, 2 differ (both are kept), 3 only here, 4 only there"
    )
    assert str(MergeCount(1, 2, 3, 4, 5)) == (
        "first sync of this folder: 1 the same, 2 differ (both are kept), 5 not compared yet, 3 only here, 4 only there"
    )
