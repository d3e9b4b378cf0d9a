"""`shoal completion SHELL`."""

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what makes SHELL complete shoal's commands: source it."""
    program = context.find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"no completion for {shell}")
    name = program.info_name or "shoal"
    click.echo(kind(program.command, {}, name, f"_{name.upper()}_COMPLETE").source())
