"""What went wrong, in one line."""

from collections.abc import Iterator

import click

from peer.system.home_files import environment
from protocol.errors import ShoalError


def wants_traceback() -> bool:
    """Whether SHOAL_DEBUG asks for the whole story."""
    return environment("SHOAL_DEBUG") not in (None, "0")


def reason(failure: BaseException) -> str:
    """One line for a person. Of several failures the first; a defect before everything that it may have caused."""
    leaves = list(_leaves(failure))
    for leaf in leaves:
        if not isinstance(leaf, ShoalError | KeyboardInterrupt | click.Abort | click.ClickException | BrokenPipeError):
            return _one_line(f"a defect in Shoal: {type(leaf).__name__}: {leaf} (SHOAL_DEBUG=1 shows where)")
    told = leaves[0]
    if isinstance(told, KeyboardInterrupt | click.Abort):
        return "interrupted"
    return _one_line(str(told) or type(told).__name__)


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            yield from _leaves(inner)
    else:
        yield failure


def _one_line(text: str) -> str:
    """Without line breaks, and without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text)
