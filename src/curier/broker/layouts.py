"""The encodings of one message that its receivers share."""

from __future__ import annotations

from typing import final

from curier.codec.publish import Layout, encode_expiry, publish_layout
from curier.session.message import NEVER, ApplicationMessage


@final
class Layouts:
    """The encodings of the message delivered last: one per version, QoS and RETAIN flag, shared by all
    receivers.
    """

    def __init__(self) -> None:
        self._message: ApplicationMessage | None = None
        self._now: float = 0.0
        self._layouts: list[Layout | None] = [None] * 16

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
