"""`shoal-tracker check`."""

from pathlib import Path

import click
import trio

from protocol.errors import Problem
from protocol.system import real_machine
from tracker.checking import Report, check_tracker
from tracker.cli.options import as_json, located, locations
from tracker.cli.output import print_json
from tracker.system.opening import Locations, open_database
from tracker.system.stores import open_storage, parse_storage


async def _check(where: Locations, quick: bool) -> Report:
    machine = real_machine()
    place = parse_storage(where.storage_url)
    async with open_database(where, make=False) as database, open_storage(machine, place) as storage:
        return await check_tracker(machine, database, storage, quick=quick)


def _print(report: Report) -> None:
    for line in report.problems:
        click.echo(line)
    for line in report.information:
        click.echo(line)
    counted = (f"{report.counts[name]} {name}" for name in ("workspaces", "revisions", "nodes", "versions", "chunks"))
    click.echo(f"checked {', '.join(counted)} in {report.counts['objects']} objects")


@click.command()
@located
@click.option("--quick", is_flag=True, envvar="SHOAL_QUICK", help="Don't read the chunks and hash them again.")
@as_json
def check(data: Path, database: str | None, storage: str | None, quick: bool, json_: bool) -> None:
    """Verify metadata, objects and references; exit 1 when anything is wrong. May run beside a server."""
    report = trio.run(_check, locations(data, database, storage), quick)
    if json_:
        print_json(
            {
                "clean": report.clean,
                "problems": report.problems,
                "information": report.information,
                "counts": dict(sorted(report.counts.items())),
            }
        )
    else:
        _print(report)
    if not report.clean:
        raise Problem(f"{report.counts['problems']} problems found")
