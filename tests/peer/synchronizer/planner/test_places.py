"""Case 6: places that differ."""

from peer.synchronizer.planner import plan
from peer.synchronizer.steps import (
    Agree,
    MakeDirectory,
    MoveLocal,
    Read,
    Renew,
    SendCreate,
    SendMove,
    SetAside,
    StepAside,
    aside_name,
)
from protocol.commits import FILE
from tests.peer.synchronizer.model.cases import Case
from tests.peer.synchronizer.model.world import rounds


def test_6_1_moved_there_is_moved_here(case: Case) -> None:
    folder, file = case.both("d/", "a")
    case.move(case.there, "a", "d/b")
    assert case.steps() == {file: MoveLocal(file)}
    assert case.end() == ["d", "d/b"]
    assert folder in case.local


def test_6_1_moved_on_both_sides_the_tracker_wins(case: Case) -> None:
    (file,) = case.both("a")
    case.move(case.here, "a", "b")
    case.move(case.there, "a", "c")
    assert case.steps() == {file: MoveLocal(file)}
    assert case.end() == ["c"]
    assert case.conflicts == 0


def test_6_1_moved_into_a_new_folder_in_one_turn(case: Case) -> None:
    (file,) = case.both("a")
    folder = case.new(case.there, "d/")
    case.move(case.there, "a", "d/a")
    assert plan(case.view()) == [MakeDirectory(folder), MoveLocal(file)]


def test_6_1_moved_on_both_sides_to_one_place_agrees(case: Case) -> None:
    (file,) = case.both("a")
    case.move(case.here, "a", "b")
    case.move(case.there, "a", "b")
    assert case.steps() == {file: Agree(file)}


def test_6_2_moved_here_is_sent(case: Case) -> None:
    (file,) = case.both("a")
    folder = case.new(case.here, "d/")
    case.move(case.here, "a", "d/b")
    assert case.steps() == {folder: SendCreate(folder), file: SendMove(file)}
    assert case.end() == ["d", "d/b"]


def test_6_2_a_folder_that_would_be_put_into_itself_is_moved_back(case: Case) -> None:
    one, _ = case.both("d/", "e/")
    case.move(case.here, "d", "e/d")
    case.move(case.there, "e", "d/e")
    assert case.steps()[one] == MoveLocal(one)
    assert case.end() == ["d", "d/e"]


def test_6_3_names_that_change_places_there(case: Case) -> None:
    one, other = case.both("a", "b")
    case.there.swap(one, other)
    assert case.steps()[min(one, other)] == StepAside(min(one, other))
    case.settle(rounds(case))
    case.check_agreed()
    assert {node: row.name for node, row in case.local.items()} == {one: "b", other: "a"}
    assert case.conflicts == 0


def test_6_3_three_names_that_change_places_there(case: Case) -> None:
    one, two, three = case.both("a", "b", "c")
    case.there.swap(one, two)
    case.there.swap(one, three)
    assert [node for node, step in case.steps().items() if isinstance(step, StepAside)] == [min(one, two, three)]
    assert case.end() == ["a", "b", "c"]
    assert {node: row.name for node, row in case.local.items()} == {two: "a", three: "b", one: "c"}


def test_6_3_a_file_takes_the_name_of_the_folder_it_was_in(case: Case) -> None:
    """The folder can't go before the file has left, the file not come before the folder is gone."""
    folder, file = case.both("d/", "d/f")
    case.move(case.there, "d/f", "x")
    case.delete(case.there, "d")
    case.move(case.there, "x", "d")
    assert case.steps()[folder] == StepAside(folder)
    assert case.end() == ["d"]
    assert set(case.local) == {file}


def test_6_3_a_new_folder_takes_over_name_and_content(case: Case) -> None:
    folder, file = case.both("d/", "d/f")
    case.new(case.there, "x/")
    case.move(case.there, "d/f", "x/f")
    case.delete(case.there, "d")
    case.move(case.there, "x", "d")
    assert case.steps()[folder] == StepAside(folder)
    assert case.end() == ["d", "d/f"]
    assert file in case.local


def test_6_3_not_before_it_is_known_whether_the_folder_is_worth_keeping(case: Case) -> None:
    folder, _, other = case.both("d/", "d/f", "d/g")
    case.here.read = False
    case.edit(case.here, "d/g")
    case.move(case.there, "d/f", "x")
    case.delete(case.there, "d")
    case.move(case.there, "x", "d")
    assert case.steps()[other] == Read(other)
    assert case.why(folder) == "what is inside goes first"
    assert case.end() == ["d", "d (conflicted copy, here, 1970-01-01)", "d (conflicted copy, here, 1970-01-01)/g"]


def test_6_3_what_turns_out_to_be_worth_keeping_gets_its_own_name_again(case: Case) -> None:
    """Somebody saves into the folder that has just stepped aside."""
    folder, _ = case.both("d/", "d/f")
    case.move(case.there, "d/f", "x")
    case.delete(case.there, "d")
    case.move(case.there, "x", "d")
    case.turn()
    case.here.create(folder, "new", FILE, case.new_content())
    assert case.steps()[folder] == SetAside(folder, renew=True)
    assert case.end() == ["d", "d (conflicted copy, here, 1970-01-01)", "d (conflicted copy, here, 1970-01-01)/new"]


def test_6_3_an_edit_of_what_has_stepped_aside_and_is_deleted_there(case: Case) -> None:
    one, other = case.both("a", "b")
    case.there.swap(one, other)
    case.turn()
    case.here.write(min(one, other), case.new_content())
    case.there.delete(min(one, other))
    assert case.steps()[min(one, other)] == SetAside(min(one, other), renew=True)
    assert case.end() == ["a", "a (conflicted copy, here, 1970-01-01)"]


def test_6_3_outer_and_inner_folder_change_places_there(case: Case) -> None:
    outer, inner = case.both("a/", "a/b/")
    case.move(case.there, "a/b", "x")
    case.move(case.there, "a", "x/b")
    case.move(case.there, "x", "a")
    assert case.end() == ["a", "a/b"]
    assert case.local[outer].parent == inner


def test_6_3_who_stepped_aside_comes_back_though_the_tracker_changes_its_mind(case: Case) -> None:
    one, other = case.both("a", "b")
    case.there.swap(one, other)
    case.turn()
    case.there.swap(one, other)
    assert case.end() == ["a", "b"]


def test_6_2_outer_and_inner_folder_change_places_here(case: Case) -> None:
    outer, inner = case.both("a/", "a/b/")
    case.move(case.here, "a/b", "b")
    case.move(case.here, "a", "b/a")
    assert case.steps() == {outer: SendMove(outer), inner: SendMove(inner)}
    assert case.end() == ["b", "b/a"]


def test_6_2_what_took_the_name_of_a_folder_that_is_moved_back(case: Case) -> None:
    case.both("d/", "e/")
    case.move(case.here, "d", "e/d")
    fresh = case.new(case.here, "d")
    case.move(case.there, "e", "d/e")
    assert case.steps()[fresh] == SetAside(fresh, renew=True)
    assert case.end() == ["d", "d (conflicted copy, here, 1970-01-01)", "d/e"]


def test_6_3_names_that_change_places_here_are_sent_at_once(case: Case) -> None:
    one, other = case.both("a", "b")
    case.here.swap(one, other)
    assert case.steps() == {one: SendMove(one), other: SendMove(other)}
    case.turn()
    case.turn()
    assert case.dirty == {}


def test_6_4_of_different_kinds_ours_goes_on_as_a_new_node(case: Case) -> None:
    (folder,) = case.both("d/")
    case.put_local(case.local[folder]._replace(kind=FILE, content=case.new_content()))
    assert case.steps() == {folder: Renew(folder)}
    assert case.end() == ["d", "d (conflicted copy, here, 1970-01-01)"]


def test_6_4_of_different_kinds_one_that_has_stepped_aside_gives_up_that_name(case: Case) -> None:
    (folder,) = case.both("d/")
    case.put_local(case.local[folder]._replace(name=aside_name(folder), kind=FILE, content=case.new_content()))
    assert case.steps() == {folder: SetAside(folder, renew=True)}
