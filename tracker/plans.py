"""Plans: how much a user may keep. What counts against the quota is in `tracker/metadata/rules.py`."""

from dataclasses import dataclass

from protocol.errors import Usage
from protocol.identifiers import GIB, MAX_FILE_SIZE


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits in bytes: `quota` over all workspaces the user owns, `max_file` for one file's content."""

    name: str
    quota: int
    max_file: int = MAX_FILE_SIZE


PLANS = {plan.name: plan for plan in (Plan("free", GIB), Plan("premium", 100 * GIB))}
FREE = PLANS["free"]


def plan_called(name: str) -> Plan:
    """The plan of that name; `Usage` when there is none."""
    if name not in PLANS:
        raise Usage(f"there is no plan {name!r}; there are {', '.join(PLANS)}")
    return PLANS[name]
