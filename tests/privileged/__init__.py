"""Tests that need root: real mounts, real full disks, real power cuts. Run by `make privileged`."""
