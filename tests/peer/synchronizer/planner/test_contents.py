"""Cases 7 to 9: contents that agree, or not."""

from peer.synchronizer.steps import Agree, Clean, Fetch, SendWrite, SetAside, SetAttributes
from peer.trees import Content, Local
from protocol.commits import FILE
from protocol.identifiers import NodeId
from tests.peer.synchronizer.model.cases import Case
from tests.peer.synchronizer.model.world import rounds


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


def test_8_what_was_changed_there_and_changed_back_was_changed_here_only(case: Case) -> None:
    """Found by the naive model: the time that somebody set here was given up for nothing."""
    (file,) = case.both("a")
    before = case.local[file].content
    assert before is not None
    case.edit(case.there, "a", _made_executable(case, file))
    case.edit(case.there, "a", before)
    ours = before._replace(mtime_ns=5)
    case.edit(case.here, "a", ours)
    assert case.steps() == {file: SendWrite(file)}
    assert case.end() == ["a"]
    assert case.remote[file].content == ours


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
    assert case.end() == ["a", "a (conflicted copy, there, 1970-01-01)"]  # as its author keeps it
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


def test_8_what_is_too_large_to_be_sent_waits(case: Case) -> None:
    (file,) = case.both("a")
    case.put_local(_blocked(case, file))
    assert case.why(file) == "it can't be sent"
    case.edit(case.there, "a", _made_executable(case, file, case.remote[file].content))
    assert case.why(file) == "it can't be sent"


def test_9_3_what_is_too_large_to_be_sent_becomes_a_conflict_copy(case: Case) -> None:
    (file,) = case.both("a")
    case.put_local(_blocked(case, file))
    case.edit(case.there, "a")
    assert case.steps() == {file: SetAside(file, renew=True)}
    case.settle(rounds(case))
    assert case.local[file].content == case.remote[file].content
    assert sorted(row.name for row in case.local.values()) == ["a", "a (conflicted copy, here, 1970-01-01)"]


def test_9_4_what_is_too_large_to_be_sent_passes_over_nothing(case: Case) -> None:
    (file,) = case.both("a")
    case.put_local(_blocked(case, file))
    case.announced_only = True
    case.edit(case.there, "a")
    case.given_up = {case.head(file)}
    assert case.awaits(file)


def test_9_what_can_not_be_read_and_is_new_is_left_alone(case: Case) -> None:
    file = case.new(case.here, "a")
    case.put_local(_blocked(case, file))
    assert case.steps() == {file: Clean(file)}


def _blocked(case: Case, node: NodeId) -> Local:
    return case.local[node]._replace(content=None, blocked=True)


def _made_executable(case: Case, node: NodeId, content: Content | None = None) -> Content:
    content = content or case.local[node].content
    assert content is not None
    return content._replace(executable=True)
