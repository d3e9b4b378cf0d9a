"""What a check found."""

from collections import Counter
from dataclasses import dataclass, field

COUNTED = (
    *("problems", "users", "workspaces", "revisions", "operations"),
    *("nodes", "versions", "chunks", "objects", "orphans"),
)
"""What a report has a number for."""
MAX_LISTED = 1000
"""Problems beyond this are counted, not listed."""


@dataclass(slots=True)
class Report:
    """`problems` are damage, one line each; `information` is worth knowing and harmless."""

    problems: list[str] = field(default_factory=list)
    information: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTED, 0)))

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts["problems"]

    def problem(self, text: str) -> None:
        """Note damage."""
        self.counts["problems"] += 1
        if len(self.problems) < MAX_LISTED:
            self.problems.append(text)

    def expect(self, right: bool, text: str) -> None:
        """Note damage unless something is as it should be."""
        if not right:
            self.problem(text)
