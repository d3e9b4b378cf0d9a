"""`shoal move`: the sync folder goes to another place."""

import click
import trio

from peer.cli.homes import home_at
from peer.cli.status import command
from peer.control import NoDaemon
from peer.database import open_database
from peer.home import Home
from peer.moving import move_folder
from peer.system.disk import LinuxDisk
from peer.system.home_files import absolute, keep_apart

STOP_SECONDS = 120.0
"""What a running daemon is at has to end first, such as reading a large file."""


@click.command()
@click.argument("folder", type=click.Path(readable=False))
@click.pass_obj
def move(home: str | None, folder: str) -> None:
    """Move the sync folder to FOLDER, on the same file system, whether Shoal is running or not."""
    place, new = home_at(home), absolute(folder)
    place.credentials()
    try:
        trio.run(lambda: command(place.control_socket, "move", STOP_SECONDS, folder=new))
    except NoDaemon:
        _move(place, new)
    click.echo(f"the folder is at {new} now")


def _move(home: Home, new: str) -> None:
    keep_apart(new, home.path)
    with home.lock():
        database = open_database(home.database)
        try:
            move_folder(LinuxDisk(), database, home.path, new)
        finally:
            database.close()
