"""`shoal-bench lan`: the same work for Shoal and for what a user would pick instead, on one machine, in turns.

works.py        what is saved: how many files, how large, and how a program writes them
clock.py        when it is in place and durable on the other side
usage.py        CPU seconds and peak memory of processes
rivals/         shoal, syncthing, rsync, unison, cp: each between two folders
order.py        who is measured when, and what has to be done for it
figures.py      what was measured, and its medians and ratios
verdicts.py     what is expected, held against the figures
facts.py        the machine
profiling.py    py-spy beside Shoal's processes
session.py      the whole measurement
outcome.py      all of it, and JSON
report.py       the tables
command.py      the command line
"""
