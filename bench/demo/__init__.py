"""`make demo`: watch a real tree travel sealed from one device to another, and back.

tree.py         the tree to send: Python's own sources, and everything odd that a folder may hold
changes.py      what a user does to a folder meanwhile
scenario.py     the demo itself, phase by phase
screen.py       live progress, and the table at the end
where.py        what to look at when it is left running
__main__.py     the command line
"""
