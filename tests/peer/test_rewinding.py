"""What a rewind changes, case by case; the numbers are those of `peer/history/rewinding.py`."""

from dataclasses import dataclass, field

from peer.history.past import CHANGED, DELETED, MOVED, RESTORED, Located, Past, Stored, deleted_together
from peer.history.rewinding import Rewind, rewind
from peer.trees import Remote
from peer.version_store import content_of
from protocol.commits import DIRECTORY, FILE
from protocol.history import PastNode
from protocol.identifiers import ROOT, NodeId, PlaceMark, VersionId
from protocol.manifests import Manifest

NOW_NS = 1_800_000_000_000_000_000


def id_of(name: str) -> NodeId:
    return NodeId(name.encode().ljust(16, b"."))


def stored(text: str) -> Stored:
    return Stored(
        VersionId(text.encode().ljust(16, b"v")), Manifest(size=len(text), mtime_ns=1, inline=text.encode()), ()
    )


@dataclass
class Tree:
    """The tracker's tree now, and what nodes were. A node's id is what it is called here; "" is the root."""

    rows: dict[NodeId, Remote] = field(default_factory=dict)
    changed: list[Past] = field(default_factory=list)

    def remote(self, node: NodeId) -> Remote | None:
        return self.rows.get(node)

    def remote_at(self, parent: NodeId, name: str) -> Remote | None:
        return next((row for row in self.rows.values() if (row.parent, row.name) == (parent, name)), None)

    def now(self, node: str, parent: str = "", name: str | None = None, text: str | None = None) -> "Tree":
        """A node is there; a folder without text."""
        content = None if text is None else stored(text)
        self.rows[id_of(node)] = Remote(
            id_of(node),
            id_of(parent) if parent else ROOT,
            name or node,
            DIRECTORY if text is None else FILE,
            PlaceMark(bytes(16)),
            None if content is None else content.version,
            None if content is None else content_of(content.manifest),
            None,
        )
        return self

    def then(
        self, node: str, parent: str | None = "", name: str | None = None, text: str | None = None, *, kind: int = FILE
    ) -> "Tree":
        """It has changed since, and was this; it wasn't there with None as its parent."""
        row = self.rows.get(id_of(node))
        now = PastNode(
            node=id_of(node),
            kind=kind if row is None else row.kind,
            parent=ROOT if row is None else row.parent,
            place=PlaceMark(bytes(16)),
            version=VersionId(bytes(16)),
            deleted=row is None,
        )
        above = None if parent is None else id_of(parent) if parent else ROOT
        place = None if above is None else Located(above, name or node, PlaceMark(bytes(16)))
        self.changed.append(Past(now, place, None if text is None else stored(text)))
        return self

    def rewound(self, folder: str = "") -> Rewind:
        return rewind(self.changed, self, id_of(folder) if folder else ROOT, NOW_NS)


def told(plan: Rewind) -> list[tuple[str, str]]:
    return [(change.what, "/".join(change.path)) for change in plan.changes]


def test_1_what_is_new_is_deleted_from_the_bottom_up() -> None:
    tree = Tree().now("d").now("f", "d", text="x").then("d", None).then("f", None)
    assert told(tree.rewound()) == [(DELETED, "d/f"), (DELETED, "d")]


def test_1_what_came_and_went_is_nothing() -> None:
    assert Tree().then("f", None).rewound() == Rewind()


def test_2_what_is_gone_is_restored_from_the_top_down() -> None:
    tree = Tree().then("f", "d", text="x").then("d", kind=DIRECTORY)
    plan = tree.rewound()
    assert told(plan) == [(RESTORED, "d"), (RESTORED, "d/f")]
    assert plan.changes[1].stored == stored("x")


def test_3_and_4_moved_and_changed() -> None:
    tree = Tree().now("d").now("a", "d", "b", text="new").then("a", text="old")
    (change,) = tree.rewound().changes
    assert (change.what, change.path, change.to, change.stored) == (MOVED, ("a",), (ROOT, "a"), stored("old"))


def test_4_the_same_content_is_left_alone_whatever_its_version() -> None:
    tree = Tree().now("a", text="x")
    row = tree.rows[id_of("a")]
    tree.rows[id_of("a")] = row._replace(version=VersionId(b"other".ljust(16, b"v")))
    assert tree.then("a", text="x").rewound() == Rewind()
    assert told(Tree().now("a", text="x").then("a", text="y").rewound()) == [(CHANGED, "a")]


def test_3_two_names_that_were_swapped() -> None:
    tree = Tree().now("a", name="b", text="a").now("b", name="a", text="b").then("a", text="a").then("b", text="b")
    assert told(tree.rewound()) == [(MOVED, "a"), (MOVED, "b")]


def test_3_folders_that_went_into_one_another() -> None:
    tree = Tree().now("a", "b").now("b").then("a", kind=DIRECTORY).then("b", "a", kind=DIRECTORY)
    plan = tree.rewound()
    assert told(plan) == [(MOVED, "a"), (MOVED, "a/b")]


def test_5_1_what_came_in_goes_back_out_without_its_content() -> None:
    tree = Tree().now("d").now("e").now("f", "d", text="new").then("f", "e", text="old")
    (change,) = tree.rewound("d").changes
    assert (change.what, change.to, change.stored) == (MOVED, (id_of("e"), "f"), None)


def test_5_1_it_stays_if_its_folder_is_gone() -> None:
    tree = Tree().now("d").now("f", "d", text="x").then("f", "e", text="x").then("e", kind=DIRECTORY)
    assert tree.rewound("d") == Rewind([], 1)


def test_5_2_what_went_out_comes_back_in() -> None:
    tree = Tree().now("d").now("f", text="new").now("g", text="new").then("f", "d", text="old").then("g", text="old")
    plan = tree.rewound("d")
    assert told(plan) == [(MOVED, "d/f")]
    assert plan.changes[0].stored == stored("old")


def test_5_a_folder_that_was_itself_moved_stays_where_it_is() -> None:
    tree = Tree().now("e").now("d", "e", "other").now("f", "d", text="new")
    tree.then("d", kind=DIRECTORY).then("f", "d", text="old")
    assert told(tree.rewound("d")) == [(CHANGED, "e/other/f")]


def test_5_a_folder_that_is_gone_comes_back_and_its_neighbours_dont() -> None:
    tree = Tree().then("d", kind=DIRECTORY).then("f", "d", text="x").then("g", text="x")
    assert told(tree.rewound("d")) == [(RESTORED, "d"), (RESTORED, "d/f")]


def test_6_what_cant_be_had_is_left() -> None:
    tree = Tree().now("a", text="new").then("a").then("b")
    assert tree.rewound() == Rewind([], 2)


def test_6_what_this_device_cant_use_is_left() -> None:
    tree = Tree().then("a", text="x")
    tree.changed[0] = tree.changed[0]._replace(
        now=PastNode(node=id_of("a"), kind=FILE, parent=ROOT, place=PlaceMark(bytes(16)), deleted=False)
    )
    assert tree.rewound() == Rewind([], 1)


def test_7_a_new_folder_stays_with_what_cant_leave() -> None:
    tree = Tree().now("new").now("sub", "new").now("a", "sub", text="x").now("b", "sub", text="y")
    tree.then("new", None).then("sub", None).then("a", "new").then("b", None)
    plan = tree.rewound()
    assert told(plan) == [(DELETED, "new/sub/b")]
    assert plan.left == 3


def test_8_a_name_that_something_else_has() -> None:
    """What can't be had has taken it."""
    tree = Tree().now("b", name="a.txt", text="y").then("a", name="a.txt", text="x").then("b", name="a.txt")
    (change,) = tree.rewound().changes
    assert change.path == ("a (restored, 2027-01-15).txt",)


def test_what_is_deleted_together() -> None:
    assert deleted_together(1000, []) == 1000
    assert deleted_together(500_000, [500_000, 450_000, 390_000, 320_000, 900_000]) == 390_000
