"""What tests import, curier's own and those of its users; nothing else in curier imports it.

``Pair`` joins a broker and clients in memory, in virtual time; ``Network`` is the same for whoever wants to
hold every part of it in hand. ``seams`` holds the tests that every ``Authenticator`` and ``Authorizer``
passes.
"""

from __future__ import annotations

from curier.testing.broker import SimulatedBroker
from curier.testing.network import Network, SimulatedClient
from curier.testing.pair import Pair, PairClient, Publication
from curier.testing.wire import Watcher, Wire

__all__ = [
    "Network",
    "Pair",
    "PairClient",
    "Publication",
    "SimulatedBroker",
    "SimulatedClient",
    "Watcher",
    "Wire",
]
