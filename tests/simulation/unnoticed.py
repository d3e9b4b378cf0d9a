"""What becomes of the tracker while a device doesn't notice.

a restoration   connections are dead, and nobody has noticed that when the tracker is put back to an older state: the
                next commit comes before any news of it
a withdrawal    a device can't bring what it has written to the cloud, for days: the tracker withdraws it, and the
                device still has it
"""

import trio

from protocol.api import PACK_PATH
from protocol.hashing import digest
from tests.simulation.actions import save
from tests.simulation.device import SimulatedDevice
from tests.simulation.filling import saving
from tests.simulation.people import NAMES, Person
from tests.simulation.surroundings import Surroundings
from tests.simulation.waiting import until

_DAYS = 8 * 24 * 3600.0
"""More than the tracker waits for a version."""


def lose_connections(around: Surroundings) -> None:
    """Before a restoration: every connection dies, and it takes each device a while to notice."""
    for device in around.devices.values():
        if device.transport is not None:
            device.transport.cut(silently=True)


async def save_unawares(around: Surroundings) -> None:
    """After it: everybody saves something as soon as the tracker is there again."""
    await until(lambda: around.host.up)
    for person in around.people.values():
        person.do_to(around.rng.choice(NAMES), save)


async def forsake(around: Surroundings) -> None:
    """As often as the plan says, somebody's version of a file is withdrawn."""
    plan, rng = around.plan, around.rng
    for _ in range(plan.withdrawals):
        await trio.sleep(rng.uniform(0, plan.acting / plan.withdrawals))
        await until(lambda: bool(_in_the_cloud(around)) and not around.host.announced())
        if not (files := _in_the_cloud(around)) or around.host.announced():
            continue
        device, path = rng.choice(files)
        device.cut_off_from(frozenset((PACK_PATH,)))
        try:
            await _have_one_withdrawn(around, around.people[device.name], path)
        finally:
            device.cut_off_from()


async def _have_one_withdrawn(around: Surroundings, person: Person, path: str) -> None:
    person.do(saving(path, large=True))
    await until(around.host.announced)
    around.log.note("world", "days pass at the tracker")
    around.clock.jump(_DAYS)
    around.host.stop()
    await until(lambda: around.host.up and not around.host.announced())


def _in_the_cloud(around: Surroundings) -> list[tuple[SimulatedDevice, str]]:
    """The devices' files of which the device knows that the cloud has them."""
    trees = around.trees()
    return [
        (device, path)
        for device in around.devices.values()
        for path, entry in trees[device.name].items()
        if entry[0] == "file" and _is_in_the_cloud(device, digest(entry[1]))
    ]


def _is_in_the_cloud(device: SimulatedDevice, content: bytes) -> bool:
    return bool(device.ledger.agreed_on(content)) and not device.ledger.agreed_on_only(content)
