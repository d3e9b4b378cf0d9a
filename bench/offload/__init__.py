"""`shoal-bench offload`: several devices of a user on one LAN want a file that is in the cloud only.

command   the command
session   the scenes: how it comes that they want it
figures   what was measured, what is expected of it, JSON of both
"""
