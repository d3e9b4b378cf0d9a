"""Everything `shoal-tracker serve` runs, from opening the database to the last clean-up."""

from collections.abc import Callable

import trio

from protocol.system import real_machine
from tracker.assembly import build
from tracker.system.listening import Listen, check_listen
from tracker.system.opening import Locations, check_database, make_data, open_database, open_storage, sole_server
from tracker.system.server import run_server, stop_on_signals


async def serve_until_signalled(locations: Locations, listen: Listen, ready: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `ready` is told the address once requests are taken."""
    check_listen(listen)
    check_database(locations)
    machine = real_machine()
    storage = open_storage(machine, locations.storage_url)
    make_data(locations.data)
    with sole_server(locations.data):
        await storage.sweep()
        async with open_database(locations, make=True) as database:
            tracker = await build(machine, database, storage)
            stop = trio.Event()
            async with trio.open_nursery() as beside:
                async with trio.open_nursery() as nursery:
                    await nursery.start(stop_on_signals, stop)
                    ready(await nursery.start(run_server, tracker, listen, stop))
                    beside.start_soon(tracker.look_after)
                beside.cancel_scope.cancel()
