"""`shoal-tracker`: the server, and what its keeper needs besides (design §9).

Each command is loaded when it is called.
"""

import sys
from importlib import import_module

import click

from protocol.errors import ShoalError, Usage

COMMANDS = ("serve", "user", "stats", "check", "scrub", "completion")
"""Each is in the module of its name."""
FAILED, BAD_USAGE = 1, 2


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"tracker.cli.{cmd_name}"), cmd_name)
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="shoal", prog_name="shoal-tracker")
def command() -> None:
    """The tracker of Shoal: metadata, storage and notifications for sealed file synchronisation."""


def main() -> None:
    """Run the command line: 0 on success, 1 with one line on stderr on failure, 2 on bad usage."""
    try:
        command.main(prog_name="shoal-tracker", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.Abort:
        _fail("interrupted", FAILED)
    except BaseExceptionGroup as group:
        _, others = group.split(ShoalError)
        if others is not None:
            raise
        _fail(_first_line(group), FAILED)
    except ShoalError as error:
        _fail(str(error), BAD_USAGE if isinstance(error, Usage) else FAILED)


def _first_line(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error)


def _fail(message: str, code: int) -> None:
    click.echo(f"shoal-tracker: {message.splitlines()[0] if message else 'failed'}", err=True)
    sys.exit(code)
