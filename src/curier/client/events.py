"""What happens to a client, for ``Client.events()``: small plain objects.

``ConnectionLost``, the error, is one of them as well: the same object says why to whoever waited and to
whoever watches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from curier.errors import ConnectionLost, MqttError


@dataclass(frozen=True, slots=True)
class Connected:
    """CONNACK accepted a connection.

    ``url`` is the server's, without password; ``session_present``: it has kept the session, with its
    subscriptions; ``version`` is the Protocol Version, 5, 4 (3.1.1) or 3 (3.1).
    """

    url: str
    client_id: str
    session_present: bool
    version: int


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The server does not have the session any more; what was on its way to this client is gone with it.

    Subscriptions are made anew. ``republished`` messages, whose delivery had begun, are published anew: nobody
    knows whether they arrived, so that each of them may arrive twice. ``assumed_delivered`` had their PUBREC:
    the server had taken them, and they are complete.
    """

    republished: int
    assumed_delivered: int


@dataclass(frozen=True, slots=True)
class Reconnecting:
    """There is no connection; the next attempt, number ``attempt`` from 1, begins in ``delay`` seconds."""

    attempt: int
    delay: float
    url: str
    error: MqttError


@dataclass(frozen=True, slots=True)
class SubscriptionLost:
    """After a reconnection the server refused what it had granted before; its stream ends with an error."""

    topic_filter: str
    reason_code: int
    reason_string: str


@dataclass(frozen=True, slots=True)
class MessagesDropped:
    """A stream was full: messages with QoS 0 are being dropped. Told once, until its reader has caught up."""

    topic_filters: tuple[str, ...]
    dropped: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The client is over; ``error`` is the terminal failure, None where the program closed it."""

    error: MqttError | None


Event: TypeAlias = (
    Connected | ConnectionLost | SessionLost | Reconnecting | SubscriptionLost | MessagesDropped | Closed
)
