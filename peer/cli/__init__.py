"""The command `shoal` (design §9). Each command is loaded when it is called: `shoal --version` waits for nothing."""

import sys
from importlib import import_module

import click

from peer.cli.options import option

PROGRAM = "shoal"
COMMANDS = {
    "signup": "peer.cli.account",
    "login": "peer.cli.account",
    "logout": "peer.cli.account",
    "run": "peer.cli.run",
    "status": "peer.cli.status",
    "explain": "peer.cli.status",
    "history": "peer.cli.history",
    "restore": "peer.cli.history",
    "rewind": "peer.cli.history",
    "held": "peer.cli.held",
    "approve": "peer.cli.held",
    "reject": "peer.cli.held",
    "pause": "peer.cli.status",
    "resume": "peer.cli.status",
    "exclude": "peer.cli.excluding",
    "include": "peer.cli.excluding",
    "move": "peer.cli.moving",
    "devices": "peer.cli.account",
    "account": "peer.cli.account",
    "completion": "peer.cli.completion",
}
"""Which module defines which command, in the order of the help."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(module), cmd_name)
        return command


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"{PROGRAM} {version('shoal')}")
        context.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@option("--home", type=click.Path(), help="This device's home folder [default: $XDG_DATA_HOME/shoal].")
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version, help="Show it.")
@click.pass_context
def cli(context: click.Context, home: str | None) -> None:
    """Keep a folder in sync with your other devices, sealed end to end."""
    context.obj = home


def main() -> None:
    """Run one command and exit: 0 for success, 1 for failure with one line on stderr, 2 for bad usage."""
    try:
        code = cli.main(prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as refusal:
        refusal.show()
        sys.exit(refusal.exit_code)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as failure:
        from peer.cli.failures import reason, wants_traceback

        if wants_traceback():
            raise
        click.echo(f"{PROGRAM}: {reason(failure)}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
