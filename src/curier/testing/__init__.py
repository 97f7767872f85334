"""What tests import, curier's own and those of its users; but for the tour nothing else in curier imports it.

``Pair`` joins a broker and clients in memory, in virtual time; ``Network`` is the same for whoever wants to
hold every part of it in hand. ``Faults`` are rules that break the wires of both on purpose, and ``replay``
plays a recording again. ``seams`` holds the tests that every ``Authenticator`` and ``Authorizer`` passes.

Everything is imported when it is first used: pytest imports ``plugin`` in every run, of any project.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curier.faults.line import Faults
    from curier.testing.broker import SimulatedBroker
    from curier.testing.network import Network, SimulatedClient
    from curier.testing.pair import Pair, PairClient, Publication
    from curier.testing.replaying import replay
    from curier.testing.wire import Watcher, Wire

_LAZY = {
    "Faults": "curier.faults.line",
    "Network": "curier.testing.network",
    "Pair": "curier.testing.pair",
    "PairClient": "curier.testing.pair",
    "Publication": "curier.testing.pair",
    "SimulatedBroker": "curier.testing.broker",
    "SimulatedClient": "curier.testing.network",
    "Watcher": "curier.testing.wire",
    "Wire": "curier.testing.wire",
    "replay": "curier.testing.replaying",
}


def __getattr__(name: str) -> object:
    """Import what is asked for."""
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'curier.testing' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    """Everything there is, imported or not."""
    return sorted({*globals(), *__all__})


__all__ = [
    "Faults",
    "Network",
    "Pair",
    "PairClient",
    "Publication",
    "SimulatedBroker",
    "SimulatedClient",
    "Watcher",
    "Wire",
    "replay",
]
