"""Who carries it: each keeps a folder on one machine like that on another, on a LAN of two machines.

Their links count every packet with its headers (`Network.machine`, `whole_packets`).
"""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from bench.company import settled
from bench.failures import BenchFailed
from bench.lan.rivals import rsync, shoal, syncthing, unison
from bench.lan.rivals.base import LOOK_SECONDS, READY_SECONDS
from bench.lan.usage import OneShot
from bench.lan.works import Saved
from bench.network import Machine, network
from bench.office import office
from bench.programs import Programs, environment, programs, watched

NAMES = ("sender", "receiver")
PORT = 8730
_RSYNCD = """\
use chroot = no
uid = 0
gid = 0
read only = no
[target]
path = {target}
"""


async def _nothing(_: Sequence[Saved] = ()) -> None:
    pass


@dataclass(frozen=True)
class Stand:
    """A rival at work: what is saved in `source` on the one machine comes to `target` on the other.

    `saved` is told when files have been saved, for what does not watch the folder; `settle` returns when it is at rest.
    """

    source: Path
    target: Path
    sender: Machine
    receiver: Machine
    saved: Callable[[Sequence[Saved]], Awaitable[None]] = _nothing
    settle: Callable[[], Awaitable[None]] = _nothing


@dataclass(frozen=True)
class Rival:
    """One to be measured: `missing` tells in one line why it can't be; `start` makes a folder and all below it."""

    name: str
    missing: Callable[[], str | None]
    describe: Callable[[], str]
    start: Callable[[Path], AbstractAsyncContextManager[Stand]]


@asynccontextmanager
async def _shoal(place: Path) -> AsyncIterator[Stand]:
    async with office(place, NAMES, None, None, whole_packets=True) as made:
        await made.open()
        sender, receiver = made.devices
        assert sender.machine is not None
        assert receiver.machine is not None

        async def settle() -> None:
            await settled(made.programs, made.devices)

        yield Stand(sender.folder, receiver.folder, sender.machine, receiver.machine, settle=settle)


@asynccontextmanager
async def _two_machines(place: Path) -> AsyncIterator[tuple[Programs, Machine, Machine]]:
    place.mkdir()
    with network() as made:
        sender, receiver = (made.machine(name, whole_packets=True) for name in NAMES)
        async with programs(place / "logs") as running, watched(running):
            yield running, sender, receiver


@asynccontextmanager
async def _syncthing(place: Path) -> AsyncIterator[Stand]:
    async with _two_machines(place) as (running, sender, receiver):
        async with syncthing.two_instances(place, running, (sender, receiver)) as both:
            yield Stand(both.source, both.target, sender, receiver, settle=both.settle)


def _folders(place: Path) -> tuple[Path, Path]:
    source, target = place / "source", place / "target"
    source.mkdir()
    target.mkdir()
    return source, target


async def _listens(running: Programs, machine: Machine) -> None:
    with trio.move_on_after(READY_SECONDS):
        while PORT not in machine.listening():
            running.check()
            await trio.sleep(LOOK_SECONDS)
        return
    raise BenchFailed(f"the server does not listen within {READY_SECONDS:g} s", running.running[0].log)


@asynccontextmanager
async def _rsync(place: Path) -> AsyncIterator[Stand]:
    async with _two_machines(place) as (running, sender, receiver):
        source, target = _folders(place)
        (place / "rsyncd.conf").write_text(_RSYNCD.format(target=target))
        daemon = ["rsync", "--daemon", "--no-detach", f"--config={place / 'rsyncd.conf'}", f"--port={PORT}"]
        await running.start("rsyncd", [*receiver.prefix, *daemon])
        await _listens(running, receiver)
        client = OneShot()

        async def saved(_: Sequence[Saved]) -> None:
            there = f"rsync://{receiver.address}:{PORT}/target/"
            await client.run([*sender.prefix, "rsync", "-a", f"{source}/", there], environment())

        yield Stand(source, target, sender, receiver, saved)


@asynccontextmanager
async def _unison(place: Path) -> AsyncIterator[Stand]:
    async with _two_machines(place) as (running, sender, receiver):
        source, target = _folders(place)
        server = ["unison", "-socket", str(PORT), "-listen", receiver.address]
        theirs = unison.own_environment(place / "there")
        (place / "there").mkdir()
        await running.start("unison-server", [*receiver.prefix, *server], variables={"UNISON": theirs["UNISON"]})
        await _listens(running, receiver)
        client = OneShot()

        async def saved(_: Sequence[Saved]) -> None:
            there = f"socket://{receiver.address}:{PORT}/{target}"
            # By time and size alone it misses an edit that comes soon after the last one.
            words = ["unison", str(source), there, *unison.OPTIONS, "-fastcheck", "false"]
            await client.run([*sender.prefix, *words], unison.own_environment(place))

        yield Stand(source, target, sender, receiver, saved)


def _missing(name: str) -> str | None:
    return None if shutil.which(name) else f"{name} is not installed"


RIVALS = (
    Rival(
        "shoal",
        shoal.missing,
        lambda: f"{shoal.version()}; a tracker on a third machine, TLS; two devices",
        _shoal,
    ),
    Rival("syncthing", syncthing.missing, syncthing.describe, _syncthing),
    Rival(
        "rsync",
        lambda: _missing("rsync"),
        lambda: f"{rsync.version()}; rsync -a of the folder to a daemon after each save; neither sealed nor compressed",
        _rsync,
    ),
    Rival(
        "unison",
        lambda: _missing("unison"),
        lambda: f"{unison.version()}; unison -batch -fastcheck false to a socket server after each save; not sealed",
        _unison,
    ),
)
RIVAL_NAMES = tuple(rival.name for rival in RIVALS)
