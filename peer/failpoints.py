"""The places where a test can kill a peer (see `protocol.failpoints`), in the order in which a change passes them."""

FAILPOINTS = (
    "peer.commit.stored",  # made and signed, not sent
    "peer.commit.answered",  # in the tracker's order, which is not known here yet
    "peer.commit.settled",
    "peer.pack.sent",  # chunks in the cloud, which is not known here yet
    "peer.delta.received",  # and not shown to the database
    "peer.delta.applied",
    "peer.temp.written",
    "peer.temp.synced",  # complete and durable, not in place
    "peer.swap.checked",
    "peer.swap.done",  # in place, what was replaced in .shoal/outgoing, nothing recorded
    "peer.synced.advanced",
    "peer.remove.outgoing",  # off its place, not recorded
)
MOVING = (
    "peer.move.noted",  # the folder is to move, and has not
    "peer.move.renamed",  # it is at its new place, which is not recorded
)
"""Those that `shoal move` passes."""
