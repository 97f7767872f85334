"""What is received, and who receives it: the forms that router, subscriptions and streams have in common."""

from __future__ import annotations

from typing import Any, Final

from curier.client.arguments import OWN, topic_matches
from curier.codec.packets import Publish
from curier.codec.properties import Properties
from curier.errors import MqttError
from curier.types import Message, QoS, Subscription

NO_PROPERTIES: Final = Properties()
QOS: Final = (QoS(0), QoS(1), QoS(2))


class Delivery:
    """A received QoS 1 or 2 message, which has to be acknowledged."""

    __slots__ = ("reason_code", "reason_string")

    def __init__(self) -> None:
        self.reason_code = 0  # the worst that anyone acknowledged with
        self.reason_string = ""

    def taken(self) -> None:
        """One more of those it is for has taken the message."""


class ReceivedMessage(Message):
    """A ``Message`` that was received; equal to a ``Message`` with the same fields.

    It reads its fields from the packet when they are asked for. Pickled or copied it becomes a ``Message``.
    """

    __slots__ = ("_delivery", "_packet")

    # The dataclass's own would look at the name of each attribute; all that it protects are properties here.
    __setattr__ = object.__setattr__

    def __init__(self, packet: Publish, delivery: Delivery | None) -> None:
        self._packet = packet
        self._delivery = delivery

    @property
    def topic(self) -> str:
        """The Topic Name."""
        return self._packet.topic

    @property
    def payload(self) -> bytes:
        """The payload."""
        return self._packet.payload

    @property
    def qos(self) -> QoS:
        """At which QoS it was delivered."""
        return QOS[self._packet.qos]

    @property
    def retain(self) -> bool:
        """Is it a retained message (or was published as one, with Retain As Published)?"""
        return self._packet.retain

    @property
    def dup(self) -> bool:
        """Was DUP set: may the message have come before (3.3.1.1)?"""
        return self._packet.dup

    def topic_matches(self, topic_filter: str) -> bool:
        """Does ``topic_filter`` match its topic? As ``curier.topic_matches``."""
        return topic_matches(topic_filter, self._packet.topic)

    @property
    def packet_id(self) -> int:
        """The Packet Identifier of this delivery (2.2.1), 0 at QoS 0."""
        return self._packet.packet_id

    @property
    def properties(self) -> Properties:
        """All Properties of the packet."""
        return self._packet.properties or NO_PROPERTIES

    @property
    def payload_is_text(self) -> bool:
        """Payload Format Indicator."""
        return self.properties.payload_format_indicator == 1

    @property
    def message_expiry(self) -> int | None:
        """What is left of the Message Expiry Interval, in seconds."""
        return self.properties.message_expiry_interval

    @property
    def content_type(self) -> str | None:
        """Content Type."""
        return self.properties.content_type

    @property
    def response_topic(self) -> str | None:
        """Where a response is wanted."""
        return self.properties.response_topic

    @property
    def correlation_data(self) -> bytes | None:
        """What the response is to carry."""
        return self.properties.correlation_data

    @property
    def user_properties(self) -> tuple[tuple[str, str], ...]:
        """User Properties, in order."""
        return tuple(self.properties.user_properties)

    @property
    def subscription_identifiers(self) -> tuple[int, ...]:
        """Subscription Identifiers, without those that the client has chosen itself."""
        identifiers = self.properties.subscription_identifiers
        return tuple([identifier for identifier in identifiers if identifier < OWN])

    def ack(self, reason_code: int = 0, reason_string: str = "") -> None:
        """Acknowledge, with ``ack="manual"``; at QoS 0 and the second time nothing happens.

        0x80 and more refuses the message (5.0). What was received on a connection that has ended is sent
        again by the server, is not delivered twice, and is acknowledged then.
        """
        delivery = self._delivery
        if delivery is not None:
            self._delivery = None
            if reason_code > delivery.reason_code:
                delivery.reason_code = reason_code
                delivery.reason_string = reason_string
            delivery.taken()

    def _fields(self) -> tuple[Any, ...]:
        return tuple([getattr(self, name) for name in Message.__dataclass_fields__])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Message):
            return NotImplemented
        names = Message.__dataclass_fields__
        return all(getattr(self, name) == getattr(other, name) for name in names)

    def __hash__(self) -> int:
        return hash(self._fields())

    def __reduce__(self) -> tuple[Any, ...]:
        return Message, self._fields()


class Receiver:
    """Whoever messages are for, by the Topic Filters of one SUBSCRIBE. A stream is one."""

    def __init__(
        self, filters: tuple[Subscription, ...], user_properties: list[tuple[str, str]] | None = None
    ) -> None:
        self.filters = filters
        self.granted: tuple[QoS, ...] = ()
        """What the server granted, for each filter."""
        self.dropped: int = 0
        """Messages with QoS 0 that found the buffer full."""
        self.user_properties = user_properties or []
        self.error: MqttError | None = None
        self.is_open = False
        self.is_closed = False
        self.identifier = next((one.identifier for one in filters if one.identifier is not None), 0)
        self.is_named = False  # did its last SUBSCRIBE in this session have its identifier?
        self.was_nameless = False  # was there one without?

    @property
    def topic_filters(self) -> tuple[str, ...]:
        """The Topic Filters."""
        return tuple([subscription.topic_filter for subscription in self.filters])

    def is_nameless(self) -> bool:
        """Has it a subscription whose messages carry no identifier?"""
        return self.was_nameless and not self.is_named

    def put(self, packet: Publish, delivery: Delivery | None) -> None:
        """A message came; ``delivery`` is None at QoS 0."""

    def end(self, error: MqttError | None) -> None:
        """Nothing comes any more."""
        self.error = self.error or error
        self.is_closed = True

    def __len__(self) -> int:
        """Messages that wait to be taken."""
        return 0

    def __bool__(self) -> bool:
        return True

    def holds(self, delivery: Delivery) -> bool:
        """Has it this message, and nobody has taken it yet?"""
        return False

    def leave_unacknowledged(self) -> None:
        """What the server sends again, to the next life of the program, is not for this one any more."""

    def forget(self) -> None:
        """This process is a fork: what was not taken is for the other one to take."""

    def leave(self) -> list[ReceivedMessage]:
        """What was not taken, to be disposed of."""
        return []
