"""What befalls a device seldom: it is paused, its disk isn't mounted, it joins with a full folder.

Each begins only in the seeds whose plan has it, so that all others stay as they were.
"""

from collections.abc import Awaitable, Callable

import trio

from peer.excluding import exclude, excluded, include
from peer.peer import Peer
from peer.root import MARKER, OUTGOING, TEMP, Marker, is_speakable
from protocol.codec import encode
from protocol.identifiers import ID_LENGTH
from protocol.names import RESERVED
from tests.simulation.crossing import cross_again
from tests.simulation.device import EMPTY, FOLDER, SimulatedDevice
from tests.simulation.filling import fill_what_goes
from tests.simulation.overtaking import overtake
from tests.simulation.surroundings import Surroundings
from tests.simulation.unnoticed import forsake
from tests.simulation.user import Entry, User

_INCLUDED = 0.7
_LONGEST = 20.0
"""Seconds that a device is paused, or its folder away."""


def begin_unusual(around: Surroundings, nursery: trio.Nursery) -> None:
    """Start what the plan has of this."""
    plan = around.plan
    for times, what in ((plan.pauses, _pause), (plan.absences, _be_absent), (plan.exclusions, _do_without)):
        if times:
            nursery.start_soon(_now_and_then, around, times, what)
    if plan.fills:
        nursery.start_soon(fill_what_goes, around)
    if plan.overtakes:
        nursery.start_soon(overtake, around)
    if plan.crossings:
        nursery.start_soon(cross_again, around)
    if plan.withdrawals:
        nursery.start_soon(forsake, around)


async def _now_and_then(
    around: Surroundings, times: int, what: Callable[[Surroundings, SimulatedDevice], Awaitable[None]]
) -> None:
    for _ in range(times):
        await trio.sleep(around.rng.expovariate(2 / around.plan.acting))
        await what(around, around.rng.choice(list(around.devices.values())))


async def _pause(around: Surroundings, device: SimulatedDevice) -> None:
    """Somebody has a device pause, and resume; it may crash in between, and then doesn't know of it."""
    pause(around, device, paused=True)
    await trio.sleep(around.rng.uniform(0.0, _LONGEST))
    pause(around, device, paused=False)


def pause(around: Surroundings, device: SimulatedDevice, *, paused: bool) -> None:
    """Say `shoal pause` or `shoal resume`."""

    def command(peer: Peer) -> None:
        if peer.synchronizer.progress.paused != paused:
            around.log.note(f"@{device.name}", "pauses Shoal" if paused else "resumes Shoal")
            peer.synchronizer.pause(paused=paused)

    device.tell(command)


async def _do_without(around: Surroundings, device: SimulatedDevice) -> None:
    """Something is excluded at a device, and included again."""
    # The control socket carries no other names.
    paths = [path for path in around.people[device.name].tree() if is_speakable([path])]
    if not paths:
        return
    path = around.rng.choice(paths)
    around.excluding.add(device.name)
    around.log.note(f"@{device.name}", f"excludes {path}")
    device.tell(lambda peer: exclude(peer.context, f"{FOLDER}/{path}"))
    await trio.sleep(around.rng.uniform(0.0, _LONGEST))
    if around.rng.random() < _INCLUDED:
        include_all(around, device)


def include_all(around: Surroundings, device: SimulatedDevice) -> None:
    """Whatever is excluded is so no longer."""

    def command(peer: Peer) -> None:
        for line in excluded(peer.context):
            around.log.note(f"@{device.name}", f"includes {line['path']}")
            include(peer.context, f"{FOLDER}/{line['path']}")

    device.tell(command)


async def _be_absent(around: Surroundings, device: SimulatedDevice) -> None:
    """The folder's disk is unmounted; where it was is nothing, or an empty folder."""
    device.unmount(around.rng.choice(("/nowhere", EMPTY)) if around.plan.remembers else "/nowhere")
    await trio.sleep(around.rng.uniform(0.0, _LONGEST))
    device.mount()


def squat(around: Surroundings, device: SimulatedDevice) -> None:
    """Before the first start the folder belongs to another home, or what is to be a folder in `.shoal` is a file."""
    own = f"{FOLDER}/{RESERVED}"
    device.disk.user.mkdir(own)
    if around.rng.random() < 0.5:
        marker = Marker(format=1, id=around.rng.randbytes(ID_LENGTH), home="/home/another")
        device.disk.user.write(f"{own}/{MARKER}", encode(marker))
    else:
        device.disk.user.write(f"{own}/{around.rng.choice((TEMP, OUTGOING))}", b"")
    device.disk.volume.journal.sync()


async def make_way(around: Surroundings, device: SimulatedDevice) -> None:
    """Somebody reads why Shoal doesn't start, and takes it away for good."""
    await trio.sleep(around.rng.uniform(0.0, _LONGEST))
    around.log.note(f"@{device.name}", "makes way for Shoal")
    device.disk.user.remove(f"{FOLDER}/{RESERVED}")
    device.disk.volume.journal.sync()


async def join(around: Surroundings, device: SimulatedDevice) -> None:
    """Begin later, with what stood in another's folder at some time, as carried over by hand, and what is its own."""
    other = around.rng.choice([each for each in around.devices.values() if each is not device])
    await trio.sleep(around.rng.uniform(0.0, around.plan.acting))
    around.log.note(f"@{device.name}", f"copies the folder of {other.name}")
    for path, entry in around.trees()[other.name].items():
        _copy(device.disk.user, f"{FOLDER}/{path}", entry)
    await trio.sleep(around.rng.uniform(0.0, around.plan.acting / 2))


def _copy(user: User, path: str, entry: Entry) -> None:
    """As `cp -a --no-clobber` does."""
    above = path.rpartition("/")[0]
    if user.exists(path) or not user.exists(above) or not user.find(above).is_directory:
        return
    if entry[0] == "directory":
        user.mkdir(path)
    elif entry[0] == "symlink":
        user.link_to(entry[1], path)
    elif entry[0] == "file":
        user.write(path, entry[1])
        user.chmod(path, entry[3])
        user.touch(path, entry[2])
