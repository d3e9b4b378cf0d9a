"""The planner: its numbered cases, and what must hold of whole runs of it (laws 1, 2, 4, 11, 12)."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.database import Database, open_database
from peer.synchronizer.loading import load_slice
from peer.synchronizer.planner import plan
from peer.synchronizer.steps import (
    Adopt,
    Agree,
    Clean,
    Fetch,
    Forget,
    MakeDirectory,
    MoveLocal,
    Read,
    RemoveLocal,
    Renew,
    SendCreate,
    SendDelete,
    SendMove,
    SendWrite,
    SetAside,
    SetAttributes,
    Step,
    StepAside,
    Wait,
)
from peer.trees import Content, Local
from protocol.commits import DIRECTORY, FILE
from protocol.identifiers import NodeId
from tests.peer.synchronizer.model import ACTIONS, Case, Here, There, World, rounds, store_of


class SlicedCase(Case):
    """Whenever it is asked for steps, it holds the slice of each single node against the whole."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database

    def steps(self) -> dict[NodeId, Step]:
        store = store_of(self._database, self)
        for node in self.dirty:
            assert plan(load_slice(store, [node], self)) == plan(self.view([node]))
        assert plan(load_slice(store, list(self.dirty), self)) == plan(self.view())
        return super().steps()

    def end(self) -> list[str]:
        self.steps()
        return super().end()


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    opened = open_database(":memory:")
    yield opened
    opened.close()


@pytest.fixture
def case(database: Database) -> Case:
    return SlicedCase(database)


# The cases --------------------


def test_1_neither_here_nor_there_is_forgotten(case: Case) -> None:
    (file,) = case.both("a")
    case.delete(case.here, "a")
    case.delete(case.there, "a")
    assert case.steps() == {file: Forget(file)}
    case.turn()
    assert case.steps() == {file: Clean(file)}
    assert case.end() == []


def test_2_new_here_is_sent(case: Case) -> None:
    folder, file = case.new(case.here, "d/"), case.new(case.here, "d/f")
    assert case.steps() == {folder: SendCreate(folder), file: SendCreate(file)}
    assert case.end() == ["d", "d/f"]


def test_2_new_here_is_read_first(case: Case) -> None:
    case.here.read = False
    file = case.new(case.here, "a")
    assert case.steps() == {file: Read(file)}
    assert case.end() == ["a"]


def test_2_new_here_waits_for_its_folder(case: Case) -> None:
    """Its folder is not planned this time."""
    case.new(case.here, "d/")
    file = case.new(case.here, "d/f")
    assert [type(step) for step in plan(case.view([file]))] == [Wait]


def test_3_new_there_is_made_here(case: Case) -> None:
    folder, file = case.new(case.there, "d/"), case.new(case.there, "d/f")
    version = case.remote[file].version
    assert version is not None
    assert case.steps() == {folder: MakeDirectory(folder), file: Fetch(file, version)}
    assert case.end() == ["d", "d/f"]


def test_3_new_there_waits_for_its_folder(case: Case) -> None:
    """Which is not planned this time."""
    case.new(case.there, "d/")
    file = case.new(case.there, "d/f")
    assert [type(step) for step in plan(case.view([file]))] == [Wait]
    assert case.end() == ["d", "d/f"]


def test_3_new_there_waits_for_its_content(case: Case) -> None:
    case.announced_only = True
    file = case.new(case.there, "a")
    assert case.awaits(file)
    case.make_durable()
    assert case.end() == ["a"]


def test_3_new_there_comes_from_the_lan_before_it_is_in_the_cloud(case: Case) -> None:
    case.announced_only = True
    file = case.new(case.there, "a")
    case.on_the_lan = {case.head(file)}
    assert case.steps() == {file: Fetch(file, case.head(file))}
    assert case.end() == ["a"]


def test_3_1_new_there_comes_as_far_as_it_is_in_the_cloud(case: Case) -> None:
    file = case.new(case.there, "a")
    first = case.remote[file].version
    assert first is not None
    case.announced_only = True
    case.edit(case.there, "a")
    assert case.steps() == {file: Fetch(file, first)}
    case.turn()
    assert case.awaits(file)
    case.make_durable()
    assert case.end() == ["a"]


def test_3_new_there_waits_for_its_name(case: Case) -> None:
    """The name is taken by what is about to move away."""
    case.both("a")
    case.move(case.there, "a", "b")
    file = case.new(case.there, "a")
    assert case.why(file) == "its name is taken here"
    assert case.end() == ["a", "b"]


def test_4_1_edit_here_beats_delete_there(case: Case) -> None:
    (file,) = case.both("a")
    case.edit(case.here, "a")
    case.delete(case.there, "a")
    assert case.steps() == {file: Renew(file)}
    assert case.end() == ["a"]
    assert file not in case.remote


def test_4_1_is_told_by_reading(case: Case) -> None:
    (file,) = case.both("a")
    case.here.read = False
    case.edit(case.here, "a")
    case.delete(case.there, "a")
    assert case.steps() == {file: Read(file)}


def test_4_2_a_folder_with_something_new_is_kept(case: Case) -> None:
    folder, _ = case.both("d/", "d/old")
    case.new(case.here, "d/new")
    case.delete(case.there, "d")
    assert case.steps()[folder] == Renew(folder)
    assert case.end() == ["d", "d/new"]


def test_4_2_a_folder_with_something_edited_is_kept(case: Case) -> None:
    folder, _ = case.both("d/", "d/old")
    case.edit(case.here, "d/old")
    case.delete(case.there, "d")
    assert case.steps()[folder] == Renew(folder)
    assert case.end() == ["d", "d/old"]


def test_4_2_a_folder_into_which_something_was_moved_is_kept(case: Case) -> None:
    folder, _ = case.both("d/", "f")
    case.move(case.here, "f", "d/f")
    case.delete(case.there, "d")
    assert case.steps()[folder] == Renew(folder)
    assert case.end() == ["d", "d/f"]


@pytest.mark.parametrize("attribute", ["as it was", "touched", "moved"])
def test_4_3_deleted_there_is_taken_off(case: Case, attribute: str) -> None:
    (file,) = case.both("a")
    content = case.local[file].content
    assert content is not None
    if attribute == "touched":
        case.edit(case.here, "a", Content(content.digest, 5))
    elif attribute == "moved":
        case.move(case.here, "a", "b")
    case.delete(case.there, "a")
    assert case.steps() == {file: RemoveLocal(file)}
    assert case.end() == []


def test_4_3_a_folder_goes_with_all_inside_in_one_turn(case: Case) -> None:
    nodes = case.both("d/", "d/e/", "d/e/f")
    case.delete(case.there, "d")
    assert [step for step in plan(case.view()) if isinstance(step, RemoveLocal)] == [
        RemoveLocal(node) for node in reversed(nodes)
    ]
    case.turn()
    assert case.local == {}
    assert case.end() == []


def test_4_3_a_folder_whose_content_is_not_planned_waits(case: Case) -> None:
    folder, _ = case.both("d/", "d/f")
    case.delete(case.there, "d")
    assert [type(step) for step in plan(case.view([folder]))] == [Wait]


def test_4_3_a_folder_waits_for_what_has_not_gone(case: Case) -> None:
    """What is inside can't be read, so nobody knows whether it is worth keeping."""
    folder, file = case.both("d/", "d/f")
    case.put_local(_blocked(case, file))
    case.delete(case.there, "d")
    assert case.why(folder) == "what is inside goes first"
    assert case.why(file) == "it can't be read"


def test_5_1_edit_there_beats_delete_here(case: Case) -> None:
    (file,) = case.both("a")
    case.delete(case.here, "a")
    case.edit(case.there, "a")
    assert case.steps() == {file: Forget(file)}
    assert case.end() == ["a"]
    assert file in case.local


def test_5_2_a_folder_that_got_something_new_there_is_taken_back(case: Case) -> None:
    folder, old = case.both("d/", "d/old")
    case.delete(case.here, "d")
    case.new(case.there, "d/new")
    assert case.steps()[folder] == Forget(folder)
    assert case.steps()[old] == SendDelete(old)
    assert case.end() == ["d", "d/new"]


def test_5_2_a_folder_into_which_something_was_moved_there_is_taken_back(case: Case) -> None:
    folder, _ = case.both("d/", "f")
    case.delete(case.here, "d")
    case.move(case.there, "f", "d/f")
    assert case.steps()[folder] == Forget(folder)
    assert case.end() == ["d", "d/f"]


@pytest.mark.parametrize("attribute", ["as it was", "touched", "moved"])
def test_5_3_deleted_here_is_sent(case: Case, attribute: str) -> None:
    (file,) = case.both("a")
    content = case.local[file].content
    assert content is not None
    case.delete(case.here, "a")
    if attribute == "touched":
        case.edit(case.there, "a", Content(content.digest, 5))
    elif attribute == "moved":
        case.move(case.there, "a", "b")
    assert case.steps() == {file: SendDelete(file)}
    assert case.end() == []


def test_5_3_a_folder_goes_with_all_inside_in_one_commit(case: Case) -> None:
    nodes = case.both("d/", "d/e/", "d/e/f")
    case.delete(case.here, "d")
    assert plan(case.view()) == [SendDelete(node) for node in reversed(nodes)]
    case.turn()
    assert case.remote == {}


def test_5_3_a_folder_whose_content_is_not_planned_waits(case: Case) -> None:
    folder, _ = case.both("d/", "d/f")
    case.delete(case.here, "d")
    assert [type(step) for step in plan(case.view([folder]))] == [Wait]


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


def test_6_3_names_that_change_places_here_are_sent_at_once(case: Case) -> None:
    one, other = case.both("a", "b")
    case.here.swap(one, other)
    assert case.steps() == {one: SendMove(one), other: SendMove(other)}
    case.turn()
    case.turn()
    assert case.dirty == {}


def test_7_the_same_on_both_sides_is_agreed(case: Case) -> None:
    (file,) = case.both("a")
    content = case.new_content()
    case.edit(case.here, "a", content)
    case.edit(case.there, "a", content)
    assert case.steps() == {file: Agree(file)}
    case.turn()
    assert case.steps() == {file: Clean(file)}


def test_7_a_directory_has_nothing_but_its_place_to_agree_on(case: Case) -> None:
    (folder,) = case.both("d/")
    case.mark_dirty(folder)
    assert case.steps() == {folder: Clean(folder)}


def test_8_changed_here_is_sent(case: Case) -> None:
    (file,) = case.both("a")
    case.edit(case.here, "a")
    assert case.steps() == {file: SendWrite(file)}


def test_8_only_attributes_changed_here_are_sent(case: Case) -> None:
    (file,) = case.both("a")
    case.edit(case.here, "a", _made_executable(case, file))
    assert case.steps() == {file: SendWrite(file)}


def test_8_changed_there_is_fetched(case: Case) -> None:
    (file,) = case.both("a")
    case.edit(case.there, "a")
    version = case.remote[file].version
    assert version is not None
    assert case.steps() == {file: Fetch(file, version)}


def test_8_only_attributes_changed_there_need_no_fetching(case: Case) -> None:
    (file,) = case.both("a")
    case.announced_only = True
    case.edit(case.there, "a", _made_executable(case, file))
    assert case.steps() == {file: SetAttributes(file)}


def test_8_1_changed_there_and_not_in_the_cloud_yet(case: Case) -> None:
    (file,) = case.both("a")
    case.announced_only = True
    case.edit(case.there, "a")
    assert case.awaits(file)


def test_8_changed_there_comes_from_the_lan(case: Case) -> None:
    (file,) = case.both("a")
    case.announced_only = True
    case.edit(case.there, "a")
    case.on_the_lan = {case.head(file)}
    assert case.steps() == {file: Fetch(file, case.head(file))}


def test_8_1_what_is_in_the_cloud_comes_first_if_it_is_newer(case: Case) -> None:
    (file,) = case.both("a")
    case.edit(case.there, "a")
    durable = case.head(file)
    case.announced_only = True
    case.edit(case.there, "a")
    assert case.steps() == {file: Fetch(file, durable)}
    case.turn()
    assert case.awaits(file)


def test_8_1_never_goes_back_from_what_the_lan_gave(case: Case) -> None:
    """The durable head is older than what is here."""
    (file,) = case.both("a")
    case.announced_only = True
    case.edit(case.there, "a")
    case.on_the_lan = {case.head(file)}
    case.turn()
    content = case.local[file].content
    case.edit(case.there, "a")
    assert case.awaits(file)
    assert case.local[file].content == content


def test_9_1_the_same_bytes_take_the_trackers_attributes(case: Case) -> None:
    (file,) = case.both("a")
    case.edit(case.here, "a", case.pooled_content(1))
    case.edit(case.there, "a", case.pooled_content(1))
    assert case.steps() == {file: SetAttributes(file)}
    theirs = case.remote[file].content
    assert case.end() == ["a"]
    assert case.local[file].content == theirs
    assert case.conflicts == 0


def test_9_2_edited_here_and_touched_there(case: Case) -> None:
    (file,) = case.both("a")
    case.edit(case.there, "a", _made_executable(case, file))
    case.edit(case.here, "a")
    assert case.steps() == {file: SendWrite(file)}
    assert case.end() == ["a"]


def test_9_2_touched_here_and_edited_there(case: Case) -> None:
    (file,) = case.both("a")
    case.edit(case.here, "a", _made_executable(case, file))
    case.edit(case.there, "a")
    assert isinstance(case.steps()[file], Fetch)
    assert case.end() == ["a"]


def test_9_3_ours_becomes_a_conflict_copy(case: Case) -> None:
    (file,) = case.both("a.txt")
    case.edit(case.here, "a.txt")
    case.edit(case.there, "a.txt")
    ours, theirs = case.local[file].content, case.remote[file].content
    assert case.steps() == {file: SetAside(file, renew=True)}
    assert case.end() == ["a (conflicted copy, here, 1970-01-01).txt", "a.txt"]
    assert case.paths()["a.txt",] == (FILE, theirs)
    assert case.paths()["a (conflicted copy, here, 1970-01-01).txt",] == (FILE, ours)


def test_9_3_theirs_comes_from_the_lan(case: Case) -> None:
    (file,) = case.both("a")
    case.announced_only = True
    case.edit(case.here, "a")
    case.edit(case.there, "a")
    case.on_the_lan = {case.head(file)}
    assert case.steps() == {file: SetAside(file, renew=True)}


def test_9_4_waits_for_theirs(case: Case) -> None:
    (file,) = case.both("a")
    case.announced_only = True
    case.edit(case.here, "a")
    case.edit(case.there, "a")
    assert case.awaits(file)


def test_9_4_passes_over_a_head_that_has_stalled(case: Case) -> None:
    (file,) = case.both("a")
    case.announced_only = True
    case.edit(case.here, "a")
    case.edit(case.there, "a")
    case.given_up = {case.head(file)}
    ours = case.local[file].content
    assert case.steps() == {file: SendWrite(file, skip=True)}
    case.announced_only = False
    assert case.end() == ["a"]
    assert case.remote[file].content == ours
    assert case.conflicts == 0


def test_9_4_passes_over_nothing_that_it_is_made_on(case: Case) -> None:
    """A write on what the LAN gave names that version, whatever is in the cloud."""
    (file,) = case.both("a")
    case.announced_only = True
    case.edit(case.there, "a")
    case.on_the_lan = {case.head(file)}
    case.turn()
    case.edit(case.here, "a")
    case.edit(case.there, "a")
    case.given_up = {case.head(file)}
    assert case.awaits(file)


def test_9_what_can_not_be_read_waits(case: Case) -> None:
    (file,) = case.both("a")
    case.put_local(_blocked(case, file))
    assert case.why(file) == "it can't be read"


def test_9_what_can_not_be_read_and_is_new_is_left_alone(case: Case) -> None:
    file = case.new(case.here, "a")
    case.put_local(_blocked(case, file))
    assert case.steps() == {file: Clean(file)}


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


def _blocked(case: Case, node: NodeId) -> Local:
    return case.local[node]._replace(content=None, blocked=True)


def _made_executable(case: Case, node: NodeId) -> Content:
    content = case.local[node].content
    assert content is not None
    return content._replace(executable=True)


# Whole runs --------------------

Edits: TypeAlias = list[tuple[str, int, int, int]]
_NUMBERS = st.integers(0, 11)


def edits(size: int, actions: Sequence[str] = ACTIONS) -> st.SearchStrategy[Edits]:
    """What a person does, as arguments of `Person.act`."""
    return st.lists(st.tuples(st.sampled_from(actions), _NUMBERS, _NUMBERS, _NUMBERS), max_size=size)


BASE = edits(8, ("add file", "add directory", "add same"))
SEEDS = st.integers(0, 1 << 32)


def synced_world(base: Edits) -> World:
    """A tree on which all agree."""
    world = World()
    for edit in base:
        There(world).act(*edit)
    world.settle(rounds(world))
    world.check_agreed()
    return world


def edited_world(base: Edits, here: Edits, there: Edits) -> World:
    """A tree on which all agreed, changed on both sides since."""
    world = synced_world(base)
    for edit in here:
        Here(world).act(*edit)
    for edit in there:
        There(world).act(*edit)
    return world


def check_contents(world: World) -> None:
    """Nothing is lost, nothing comes back, nothing is there twice."""
    assert [digest for digest in world.contents() if not digest.startswith(b"pool")] == sorted(world.saved)


def differing_writes(world: World) -> int:
    """Files that both sides have written since they agreed, differently."""
    return sum(
        _rewritten(world.held(node), base.content)
        and _rewritten(world.remote[node].content, base.content)
        and _rewritten(world.held(node), world.remote[node].content)
        for node, base in world.synced.items()
        if node in world.local and node in world.remote
    )


def _rewritten(now: Content | None, before: Content | None) -> bool:
    return now is not None and before is not None and not now.same_bytes(before)


def name_clashes(world: World) -> int:
    """Names that are one thing here and another there, by the directory or by its path."""
    here, there = world.paths(), world.remote_paths()
    by_path = {path for path in here.keys() & there.keys() if path}
    ours = {(row.parent, row.name): node for node, row in world.local.items()}
    theirs = {(row.parent, row.name): node for node, row in world.remote.items()}
    by_directory = {place for place in ours.keys() & theirs.keys() if ours[place] != theirs[place]}
    return len(by_path) + len(by_directory)


def directories(world: World) -> tuple[set[NodeId], set[NodeId], set[NodeId]]:
    """The directories here, there and when all last agreed."""
    here = {node for node, row in world.local.items() if row.kind == DIRECTORY}
    there = {node for node, row in world.remote.items() if row.kind == DIRECTORY}
    return here, there, {node for node, row in world.synced.items() if row.kind == DIRECTORY}


def check_folders(world: World, before: tuple[set[NodeId], set[NodeId], set[NodeId]]) -> None:
    """A folder that was deleted on one side is there only for what is inside."""
    here, there, base = before
    expected = (here & there) | (here - base) | (there - base)
    parents = {row.parent for row in world.local.values()}
    for node, row in world.local.items():
        first = node
        while first in world.was:
            first = world.was[first]
        assert row.kind != DIRECTORY or first in expected or node in expected or node in parents


@settings(max_examples=700, deadline=None)
@given(base=BASE, here=edits(6), there=edits(6))
def test_both_sides_change(base: Edits, here: Edits, there: Edits) -> None:
    world = edited_world(base, here, there)
    most, folders = differing_writes(world) + name_clashes(world), directories(world)
    world.settle(rounds(world))
    world.check_agreed()
    check_contents(world)
    check_folders(world, folders)
    assert world.conflicts <= most


@settings(max_examples=500, deadline=None)
@given(base=BASE, here=edits(8))
def test_only_this_side_changes(base: Edits, here: Edits) -> None:
    world = edited_world(base, here, [])
    nodes, paths = set(world.local), world.paths()
    world.settle(rounds(world))
    world.check_agreed()
    assert (set(world.local), world.paths(), world.conflicts) == (nodes, paths, 0)


@settings(max_examples=500, deadline=None)
@given(base=BASE, there=edits(8))
def test_only_the_other_side_changes(base: Edits, there: Edits) -> None:
    world = edited_world(base, [], there)
    nodes, paths = set(world.remote), world.remote_paths()
    world.settle(rounds(world))
    world.check_agreed()
    assert (set(world.local), world.paths(), world.conflicts) == (nodes, paths, 0)


@settings(max_examples=300, deadline=None)
@given(base=edits(8), here=edits(8))
def test_first_login_merges_by_path(base: Edits, here: Edits) -> None:
    """Files on both sides and nothing agreed on: all is kept, and nothing deleted (design §7)."""
    world = World()
    for edit in base:
        There(world).act(*edit)
    for edit in here:
        Here(world).act(*edit)
    remote, local = world.remote_paths(), world.paths()
    world.settle(rounds(world))
    world.check_agreed()
    check_contents(world)
    assert {path: found for path, found in world.paths().items() if path in remote} == remote
    assert {path[-1] for path in local} <= {path[-1] for path in world.paths()}


def some_turns(world: World, random: Random, count: int) -> None:
    """Turns in which the executor leaves out steps, changes their order, sees some dirty nodes only, has no tracker."""
    for _ in range(count):
        world.online = random.random() < 0.8
        dirty = [node for node in world.dirty if random.random() < 0.8]
        steps = plan(world.view(dirty))
        if random.random() < 0.5:
            random.shuffle(steps)
        share = random.random()
        world.carry_out(steps, lambda step: random.random() < share)  # noqa: B023
        if random.random() < 0.2:
            world.make_durable()


def finish(world: World) -> None:
    """From here on everything works."""
    world.online = True
    for _ in range(rounds(world)):
        if not world.turn() and not world.make_durable():
            break
    world.settle(rounds(world))
    world.check_agreed()


@settings(max_examples=500, deadline=None)
@given(base=BASE, here=edits(6), there=edits(6), seed=SEEDS, announced_only=st.booleans())
def test_steps_left_out_or_in_another_order(
    base: Edits, here: Edits, there: Edits, seed: int, announced_only: bool
) -> None:
    world = synced_world(base)
    world.announced_only = announced_only
    for edit in here:
        Here(world).act(*edit)
    for edit in there:
        There(world).act(*edit)
    some_turns(world, Random(seed), 10)
    finish(world)
    check_contents(world)


def edits_between(world: World, random: Random, actions: Edits) -> None:
    for edit in actions:
        person = Here(world, read=random.random() < 0.5) if random.random() < 0.5 else There(world)
        person.act(*edit)
        some_turns(world, random, random.randrange(3))


@settings(max_examples=300, deadline=None)
@given(base=BASE, actions=edits(12), seed=SEEDS, announced_only=st.booleans())
def test_edits_between_steps(base: Edits, actions: Edits, seed: int, announced_only: bool) -> None:
    world = synced_world(base)
    world.announced_only = announced_only
    edits_between(world, Random(seed), actions)
    finish(world)
    check_contents(world)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(base=edits(14, ("add file", "add directory", "add same")), actions=edits(30), seed=SEEDS)
def test_many_edits_between_steps(base: Edits, actions: Edits, seed: int) -> None:
    world = synced_world(base)
    edits_between(world, Random(seed), actions)
    finish(world)
    check_contents(world)


# Slices --------------------


@settings(max_examples=500, deadline=None)
@given(base=BASE, here=edits(6), there=edits(6), seed=SEEDS, turns=st.integers(0, 3))
def test_a_slice_holds_all_that_the_plan_depends_on(
    database: Database, base: Edits, here: Edits, there: Edits, seed: int, turns: int
) -> None:
    world, random = edited_world(base, here, there), Random(seed)
    some_turns(world, random, turns)
    nodes = sorted(world.local.keys() | world.remote.keys() | world.synced.keys())
    dirty = random.sample(nodes, min(len(nodes), random.choice((1, 1, 2, 3, 50))))
    loaded = load_slice(store_of(database, world), dirty, world)
    assert plan(loaded) == plan(world.view(dirty))
    assert loaded.local.items() <= world.local.items()
    assert loaded.remote.items() <= world.remote.items()
    assert loaded.synced.items() <= world.synced.items()


@settings(max_examples=200, deadline=None)
@given(base=BASE, here=edits(6), there=edits(6), seed=SEEDS, turns=st.integers(0, 3))
def test_what_the_database_finds_agreed_is_what_the_planner_calls_clean(
    database: Database, base: Edits, here: Edits, there: Edits, seed: int, turns: int
) -> None:
    """Such nodes are not planned, so the two must never differ."""
    world = edited_world(base, here, there)
    some_turns(world, Random(seed), turns)
    nodes = sorted(world.local.keys() | world.remote.keys() | world.synced.keys())
    clean = {step.node for step in plan(world.view(nodes)) if isinstance(step, Clean)}
    agreed = store_of(database, world).agreed(nodes)
    assert agreed == clean & world.local.keys() & world.remote.keys()


def test_a_slice_leaves_out_what_has_nothing_to_do_with_it(database: Database) -> None:
    case = Case()
    _, file, *_ = case.both("d/", "d/f", "d/g", "h", "e/", "e/i")
    view = load_slice(store_of(database, case), [file])
    assert len(view.local) == len(view.remote) == len(view.synced) == 2


def test_steps_of_a_part_are_steps_of_the_whole_or_wait() -> None:
    """A step whose condition is another node's step waits when that node is not planned."""
    case = Case()
    case.both("d/", "d/f")
    case.new(case.here, "e/")
    case.move(case.here, "d/f", "e/f")
    whole = case.steps()
    for node in whole:
        (step,) = plan(case.view([node]))
        assert step == whole[node] or isinstance(step, Wait)
