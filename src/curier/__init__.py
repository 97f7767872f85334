"""curier: MQTT for Python. A broker, a client library, a command line and a window onto the wire.

    async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        print(broker.port)

What is not plain data is imported when it is first used, so that importing curier costs nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from curier.errors import (
    ConfigError,
    ConnectionLost,
    LocalProtocolError,
    MalformedPacket,
    MqttError,
    ProtocolError,
    Refused,
    RemoteProtocolError,
    StoreError,
)
from curier.types import Message, QoS, ReasonCode, RetainHandling, Subscription, Will

if TYPE_CHECKING:
    from curier.broker.options import Options
    from curier.server import Broker

    COMPILED: bool

__version__ = "0.1.0"

_LAZY = {"Broker": "curier.server", "Options": "curier.broker.options"}


def __getattr__(name: str) -> object:
    """Import ``Broker`` and ``Options`` on first use; ``COMPILED`` tells whether the core is compiled."""
    if name == "COMPILED":
        return not str(import_module("curier.codec.primitives").__file__).endswith(".py")
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'curier' has no attribute {name!r}")
    return getattr(import_module(module), name)


__all__ = [
    "COMPILED",
    "Broker",
    "ConfigError",
    "ConnectionLost",
    "LocalProtocolError",
    "MalformedPacket",
    "Message",
    "MqttError",
    "Options",
    "ProtocolError",
    "QoS",
    "ReasonCode",
    "Refused",
    "RemoteProtocolError",
    "RetainHandling",
    "StoreError",
    "Subscription",
    "Will",
    "__version__",
]
