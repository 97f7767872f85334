"""Messages as fleets of devices send them: another topic and size from one to the next, perhaps with RETAIN.

They have the header of all messages (``payload``), but none is like the one before it, so each is made and
compared by itself. What number a message has says its topic and its size.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final
from zlib import crc32

from curier.codec.constants import MQTT_50
from curier.codec.primitives import encode_two
from curier.codec.publish import Layout, publish_layout
from curier.loadgen.payload import CHECKED_BYTES, HEADER, HEADER_BYTES, MOST_IDS, fill

if TYPE_CHECKING:
    from curier.loadgen.plan import Plan

NO_HEADER: Final = bytes(HEADER_BYTES)
TOPIC_ALIAS: Final = b"\x23"  # the Property's identifier
ALIAS_BYTES: Final = 3


class Varied:
    """The messages of one stream. ``largest`` is the size of the largest packet."""

    def __init__(self, plan: Plan, stream: int) -> None:
        self.plan = plan
        self.stream = stream
        self.properties = b"" if plan.version == MQTT_50 else None
        self.largest = max(self._layout(number, NO_HEADER, False).size for number in range(plan.topics + 16))
        self.aliases = 0  # topics that the broker takes a Topic Alias for
        if plan.aliases:
            self.largest += ALIAS_BYTES
        self.head = lru_cache(maxsize=4096)(self._head)

    def packet(self, number: int, sent_at: int, end: int) -> bytes:
        """The PUBLISH of a message as it is sent, the last one of its batch being before ``end``."""
        run = self.plan.run
        header = bytearray(HEADER.pack(run, self.stream, sent_at, end & 0xFFFFFFFF, number, 0))
        header[28:] = (crc32(header[:CHECKED_BYTES]) ^ (number & 0xFFFF)).to_bytes(4, "big")
        layout = self._layout(
            number, bytes(header), self.plan.retain, number % self.plan.topics < self.aliases
        )
        identifier = encode_two(number % MOST_IDS + 1) if self.plan.qos else b""
        return b"".join((layout.head, identifier, layout.tail, layout.payload))

    def tail(self, number: int) -> bytes:
        """What a message has behind its header."""
        return fill(self.stream, self.plan.payload_of(number) - HEADER_BYTES)

    def _head(self, number: int) -> bytes:
        """What a subscriber is sent before the Packet Identifier, or the payload: without RETAIN
        [MQTT-3.3.1-12].
        """
        return self._layout(number, NO_HEADER, False).head

    def _layout(self, number: int, header: bytes, retain: bool, is_aliased: bool = False) -> Layout:
        topic = self.plan.topic_of(self.stream, number).encode()
        properties = self.properties
        if is_aliased:
            properties = TOPIC_ALIAS + encode_two(number % self.plan.topics + 1)
            if number >= self.plan.topics:  # the broker knows it by now (3.3.2.3.4)
                topic = b""
        payload = header + self.tail(number)
        return publish_layout(topic, payload, self.plan.qos, False, retain, properties)

    def forgets(self, sent: int) -> list[bytes]:
        """The packets that remove what is retained, after so many messages [MQTT-3.3.1-6]."""
        packets: list[bytes] = []
        for number in range(min(sent, self.plan.topics)):
            topic = self.plan.topic_of(self.stream, number).encode()
            layout = publish_layout(topic, b"", 0, False, True, self.properties)
            packets.append(layout.head + layout.tail)
        return packets
