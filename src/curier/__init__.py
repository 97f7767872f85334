"""curier: MQTT for Python. A broker, a client library, a command line and a window onto the wire.

    async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        print(broker.port)

What is not plain data is imported when it is first used, so that importing curier costs nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from curier.errors import (
    ClusterAway,
    ClusterError,
    ConfigError,
    ConnectionLost,
    ConnectRefused,
    LocalProtocolError,
    MalformedPacket,
    MqttError,
    OtherVersion,
    ProtocolError,
    PublishRefused,
    PublishWithdrawn,
    QueueFull,
    Refused,
    RemoteProtocolError,
    StoreError,
    SubscribeRefused,
    TakenForDead,
)
from curier.types import Message, Payload, QoS, ReasonCode, RetainHandling, Subscription, Will
from curier.version import VERSION

if TYPE_CHECKING:
    from curier.broker.options import Options
    from curier.client.arguments import Acknowledge, Overflow, topic_matches
    from curier.client.client import Client, connect
    from curier.client.dialing.tls import TlsSettings
    from curier.client.events import (
        Closed,
        Connected,
        Event,
        EventReader,
        HeldUp,
        MessagesDropped,
        PublishGivenUp,
        Reconnecting,
        SessionLost,
        Statistics,
        StorageTrouble,
        SubscriptionLost,
    )
    from curier.client.outbox import PublishResult, Receipt
    from curier.client.received import ReceivedMessage
    from curier.client.requests import Request, Service
    from curier.client.scram import ScramSha256
    from curier.client.session import Session
    from curier.client.settings import Asked, Authentication, ClientSettings, Offline, OnRefused, Reconnect
    from curier.client.streams import Stream
    from curier.client.sync import (
        SyncClient,
        SyncEventReader,
        SyncReceipt,
        SyncRequest,
        SyncService,
        SyncStream,
        SyncTrace,
        connect_sync,
    )
    from curier.cluster_settings import ClusterSettings
    from curier.codec.properties import Properties
    from curier.listeners import Listener
    from curier.server import Broker
    from curier.trace.reading import Trace

    COMPILED: bool

__version__ = VERSION

_LAZY = {
    "Broker": "curier.server",
    "Options": "curier.broker.options",
    **dict.fromkeys(("Client", "connect"), "curier.client.client"),
    **dict.fromkeys(("Acknowledge", "Overflow", "topic_matches"), "curier.client.arguments"),
    "TlsSettings": "curier.client.dialing.tls",
    **dict.fromkeys(
        (
            "Closed",
            "Connected",
            "Event",
            "EventReader",
            "HeldUp",
            "MessagesDropped",
            "PublishGivenUp",
            "Reconnecting",
            "SessionLost",
            "Statistics",
            "StorageTrouble",
            "SubscriptionLost",
        ),
        "curier.client.events",
    ),
    **dict.fromkeys(("PublishResult", "Receipt"), "curier.client.outbox"),
    "ReceivedMessage": "curier.client.received",
    **dict.fromkeys(("Request", "Service"), "curier.client.requests"),
    "ClusterSettings": "curier.cluster_settings",
    "Listener": "curier.listeners",
    "ScramSha256": "curier.client.scram",
    "Session": "curier.client.session",
    **dict.fromkeys(
        ("Asked", "Authentication", "ClientSettings", "Offline", "OnRefused", "Reconnect"),
        "curier.client.settings",
    ),
    "Stream": "curier.client.streams",
    **dict.fromkeys(
        (
            "SyncClient",
            "SyncEventReader",
            "SyncReceipt",
            "SyncRequest",
            "SyncService",
            "SyncStream",
            "SyncTrace",
            "SyncTrace",
            "connect_sync",
        ),
        "curier.client.sync",
    ),
    "Properties": "curier.codec.properties",
    "Trace": "curier.trace.reading",
}


def __getattr__(name: str) -> object:
    """Import what is not plain data on first use; ``COMPILED`` tells whether the core is compiled."""
    if name == "COMPILED":
        return not str(import_module("curier.codec.primitives").__file__).endswith(".py")
    module = _LAZY.get(name)
    if module is None:
        raise AttributeError(f"module 'curier' has no attribute {name!r}")
    thing = getattr(import_module(module), name)
    if isinstance(thing, type) and not thing.__doc__:  # it is compiled
        from curier.documented import documented

        return documented(thing, import_module(module))
    return thing


def __dir__() -> list[str]:
    """Everything there is, imported or not."""
    return sorted({*globals(), *__all__})


__all__ = [
    "COMPILED",
    "Acknowledge",
    "Asked",
    "Authentication",
    "Broker",
    "Client",
    "ClientSettings",
    "Closed",
    "ClusterAway",
    "ClusterError",
    "ClusterSettings",
    "ConfigError",
    "ConnectRefused",
    "Connected",
    "ConnectionLost",
    "Event",
    "EventReader",
    "HeldUp",
    "Listener",
    "LocalProtocolError",
    "MalformedPacket",
    "Message",
    "MessagesDropped",
    "MqttError",
    "Offline",
    "OnRefused",
    "Options",
    "OtherVersion",
    "Overflow",
    "Payload",
    "Properties",
    "ProtocolError",
    "PublishGivenUp",
    "PublishRefused",
    "PublishResult",
    "PublishWithdrawn",
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
    "ScramSha256",
    "Service",
    "Session",
    "SessionLost",
    "Statistics",
    "StorageTrouble",
    "StoreError",
    "Stream",
    "SubscribeRefused",
    "Subscription",
    "SubscriptionLost",
    "SyncClient",
    "SyncEventReader",
    "SyncReceipt",
    "SyncRequest",
    "SyncService",
    "SyncStream",
    "SyncTrace",
    "TakenForDead",
    "TlsSettings",
    "Trace",
    "Will",
    "__version__",
    "connect",
    "connect_sync",
    "topic_matches",
]
