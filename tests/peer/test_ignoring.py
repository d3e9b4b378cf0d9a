"""Ignore rules as pure functions, held against git's own."""

import subprocess
from pathlib import Path
from random import Random

import pytest

from peer.ignoring import IGNORE_FILE, MAX_BYTES, Rules, is_ignored, parse
from peer.root import Names

WORDS = ("a", "b", "ab", "build", "x.log", "y.log", "a b", "é.txt", "[c]")
PATTERNS = (
    *("a", "b", "ab", "a*", "*b", "?", "*.log", "build/", "/build", "/a/", "a/b", "a/*", "a/**", "**/b", "a/**/b"),
    *("!a", "!b", "!ab", "!*.log", "!x.log", "!a/b", "!/build", "!build/", "!a/*", "!*/", "*", "**", "*/", "**/", "/*"),
    *("[ab]", "[!a]", "[a-b]*", "a\\ b", "a b", "a b  ", "\\[c\\]", "é*", "#a", "\\#a", "", "/", "*.l?g", "a*b", "/**"),
    *(
        "a/**/",
        "!a/**",
        "**/a/**",
        "b/a",
        "/b/**/a",
        "x.*",
        "!y.log",
        "*a*b*",
        "a**b",
        "*.*o*g",
        "?*a*",
        "*[a-b]*[b-l]*",
        "*b*/*a*",
        "!*l*g*",
        "*/b",
        "!*/b",
        "[a-",
        "!",
    ),
)


def rules_of(*lines: str) -> Rules:
    return parse("\n".join(lines).encode())


def judged(rules: dict[Names, Rules], path: Names, *, directory: bool) -> bool:
    """Whether a path is ignored, or one above it."""
    for end in range(1, len(path) + 1):
        chain = [(depth, rules[path[:depth]]) for depth in range(end) if path[:depth] in rules]
        if is_ignored(chain, path[:end], directory=directory or end < len(path)):
            return True
    return False


def grow(rng: Random, root: Path, depth: int = 0) -> dict[Names, bool]:
    """A random tree on the disk: its paths, and which are directories."""
    found: dict[Names, bool] = {}
    for word in rng.sample(WORDS, rng.randint(2, 5)):
        directory = depth < 3 and rng.random() < 0.6
        if directory:
            (root / word).mkdir()
            found |= {(word, *inside): kind for inside, kind in grow(rng, root / word, depth + 1).items()}
        else:
            (root / word).touch()
        found[(word,)] = directory
    return found


def ignored_by_git(root: Path, paths: list[Names]) -> set[Names]:
    asked = "\0".join("/".join(path) for path in paths)
    command = ["git", "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "-z", "--stdin"]
    answer = subprocess.run(command, cwd=root, input=asked, capture_output=True, text=True, check=False)
    assert answer.returncode in (0, 1), answer.stderr
    return {tuple(path.split("/")) for path in answer.stdout.split("\0") if path}


@pytest.mark.parametrize("seed", range(8))
def test_what_git_ignores_is_ignored(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    seen = [0, 0]
    for number in range(12):
        root = tmp_path / str(number)
        root.mkdir()
        subprocess.run(["git", "init", "-q", "."], cwd=root, check=True)
        tree = grow(rng, root)
        folders: list[Names] = [(), *rng.sample(sorted(p for p, kind in tree.items() if kind) or [()], 1)]
        rules = dict[Names, Rules]()
        for folder in folders:
            lines = rng.sample(PATTERNS, rng.randint(1, 6))
            root.joinpath(*folder, ".gitignore").write_text("\n".join(lines))
            rules[folder] = rules_of(*lines)
        theirs = ignored_by_git(root, sorted(tree))
        ours = {path for path, directory in tree.items() if judged(rules, path, directory=directory)}
        assert ours == theirs, [(root.joinpath(*f, ".gitignore").read_text()) for f in folders]
        seen[0] += len(ours)
        seen[1] += len(tree) - len(ours)
    assert min(seen) > 50


def test_litter_of_editors_is_ignored_unless_a_rule_says_otherwise() -> None:
    names = (".~lock.a.odt#", ".f.swp", "4913", ".goutputstream-X", ".DS_Store", ".nfs0001")
    for name in names:
        assert is_ignored([], ("d", name), directory=False)
        assert not is_ignored([], ("d", name), directory=True)
        assert not is_ignored([(0, rules_of("!*.swp", f"!{name}"))], ("d", name), directory=False)
    assert not is_ignored([], ("d", "swp"), directory=False)


def test_rules_files_and_names_of_a_moment_are_never_ignored() -> None:
    chain = [(0, rules_of("*"))]
    assert is_ignored(chain, ("a",), directory=False)
    assert not is_ignored(chain, (IGNORE_FILE,), directory=False)
    assert not is_ignored(chain, (".shoal-" + "0" * 32,), directory=False)
    assert is_ignored(chain, (".shoal-mine",), directory=False)


def test_a_bad_line_is_told_and_the_others_apply() -> None:
    rules = parse(b"\xef\xbb\xbf*.log\r\n[b-a]\n\xff\n\n# [a\n!keep.log\n!\n")
    assert rules.faults == ("line 2 is no pattern", "line 3 is no pattern", "line 7 is no pattern")
    assert is_ignored([(0, rules)], ("x.log",), directory=False)
    assert not is_ignored([(0, rules)], ("keep.log",), directory=False)


def test_too_large_a_file_has_no_rules() -> None:
    rules = parse(b"*\n" + b"#" * MAX_BYTES)
    assert not rules.rules
    assert "larger" in rules.faults[0]


def test_many_stars_take_no_time() -> None:
    rules = rules_of("*a" * 30 + "*b")
    assert not is_ignored([(0, rules)], ("a" * 255,), directory=False)
    assert is_ignored([(0, rules)], ("a" * 254 + "b",), directory=False)


def test_names_that_no_pattern_was_made_for() -> None:
    assert is_ignored([(0, rules_of("*x"))], ("new\nlinex",), directory=False)
    assert not is_ignored([(1, rules_of("/x"))], ("d", "e", "x"), directory=False)
    assert is_ignored([(1, rules_of("/x"))], ("d", "x"), directory=False)
