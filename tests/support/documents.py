"""The documents as tests read them: the code blocks below a heading, and commands given to click."""

import re
import shlex
from pathlib import Path
from textwrap import dedent

import click

import bench.cli
import peer.cli
import tracker.cli

ROOT = Path(__file__).resolve().parents[2]
README, OPERATIONS = ROOT / "README.md", ROOT / "docs" / "operations.md"
PROGRAMS: dict[str, click.Command] = {
    "shoal": peer.cli.cli,
    "shoal-tracker": tracker.cli.command,
    "shoal-bench": bench.cli.main,
}


def code_blocks(document: Path, heading: str) -> list[str]:
    """The indented code blocks between a heading and the next one, without the indentation."""
    parts = re.split(r"^#+ (.+)\n", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    part = parts[parts.index(heading) + 1]
    return [dedent(block).strip("\n") for block in re.findall(r"(?:^    .*\n|^\n(?=    ))+", part, re.MULTILINE)]


def parse(line: str) -> None:
    """Let click parse a command line, without running anything; `click.UsageError` when it can't be given."""
    words = [word for word in shlex.split(line, comments=True) if not word.startswith("SHOAL_")]
    command, parent, rest = PROGRAMS[words[0]], None, words[1:]
    while True:
        context = command.make_context(command.name or words[0], list(rest), parent=parent)
        if not isinstance(command, click.Group):
            return
        _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, parent = found, context


def variables(program: str) -> set[str]:
    """The variables of the environment that stand for options of a program and its commands."""
    found: set[str] = set()
    command = PROGRAMS[program]
    pending = [(command, click.Context(command))]
    while pending:
        command, context = pending.pop()
        found.update(str(each.envvar) for each in command.params if each.envvar)
        if isinstance(command, click.Group):
            inside = [command.get_command(context, name) for name in command.list_commands(context)]
            pending += [(each, click.Context(each, parent=context)) for each in inside if each is not None]
    return found
