"""A mount: what is put in front of all topics of the clients of a listener, and taken away of what they are
sent.

Within the broker topics are whole everywhere: in routes, sessions, permissions, hooks, the log, the store. A
client's names become whole where its packets are taken (``publishing``, ``subscribing``, ``connecting``), and
short where a message is encoded for it (``output``). So all that lies between knows nothing of mounts, but
that a client is not shown what has no name for it (``Mount.shows``).

Topics that begin with ``$`` are not of its clients' world (4.7.2), with two exceptions: they may read what
the broker tells below ``$SYS``, and a bridge may tell its state.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.layouts import Layouts
from curier.codec.constants import (
    MQTT_50,
    PAYLOAD_FORMAT_INDICATOR,
    RESPONSE_TOPIC,
    USER_PROPERTY,
)
from curier.codec.filters import filter_fault
from curier.codec.primitives import encode_two
from curier.codec.publish import IncomingPublish
from curier.session.message import ApplicationMessage
from curier.topics.filters import MAXIMUM_TOPIC_BYTES, is_shared, split_shared
from curier.topics.reserved import BRIDGE_STATE, SYSTEM, is_bridge_state, is_told_by_server

OTHER_MOUNT: Final = "its client has come in by a listener with another mount"
NOT_HERE: Final = "topics that begin with $, but for $SYS, are not known at a listener with a mount"
NOT_FOR_CLIENTS: Final = "nothing is published to topics that begin with $ at a listener with a mount"
RESPONSE_TOO_LONG: Final = "the Response Topic is too long for a listener with a mount"


@final
class Mount:
    """``prefix`` has one or more levels and ends with ``/``; none of them begins with ``$``."""

    def __init__(self, prefix: bytes) -> None:
        self.prefix: bytes = prefix
        self.layouts: Layouts = Layouts()
        self._last: ApplicationMessage | None = None  # shown last
        self._shown: ApplicationMessage | None = None  # as it was shown

    # ---- what clients say ----

    def name(self, topic: bytes) -> bytes:
        """The whole Topic Name for what a client calls ``topic``."""
        if is_bridge_state(topic):
            return BRIDGE_STATE + self.prefix + topic[len(BRIDGE_STATE) :]
        return self.prefix + topic

    def filter(self, topic_filter: bytes) -> bytes:
        """The whole Topic Filter. One that cannot be stays as it is, and is refused like elsewhere."""
        if filter_fault(topic_filter, MQTT_50)[0]:
            return topic_filter
        inner = split_shared(topic_filter)[1] if is_shared(topic_filter) else topic_filter
        if inner.startswith(b"$"):
            return topic_filter
        return topic_filter[: len(topic_filter) - len(inner)] + self.prefix + inner

    def enter(self, publish: IncomingPublish) -> str:
        """Make the names in a client's PUBLISH whole; plain words where that cannot be."""
        why = self.why_not_published(publish.topic)
        if why:
            return why
        publish.topic = self.name(publish.topic)
        properties = self.enter_properties(publish.properties)
        if properties is None:
            return RESPONSE_TOO_LONG
        publish.properties = properties
        return ""

    def enter_properties(self, properties: bytes) -> bytes | None:
        """The Properties of a message with its Response Topic whole; None where that would be too long."""
        begin, end = _response_topic(properties)
        if not end:
            return properties
        topic = self.prefix + properties[begin + 3 : end]
        if len(topic) > MAXIMUM_TOPIC_BYTES:
            return None
        return properties[: begin + 1] + encode_two(len(topic)) + topic + properties[end:]

    def why_not_published(self, topic: bytes) -> str:
        """Plain words where nobody may publish to what a client calls ``topic``; "" where one may."""
        return NOT_FOR_CLIENTS if topic.startswith(b"$") and not is_bridge_state(topic) else ""

    def why_not_subscribed(self, topic_filter: bytes) -> str:
        """Plain words where this whole Topic Filter is not for its clients; "" where it is."""
        inner = split_shared(topic_filter)[1] if is_shared(topic_filter) else topic_filter
        return NOT_HERE if inner.startswith(b"$") and inner.partition(b"/")[0] != SYSTEM else ""

    # ---- what clients are told ----

    def shows(self, topic: bytes) -> bool:
        """Is there a name for this topic in its clients' world, where wildcards may match it?

        ``site/#`` matches ``site`` and ``site/``, too, which have none; and ``site/$x`` would be a name that
        no filter beginning with a wildcard matches [MQTT-4.7.2-1].
        """
        prefix = self.prefix
        if topic.startswith(prefix):
            return len(topic) > len(prefix) and not topic.startswith(b"$", len(prefix))
        return is_told_by_server(topic)

    def leaving(self, message: ApplicationMessage) -> ApplicationMessage:
        """The message as its clients see it; the same one for all of them."""
        shown = self._shown
        if message is self._last and shown is not None:
            return shown
        prefix = self.prefix
        shown = message
        if message.topic.startswith(prefix):  # what the server tells of itself has no prefix
            shown = ApplicationMessage(
                message.topic[len(prefix) :],
                message.payload,
                message.qos,
                message.retain,
                self._leaving_properties(message.properties),
                message.expires_at,
            )
        self._last = message
        self._shown = shown
        return shown

    def _leaving_properties(self, properties: bytes) -> bytes:
        """Without a Response Topic that its clients have no name for: they could not answer there."""
        begin, end = _response_topic(properties)
        if not end:
            return properties
        topic = properties[begin + 3 : end]
        if not topic.startswith(self.prefix) or len(topic) == len(self.prefix):
            return properties[:begin] + properties[end:]
        topic = topic[len(self.prefix) :]
        return properties[: begin + 1] + encode_two(len(topic)) + topic + properties[end:]


def group_name(mount: Mount | None, topic_filter: bytes) -> bytes:
    """What the Shared Subscription with this whole Topic Filter is known by: each mount has its own, so that
    nobody takes part who would take messages away from clients elsewhere.
    """
    return topic_filter if mount is None else mount.prefix + topic_filter


def _response_topic(properties: bytes) -> tuple[int, int]:
    """Where the Response Topic (3.3.2.3.5) is among the encoded Properties that go with a message, its
    identifier included; (0, 0): there is none.
    """
    pos = 0
    end = len(properties)
    while pos < end:
        begin = pos
        identifier = properties[pos]
        pos += 1
        if identifier == PAYLOAD_FORMAT_INDICATOR:
            pos += 1
            continue
        for _ in range(2 if identifier == USER_PROPERTY else 1):
            pos += 2 + ((properties[pos] << 8) | properties[pos + 1])
        if identifier == RESPONSE_TOPIC:
            return begin, pos
    return 0, 0
