"""Servers of others that a tracker may stand on, started for a measurement: on loopback only, in folders of their own.

postgresql.py    PostgreSQL, with everything as it comes: each commit is fsynced
seaweed.py       SeaweedFS, which speaks S3
"""
