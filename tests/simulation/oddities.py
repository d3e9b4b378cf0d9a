"""Odd things that people do, in some seeds only: what can't be synced stands in the folder, and names are ignored.

None of it stays: in the calm everybody tidies up, so that all can be equal.
"""

import errno
from functools import partial

from peer.ignoring import MAX_BYTES
from peer.synchronizer.steps import aside_name
from protocol.identifiers import ID_LENGTH, NodeId
from tests.simulation.actions import ACTIONS, fill_much, write_much
from tests.simulation.folding import FOLDING
from tests.simulation.machine import START_NS
from tests.simulation.narrow import limit
from tests.simulation.people import NAMES, Action, Person
from tests.simulation.plan import Plan
from tests.simulation.shuffling import SHUFFLING
from tests.simulation.user import Entry

IGNORE_FILE = ".shoalignore"
UNSPEAKABLE = "b\udcff"
"""A name, and the text of a symlink, that isn't UTF-8."""
_LONG_AGO_NS = START_NS - 250 * 365 * 86_400 * 10**9
_TOO_MUCH = 0.1
_RULES = ("a", "b", "*.txt", "D/", "E", "/F/**", "!c.txt", "!a", "d.*", "a/", "**", "[", "# nothing", "", "é")
"""Lines; "[" is no pattern."""


def _beside(person: Person, name: str) -> str:
    """A path of this name, where nothing is."""
    parent = person.anywhere(NAMES).rpartition("/")[0]
    path = f"{parent}/{name}" if parent else name
    if person.user.exists(person.full(path)):
        raise OSError(errno.EEXIST, "in the way")
    return path


def make_pipe(person: Person) -> str:
    path = person.anywhere(NAMES)
    person.user.mkfifo(person.full(path))
    return f"makes a pipe {path}"


def write_unspeakable(person: Person) -> str:
    path, content = _beside(person, UNSPEAKABLE), person.content()
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"writes {path} ({len(content)} bytes)"


def lead_nowhere(person: Person) -> str:
    path = _beside(person, person.rng.choice(NAMES))
    person.user.link_to(UNSPEAKABLE, person.full(path))
    return f"links {path} to {UNSPEAKABLE}"


def touch_long_ago(person: Person) -> str:
    path = person.present("file")
    person.user.touch(person.full(path), _LONG_AGO_NS)
    return f"touches {path}, long ago"


def mount_something(person: Person) -> str:
    path = _beside(person, "mounted")
    person.user.mkdir(person.full(path))
    person.user.find(person.full(path)).foreign = True
    return f"mounts something at {path}"


def bring_back_what_stepped_aside(person: Person) -> str:
    """From a copy that was made of the folder while Shoal was at work in it."""
    path, content = _beside(person, aside_name(NodeId(person.rng.randbytes(ID_LENGTH)))), person.content()
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)
    return f"writes {path} ({len(content)} bytes)"


def give_second_name(person: Person) -> str:
    source, target = person.present("file"), person.anywhere(NAMES)
    person.user.hard_link(person.full(source), person.full(target))
    person.oracle.name(target)
    return f"links {source} and {target} hard"


def write_rules(person: Person) -> str:
    """Some lines, a comment to tell them from all others, and seldom much too much."""
    parent = person.anywhere(NAMES).rpartition("/")[0]
    path = f"{parent}/{IGNORE_FILE}" if parent else IGNORE_FILE
    lines = [f"# {person.content().decode('latin-1')[:12]}", *person.rng.sample(_RULES, 3)]
    content = "\n".join(lines).encode()
    if person.rng.random() < _TOO_MUCH:
        content += b"\n" + b"# \n" * MAX_BYTES
    _put_rules(person, path, content)
    return f"writes {path}: {lines[1:]}"


def write_no_rules(person: Person) -> str:
    """A `.shoalignore` that leaves nothing out."""
    parent = person.anywhere(NAMES).rpartition("/")[0]
    path = f"{parent}/{IGNORE_FILE}" if parent else IGNORE_FILE
    _put_rules(person, path, f"# {person.content().decode('latin-1')[:12]}".encode())
    return f"writes {path} without a rule"


def _put_rules(person: Person, path: str, content: bytes) -> None:
    person.refuse(path, "directory", "symlink")
    person.overwritten(path, "wrote over")
    person.user.write(person.full(path), content)
    person.oracle.save(person.name, path, content)


def remove_rules(person: Person) -> str:
    rules = [path for path in person.tree() if _is_rules(path)]
    if not rules:
        raise OSError(errno.ENOENT, "no rules")
    path = person.rng.choice(rules)
    person.replaced(path, "removed")
    person.user.remove(person.full(path))
    return f"removes {path}"


ODD: list[tuple[Action, int]] = [
    (make_pipe, 5),
    (write_unspeakable, 5),
    (lead_nowhere, 5),
    (touch_long_ago, 5),
    (give_second_name, 5),
    (mount_something, 3),
    (bring_back_what_stepped_aside, 5),
]
RULES: list[tuple[Action, int]] = [(write_rules, 14), (remove_rules, 4)]


NO_RULES: list[tuple[Action, int]] = [(write_no_rules, 10)]
MUCH: list[tuple[Action, int]] = [(write_much, 5), (fill_much, 5)]


def actions_of(plan: Plan) -> list[tuple[Action, int]]:
    """What people do in a seed, by weight."""
    some = (
        (plan.odd, ODD),
        (plan.rules, RULES),
        (plan.large, MUCH),
        (plan.folding, FOLDING),
        (plan.tripwires, NO_RULES),
        (plan.shuffling, SHUFFLING),
    )
    return [*ACTIONS, *(action for there, actions in some if there for action in actions)]


def tidy(person: Person) -> None:
    """Take away what can't be synced, and all rules."""
    for path, entry in person.tree().items():
        if entry[0] == "file" and entry[2] == _LONG_AGO_NS:
            person.do(partial(_touch_now, path=path))
        elif person.user.exists(person.full(path)) and (_is_unfit(person, path, entry) or _is_rules(path)):
            person.do(partial(_remove, path=path))


def is_tidy(person: Person) -> bool:
    """Whether nothing of it is left."""
    return not any(_is_unfit(person, path, entry) or _is_rules(path) for path, entry in person.tree().items())


def _touch_now(person: Person, *, path: str) -> str:
    person.user.touch(person.full(path), START_NS)
    return f"touches {path}"


def _remove(person: Person, *, path: str) -> str:
    person.replaced(path, "removed")
    person.user.remove(person.full(path))
    return f"removes {path}"


def _is_unfit(person: Person, path: str, entry: Entry) -> bool:
    name, full = path.rpartition("/")[2], person.full(path)
    mounted = person.user.exists(full) and person.user.find(full).foreign
    leads_nowhere = entry[0] == "symlink" and entry[1] == UNSPEAKABLE
    long_ago = entry[0] == "file" and entry[2] == _LONG_AGO_NS
    return entry[0] == "other" or name == UNSPEAKABLE or mounted or leads_nowhere or long_ago or _is_too_large(entry)


def _is_too_large(entry: Entry) -> bool:
    """By the limits that hold in this seed."""
    if entry[0] == "file":
        return len(entry[1]) > limit("peer.indexer", "MAX_FILE_SIZE")
    return entry[0] == "symlink" and len(entry[1]) > limit("peer.indexer", "MAX_LINK_BYTES")


def _is_rules(path: str) -> bool:
    return path.rpartition("/")[2] == IGNORE_FILE
