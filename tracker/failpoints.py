"""The places where a test can kill the tracker (see `protocol.failpoints`)."""

COMMIT_BEFORE = "tracker.commit.before-transaction"
COMMIT_AFTER = "tracker.commit.after-transaction"
"""In the order, and the device not answered."""
PACK_STORED = "tracker.pack.stored"
"""The object is stored, and no row names it."""
PACK_RECORDED = "tracker.pack.recorded"
"""The chunks are recorded, and the device not answered."""
DELTA_ANSWERING = "tracker.delta.answering"
SIGNUP_RECORDED = "tracker.signup.recorded"

FAILPOINTS = (
    COMMIT_BEFORE,
    COMMIT_AFTER,
    PACK_STORED,
    PACK_RECORDED,
    DELTA_ANSWERING,
    SIGNUP_RECORDED,
)
