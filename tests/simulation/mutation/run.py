"""Which seed catches a fault?

python -m tests.simulation.mutation.run NAME [--from SEED] [--until SEED]   one fault: the first seed that isn't good
python -m tests.simulation.mutation.run --all [--until SEED] [--record]     each in a process of its own, two at a time
"""

import argparse
import json
import signal
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from tests.simulation.counts import SEEDS
from tests.simulation.mutation.table import FAULTS, Fault
from tests.support.patching import ROOT, put_in

CAUGHT = Path(__file__).with_name("caught.json")
PATIENCE = 60
"""Seconds for one seed: a fault may make a simulation go round for ever."""


class Catch(NamedTuple):
    """The first seed that isn't good, and the rule that is broken."""

    seed: int
    rule: str


class _Endless(BaseException):
    """A seed takes too long. Not an `Exception`, so that nobody handles it."""


def search(seeds: Iterable[int]) -> Catch | None:
    """The first of these seeds that isn't good. Any fault must have been put in before this is called."""
    simulate = import_module("tests.simulation.world").simulate
    signal.signal(signal.SIGALRM, _give_up)
    for seed in seeds:
        signal.alarm(PATIENCE)
        try:
            rule = _broken_rule(simulate, seed)
        finally:
            signal.alarm(0)
        if rule is not None:
            return Catch(seed, rule)
    return None


def _broken_rule(simulate: Any, seed: int) -> str | None:
    try:
        violation = simulate(seed).violation
    except _Endless:
        return "all comes to rest"
    except BaseExceptionGroup as group:
        return "it comes to an end" if group.subgroup(_Endless) is not None else f"no program errs: {_first(group)!r}"
    except Exception as error:  # noqa: BLE001 whatever a faulty program raises is a catch
        return f"no program errs: {error!r}"
    return None if violation is None else str(violation.rule)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise _Endless


def recorded() -> dict[str, Catch]:
    """What the last search found."""
    return {name: Catch(**found) for name, found in json.loads(CAUGHT.read_text("utf-8")).items()}


def main() -> int:
    """Exit 1 when a fault was not caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=sorted(FAULTS))
    parser.add_argument("--from", dest="first", type=int, default=0, metavar="SEED")
    parser.add_argument("--until", type=int, default=SEEDS, metavar="SEED")
    parser.add_argument("--all", action="store_true", help="search for every fault")
    parser.add_argument("--record", action="store_true", help="write what is found to caught.json")
    options = parser.parse_args()
    if options.all == (options.name is not None):
        parser.error("a fault's name, or --all")
    if options.all:
        return _search_all(options.until, record=options.record)
    put_in(FAULTS[options.name].edits)
    found = search(range(options.first, options.until))
    print(json.dumps(None if found is None else found._asdict()), flush=True)
    return int(found is None)


def _search_all(until: int, *, record: bool) -> int:
    with ThreadPoolExecutor(2) as threads:
        results = threads.map(lambda fault: _in_a_process(fault, until), FAULTS.values())
        found = dict(zip(FAULTS, results, strict=True))
    caught = {name: catch for name, catch in found.items() if catch is not None}
    if record:
        known = recorded() | caught
        text = json.dumps({name: known[name]._asdict() for name in sorted(known.keys() & FAULTS.keys())}, indent=2)
        CAUGHT.write_text(text + "\n", "utf-8")
    print(f"{len(caught)} of {len(found)} caught", file=sys.stderr)
    return int(len(caught) < len(found))


def _in_a_process(fault: Fault, until: int) -> Catch | None:
    command = [sys.executable, "-m", "tests.simulation.mutation.run", fault.name, "--until", str(until)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"{fault.name}: {done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    catch = None if found is None else Catch(**found)
    print(
        f"{fault.name:40} " + ("NOT CAUGHT" if catch is None else f"{catch.seed + 1:4} seeds  {catch.rule[:90]}"),
        flush=True,
    )
    return catch


if __name__ == "__main__":
    sys.exit(main())
