"""What happens in a simulation: drawn from its seed before it begins."""

from dataclasses import dataclass, replace
from random import Random

from tests.simulation.people import DIRECTORIES, NAMES

CRITICAL = ("exchange", "rename", "unlink", "remove_directory")
"""Calls before which an edit is most unwelcome."""

_TAKING_TURNS = 0.07
_PATIENT = 0.03
_BREAKER = 0.2
_ON_ONE_LAN = 0.85
_FILLING, _MOST_FILLS = 0.15, 3
_OVERTAKING, _MOST_OVERTAKES = 0.1, 4
_UNNOTICED = 0.2
_WITHDRAWING, _MOST_WITHDRAWALS = 0.05, 3
_CROSSING, _MOST_CROSSINGS = 0.05, 3
_LEAST_FAULTS = 8
_SELDOM, _RARELY = 0.05, 0.035
_REJECTING = 0.3

FAULTS: dict[str, float] = {
    # messages
    "refused": 1.0,
    "lost": 1.5,
    "silent": 0.5,
    "delayed": 1.0,
    "cuts": 1.0,
    "partitions": 1.0,
    # the LAN
    "lan unheard": 0.7,
    "lan refused": 0.7,
    "lan broken": 0.7,
    "lan cuts": 0.7,
    "lan partitions": 0.7,
    "lies": 1.5,
    # processes
    "tracker restarts": 1.0,
    "tracker crashes": 1.0,
    "crashes": 2.0,
    "power cuts": 2.0,
    "lost databases": 1.0,
    "tracker restores": 1.0,
    # disks and the news of them
    "io errors": 1.0,
    "full disks": 1.5,
    "bad path": 1.0,
    "events lost": 0.7,
    "events repeated": 0.7,
    "events late": 0.7,
    "overflows": 0.7,
    # time
    "clock jumps": 1.5,
    "late devices": 0.7,
    "slow threads": 0.7,
}
"""Everything that can go wrong, with how often it is among what does."""


@dataclass(frozen=True)
class Plan:
    """Chances are for each call or request, times in simulated seconds."""

    faults: frozenset[str]
    actions: int  # of all people together, at times of their own
    pause: float  # between two of them, on average
    inline_actions: int  # at most so many more, each between two system calls of a peer
    inline_chance: float
    inline_calls: tuple[str, ...]  # between which calls; all of the executor's if empty
    fills: int  # of directories that somebody else removes at the same time
    crossed_moves: float  # chance, after each action, that two directories are moved into each other
    late: float  # when the other devices start
    prefilled: int  # actions on each side before any peer runs
    refused: float
    lost: float
    silent: float
    delay: float
    straggling: float  # chance that a message takes seconds, and others overtake it
    cuts: float  # pause between cut WebSockets, on average; 0 for none
    partitions: float  # pause between times when the tracker can't be reached, on average; 0 for none
    tracker_restarts: int
    crashes: int
    crash_chance: float
    power_cuts: float  # the share of crashes that are
    lost_databases: float  # the share of crashes that cost it
    full_disks: int  # on each device
    bad_name: str  # what one device's disk refuses all access to; none if empty
    clock_jumps: int
    lies: float  # of what all devices but one say on the LAN
    tracker_restores: int
    tracker_crashes: int
    tracker_crash_chance: float
    io_error_chance: float
    io_error_calls: tuple[str, ...]  # which calls; any if empty
    lost_events: float
    repeated_events: float
    late_events: float
    overflows: float
    slow_threads: float
    lan: bool  # whether the devices are on one LAN,
    acquainted: float  # how long they have had to meet before anybody acts, and before anything fails
    lan_delay: float
    lan_unheard: float
    lan_refused: float
    lan_broken: float  # chance of each piece of data
    lan_cuts: float  # pause between cut connections, on average; 0 for none
    lan_partitions: float  # pause between partitions of some seconds, on average; 0 for none
    breaker: bool  # big surprises are held, and small ones are big
    taking_turns: bool  # nobody acts before everybody has seen what the last one did
    patient: bool  # what no event told of is found by the regular scan, and not sooner
    pauses: int = 0  # how often somebody has a device pause for a while
    absences: int = 0  # how often a device's folder isn't there for a while
    nonsense: float = 0.0  # of the tracker's answers
    unwatched: float = 0.0  # chance that a folder can't be watched, at each try
    joining: bool = False  # the last device begins later, with a folder that has much of what others have

    odd: bool = False  # people put into the folder what can't be synced
    rules: bool = False  # people say what is to be ignored
    exclusions: int = 0  # how often something is excluded at a device for a while
    large: bool = False  # people write files of many chunks
    closings: bool = False  # it is told that a file was closed
    overtakes: int = 0  # how often somebody writes to a file while a commit of the device is under way
    poor_disk: bool = False  # the last device's can't exchange two names, has many a fault, and others may write to it
    rejecting: bool = False  # people say no also to what others did
    narrow: bool = False  # limits of size and number are near
    folding: bool = False  # a device's disk takes names for one that differ in case, or in how an accent is made
    squatting: bool = False  # something else stands where Shoal's own folder is to be on a device
    shuffling: bool = False  # people swap folders, give files a second name, and put what can't be synced into folders
    shells: bool = False  # folders stay for what is ignored in them, and are filled anew
    sleeping: bool = False  # a device sleeps for long while others go on, and one loses power at the worst moment
    tripwires: bool = False  # somebody acts, or the disk fails, where it is least expected
    unnoticed: bool = False  # when the tracker is restored, every connection is dead, and no device knows
    withdrawals: int = 0  # how often a device can't bring a version to the cloud for days
    crossings: int = 0  # how often two move directories into each other as soon as they can
    wordy: bool = False  # people write what can be compressed as well
    lingering: bool = False  # programs write to files that they have held open for long
    outpacing: bool = False  # a file is saved several times before any of that is in the cloud

    @property
    def acting(self) -> float:
        """About how long people act."""
        return self.actions * self.pause

    @property
    def asking(self) -> bool:
        """Whether people are asked about what is held."""
        return self.breaker or self.power_cuts > 0

    @property
    def remembers(self) -> bool:
        """Whether nothing that a program knows is ever lost."""
        return not (self.power_cuts or self.lost_databases or self.tracker_restores)

    @property
    def is_lenient(self) -> bool:
        """Whether something may come back, or be there twice, though nobody has forgotten anything: programs had to
        merge with a tracker that made no sense, or what is the same on two sides was never known to be."""
        return bool(
            self.nonsense or self.joining or self.odd or self.rules or self.exclusions or self.shuffling or self.shells
        )


def plan_of(seed: int) -> Plan:
    """What happens under this seed."""
    rng = Random(f"{seed}/plan")
    plan = _draw(rng)
    if rng.random() < _TAKING_TURNS:
        plan = replace(plan, power_cuts=0.0, lost_databases=0.0, tracker_restores=0)  # after these, copies are right
        plan = replace(plan, bad_name="")  # what it keeps from others isn't seen by all
        return replace(plan, inline_actions=0, prefilled=0, taking_turns=True, pause=0.5, breaker=False)
    return _with_rare(_with_unusual(plan, Random(f"{seed}/unusual")), Random(f"{seed}/rare"))


def _with_unusual(plan: Plan, rng: Random) -> Plan:
    """What few seeds have, from a stream of its own: all others are what they would be without it. What is new comes
    last."""
    drawn = replace(
        plan,
        pauses=rng.randrange(1, 5) if rng.random() < _SELDOM else 0,
        absences=rng.randrange(1, 4) if rng.random() < _SELDOM else 0,
        nonsense=rng.choice((0.02, 0.1)) if rng.random() < _SELDOM else 0.0,
        unwatched=0.8 if rng.random() < _SELDOM else 0.0,
        joining=rng.random() < _SELDOM,
        odd=rng.random() < _SELDOM,
        rules=rng.random() < _SELDOM,
        # What is excluded is in the cloud only: with a tracker of before that it is lost.
        exclusions=rng.randrange(1, 5) if rng.random() < _SELDOM and not plan.tracker_restores else 0,
        large=rng.random() < _SELDOM,
        closings=rng.random() < _SELDOM,
        poor_disk=rng.random() < _SELDOM,
        rejecting=rng.random() < _REJECTING and plan.breaker,
        fills=_MOST_FILLS if rng.random() < _FILLING else 0,
        overtakes=_MOST_OVERTAKES if rng.random() < _OVERTAKING else 0,
        narrow=rng.random() < _RARELY,
        folding=rng.random() < _RARELY,
        squatting=rng.random() < _RARELY,
        tripwires=rng.random() < _RARELY,
        unnoticed=rng.random() < _UNNOTICED and plan.tracker_restores > 0,
        withdrawals=_MOST_WITHDRAWALS if rng.random() < _WITHDRAWING else 0,
    )
    return replace(drawn, closings=drawn.closings or drawn.narrow)


def _with_rare(plan: Plan, rng: Random) -> Plan:
    """What came later, from a stream of its own as well."""
    if rng.random() < _RARELY:
        plan = replace(plan, shuffling=True, bad_name=rng.choice((plan.bad_name, *DIRECTORIES)))
    if rng.random() < _RARELY:
        plan = replace(plan, shells=True)
    if rng.random() < _RARELY:
        plan = replace(plan, sleeping=True, breaker=True, rejecting=True, power_cuts=max(plan.power_cuts, 0.1))
    plan = replace(plan, wordy=rng.random() < _RARELY)
    plan = replace(plan, crossings=_MOST_CROSSINGS if rng.random() < _CROSSING else 0)
    plan = replace(plan, lingering=rng.random() < _RARELY)
    if rng.random() < _RARELY and plan.lan:  # after what is forgotten copies would be right
        plan = replace(plan, outpacing=True, power_cuts=0.0, lost_databases=0.0, tracker_restores=0)
    return plan


def _faults(rng: Random) -> frozenset[str]:
    """At least eight, by weight."""
    ranked = sorted(FAULTS, key=lambda fault: rng.random() ** (1 / FAULTS[fault]), reverse=True)
    return frozenset(ranked[: rng.randrange(_LEAST_FAULTS, _LEAST_FAULTS + 5)])


def _draw(rng: Random) -> Plan:
    faults = _faults(rng)

    def given(fault: str, value: float) -> float:
        return value if fault in faults else 0.0

    return Plan(
        faults=faults,
        actions=rng.randrange(20, 25),
        pause=rng.choice((0.2, 0.7, 2.0)),
        inline_actions=rng.randrange(20, 25),
        inline_chance=rng.choice((0.02, 0.05)),
        inline_calls=rng.choice(((), (), CRITICAL)),
        fills=0,
        crossed_moves=rng.choice((0.0, 0.4)),
        late=given("late devices", rng.uniform(0.0, 10.0)),
        prefilled=rng.choice((0, 0, 0, 5)),
        refused=given("refused", 0.03),
        lost=given("lost", 0.08),
        silent=given("silent", 0.005),
        delay=rng.choice((0.001, 0.02, 0.1)),
        straggling=given("delayed", 0.03),
        cuts=given("cuts", rng.uniform(2.0, 8.0)),
        partitions=given("partitions", rng.uniform(5.0, 15.0)),
        tracker_restarts=int(given("tracker restarts", rng.randrange(1, 3))),
        crashes=rng.randrange(1, 4) if faults & {"crashes", "power cuts", "lost databases"} else 0,
        crash_chance=rng.choice((0.0005, 0.002, 0.01)),
        power_cuts=0.0 if "power cuts" not in faults else 0.6 if "crashes" in faults else 1.0,
        lost_databases=given("lost databases", 0.5),
        full_disks=int(given("full disks", 2)),
        bad_name=rng.choice(NAMES) if "bad path" in faults else "",
        clock_jumps=int(given("clock jumps", rng.randrange(1, 4))),
        lies=given("lies", rng.choice((0.5, 1.0))),
        tracker_restores=int(given("tracker restores", 1)),
        tracker_crashes=int(given("tracker crashes", rng.randrange(1, 4))),
        tracker_crash_chance=rng.choice((0.005, 0.02)),
        io_error_chance=given("io errors", rng.choice((0.002, 0.02))),
        io_error_calls=(),
        lost_events=given("events lost", rng.choice((0.05, 0.5))),
        repeated_events=given("events repeated", 0.1),
        late_events=given("events late", 0.1),
        overflows=given("overflows", 0.02),
        slow_threads=0.3 if "slow threads" in faults else 0.05,
        lan=rng.random() < _ON_ONE_LAN or "lies" in faults,
        acquainted=rng.choice((0.0, 10.0, 10.0)),
        lan_delay=rng.choice((0.0005, 0.005, 0.2)),
        lan_unheard=given("lan unheard", 0.3),
        lan_refused=given("lan refused", 0.3),
        lan_broken=given("lan broken", 0.05),
        lan_cuts=given("lan cuts", rng.uniform(1.0, 5.0)),
        lan_partitions=given("lan partitions", rng.uniform(2.0, 10.0)),
        breaker=rng.random() < _BREAKER,
        taking_turns=False,
        patient=rng.random() < _PATIENT,
    )
