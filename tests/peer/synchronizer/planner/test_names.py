"""Case 10: the name that something has or wants belongs to another."""

from peer.synchronizer.planner import plan
from peer.synchronizer.steps import Adopt, SendCreate, SendDelete, SendMove, SetAside, Wait
from tests.peer.synchronizer.model.cases import Case
from tests.peer.synchronizer.model.world import rounds


def test_10_2_a_file_takes_the_name_of_the_folder_it_was_in(case: Case) -> None:
    folder, file = case.both("d/", "d/f")
    case.move(case.here, "d/f", "x")
    case.delete(case.here, "d")
    case.move(case.here, "x", "d")
    assert case.steps() == {folder: SendDelete(folder), file: SendMove(file)}
    assert case.end() == ["d"]


def test_10_2_a_new_folder_takes_over_name_and_content(case: Case) -> None:
    folder, file = case.both("d/", "d/f")
    case.new(case.here, "x/")
    case.move(case.here, "d/f", "x/f")
    case.delete(case.here, "d")
    case.move(case.here, "x", "d")
    fresh = case.node(case.here, "d")
    assert case.steps() == {folder: SendDelete(folder), file: SendMove(file), fresh: SendCreate(fresh)}
    assert case.end() == ["d", "d/f"]


def test_10_1_new_folders_of_one_name_become_one(case: Case) -> None:
    ours, theirs = case.new(case.here, "d/"), case.new(case.there, "d/")
    case.new(case.here, "d/mine")
    case.new(case.there, "d/yours")
    assert case.steps()[ours] == Adopt(ours, theirs)
    assert case.end() == ["d", "d/mine", "d/yours"]
    assert case.conflicts == 0


def test_10_1_new_files_of_one_name_with_the_same_bytes_become_one(case: Case) -> None:
    ours = case.new(case.here, "a", case.pooled_content(1))
    theirs = case.new(case.there, "a", case.pooled_content(1))
    assert case.steps()[ours] == Adopt(ours, theirs)
    assert case.end() == ["a"]
    assert set(case.remote) == {theirs}


def test_10_1_what_was_taken_over_and_then_deleted_there(case: Case) -> None:
    """Before it was agreed on; the id can't be used again, but what is here is not lost."""
    case.new(case.here, "a", case.pooled_content(1))
    case.new(case.there, "a", case.pooled_content(1))
    case.turn()
    case.delete(case.there, "a")
    assert case.end() == ["a"]


def test_10_2_the_other_is_moved_away_here(case: Case) -> None:
    (old,) = case.both("a")
    case.move(case.here, "a", "b")
    fresh = case.new(case.here, "a")
    assert case.steps() == {old: SendMove(old), fresh: SendCreate(fresh)}
    assert case.end() == ["a", "b"]
    assert case.conflicts == 0


def test_10_2_the_other_is_deleted_here(case: Case) -> None:
    (old,) = case.both("a")
    case.delete(case.here, "a")
    fresh = case.new(case.here, "a/")
    assert case.steps() == {old: SendDelete(old), fresh: SendCreate(fresh)}
    assert case.end() == ["a"]
    assert case.conflicts == 0


def test_10_2_only_in_the_same_commit(case: Case) -> None:
    case.both("a")
    case.delete(case.here, "a")
    fresh = case.new(case.here, "a/")
    assert [type(step) for step in plan(case.view([fresh]))] == [Wait]


def test_10_3_the_other_is_new_there(case: Case) -> None:
    ours, theirs = case.new(case.here, "a"), case.new(case.there, "a")
    assert case.steps()[ours] == SetAside(ours, renew=True)
    assert case.why(theirs) == "its name is taken here"
    assert case.end() == ["a", "a (conflicted copy, here, 1970-01-01)"]


def test_10_3_the_other_was_moved_there(case: Case) -> None:
    (other,) = case.both("a")
    case.move(case.there, "a", "b")
    ours = case.new(case.here, "b")
    assert case.steps()[ours] == SetAside(ours, renew=True)
    assert case.end() == ["b", "b (conflicted copy, here, 1970-01-01)"]
    assert case.local[other].name == "b"


def test_10_3_what_was_moved_here_keeps_its_node(case: Case) -> None:
    (file,) = case.both("a")
    case.move(case.here, "a", "b")
    case.new(case.there, "b")
    assert case.steps()[file] == SetAside(file, renew=False)
    assert case.end() == ["b", "b (conflicted copy, here, 1970-01-01)"]
    assert case.local[file].name == "b (conflicted copy, here, 1970-01-01)"


def test_10_3_a_new_folder_and_a_new_file_of_one_name(case: Case) -> None:
    folder = case.new(case.here, "a/")
    case.new(case.here, "a/inside")
    case.new(case.there, "a")
    assert case.steps()[folder] == SetAside(folder, renew=True)
    copy = "a (conflicted copy, here, 1970-01-01)"
    assert case.end() == ["a", copy, f"{copy}/inside"]


def test_10_3_what_can_not_be_read_gives_its_name_up(case: Case) -> None:
    """It is new here, and too large to be sent; that must not keep what is new there from coming."""
    file = case.new(case.here, "a")
    case.put_local(case.local[file]._replace(content=None, blocked=True))
    case.new(case.there, "a")
    assert case.steps()[file] == SetAside(file, renew=True)
    case.settle(rounds(case))
    assert sorted(row.name for row in case.local.values()) == ["a", "a (conflicted copy, here, 1970-01-01)"]
    assert [row.name for row in case.remote.values()] == ["a"]


def test_10_3_what_was_left_alone_gives_its_name_up_later(case: Case) -> None:
    """It is clean until something is to come to where it is."""
    file = case.new(case.here, "a")
    case.put_local(case.local[file]._replace(content=None, blocked=True))
    case.settle(rounds(case))
    assert not case.dirty
    case.new(case.there, "a")
    assert case.steps()[file] == SetAside(file, renew=True)
    case.settle(rounds(case))
    assert [row.name for row in case.remote.values()] == ["a"]
