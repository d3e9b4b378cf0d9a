"""`shoal-bench uplink`: the LAN before the cloud. How long a device waits for a file while its author's uplink is slow.

command   the command
session   the turns: with an uplink, and without any limit
figures   what was measured, what is expected of it, JSON of both
plot      the picture
"""
