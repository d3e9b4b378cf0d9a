"""`shoal-bench swarm`: one device has a new file, and several others on its LAN want it.

command   the command
session   the rounds: first with one receiver, then with all
figures   what was measured, what is expected of it, JSON of both
plot      the picture
"""
