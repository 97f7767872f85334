"""Plain data that the face of curier speaks in: enums, messages, wills, subscriptions.

Inside the core the same numbers are ``Final`` ints (``codec.constants``) and topics are bytes; these
types are what people see.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NewType, TypeAlias

from curier.frozen import dataclass

Seconds = NewType("Seconds", float)
"""A point or span of time in seconds. Points are seconds since the epoch on a clock that never jumps."""

PacketId = NewType("PacketId", int)
"""A Packet Identifier, 1 to 65535 (5.0 section 2.2.1)."""

VERSION_NAMES: Final = {3: "3.1", 4: "3.1.1", 5: "5.0"}
"""What people call a Protocol Version."""

Payload: TypeAlias = bytes | bytearray | memoryview | str | int | float | None
"""What can be published; text is sent as UTF-8, a number as its text, None as no bytes at all."""


def to_bytes(payload: Payload) -> bytes:
    """What a payload is on the wire. Raises ``TypeError`` for what is none."""
    if isinstance(payload, str):
        return payload.encode()
    if payload is None:
        return b""
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    kind: type = type(payload)
    if issubclass(kind, (int, float)) and kind is not bool:
        return str(payload).encode()
    raise TypeError(
        f"a payload is bytes, str, int, float or None, not {type(payload).__name__}: format it first"
    )


class QoS(IntEnum):
    """Quality of Service (5.0 section 4.3)."""

    AT_MOST_ONCE = 0
    AT_LEAST_ONCE = 1
    EXACTLY_ONCE = 2


class RetainHandling(IntEnum):
    """When a subscription is sent the retained messages (5.0 section 3.8.3.1)."""

    SEND = 0
    SEND_IF_NEW = 1
    DO_NOT_SEND = 2


class ReasonCode(IntEnum):
    """Every Reason Code of MQTT 5.0 (section 2.4). 0x80 and above mean failure.

    0x00 is also Normal disconnection and Granted QoS 0; 0x01 and 0x02 are Granted QoS 1 and 2.
    """

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL_MESSAGE = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


def reason_name(code: int) -> str:
    """A Reason Code as it stands in messages for people: ``0x87 (Not authorized)``."""
    try:
        name = ReasonCode(code).name.replace("_", " ").capitalize()
    except ValueError:
        return f"0x{code:02X}"
    return f"0x{code:02X} ({_NAMES.get(code, name)})"


# As the specification writes them (2.4), where that is not the plain words of the name.
_NAMES: Final = {
    0x01: "Granted QoS 1",
    0x02: "Granted QoS 2",
    0x04: "Disconnect with Will Message",
    0x18: "Continue authentication",
    0x19: "Re-authenticate",
    0x81: "Malformed Packet",
    0x82: "Protocol Error",
    0x84: "Unsupported Protocol Version",
    0x85: "Client Identifier not valid",
    0x86: "Bad User Name or Password",
    0x8D: "Keep Alive timeout",
    0x8F: "Topic Filter invalid",
    0x90: "Topic Name invalid",
    0x91: "Packet Identifier in use",
    0x92: "Packet Identifier not found",
    0x93: "Receive Maximum exceeded",
    0x94: "Topic Alias invalid",
    0x9B: "QoS not supported",
    0x9E: "Shared Subscriptions not supported",
    0xA1: "Subscription Identifiers not supported",
    0xA2: "Wildcard Subscriptions not supported",
}


@dataclass(frozen=True, slots=True)
class Message:
    """An Application Message (5.0 section 3.3). ``message_expiry`` is in whole seconds.

    A payload may be given as anything that can be published, and is bytes from then on.
    """

    topic: str
    payload: bytes = b""
    qos: QoS = QoS.AT_MOST_ONCE
    retain: bool = False
    payload_is_text: bool = False
    message_expiry: int | None = None
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_properties: tuple[tuple[str, str], ...] = ()
    subscription_identifiers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if type(self.payload) is not bytes:
            object.__setattr__(self, "payload", to_bytes(self.payload))


@dataclass(frozen=True, slots=True)
class Will:
    """A Will Message and its delay in seconds (5.0 section 3.1.2.5)."""

    message: Message
    delay: int = 0


@dataclass(frozen=True, slots=True)
class Subscription:
    """A Topic Filter with its Subscription Options (5.0 section 3.8.3.1)."""

    topic_filter: str
    qos: QoS = QoS.EXACTLY_ONCE
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: RetainHandling = RetainHandling.SEND
    identifier: int | None = None
