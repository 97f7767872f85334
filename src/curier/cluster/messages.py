"""Messages, as they lie on the bus and as the broker has them."""

from __future__ import annotations

from collections.abc import Sequence

from curier.broker.effects import Packets
from curier.broker.model import LogMessage
from curier.cluster.records import Frame, Message, Origin, Passed, Value
from curier.session.message import ApplicationMessage


def as_sent(origin: Origin, publisher: str, message: ApplicationMessage, wall: float) -> Message:
    """What the broker has taken, to be told to others."""
    return Message(
        origin,
        publisher,
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        message.properties,
        message.expires_at,
        published_at=wall,
    )


def as_read(messages: Sequence[Message]) -> list[LogMessage]:
    """What others have told, for the broker."""
    return [_as_read(one) for one in messages]


def _as_read(one: Message) -> LogMessage:
    message = ApplicationMessage(one.topic, one.payload, one.qos, one.retain, one.properties, one.expires_at)
    if one.retain:
        message.written_at = one.published_at
    read = LogMessage(one.publisher, message)
    if one.group:
        read.is_for_group = True
    return read


def messages_of(value: Value) -> list[LogMessage]:
    """What stands in an entry of the log, for the broker."""
    return as_read(value.messages) if isinstance(value, Frame) else []


def as_passed(packets: Packets, wall: float) -> Passed:
    """Packets of the broker, which leave now for other nodes."""
    publishers, sizes = tuple(packets.publishers), tuple(packets.sizes)
    return Passed(packets.version, packets.may_expire, wall, publishers, sizes, packets.whole())


def as_packets(one: Passed) -> Packets:
    """Packets of another node, for the broker."""
    packets = Packets(one.version, one.may_expire, one.sent_at)
    packets.pieces.append(one.packets)
    packets.publishers.extend(one.publishers)
    packets.sizes.extend(one.sizes)
    packets.size = len(one.packets)
    return packets
