"""What clients of a node publish with QoS 0, for the other nodes of its cluster: as packets, which take the
fast lane there as well (``inbound``).
"""

from __future__ import annotations

from typing import Final

from curier.broker.effects import Packets
from curier.broker.state import BrokerState
from curier.codec.constants import MQTT_50, MQTT_311
from curier.codec.primitives import packet_end
from curier.codec.publish import encode_expiry, publish_layout
from curier.session.message import NEVER, ApplicationMessage

MOST_AT_ONCE: Final = 64 * 1024
"""Bytes of one ``Packets``, where it is more than one packet: the bus takes any of them."""


def pass_on(broker: BrokerState, publisher: str, version: int, may_expire: bool, packets: bytes) -> None:
    """Have the other nodes get whole packets, as ``Packets`` has them."""
    size = len(packets)
    if size > MOST_AT_ONCE:
        end = packet_end(packets, 0, version)
        if end < size:
            while end < size:
                following = packet_end(packets, end, version)
                if following > MOST_AT_ONCE:
                    break
                end = following
            pass_on(broker, publisher, version, may_expire, packets[:end])
            pass_on(broker, publisher, version, may_expire, packets[end:])
            return
    sendings = broker.sendings
    last = sendings[-1] if sendings else None
    if (
        last is None
        or last.version != version
        or last.may_expire != may_expire
        or last.size + size > MOST_AT_ONCE
    ):
        last = Packets(version, may_expire)
        sendings.append(last)
    last.add(publisher, packets)


def tell(broker: BrokerState, publisher: str, version: int, message: ApplicationMessage, now: float) -> None:
    """Have the other nodes get a message of a client of ``version``, or of the broker itself."""
    properties = message.properties
    may_expire = message.expires_at != NEVER
    if may_expire:
        properties = encode_expiry(message.remaining_expiry(now)) + properties
    is_50 = version == MQTT_50 or len(properties) > 0
    layout = publish_layout(message.topic, message.payload, 0, False, False, properties if is_50 else None)
    packets = layout.head + layout.tail + layout.payload
    pass_on(broker, publisher, MQTT_50 if is_50 else MQTT_311, may_expire, packets)
