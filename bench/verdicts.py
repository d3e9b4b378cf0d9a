"""What is expected of what was measured, and how it came out."""

from dataclasses import dataclass
from typing import Literal

Word = Literal["ok", "RED", "not judged"]


@dataclass(frozen=True)
class Verdict:
    """One expectation. `value` and `limit` have the unit that `unit` names."""

    what: str
    unit: str
    limit: float
    value: float
    word: Word
