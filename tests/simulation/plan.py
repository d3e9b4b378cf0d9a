"""What happens in a simulation: drawn from its seed before it begins."""

from dataclasses import dataclass, replace
from random import Random

CRITICAL = ("exchange", "rename", "unlink", "remove_directory")
"""Calls before which an edit is most unwelcome."""

_TAKING_TURNS = 0.15
_ON_ONE_LAN = 0.8


@dataclass(frozen=True)
class Plan:
    """Chances are for each call or request, times in simulated seconds."""

    actions: int  # of both people together, at times of their own
    pause: float  # between two of them, on average
    inline_actions: int  # at most so many more, each between two system calls of a peer
    inline_chance: float
    inline_calls: tuple[str, ...]  # between which calls; all if empty
    second_device_after: float
    prefilled: int  # actions on each side before any peer runs
    refused: float
    lost: float
    silent: float
    delay: float
    cuts: float  # pause between cut WebSockets, on average; 0 for none
    tracker_restarts: int
    crashes: int
    crash_chance: float
    io_error_chance: float
    io_error_calls: tuple[str, ...]  # which calls; any if empty
    lost_events: float
    repeated_events: float
    lan: bool  # whether the devices are on one LAN,
    acquainted: float  # how long they have had to meet before anybody acts
    lan_delay: float
    lan_unheard: float
    lan_refused: float
    lan_broken: float  # chance of each piece of data
    lan_cuts: float  # pause between cut connections, on average; 0 for none
    lan_partitions: float  # pause between partitions of some seconds, on average; 0 for none
    taking_turns: bool  # nobody acts before everybody has seen what the last one did


def plan_of(seed: int) -> Plan:
    """What happens under this seed."""
    rng = Random(f"{seed}/plan")
    plan = _draw(rng, Random(f"{seed}/lan"))
    if Random(f"{seed}/turns").random() < _TAKING_TURNS:
        return replace(plan, actions=rng.randrange(5, 12), inline_actions=0, prefilled=0, taking_turns=True)
    return plan


def _draw(rng: Random, lan: Random) -> Plan:

    def sometimes(chance: float, value: float, rng: Random = rng) -> float:
        return value if rng.random() < chance else 0.0

    return Plan(
        actions=rng.randrange(6, 26),
        pause=rng.choice((0.05, 0.5, 3.0)),
        inline_actions=rng.choice((0, 5, 15)),
        inline_chance=rng.choice((0.002, 0.01, 0.05)),
        inline_calls=rng.choice(((), (), CRITICAL)),
        second_device_after=sometimes(0.3, rng.uniform(0.0, 10.0)),
        prefilled=rng.choice((0, 0, 0, 6)),
        refused=sometimes(0.4, 0.05),
        lost=sometimes(0.4, 0.1),
        silent=sometimes(0.15, 0.02),
        delay=rng.choice((0.001, 0.02, 0.2)),
        cuts=sometimes(0.4, rng.uniform(0.5, 5.0)),
        tracker_restarts=rng.randrange(1, 3),
        crashes=int(sometimes(0.5, rng.randrange(1, 4))),
        crash_chance=rng.choice((0.002, 0.01, 0.05)),
        io_error_chance=sometimes(0.3, rng.choice((0.002, 0.02))),
        io_error_calls=(),
        lost_events=sometimes(0.25, rng.choice((0.05, 0.5))),
        repeated_events=sometimes(0.25, 0.1),
        lan=lan.random() < _ON_ONE_LAN,
        acquainted=sometimes(0.6, 10.0, lan),
        lan_delay=lan.choice((0.0005, 0.005, 0.2)),
        lan_unheard=sometimes(0.4, 0.3, lan),
        lan_refused=sometimes(0.4, 0.3, lan),
        lan_broken=sometimes(0.3, 0.05, lan),
        lan_cuts=sometimes(0.4, lan.uniform(0.5, 5.0), lan),
        lan_partitions=sometimes(0.2, lan.uniform(2.0, 10.0), lan),
        taking_turns=False,
    )
