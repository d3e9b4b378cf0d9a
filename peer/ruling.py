"""The ignore rules as a look at the disk finds them: which hold in each folder, and what of them is new."""

from peer.ignoring import IGNORE_FILE, MAX_BYTES, Chain, is_ignored, parse
from peer.ports import EntryKind
from peer.problems import Problems
from peer.root import Names
from peer.scanner import Look, Seen
from peer.selection import Selection
from peer.tree_store import TreeStore
from protocol.errors import reason_of
from protocol.identifiers import NodeId

KIND = "scan"
"""The kind of problem this module reports: that of what a look finds."""


class Ruling:
    """What holds during one look after the other."""

    def __init__(self, store: TreeStore, problems: Problems) -> None:
        """Rules known from before are those of the store's workspace."""
        self._store = store
        self._problems = problems
        self._selection = Selection(store)
        self.begin(Look())

    def begin(self, seen: Look) -> None:
        """From now on the rules are those that were `seen`, and where nothing was seen those known before."""
        self._seen = seen
        self._had_rules = self._selection.has_rules()
        self._chains: dict[Names, Chain] = {}

    def chain(self, names: Names) -> Chain:
        """The rules that hold in a folder."""
        if names not in self._chains:
            above = self.chain(names[:-1]) if names else ()
            body = self._body(names)
            self._chains[names] = above if body is None else [*above, (len(names), parse(body))]
        return self._chains[names]

    def is_ignored_folder(self, names: Names) -> bool:
        """Whether a path is that of an ignored folder, or in one."""
        return self._had_rules and any(
            is_ignored(self.chain(names[:depth]), names[: depth + 1], directory=True) for depth in range(len(names))
        )

    def are_new(self, names: Names) -> bool:
        """Whether the rules of a folder that was listed are not as known."""
        if not self._had_rules and names not in self._seen.rules:
            return False
        return self._body(names) != self._known(self._store.find(names))

    def learn(self, node: NodeId, names: Names) -> None:
        """Store the rules of a folder that was listed, and report what is wrong with them."""
        if not self._had_rules and names not in self._seen.rules:
            return
        body = self._body(names)
        if body != self._known(node):
            self._selection.put_rules(node, body)
        failure = self._seen.rules.get(names)
        faults = () if body is None else parse(body).faults
        if isinstance(failure, OSError):
            self._report(names, f"it can't be read: {reason_of(failure)}", "the rules known so far apply")
        elif faults:
            more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
            self._report(names, f"{faults[0]}{more}", _advice(body or b""))

    def _report(self, names: Names, reason: str, advice: str) -> None:
        self._problems.report((*names, IGNORE_FILE), KIND, reason, advice)

    def _known(self, node: NodeId | None) -> bytes | None:
        return None if node is None else self._selection.bodies([node]).get(node)

    def _body(self, names: Names) -> bytes | None:
        """What the `.shoalignore` of a folder says; None when there is none."""
        body = self._seen.rules.get(names)
        if isinstance(body, bytes):
            return body
        if not self._had_rules:
            return None if body is None else b""
        node = self._store.find(names)
        known = self._known(node)
        if body is not None:  # it can't be read: what it said before holds on
            return known or b""
        gone = node is not None and names in self._seen.listings and not self._selection.keeps_rules(node)
        return None if gone else known


def _advice(body: bytes) -> str:
    """What a person can do about faults of a `.shoalignore`."""
    if len(body) <= MAX_BYTES:
        return "the other lines apply; mend it"
    return "make it smaller, or give folders below it one of their own; until then it leaves nothing out"


def left_out(chain: Chain, names: Names, entry: Seen) -> bool:
    """Whether an entry of a folder, in which these rules hold, is ignored."""
    return is_ignored(chain, (*names, entry.name), directory=entry.stat.kind is EntryKind.DIRECTORY)
