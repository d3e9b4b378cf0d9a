"""Everything `shoal-tracker serve` runs, from opening the database to the last clean-up."""

import gc
from collections.abc import Callable, Mapping
from functools import partial

import trio

from protocol.errors import Usage
from protocol.system import real_machine
from storage.interface import Storage
from tracker.assembly import build
from tracker.database import Database
from tracker.system.listening import Listen, check_listen
from tracker.system.opening import Locations, check_database, make_data, open_database, serves_many, sole_server
from tracker.system.server import BACKLOG, run_server, stop_on_signals
from tracker.system.stores import open_storage, parse_storage
from tracker.system.workers import Workers, bind, launch, stop_with_parent

Ready = Callable[[str], None]
"""Told the address once requests are taken."""


async def serve_alone(locations: Locations, listen: Listen, ready: Ready) -> None:
    """Serve from this process until SIGTERM or SIGINT."""
    check_listen(listen)
    check_database(locations)
    place, machine = parse_storage(locations.storage_url), real_machine()
    make_data(locations.data)
    with sole_server(locations.data):
        async with (
            open_storage(machine, place, serving=True) as storage,
            open_database(locations, make=True) as database,
        ):
            await _serve(database, storage, listen, ready, trio.Event())


async def serve_with_workers(
    locations: Locations, listen: Listen, count: int, environment: Mapping[str, str], ready: Ready
) -> None:
    """Have `count` workers serve until SIGTERM or SIGINT, their options given by `environment`."""
    check_listen(listen)
    if not serves_many(locations):
        raise Usage("SQLite has one writer: for more workers give --database postgresql+asyncpg://…")
    place = parse_storage(locations.storage_url)
    make_data(locations.data)
    with sole_server(locations.data):
        async with open_storage(real_machine(), place, serving=True), open_database(locations, make=True):
            pass  # both can be used, and are as they must be before the first worker
        stopping = trio.Event()
        with bind(listen.host, listen.port, BACKLOG) as listening:
            workers = Workers(partial(launch, listening, environment), count)
            async with trio.open_nursery() as nursery:
                await nursery.start(stop_on_signals, stopping)
                await nursery.start(workers.run, stopping)
                ready(_address(listen, listening.getsockname()))


def _address(listen: Listen, name: tuple[str, int]) -> str:
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{'http' if listen.certificate is None else 'https'}://{host}:{name[1]}"


async def serve_as_worker(locations: Locations, listen: Listen, ready: Ready, *, relieves: bool) -> None:
    """Serve from the socket that was inherited, until SIGTERM or the end of the process that looks after this one."""
    async with (
        open_storage(real_machine(), parse_storage(locations.storage_url)) as storage,
        open_database(locations, make=False) as database,
        trio.open_nursery() as nursery,
    ):
        stop = trio.Event()
        nursery.start_soon(stop_with_parent, stop)
        await _serve(database, storage, listen, ready, stop, warn=not relieves)
        nursery.cancel_scope.cancel()


async def _serve(
    database: Database, storage: Storage, listen: Listen, ready: Ready, stop: trio.Event, *, warn: bool = True
) -> None:
    """Serve until SIGTERM, SIGINT or `stop`. With `warn` the other processes are told that they may have missed
    something: whoever served in this one's place may have ended before it could tell what it had done."""
    tracker = await build(real_machine(), database, storage)
    hub = tracker.services.hub
    async with trio.open_nursery() as beside:
        await beside.start(hub.listen)
        await beside.start(stop_on_signals, stop)
        async with trio.open_nursery() as nursery:
            _freeze_what_stays()
            address = await nursery.start(run_server, tracker, listen, stop)
            if warn:
                hub.warn()
            ready(address)
            beside.start_soon(tracker.look_after)
        beside.cancel_scope.cancel()


def _freeze_what_stays() -> None:
    """Let the garbage collector pass over what is there by now: modules, statements, routes.

    It stays until the end, and going through it again and again took a seventh of the CPU time of many small commits.
    """
    gc.freeze()
