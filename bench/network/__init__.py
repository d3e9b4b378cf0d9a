"""Machines with a network of their own, made of network namespaces. Needs root.

    far machine ══ slow line ══ router ── bridge ── machine, machine, machine
     10.78.1.2                 10.77.0.1    10.77.0.11 ...

Everybody reaches everybody by address, and by the name in each machine's /etc/hosts. Nothing leaves this network. The
namespaces have random names, and go with the context, together with whatever still runs in them.

machine   a namespace with an address: commands, sockets, counters there
line      the slow line, as one sees it
wan       the program that carries its packets
lan       the router with its bridge, and what is added to them
"""

from bench.network.lan import Network, check_network, network
from bench.network.line import Line, SlowLine
from bench.network.machine import Machine

__all__ = ["Line", "Machine", "Network", "SlowLine", "check_network", "network"]
