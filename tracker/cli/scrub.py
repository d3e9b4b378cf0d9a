"""`shoal-tracker scrub`."""

from pathlib import Path

import click
import trio

from protocol.errors import Problem
from protocol.system import real_machine
from tracker import scrubbing
from tracker.cli.options import as_json, located, locations
from tracker.cli.output import print_json
from tracker.system.opening import Locations, open_database
from tracker.system.stores import open_storage, parse_storage


async def _scrub(where: Locations) -> scrubbing.Scrubbed:
    machine = real_machine()
    place = parse_storage(where.storage_url)
    async with open_database(where, make=False) as database, open_storage(machine, place) as storage:
        return await scrubbing.scrub(machine, database, storage)


@click.command()
@located
@as_json
def scrub(data: Path, database: str | None, storage: str | None, json_: bool) -> None:
    """Read every stored chunk; ask devices for those that are damaged. Exit 1 while any is. May run beside a server."""
    counts = trio.run(_scrub, locations(data, database, storage)).counts
    if json_:
        print_json({name: counts[name] for name in ("objects", "chunks", "recovered", "damaged")})
    else:
        click.echo(f"read {counts['chunks']} chunks in {counts['objects']} objects")
        if counts["recovered"]:
            click.echo(f"{counts['recovered']} chunks that were taken for damaged can be read well")
    if counts["damaged"]:
        raise Problem(f"{counts['damaged']} chunks are damaged, and wanted from the devices that hold them")
