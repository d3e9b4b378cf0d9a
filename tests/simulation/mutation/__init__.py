"""Faults put into shipped code on purpose: if the simulation doesn't catch one, it says nothing about that line.

table.py     the faults, each a patch of one module's text
patching.py  puts one in while its module is imported; no file changes
run.py       searches the seeds for the first that catches it
caught.json  what that search found
"""
