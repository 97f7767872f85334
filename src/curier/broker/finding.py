"""The route of a topic that is not in the cache, for a packet of the fast lane.

It does what the general way does before it asks for a route (``codec.publish``, ``publishing.accept``), as
far as that can be said of a Topic Name in one look at its bytes.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

from curier.broker.model import BrokerConnection, Route
from curier.broker.spreading import count_routes
from curier.broker.state import BrokerState

WORK_OF_ROUTE: Final = 2  # besides what its receivers take
PLUS: Final = 0x2B
HASH: Final = 0x23
SLASH: Final = 0x2F


def find_route(broker: BrokerState, connection: BrokerConnection, topic: bytes) -> Route | None:
    """The route of ``topic``, for the packets at hand only; None: it is for the general way to say.

    That looks who may publish there, which messages to a topic wait for each other, and tells who looks on.
    """
    if connection.has_permissions or broker.router.held or broker.router.is_seen(topic):
        return None
    options = broker.options
    if not is_plain_name(topic, options.max_topic_levels, options.max_topic_length):
        return None
    route = broker.router.route(topic)
    broker.spent += WORK_OF_ROUTE
    count_routes(broker)
    return route


def is_plain_name(topic: bytes, most_levels: i64, most_bytes: i64) -> bool:
    """Is this surely a Topic Name that clients may publish to? Not all of those that begin with ``$``."""
    size: i64 = len(topic)
    if not size or size > most_bytes or topic[0] == 0x24:
        return False
    levels: i64 = 1
    highest: i64 = 0
    at: i64 = 0
    while at < size:
        byte: i64 = topic[at]
        at += 1
        if byte == SLASH:
            levels += 1
        elif byte == PLUS or byte == HASH or not byte:  # [MQTT-3.3.2-2] [MQTT-1.5.4-2]
            return False
        elif byte > highest:
            highest = byte
    if levels > most_levels:
        return False
    return highest < 128 or is_text(topic)


def is_text(topic: bytes) -> bool:
    """Is it well-formed UTF-8 [MQTT-1.5.4-1]?"""
    try:
        topic.decode()
    except UnicodeDecodeError:
        return False
    return True
