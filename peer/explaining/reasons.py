"""Why a path isn't synced: whoever holds something back says so here."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import trio

from peer.explaining.subject import Subject
from peer.peer import Peer
from peer.problems import printable
from peer.synchronizer.steps import Step, Wait
from peer.synchronizer.surprises import WHY
from protocol.identifiers import ROOT

UNWANTED = ("excluded", "ignored")
"""Kinds of reasons why a path isn't to be synced here, as a person has said."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that keeps a path, or all of them, from being synced, and what to do about it. `kind` is a word for
    programs."""

    kind: str
    reason: str
    advice: str


def _problems(peer: Peer, subject: Subject) -> Iterator[Reason]:
    """What the disk or the tracker refused, of this path."""
    problems = peer.context.problems.at(subject.names)
    yield from (Reason(problem.kind, problem.reason, problem.advice) for problem in problems)
    when = None if subject.node is None else peer.context.postponed.get(subject.node)
    if problems and when is not None:
        pause = max(0.0, when - trio.current_time())
        yield Reason("postponed", f"it was refused, and is tried again in {pause:.0f} s", "")


def _folders(peer: Peer, subject: Subject) -> Iterator[Reason]:
    """What is wrong with a folder above it."""
    for depth in range(1, len(subject.names)):
        above = subject.names[:depth]
        for problem in peer.context.problems.at(above):
            yield Reason(problem.kind, f"{printable(above)}: {problem.reason}", problem.advice)


def _reserved(peer: Peer, subject: Subject) -> Iterator[Reason]:
    if subject.reserved:
        yield Reason("reserved", "it is Shoal's own, and never synced", "")


def _selection(peer: Peer, subject: Subject) -> Iterator[Reason]:
    """What isn't wanted on this device."""
    selection = peer.context.selection
    if subject.node is not None and selection.excluded_of([subject.node]):
        yield Reason(UNWANTED[0], "it is excluded on this device", "shoal include brings it here")
    rule = selection.ignoring(subject.names) if subject.local is None else None
    if rule is not None:
        yield Reason(UNWANTED[1], f"it is ignored here, by {rule}", "what is here stays as it is, and isn't synced")


def _held(peer: Peer, subject: Subject) -> Iterator[Reason]:
    """What waits for a person: itself, or what has its name at the tracker, or that of a folder above it."""
    if _is_held(subject.step):
        yield Reason("held", "it is part of a big surprise, and is held", "see shoal held, then approve or reject it")
        return
    store, steps, at = peer.context.store, peer.synchronizer.progress.steps, ROOT
    for depth, name in enumerate(subject.names, 1):
        there = store.remote_at(at, name) if subject.dirty and subject.local is not None else None
        if there is None:
            return
        at = there.node
        if at != subject.node and _is_held(steps.get(at)):
            who = "it" if depth == len(subject.names) else f"its folder {printable(subject.names[:depth])}"
            advice = "see shoal held: approve, and it goes on; reject, and the other comes back beside it"
            yield Reason("held", f"{who} has the name of something whose delete is held", advice)


def _is_held(step: Step | None) -> bool:
    return isinstance(step, Wait) and step.why == WHY


def _device(peer: Peer, subject: Subject) -> Iterator[Reason]:
    """What holds up everything, if this path waits for something."""
    progress = peer.synchronizer.progress
    if not subject.dirty and subject.node is not None:
        return
    if progress.error is not None:
        yield Reason("error", progress.error, "it is tried again")
    if peer.subscription.turned_away is not None:
        yield Reason("error", peer.subscription.turned_away, "")
    if progress.paused:
        yield Reason("paused", "syncing is paused", "run shoal resume to go on")
    elif not progress.online and peer.subscription.turned_away is None:
        yield Reason("offline", peer.subscription.reason, "it goes on when the tracker answers")
    if (why := peer.context.traffic.withheld) is not None:
        yield Reason("waiting", f"contents go to and from the tracker later: {why}", "the LAN goes on")


REASONS: list[Callable[[Peer, Subject], Iterable[Reason]]] = [
    _reserved,
    _held,
    _selection,
    _problems,
    _folders,
    _device,
]
"""Everybody who may hold a path back, the most telling first. A further reason is one more function here."""


def reasons_for(peer: Peer, subject: Subject) -> list[Reason]:
    """All that keeps a path from being synced."""
    return [reason for source in REASONS for reason in source(peer, subject)]
