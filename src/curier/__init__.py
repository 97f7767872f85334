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
    ConnectRefused,
    LocalProtocolError,
    MalformedPacket,
    MqttError,
    ProtocolError,
    PublishRefused,
    QueueFull,
    Refused,
    RemoteProtocolError,
    StoreError,
    SubscribeRefused,
)
from curier.types import Message, QoS, ReasonCode, RetainHandling, Subscription, Will

if TYPE_CHECKING:
    from curier.broker.options import Options
    from curier.client import Client, ClientSettings, SyncClient, connect, connect_sync
    from curier.client.dial import TlsSettings
    from curier.client.events import (
        Closed,
        Connected,
        MessagesDropped,
        Reconnecting,
        SessionLost,
        StorageTrouble,
        SubscriptionLost,
    )
    from curier.client.outbox import PublishResult, Receipt
    from curier.client.requests import Request
    from curier.client.session import Session
    from curier.client.settings import Authentication, Reconnect
    from curier.client.streams import ReceivedMessage, Stream
    from curier.server import Broker

    COMPILED: bool

__version__ = "0.1.0"

_LAZY = {
    "Broker": "curier.server",
    "Options": "curier.broker.options",
    **dict.fromkeys(("Client", "ClientSettings", "SyncClient", "connect", "connect_sync"), "curier.client"),
    "TlsSettings": "curier.client.dial",
    **dict.fromkeys(
        (
            "Closed",
            "Connected",
            "MessagesDropped",
            "Reconnecting",
            "SessionLost",
            "StorageTrouble",
            "SubscriptionLost",
        ),
        "curier.client.events",
    ),
    **dict.fromkeys(("PublishResult", "Receipt"), "curier.client.outbox"),
    "Request": "curier.client.requests",
    "Session": "curier.client.session",
    **dict.fromkeys(("Authentication", "Reconnect"), "curier.client.settings"),
    **dict.fromkeys(("ReceivedMessage", "Stream"), "curier.client.streams"),
}


def __getattr__(name: str) -> object:
    """Import what is not plain data on first use; ``COMPILED`` tells whether the core is compiled."""
    if name == "COMPILED":
        return not str(import_module("curier.codec.primitives").__file__).endswith(".py")
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'curier' has no attribute {name!r}")
    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    """Everything there is, imported or not."""
    return sorted({*globals(), *__all__})


__all__ = [
    "COMPILED",
    "Authentication",
    "Broker",
    "Client",
    "ClientSettings",
    "Closed",
    "ConfigError",
    "ConnectRefused",
    "Connected",
    "ConnectionLost",
    "LocalProtocolError",
    "MalformedPacket",
    "Message",
    "MessagesDropped",
    "MqttError",
    "Options",
    "ProtocolError",
    "PublishRefused",
    "PublishResult",
    "QoS",
    "QueueFull",
    "ReasonCode",
    "Receipt",
    "ReceivedMessage",
    "Reconnect",
    "Reconnecting",
    "Refused",
    "RemoteProtocolError",
    "Request",
    "RetainHandling",
    "Session",
    "SessionLost",
    "StorageTrouble",
    "StoreError",
    "Stream",
    "SubscribeRefused",
    "Subscription",
    "SubscriptionLost",
    "SyncClient",
    "TlsSettings",
    "Will",
    "__version__",
    "connect",
    "connect_sync",
]
