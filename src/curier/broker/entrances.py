"""What is different about those who come in at one listener, and how many they are. Plain data.

A listener may have several sockets, as ``localhost`` has; they are one entrance, whose limits hold for all.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker.buckets import Bucket
from curier.broker.rates import Allowance

PER_CONNECTION: Final = 2
"""Network Connections for each client that there may be: most of the others have said nothing yet."""


@final
class Entrance:
    """``name`` is for people, "" where nobody has given one; ``level`` is what ``$SYS`` calls it, one level
    of a topic. Limits are besides those of the broker; 0: none. Rates are of all who come in here together,
    a second: connections, messages, bytes. ``mount`` is put in front of all topics of its clients.
    """

    def __init__(
        self,
        name: str = "",
        level: str = "",
        max_connections: int = 0,
        max_packet_size: int = 0,
        mount: bytes = b"",
        max_connect_rate: int = 0,
        max_message_rate: int = 0,
        max_byte_rate: int = 0,
    ) -> None:
        self.name: str = name
        self.level: str = level
        self.max_connections: int = max_connections
        self.max_packet_size: int = max_packet_size
        self.mount: bytes = mount
        self.max_connect_rate: int = max_connect_rate
        self.max_message_rate: int = max_message_rate
        self.max_byte_rate: int = max_byte_rate
        self.connects: Bucket = Bucket(0, 0.0)  # how many came lately
        self.allowance: Allowance | None = None  # what they have sent lately, as soon as it counts
        # -- counters --
        self.accepted: int = 0  # Network Connections
        self.attached: int = 0  # of these, those that are there
        self.admitted: int = 0  # clients with a CONNACK, or with one that waits for the disk, now
        self.connected: int = 0  # those that have it
        self.connected_maximum: int = 0
        self.bytes_received: int = 0  # of MQTT
        self.bytes_sent: int = 0

    def become(self, other: Entrance) -> None:
        """Have the settings of ``other`` from now on, and go on counting."""
        self.name = other.name
        self.level = other.level
        self.max_connections = other.max_connections
        self.max_packet_size = other.max_packet_size
        self.mount = other.mount
        self.max_connect_rate = other.max_connect_rate
        self.max_message_rate = other.max_message_rate
        self.max_byte_rate = other.max_byte_rate

    def why_too_fast(self, now: float) -> str:
        """Count one more connection. Plain words where it may not come yet, or ""."""
        if not self.max_connect_rate:
            return ""
        if self.connects.rate != self.max_connect_rate:
            self.connects = Bucket(self.max_connect_rate, now)
        if self.connects.missing(now):
            return f"more than {self.max_connect_rate} connections a second come in here (max_connect_rate)"
        self.connects.take(1)
        return ""

    def is_crowded(self, coming: int) -> bool:
        """Are there, with ``coming`` that are on their way, more connections than may even be answered?"""
        most = PER_CONNECTION * self.max_connections
        return most > 0 and self.attached + coming > most

    def largest_packet(self, most: int) -> int:
        """Bytes that a packet may have which comes in here, where the broker takes ``most``."""
        return min(most, self.max_packet_size) if self.max_packet_size else most
