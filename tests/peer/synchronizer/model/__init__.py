"""The three trees as dicts, with all that carries steps out on them as the real executor would on a disk, and commits
judged by the tracker's own rules.

    Person (here)  ─→ LOCAL  ┐
                             ├→ plan ─→ World.carry_out ─→ LOCAL, SYNCED, commits ─→ REMOTE
    Person (there) ─→ REMOTE ┘

    trees ── tracking ── disk ── sending ── world ── cases      each adds to the one before
             people: who works here and there; drawn: what Hypothesis draws; naive: what anybody would expect

Every content that a person saves is remembered in `World.saved`, until somebody who sees it deletes it or writes over
it: what is left there must be in the folder at the end.
"""
