"""The past: what the tracker keeps of it, shown, and brought back by ordinary commits.

    reading     asks the tracker, verifies and opens what it says
    past        events, and what nodes were: plain values
    listing     `shoal history`: events of one path, versions numbered
    restoring   `shoal restore`: what has to change for something to be back
    rewinding   `shoal rewind`: what has to change for a folder to be as it was
    committing  seals, signs and sends such changes, as one commit however large

Nothing here touches the folder or SYNCED. A change of the past enters the order like another device's commit, comes
back with the next delta, and is merged with whatever has happened here meanwhile.
"""
