"""Ignore rules: which names are never synced (design §7).

A `.shoalignore` has the syntax of gitignore(5) and holds for the directory it is in and all below; `pathspec` turns its
patterns into regular expressions. As in git the last pattern of a file that matches decides, and a file decides before
those of the directories above it; what is in an ignored directory is ignored, whatever else is said of it. Unlike in
git a `.shoalignore` is itself never ignored: all devices are to have the same rules.

Pure functions of the rules, of a path and of whether it is a directory's.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

from pathspec.patterns.gitignore.base import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from peer.root import Names

IGNORE_FILE = ".shoalignore"
LITTER = (".~lock.*", "*.swp", "4913", ".goutputstream-*", ".DS_Store", ".nfs*")
"""What editors and systems leave behind for a moment; files of such names are ignored unless a rule says otherwise."""
MAX_BYTES = 256 << 10
"""Of a `.shoalignore`; a larger one has no rules."""
_LITTER = re.compile("|".join(map(translate, LITTER)))
# What litter begins or ends with: of a hundred thousand names few need to be looked at any closer.
_FIRST, _LAST = {each[0] for each in LITTER if each[0] != "*"}, tuple(each[1:] for each in LITTER if each[0] == "*")
_ASIDE = re.compile(r"\.shoal-[0-9a-f]{32}")  # what Shoal itself calls a file for a moment
_STAR = "[^/]*"  # as pathspec writes it
_ANY, _ANY_DIRECTORY = re.compile(".+", re.DOTALL), re.compile(".+/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern. `regex` matches a whole path below the rules' directory, which ends in "/" for a directory."""

    line: int
    pattern: str
    regex: re.Pattern[str]
    ignores: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What one `.shoalignore` says. `faults` tells of lines that are no patterns; the others apply."""

    rules: tuple[Rule, ...] = ()
    faults: tuple[str, ...] = ()

    def decide(self, path: str) -> Rule | None:
        """The last rule that matches."""
        return next((rule for rule in reversed(self.rules) if rule.regex.fullmatch(path)), None)


Chain = Sequence[tuple[int, Rules]]
"""The rules that hold somewhere, each with the depth of its directory, outermost first."""


def rule_for(chain: Chain, path: Names, *, directory: bool) -> tuple[int, Rule] | None:
    """The rule that decides about a path, with the depth of its directory; what is said of the directories above the
    path is left aside."""
    for depth, rules in reversed(chain):
        found = rules.decide("/".join(path[depth:]) + "/" * directory) if depth < len(path) else None
        if found is not None:
            return depth, found
    return None


def is_ignored(chain: Chain, path: Names, *, directory: bool) -> bool:
    """Whether a path is ignored; those above it are not."""
    name = path[-1]
    if chain:
        if name == IGNORE_FILE or _ASIDE.fullmatch(name):
            return False
        found = rule_for(chain, path, directory=directory)
        if found is not None:
            return found[1].ignores
    return not directory and (name[0] in _FIRST or name.endswith(_LAST)) and _LITTER.match(name) is not None


@lru_cache(1000)
def parse(body: bytes) -> Rules:
    """Read a `.shoalignore`."""
    if len(body) > MAX_BYTES:
        return Rules(faults=(f"it is larger than {MAX_BYTES >> 10} KiB, and none of its rules apply",))
    rules, faults = list[Rule](), list[str]()
    for number, line in enumerate(_lines(body), 1):
        try:
            rule = _rule(number, line)
        except (GitIgnorePatternError, UnicodeDecodeError, re.error):
            faults.append(f"line {number} is no pattern")
        else:
            rules += [] if rule is None else [rule]
    return Rules(tuple(rules), tuple(faults))


def _lines(body: bytes) -> Iterator[bytes]:
    for line in body.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        yield line.removesuffix(b"\r")


def _rule(number: int, line: bytes) -> Rule | None:
    """None for an empty line and a comment."""
    pattern = line.decode()
    regex, ignores = GitIgnoreSpecPattern.pattern_to_regex(_inside(pattern))
    if regex is not None and ignores is not None:
        return Rule(number, pattern, _compiled(regex), ignores)
    if pattern.strip() and not pattern.startswith("#"):
        raise GitIgnorePatternError
    return None


def _inside(pattern: str) -> str:
    """`a/**` is all in `a`, but not `a`; pathspec says so by a match of the beginning, which can't be told from one of
    `a/`."""
    text = pattern.rstrip()
    if text.endswith("/**"):
        return f"{text}/*"
    return f"{text}*/" if text.endswith("/**/") else pattern


def _compiled(regex: str) -> re.Pattern[str]:
    """For a match of a whole path. Some that match everything are given for a match of the beginning only."""
    if regex == ".":
        return _ANY
    return _ANY_DIRECTORY if regex == "(?P<ps_d>/)" else re.compile(_steady(regex), re.DOTALL)


def _steady(regex: str) -> str:
    """The same, but without trying all lengths of each star against all of the others, which takes for ever with five
    of them: between two stars of one name, the first match of what stands there will do."""
    head, *pieces = regex.split(_STAR)
    for number, piece in enumerate(pieces, 1):
        inner = number < len(pieces) and "/" not in piece.replace("[^/]", "")
        head += f"(?>[^/]*?{piece})" if inner else _STAR + piece
    return head
