"""What PostgreSQL's errors mean for whoever asked (its documentation, appendix A)."""

from typing import Any

from sqlalchemy.exc import DBAPIError

Failure = DBAPIError | OSError | TimeoutError

LOST, COLLIDED, DEFECTS = ("08", "57P0", "53300", "25006"), ("40001", "40P01", "23505"), ("22", "23", "42")
"""How the SQLSTATEs begin that say: this connection or this server is no use any more (25006: it takes no writes since
another took over); another transaction was in the way; our own statement is wrong. A unique violation may be such a
collision: the next attempt sees the other's row, and says what it means."""
FULL = "53100"


def state_of(error: BaseException) -> str:
    """The SQLSTATE, or one of class 08 for a connection that went without a word; empty for anything else."""
    if not isinstance(error, DBAPIError):
        return "08000" if isinstance(error, OSError) and not isinstance(error, TimeoutError) else ""
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state or ("08000" if error.connection_invalidated else "")


def may_pass(error: Failure) -> bool:
    """Whether the same transaction may succeed right after."""
    return state_of(error).startswith((*LOST, *COLLIDED))


def reason_of(error: BaseException) -> str:
    """The database's own word, without the statement and its parameters."""
    original: Any = error.orig if isinstance(error, DBAPIError) else error
    return str(original).partition("\n")[0] or type(original).__name__
