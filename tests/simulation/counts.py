"""What the simulations must have made happen, often enough that their being good says something.

Counted where it can be seen from outside: at the ports, and by what the programs log.
"""

SEEDS = 300
"""How many seeds `make test` runs."""

CONFLICT_COPY = "conflict copy"
SWAP_FOUND = "swap found something else"
DELETE_AGAINST_EDIT = "delete against edit"
MOVE_CYCLE = "move cycle"
UPLOAD_RESUMED = "resumed upload"
BETWEEN_SYNC_AND_SWAP = "fence between the fsync of a temporary file and the swap"
BETWEEN_SWAP_AND_SYNCED = "fence between the swap and SYNCED"
COMMIT_RETRIED = "commit answer lost and retried"
CHUNK_REFUSED = "LAN chunk refused"
EPOCH_CHANGED = "epoch changed"
DISK_FULL = "disk full in mid-file"
WITHDRAWN = "version withdrawn"
HELD = "breaker held"
ACTED = "user action"
ACTED_BETWEEN = "user action between two calls of one piece of work"

REQUIRED = (
    CONFLICT_COPY,
    SWAP_FOUND,
    DELETE_AGAINST_EDIT,
    MOVE_CYCLE,
    UPLOAD_RESUMED,
    BETWEEN_SYNC_AND_SWAP,
    BETWEEN_SWAP_AND_SYNCED,
    COMMIT_RETRIED,
    CHUNK_REFUSED,
    EPOCH_CHANGED,
    DISK_FULL,
    WITHDRAWN,
    HELD,
)
LEAST = 20
"""How often each of these must have come about over all seeds of a run."""
LEAST_BETWEEN = 0.3
"""The share of user actions that must fall between two calls of one piece of work."""

SIGNS = {
    "; see shoal held": HELD,
    "conflict: ": CONFLICT_COPY,
    "deleted elsewhere and goes on as a new": DELETE_AGAINST_EDIT,
    "isn't what its id says": CHUNK_REFUSED,
    "merging with the tracker from a full snapshot": EPOCH_CHANGED,
    "nobody uploads are withdrawn": WITHDRAWN,
    "can't be brought to the cloud any more, and are withdrawn": WITHDRAWN,
}
"""What the programs log when it has come about."""
