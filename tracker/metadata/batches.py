"""IN lists of bounded length: databases limit the parameters of one statement.

Statements that run often are made once, at module level, with these parameters: making one costs SQLAlchemy more than
SQLite takes to run it.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import BindParameter, bindparam

T = TypeVar("T")

BATCH = 500

WORKSPACE: BindParameter[Any] = bindparam("workspace")


def listed(name: str = "ids") -> BindParameter[Any]:
    """A parameter for `column.in_(…)`, given a list of at most BATCH values when the statement runs."""
    return bindparam(name, expanding=True)


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """`items` in order, in lists of at most `size`."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
