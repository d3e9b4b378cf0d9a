"""Big surprises (law 8): how little may happen unasked in a simulation, and the people who are asked."""

from contextlib import suppress

import trio

from peer.peer import Peer
from protocol.breaker import Limits
from tests.simulation.device import SimulatedDevice
from tests.simulation.fence import Crashed
from tests.simulation.surroundings import Surroundings

SMALL = Limits(delete_percent=30, delete_least=2, overwrite_percent=50, overwrite_least=3)
"""Half of what people have, and little of it: there are only some files."""
_SECONDS = 4.0
"""Until somebody looks whether anything is held."""


async def answer_at_times(around: Surroundings) -> None:
    """People look now and then, and say yes, or no."""
    while around.plan.asking:
        await trio.sleep(around.rng.expovariate(1 / _SECONDS))
        answer(around, around.rng.choice(list(around.devices.values())))


def answer_all(around: Surroundings) -> None:
    """Everybody who is asked answers."""
    for device in around.devices.values() if around.plan.asking else ():
        answer(around, device)


def answer(around: Surroundings, device: SimulatedDevice) -> None:
    """What one did can be undone; to what others did they say yes, as only they know what they saw."""
    peer = device.peer if device.alive else None
    groups = [] if peer is None else peer.context.surprises.summary()
    if peer is not None and groups:
        theirs = any(group["direction"] != "outgoing" for group in groups)
        approved = around.rng.random() < 0.5 or (theirs and not around.plan.rejecting)
        if theirs and not approved:
            _say_no_to_others(around, device)
        _decide(around, device.name, peer, approved=approved)


def _say_no_to_others(around: Surroundings, device: SimulatedDevice) -> None:
    """What others have written is replaced, whatever it is by now: this one knows better."""
    for name, tree in around.trees().items():
        if name != device.name:
            around.oracle.supersede(device.name, tree.values(), "rejected what others did")


def _decide(around: Surroundings, name: str, peer: Peer, *, approved: bool) -> None:
    around.log.note(f"@{name}", "approves what is held" if approved else "rejects what is held")
    around.oracle.taken_back |= not approved
    with suppress(Crashed):
        peer.decide(approved=approved)
