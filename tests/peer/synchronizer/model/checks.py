"""What must hold of a world when it has come to rest, and of how it came there."""

from peer.trees import Content
from protocol.commits import DIRECTORY
from protocol.identifiers import NodeId
from tests.peer.synchronizer.model.trees import nodes_by_path, revision_of
from tests.peer.synchronizer.model.world import World


def check_contents(world: World) -> None:
    """Nothing is lost, nothing comes back, nothing is there twice."""
    assert [digest for digest in world.contents() if not digest.startswith(b"pool")] == sorted(world.saved)


def check_as_new_as_can_be_had(world: World) -> None:
    """Files that nobody changed here are what the LAN or the cloud can give, and no older."""
    for node, row in world.remote.items():
        local, synced = world.local.get(node), world.synced.get(node)
        unchanged = local is not None and synced is not None and local.content == synced.content
        if unchanged and synced is not None and synced.version is not None:
            assert row.durable is None or revision_of(synced.version) >= revision_of(row.durable)
            assert row.version not in world.on_the_lan or synced.version == row.version


def contents_of_all(world: World) -> set[bytes]:
    """The digest of every file's content in the three trees."""
    held = [world.held(node) for node in world.local]
    held += [row.content for row in world.remote.values()]
    held += [row.content for row in world.synced.values()]
    return {content.digest for content in held if content is not None}


def check_kept(world: World, contents: set[bytes]) -> None:
    """Each of these is in the result or in the history."""
    assert contents <= {*world.contents(), *world.history}


def differing_writes(world: World) -> int:
    """Files that both sides have written since they agreed, differently."""
    return sum(
        _rewritten(world.held(node), base.content)
        and _rewritten(world.remote[node].content, base.content)
        and _rewritten(world.held(node), world.remote[node].content)
        for node, base in world.synced.items()
        if node in world.local and node in world.remote
    )


def _rewritten(now: Content | None, before: Content | None) -> bool:
    return now is not None and before is not None and not now.same_bytes(before)


def name_clashes(world: World) -> int:
    """Names that are one thing here and another there, by the directory or by its path."""
    here, there = nodes_by_path(world.local), nodes_by_path(world.remote)
    by_path = {path for path in here.keys() & there.keys() if here[path] != there[path]}
    ours = {(row.parent, row.name): node for node, row in world.local.items()}
    theirs = {(row.parent, row.name): node for node, row in world.remote.items()}
    by_directory = {place for place in ours.keys() & theirs.keys() if ours[place] != theirs[place]}
    return len(by_path) + len(by_directory)


def directories(world: World) -> tuple[set[NodeId], set[NodeId], set[NodeId]]:
    """The directories here, there and when all last agreed."""
    here = {node for node, row in world.local.items() if row.kind == DIRECTORY}
    there = {node for node, row in world.remote.items() if row.kind == DIRECTORY}
    return here, there, {node for node, row in world.synced.items() if row.kind == DIRECTORY}


def check_folders(world: World, before: tuple[set[NodeId], set[NodeId], set[NodeId]]) -> None:
    """A folder that was deleted on one side is there only for what is inside."""
    here, there, base = before
    expected = (here & there) | (here - base) | (there - base)
    parents = {row.parent for row in world.local.values()}
    for node, row in world.local.items():
        first = node
        while first in world.was:
            first = world.was[first]
        assert row.kind != DIRECTORY or first in expected or node in expected or node in parents
