"""REMOTE: the tracker's rules, and what a device is shown of their outcome."""

from peer.synchronizer.conflicts import conflict_name
from peer.trees import Content, Remote
from peer.version_store import Origin
from protocol import commits
from protocol.commits import Create, Operation, Place
from protocol.identifiers import NameToken, NodeId, PlaceMark, VersionId
from tests.peer.synchronizer.model.trees import Trees, at
from tracker.metadata import rules

_SPACE = 1 << 60


class Tracked(Trees):
    """The trees, with a tracker that puts commits in order."""

    def __init__(self) -> None:
        super().__init__()
        self.announced_only = False
        """Whether commits leave their contents to be brought to the cloud later."""
        self.on_the_lan: set[VersionId] = set()
        """What is offered on the LAN."""
        self.given_up: set[VersionId] = set()
        """What the tracker lets be passed over."""
        self.history: set[bytes] = set()
        """Digests of all that was ever committed."""
        self.durable: set[VersionId] = set()
        """What the cloud has."""
        self._tracker: dict[NodeId, rules.Node] = {}
        self._marks: set[bytes] = set()
        self._revision = 0

    def place(self, parent: NodeId, name: str) -> Place:
        """A place with a fresh mark; the token says just the name."""
        return Place(parent=parent, token=NameToken(name.encode()), name=b"", mark=PlaceMark(self.fresh()))

    def content(self, content: Content) -> commits.Content:
        """A new version."""
        version = VersionId(self.fresh())
        self.versions[version] = content
        return commits.Content(version=version, manifest=b"")

    def commit(self, operations: list[Operation]) -> dict[int, str]:
        """Have the tracker judge a commit; why each of what fails does, nothing changed then."""
        self._revision += 1
        verdict = rules.judge(operations, self._before(operations))
        if verdict.failures:
            return verdict.failures
        self._tracker |= verdict.nodes
        for node in verdict.nodes.values():
            self._marks |= {node.place, node.version or b""}
            self._show(node)
        return {}

    def _before(self, operations: list[Operation]) -> rules.Before:
        alive = [node for node in self._tracker.values() if not node.deleted]
        named = {operation.node for operation in operations}
        return rules.Before(
            revision=self._revision,
            nodes=self._tracker,
            occupants={(node.parent, node.token): node.node for node in alive},
            crowded={node.parent for node in alive if node.node not in named},
            used_marks=self._marks,
            contents={version: rules.Measured(1, 1, not self.announced_only) for version in self.versions},
            used=0,
            quota=_SPACE,
            max_file=_SPACE,
        )

    def _show(self, node: rules.Node) -> None:
        """A delta brings a node to REMOTE."""
        if node.deleted:
            self.remote.pop(node.node, None)
        else:
            content = None if node.version is None else self.versions[node.version]
            if content is not None:
                self.history.add(content.digest)
            if node.durable_version is not None:
                self.durable.add(node.durable_version)
            name = node.token.decode()
            row = Remote(
                node.node, node.parent, name, node.kind, node.place, node.version, content, node.durable_version
            )
            self.remote[node.node] = row
            holder = at(self.local, row.parent, row.name)
            if holder is not None and (self.local[holder].blocked or not self.local[holder].wanted):
                self.mark_dirty(holder)  # as `TreeStore.replace_remotes` does
        self.mark_dirty(node.node)

    def make_durable(self) -> bool:
        """Everything announced reaches the cloud; False when it was there already."""
        lacking = [node for node in self._tracker.values() if node.durable_version != node.version]
        for node in lacking:
            self._tracker[node.node] = rules.as_durable(node)
            self._show(self._tracker[node.node])
        return bool(lacking)

    # What `load_slice` is told of heads that are not in the cloud

    def offered(self, version: VersionId, _: Origin) -> bool:
        return version in self.on_the_lan

    def stalled(self, version: VersionId, _: Origin) -> bool:
        return version in self.given_up

    def _pass_over(self, node: NodeId) -> None:
        """What the tracker does with a head that has stalled before it takes a write on the durable head. Its author
        finds that it was overtaken, and keeps it as a conflict copy."""
        known, row = self._tracker[node], self.remote[node]
        assert known.version in self.given_up
        self._tracker[node] = known._replace(
            version=known.durable_version, size=known.durable_size, content_at=known.durable_at
        )
        assert row.content is not None
        name = conflict_name(row.name, "there", 0, lambda name: at(self.remote, row.parent, name) is not None)
        place, content = self.place(row.parent, name), self.content(row.content)
        assert not self.commit([Create(node=NodeId(self.fresh()), kind=row.kind, place=place, content=content)])
