"""Cases 1 to 5: what is only on one side, or no longer on one."""

import pytest

from peer.synchronizer.planner import plan
from peer.synchronizer.steps import (
    Clean,
    Fetch,
    Forget,
    MakeDirectory,
    Read,
    RemoveLocal,
    Renew,
    SendCreate,
    SendDelete,
    Wait,
)
from peer.trees import Content, Local
from protocol.identifiers import NodeId
from tests.peer.synchronizer.model.cases import Case
from tests.peer.synchronizer.model.world import rounds


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


def test_4_1_what_is_too_large_to_be_sent_was_changed(case: Case) -> None:
    """Found by a property: what came in its place waited for it."""
    file, other = case.both("a", "b")
    case.put_local(_blocked(case, file))
    case.delete(case.there, "a")
    case.move(case.there, "b", "a")
    assert case.steps()[file] == Renew(file)
    case.settle(rounds(case))
    assert case.local[other].name == "a"
    assert sorted(row.name for row in case.local.values()) == ["a", "a (conflicted copy, here, 1970-01-01)"]


def test_4_2_a_folder_with_something_too_large_to_be_sent_is_kept(case: Case) -> None:
    folder, file = case.both("d/", "d/f")
    case.put_local(_blocked(case, file))
    case.delete(case.there, "d")
    assert case.steps()[folder] == Renew(folder)
    case.settle(rounds(case))
    assert sorted(row.name for row in case.local.values()) == ["d", "f"]
    assert [row.name for row in case.remote.values()] == ["d"]


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


def _blocked(case: Case, node: NodeId) -> Local:
    return case.local[node]._replace(content=None, blocked=True)
