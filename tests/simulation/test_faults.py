"""Three faults put in on purpose, each of which the simulation must catch: otherwise it says nothing.

Faults are patches of this test; no production code knows of them. For each a first seed is recorded from which the
search begins, so that it takes seconds; the same seed must be good without the fault.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest

from peer.ports import Descriptor
from peer.synchronizer import replacing
from peer.synchronizer.downloads import Downloads
from peer.synchronizer.jobs import Job
from peer.trees import Synced
from tests.simulation.disk import SimulatedDisk
from tests.simulation.oracle import Violation
from tests.simulation.plan import CRITICAL, Plan, plan_of
from tests.simulation.world import simulate

LIMIT = 200
"""Seeds within which each fault must be caught."""


def busy(seed: int) -> Plan:
    """Many edits just before what a peer does to the folder."""
    plan = replace(plan_of(seed), taking_turns=False, actions=20, pause=0.5)
    return replace(plan, inline_actions=15, inline_chance=0.03, inline_calls=CRITICAL)


def crashing(seed: int) -> Plan:
    """The same, and the peers crash."""
    return replace(busy(seed), crashes=3, crash_chance=0.02)


def failing(seed: int) -> Plan:
    """Folders that can't be listed now and then, and people who leave what is there alone for a while."""
    plan = replace(plan_of(seed), taking_turns=False, actions=10, pause=3.0)
    return replace(plan, io_error_chance=0.05, io_error_calls=("scan",))


def caught(plan: Callable[[int], Plan], first: int) -> tuple[int, Violation]:
    """The first seed from `first` on that is not good, within the limit."""
    for seed in range(first, LIMIT):
        violation = simulate(seed, plan=plan(seed)).violation
        if violation is not None:
            return seed, violation
    pytest.fail(f"no seed from {first} to {LIMIT} caught the fault")


def is_caught(
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    plan: Callable[[int], Plan],
    first: int,
) -> Violation:
    """Catch a fault, and show that it was the fault."""
    with monkeypatch.context() as patch:
        fault(patch)
        seed, violation = caught(plan, first)
    print(f"caught with seed {seed}: {violation}")
    assert simulate(seed, plan=plan(seed)).violation is None
    return violation


def no_check_before_the_swap(patch: pytest.MonkeyPatch) -> None:
    """Whatever stands at a place is taken for what LOCAL says."""
    patch.setattr(replacing, "still_expected", lambda *_: True)
    patch.setattr(replacing, "same_file", lambda *_: True)


def synced_before_the_swap(patch: pytest.MonkeyPatch) -> None:
    """SYNCED advances to what was fetched before it is in place."""
    place = Downloads._place

    async def hasty(self: Downloads, jobs: list[Job]) -> None:
        store = self._context.store
        with store.database.transaction():
            for job in jobs:
                remote = job.remote
                store.put_synced(
                    Synced(remote.node, remote.parent, remote.name, remote.kind, remote.place, job.version.id, None)
                )
        await place(self, jobs)

    patch.setattr(Downloads, "_place", hasty)


def a_failed_scan_is_empty(patch: pytest.MonkeyPatch) -> None:
    """A directory that can't be listed looks as if nothing were in it."""
    scan = SimulatedDisk.scan

    def blind(self: SimulatedDisk, directory: Descriptor) -> list[str]:
        try:
            return scan(self, directory)
        except OSError:
            return []

    patch.setattr(SimulatedDisk, "scan", blind)


def test_no_check_before_the_swap_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    violation = is_caught(monkeypatch, no_check_before_the_swap, busy, first=7)
    assert violation.rule == "nothing is lost"


def test_synced_before_the_swap_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    violation = is_caught(monkeypatch, synced_before_the_swap, crashing, first=2)
    assert violation.rule in ("nothing is lost", "absent is not deleted")


def test_a_failed_scan_taken_as_empty_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    violation = is_caught(monkeypatch, a_failed_scan_is_empty, failing, first=14)
    assert violation.rule == "absent is not deleted"
