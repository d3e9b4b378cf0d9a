"""Where a simulated device stands, for the oracles and for a person who looks for a defect."""

import re
import sqlite3
from ast import literal_eval

from peer.peer import Peer
from peer.status import state_of


def differences(connection: sqlite3.Connection) -> list[str]:
    """Where the three trees of a client database are not equal."""
    tree = "SELECT node, parent, name, kind FROM {} WHERE {}"
    here, there, agreed = (
        set(connection.execute(tree.format(table, condition)))
        for table, condition in (("local", "NOT gone"), ("remote", "1"), ("synced", "1"))
    )
    versions = "SELECT r.node FROM remote r JOIN synced s USING (workspace, node) WHERE r.version IS NOT s.version"
    apart = sorted(name for _, _, name, _ in (here ^ there) | (there ^ agreed))
    return apart + [node.hex() for (node,) in connection.execute(versions)]


def report(name: str, peer: Peer | None) -> str:
    """What a peer has still to do, and why it doesn't."""
    if peer is None:
        return f"{name}: not running"
    store, progress = peer.context.store, peer.synchronizer.progress
    lines = [f"{name}: {state_of(peer)}, {store.not_durable_count()} not durable"]
    for _, node in store.dirty_after(0, 20):
        path = store.path(node) or store.remote_path(node)
        lines.append(f"  {node.hex()[:8]} {'/'.join(path or ('?',))}: {progress.steps.get(node)}")
        lines.append(f"    L {_short(store.local(node))}\n    R {_short(store.remote(node))}")
        lines.append(f"    S {_short(store.synced(node))}")
    lines += [f"  problem: {problem}" for problem in peer.context.problems.all()]
    return "\n".join(lines)


def _short(row: object) -> str:
    """A row of a tree, its ids cut down."""
    bytes_literal = r"""b'(?:[^'\\]|\\.)*'|b"(?:[^"\\]|\\.)*\""""
    return re.sub(bytes_literal, lambda found: literal_eval(found[0]).hex()[:8], repr(row))
