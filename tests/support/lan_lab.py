"""Machines with a network of their own, for tests: those of `bench.network`, which measures with them. Needs root."""

from bench.network import Line, Machine, Network, SlowLine, network
from bench.network.machine import ETC, NAMESPACES

__all__ = ["ETC", "NAMESPACES", "Line", "Machine", "Network", "SlowLine", "network"]
