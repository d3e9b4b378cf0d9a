"""What is not wanted here: cases 11 to 13 of the planner, and that excluding never loses or deletes anything."""

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import strategies as st

from peer.database import open_database
from peer.selection import Selection
from peer.synchronizer.loading import load_slice
from peer.synchronizer.planner import plan
from peer.synchronizer.slices import Slice
from peer.synchronizer.steps import (
    Clean,
    Forget,
    MakeDirectory,
    RemoveLocal,
    Renew,
    SendCreate,
    SendMove,
    SendWrite,
    SetAside,
    Step,
    StepAside,
    Wait,
)
from protocol.commits import DIRECTORY
from protocol.identifiers import NodeId
from tests.peer.synchronizer.model.cases import Case
from tests.peer.synchronizer.model.drawn import BASE, SEEDS, Edits, edits, holds
from tests.peer.synchronizer.model.sides import Here, There
from tests.peer.synchronizer.model.stored import store_of
from tests.peer.synchronizer.model.trees import check_tree
from tests.peer.synchronizer.model.world import World, rounds
from tests.peer.synchronizer.planner.test_convergence import READABLE
from tracker.metadata import rules


class Excluding(World):
    """A device on which nodes are excluded."""

    def __init__(self) -> None:
        super().__init__()
        self.excluded: set[NodeId] = set()
        self.ruleless: set[NodeId] = set()

    def is_excluded(self, node: NodeId) -> bool:
        while node in self.remote:
            if node in self.excluded:
                return True
            node = self.remote[node].parent
        return False

    def view(self, dirty: Iterable[NodeId] | None = None) -> Slice:
        view = super().view(dirty)
        view.unwanted = {node for node in self.remote if self.is_excluded(node)}
        view.ruleless = set(self.ruleless)
        return view

    def _below(self, node: NodeId) -> list[NodeId]:
        return [
            each
            for each in self.local.keys() | self.remote.keys()
            if any(node in _above(tree, each) for tree in (self.local, self.remote))
        ]

    def exclude(self, node: NodeId) -> None:
        self.excluded.add(node)
        for each in self._below(node):
            self.mark_dirty(each)

    def include(self, node: NodeId) -> None:
        self.excluded.discard(node)
        for each in self._below(node):
            if each not in self.local:
                self.drop_synced(each)
            self.mark_dirty(each)

    def _show(self, node: rules.Node) -> None:
        super()._show(node)
        if self.excluded and node.kind == DIRECTORY:  # as `RemoteTree.show` does
            for each in self._below(node.node):
                self.mark_dirty(each)

    def check_wanted(self) -> None:
        """What is on the disk is what the tracker has, without what is excluded."""
        wanted = {node for node in self.remote if not self.is_excluded(node)}
        assert self.local.keys() == wanted
        assert self.synced.keys() == wanted
        assert {node: row[1:5] for node, row in self.local.items()} == {
            node: (row.parent, row.name, row.kind, row.content) for node, row in self.remote.items() if node in wanted
        }
        check_tree(self.local)


def _above(tree: dict, node: NodeId) -> list[NodeId]:  # type: ignore[type-arg]
    out = list[NodeId]()
    while node in tree and node not in out:
        out.append(node)
        node = tree[node].parent
    return out


class ExcludingCase(Excluding, Case):
    """Cases are set up by paths; the slice that is loaded must give the same plan."""

    def steps(self) -> dict[NodeId, Step]:
        database = open_database(":memory:")
        try:
            store = store_of(database, self)
            for node in self.excluded:
                Selection(store).exclude(node)
            for dirty in ([node] for node in self.dirty):
                if not self.ruleless:
                    assert plan(load_slice(store, dirty, self)) == plan(self.view(dirty))
        finally:
            database.close()
        return super().steps()

    def done(self) -> list[str]:
        """Settled; the paths that are on the disk then."""
        self.settle(20)
        self.check_wanted()
        return ["/".join(path) for path in sorted(self.paths())]

    def there_still(self) -> list[str]:
        return ["/".join(path) for path in sorted(self.remote_paths())]


@pytest.fixture
def case() -> ExcludingCase:
    return ExcludingCase()


def test_11_1_what_is_excluded_is_not_fetched(case: ExcludingCase) -> None:
    folder, file = case.new(case.there, "d/"), case.new(case.there, "d/f")
    case.exclude(folder)
    assert case.steps() == {folder: Clean(folder), file: Clean(file)}
    assert case.done() == []
    assert case.there_still() == ["d", "d/f"]


def test_11_1_what_was_deleted_here_before_is_not_deleted_there(case: ExcludingCase) -> None:
    folder, file = case.both("d/", "d/f")
    case.delete(case.here, "d")
    case.exclude(folder)
    assert case.steps() == {folder: Forget(folder), file: Forget(file)}
    assert case.done() == []
    assert case.there_still() == ["d", "d/f"]


def test_11_2_what_is_agreed_on_is_taken_off(case: ExcludingCase) -> None:
    folder, inner, file, other = case.both("d/", "d/e/", "d/e/f", "g")
    case.exclude(folder)
    assert case.steps() == {
        file: RemoveLocal(file, unwanted=True),
        inner: RemoveLocal(inner, unwanted=True),
        folder: RemoveLocal(folder, unwanted=True),
    }
    assert case.done() == ["g"]
    assert case.there_still() == ["d", "d/e", "d/e/f", "g"]
    case.include(folder)
    assert case.steps()[folder] == MakeDirectory(folder)
    assert case.end() == ["d", "d/e", "d/e/f", "g"]
    assert other in case.local


def test_11_2_what_was_changed_there_is_taken_off_as_it_is(case: ExcludingCase) -> None:
    (file,) = case.both("f")
    case.edit(case.there, "f")
    case.exclude(file)
    assert case.steps() == {file: RemoveLocal(file, unwanted=True)}
    assert case.done() == []


def test_11_2_what_was_moved_into_it_there_is_taken_off(case: ExcludingCase) -> None:
    folder, file = case.both("d/", "f")
    case.exclude(folder)
    case.done()
    case.move(case.there, "f", "d/f")
    assert case.steps()[file] == RemoveLocal(file, unwanted=True)
    assert case.done() == []


def test_11_3_what_was_changed_here_is_sent_first(case: ExcludingCase) -> None:
    folder, file = case.both("d/", "d/f")
    case.edit(case.here, "d/f")
    new = case.new(case.here, "d/new")
    case.exclude(folder)
    steps = case.steps()
    assert (steps[file], steps[new]) == (SendWrite(file), SendCreate(new))
    assert steps[folder] == Wait(folder, "what is inside goes first")
    saved = case.local[file].content
    assert case.done() == []
    assert case.there_still() == ["d", "d/f", "d/new"]
    assert case.remote[file].content == saved


def test_11_3_what_was_moved_out_of_it_here_is_sent_and_stays(case: ExcludingCase) -> None:
    folder, file = case.both("d/", "d/f")
    case.move(case.here, "d/f", "f")
    case.exclude(folder)
    assert case.steps()[file] == SendMove(file)
    assert case.done() == ["f"]


def test_11_3_what_was_changed_on_both_sides_is_kept_in_it_there(case: ExcludingCase) -> None:
    folder, _ = case.both("d/", "d/f")
    case.edit(case.here, "d/f")
    case.edit(case.there, "d/f")
    case.exclude(folder)
    assert case.done() == []
    assert len(case.there_still()) == 3


def test_11_4_what_can_not_be_sent_keeps_its_folder_as_a_new_one(case: ExcludingCase) -> None:
    folder, file = case.both("d/", "d/f")
    big = case.new(case.here, "d/big")
    case.put_local(case.local[big]._replace(blocked=True, content=None))
    case.exclude(folder)
    assert case.steps()[folder] == Renew(folder)
    for _ in range(10):
        case.turn()
    assert not case.dirty
    (kept,) = [path for path in case.paths() if len(path) == 1]
    assert kept[0].startswith("d (conflicted copy")
    assert {path[1] for path in case.paths() if len(path) == 2} == {"big"}
    assert file in case.remote


def test_11_5_what_is_new_here_under_its_name_takes_a_conflict_name(case: ExcludingCase) -> None:
    (folder,) = case.both("d/")
    case.exclude(folder)
    case.done()
    new = case.new(case.here, "d/")
    case.new(case.here, "d/f")
    assert case.steps()[new] == SetAside(new, renew=True)
    (kept, inside) = case.done()
    assert kept.startswith("d (conflicted copy")
    assert inside == f"{kept}/f"
    assert len(case.there_still()) == 3


def test_11_6_a_folder_steps_aside_for_what_leaves_it_and_wants_its_name(case: ExcludingCase) -> None:
    folder, file = case.both("d/", "a")
    case.move(case.here, "a", "d/a")
    case.move(case.there, "a", "e")
    case.move(case.there, "d", "a")
    case.move(case.there, "e", "d")
    case.exclude(folder)
    assert case.steps()[folder] == StepAside(folder)
    assert case.done() == ["d"]
    assert set(case.local) == {file}


def test_12_a_folder_that_holds_what_is_ignored_is_not_sent(case: ExcludingCase) -> None:
    folder = case.new(case.here, "d/")
    case.put_local(case.local[folder]._replace(wanted=False))
    assert case.steps() == {folder: Clean(folder)}


def test_12_a_folder_above_it_can_go_no_further_either(case: ExcludingCase) -> None:
    folder, inner = case.both("d/", "d/e/")
    case.delete(case.there, "d")
    case.drop_synced(inner)
    case.put_local(case.local[inner]._replace(wanted=False))
    assert case.steps()[folder] == RemoveLocal(folder)


def test_12_a_file_of_its_name_there_comes_and_it_steps_back(case: ExcludingCase) -> None:
    folder, file = case.new(case.here, "d/"), case.new(case.there, "d")
    case.put_local(case.local[folder]._replace(wanted=False))
    assert case.steps()[folder] == SetAside(folder, renew=True)
    assert case.steps()[file] == Wait(file, "its name is taken here")


def test_13_rules_come_first(case: ExcludingCase) -> None:
    file = case.new(case.there, "f")
    case.ruleless = {file}
    assert case.steps() == {file: Wait(file, "the ignore rules of its folder come first")}


# Whole runs --------------------


def act(world: Excluding, random: Random, actions: Edits) -> None:
    """Both sides edit while nodes are excluded and included, and steps are left out."""
    for edit in actions:
        person = Here(world, read=random.random() < 0.5) if random.random() < 0.5 else There(world)
        person.act(*edit)
        if world.remote and random.random() < 0.4:
            world.exclude(random.choice(sorted(world.remote)))
        if world.excluded and random.random() < 0.2:
            world.include(random.choice(sorted(world.excluded)))
        for _ in range(random.randrange(3)):
            world.online = random.random() < 0.8
            share = random.random()
            world.carry_out(plan(world.view()), lambda step: random.random() < share)  # noqa: B023


def finish(world: Excluding) -> None:
    world.online = True
    for _ in range(rounds(world)):
        if not world.turn() and not world.make_durable():
            break
    world.settle(rounds(world))


@holds(600, base=BASE, actions=edits(12, READABLE), seed=SEEDS, announced_only=st.booleans())
def test_excluding_at_any_time_loses_nothing(base: Edits, actions: Edits, seed: int, announced_only: bool) -> None:
    world, random = Excluding(), Random(seed)
    for edit in base:
        There(world).act(*edit)
    world.settle(rounds(world))
    world.announced_only = announced_only
    act(world, random, actions)
    finish(world)
    world.check_wanted()
    held = {row.content.digest for row in world.remote.values() if row.content is not None}
    assert world.saved <= held
    for node in sorted(world.excluded):
        world.include(node)
    finish(world)
    world.check_agreed()


@holds(300, base=BASE, seed=SEEDS)
def test_excluding_changes_nothing_at_the_tracker(base: Edits, seed: int) -> None:
    world, random = Excluding(), Random(seed)
    for edit in base:
        There(world).act(*edit)
    world.settle(rounds(world))
    before = world.remote_paths()
    for _ in range(4):
        if world.remote:
            world.exclude(random.choice(sorted(world.remote)))
        world.carry_out(plan(world.view()), lambda step: random.random() < 0.5)
        if world.excluded and random.random() < 0.5:
            world.include(random.choice(sorted(world.excluded)))
    finish(world)
    world.check_wanted()
    assert world.remote_paths() == before
