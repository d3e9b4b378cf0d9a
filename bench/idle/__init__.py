"""`shoal-bench scan` and `shoal-bench idle`: what a device costs that has much, and nothing to do.

command   the two commands
session   a tracker, a device, a folder of many small files; then starts, and rest
figures   what was measured, what is expected of it, and JSON of both
"""
