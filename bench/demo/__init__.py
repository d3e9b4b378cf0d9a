"""`make demo`: watch a real tree travel sealed from one device to another, and back.

machine.py      what the demo needs of the machine
tree.py         the tree to send: Python's own sources, and everything odd that a folder may hold
compare.py      two folders held against each other
programs.py     child processes with their logs, ended whatever happens
parts.py        a tracker and a device: the commands that a person would type
changes.py      what a user does to a folder meanwhile
scenario.py     the demo itself, phase by phase
screen.py       live progress, and the table at the end
__main__.py     the command line
"""
