"""`shoal-tracker stats`."""

from pathlib import Path

import click
import trio

from tracker.administration import statistics
from tracker.cli.options import as_json, located, locations
from tracker.cli.output import print_json, print_table, sized
from tracker.system.opening import Locations, open_database


async def _stats(where: Locations, json_: bool) -> None:
    async with open_database(where, make=False) as database:
        found = await database.read(statistics)
    if json_:
        print_json(found)
    else:
        print_table(("what", "how much"), ((_called(name), _shown(name, found[name])) for name in found))


def _called(name: str) -> str:
    """What devices announced and did not upload whole is called as in their own status."""
    return "versions not in the cloud yet" if name == "versions_not_durable" else name.replace("_", " ")


def _shown(name: str, value: int) -> str:
    return sized(value) if name.endswith("bytes") else str(value)


@click.command()
@located
@as_json
def stats(data: Path, database: str | None, storage: str | None, json_: bool) -> None:
    """Totals: users, devices, revisions, chunks, bytes."""
    trio.run(_stats, locations(data, database, storage), json_)
