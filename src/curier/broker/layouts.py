"""The encodings of one message that its receivers share."""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import mypyc_attr

from curier.codec.publish import IncomingPublish, Layout, encode_expiry, publish_layout
from curier.session.message import NEVER, ApplicationMessage

LONGEST_KNOWN: Final = 120  # bytes of Properties: their length is one byte, with a Topic Alias too
MOST_KNOWN: Final = 256


@final
@mypyc_attr(acyclic=True)
class KnownProperties:
    """What the Properties of a PUBLISH say. Fleets send the same bytes again and again, which are read once
    (``Layouts.known``).
    """

    __slots__ = ("alias", "expiry_interval", "forwarded", "is_as_sent", "most_repeats", "properties", "size")

    def __init__(self, publish: IncomingPublish, block: bytes, size: int, most_repeats: int) -> None:
        self.alias: int = publish.topic_alias
        self.expiry_interval: int = publish.expiry_interval
        self.properties: bytes = publish.properties  # of the message
        # as receivers get them of a message that does not wait: all of its expiry is left [MQTT-3.3.2-6]
        self.forwarded: bytes = self.properties
        if self.expiry_interval >= 0:
            self.forwarded = encode_expiry(self.expiry_interval) + self.properties
        self.is_as_sent: bool = self.forwarded == block
        self.size: int = size  # bytes with their length
        self.most_repeats: int = most_repeats  # there were no more than may be, where so many may

    def expires_at(self, now: float) -> float:
        """When a message expires that comes now, or ``NEVER``."""
        return now + self.expiry_interval if self.expiry_interval >= 0 else NEVER


@final
class Layouts:
    """The encodings of the message delivered last: one per version, QoS and RETAIN flag, shared by all
    receivers. And Properties that were met before.
    """

    def __init__(self) -> None:
        self._message: ApplicationMessage | None = None
        self._now: float = 0.0
        self._layouts: list[Layout | None] = [None] * 16
        self.known: dict[bytes, KnownProperties] = {}  # by their bytes, with their length

    def get(
        self,
        message: ApplicationMessage,
        is_50: bool,
        qos: int,
        dup: bool,
        retain: bool,
        identifiers: bytes,
        now: float,
    ) -> Layout:
        """The PUBLISH of ``message`` but for its Packet Identifier. Message Expiry is counted down to
        ``now``.
        """
        if dup or identifiers:
            properties = self.properties(message, identifiers, now) if is_50 else None
            return publish_layout(message.topic, message.payload, qos, dup, retain, properties)
        if message is not self._message or (now != self._now and message.expires_at != NEVER):
            self._message = message
            self._layouts = [None] * 16
        self._now = now
        index = (8 if is_50 else 0) | (qos << 1) | (1 if retain else 0)
        layout = self._layouts[index]
        if layout is None:
            properties = self.properties(message, b"", now) if is_50 else None
            layout = self._layouts[index] = publish_layout(
                message.topic, message.payload, qos, False, retain, properties
            )
        return layout

    def properties(self, message: ApplicationMessage, identifiers: bytes, now: float) -> bytes:
        """The Properties a receiver gets: the publisher's, what is left of the expiry, its own
        identifiers.
        """
        properties = message.properties
        if message.expires_at != NEVER:
            properties = encode_expiry(message.remaining_expiry(now)) + properties
        return properties + identifiers if identifiers else properties
