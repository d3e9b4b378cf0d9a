"""`shoal-bench tracker`: what one tracker process does, on each pair of database and storage, and what limits it.

pairs.py        SQLite and a folder; PostgreSQL and S3
prepared.py     commits and packs, made and signed before any clock starts
connection.py   HTTP and WebSockets, as little of them as a measurement needs
works/          commits, rows, chunks, notices: what is asked of the tracker, and of what it stands on (the floor)
usage.py        CPU seconds of processes with all their children
figures.py      what was measured, and its medians and ratios
verdicts.py     what is expected, held against the figures
session.py      the whole measurement
outcome.py      all of it, and JSON
report.py       the tables
command.py      the command line
"""
