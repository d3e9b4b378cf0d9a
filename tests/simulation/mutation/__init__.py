"""Faults put into shipped code on purpose: if the simulation doesn't catch one, it says nothing about that line.

faults.diff  the faults, each a patch of some modules
table.py     reads them; `tests/support/patching.py` puts one in while its modules are imported
run.py       searches the seeds for the first that catches it
caught.json  what that search found; a fault that isn't in it was not caught by the seeds searched so far, or not
             searched for: a hole to mend
"""
