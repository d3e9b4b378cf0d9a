"""Everything `shoal-tracker serve` runs, from opening the database to the last clean-up."""

import gc
from collections.abc import Callable

import trio

from protocol.system import real_machine
from tracker.assembly import build
from tracker.system.listening import Listen, check_listen
from tracker.system.opening import Locations, check_database, make_data, open_database, sole_server
from tracker.system.server import run_server, stop_on_signals
from tracker.system.stores import open_storage, parse_storage


async def serve_until_signalled(locations: Locations, listen: Listen, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the address once requests are taken."""
    check_listen(listen)
    check_database(locations)
    place = parse_storage(locations.storage_url)
    machine = real_machine()
    make_data(locations.data)
    with sole_server(locations.data):
        async with (
            open_storage(machine, place, serving=True) as storage,
            open_database(locations, make=True) as database,
        ):
            tracker = await build(machine, database, storage)
            stop = trio.Event()
            async with trio.open_nursery() as beside:
                async with trio.open_nursery() as nursery:
                    await nursery.start(stop_on_signals, stop)
                    _freeze_what_stays()
                    ready(await nursery.start(run_server, tracker, listen, stop))
                    beside.start_soon(tracker.look_after)
                beside.cancel_scope.cancel()


def _freeze_what_stays() -> None:
    """Let the garbage collector pass over what is there by now: modules, statements, routes.

    It stays until the end, and going through it again and again took a seventh of the CPU time of many small commits.
    """
    gc.freeze()
