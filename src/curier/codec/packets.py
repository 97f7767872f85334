"""The fifteen Control Packets as plain classes, for every version of MQTT.

What a version does not have stays at its default: ``properties`` is ``None`` and a Reason Code is 0 in
3.1.1. ``properties`` is also ``None`` where a 5.0 packet carries none. PUBLISH has a second, flat form for
speed in ``codec.publish``; this one is for reading and for everything that is not in a hurry.

Source: MQTT 5.0 chapter 3; MQTT 3.1.1 chapter 3.
"""

from __future__ import annotations

from typing import ClassVar, final

from curier.codec.constants import (
    AUTH,
    CONNACK,
    CONNECT,
    DISCONNECT,
    PINGREQ,
    PINGRESP,
    PUBACK,
    PUBCOMP,
    PUBLISH,
    PUBREC,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    UNSUBACK,
    UNSUBSCRIBE,
)
from curier.codec.properties import WILL, Properties


class Packet:
    """A Control Packet; ``packet_type`` is its type (2.1.2). Equal when type and all fields are equal."""

    packet_type: int = 0
    fields: ClassVar[tuple[str, ...]] = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Packet) or type(self) is not type(other):
            return False  # not NotImplemented, which is no bool to the compiled form
        for name in self.fields:
            if getattr(self, name) != getattr(other, name):
                return False
        return True

    def __repr__(self) -> str:
        """The fields by name; of a password only its length."""
        shown = []
        for name in self.fields:
            value: object = getattr(self, name)
            if name == "password" and isinstance(value, bytes):
                shown.append(f"{name}=<{len(value)} bytes>")
            else:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


@final
class Will(Packet):
    """The Will Message within a CONNECT (3.1.2.5). No packet of its own: its type is ``WILL``, 0."""

    packet_type: int = WILL
    fields: ClassVar[tuple[str, ...]] = ("topic", "payload", "qos", "retain", "properties")

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.properties = properties


@final
class Connect(Packet):
    """CONNECT (3.1). ``clean_start`` is Clean Session in 3.1.1, ``keep_alive`` is in seconds.

    ``is_bridge``: a bridge of 3.1 or 3.1.1 has made itself known by the high bit of its Protocol Version.
    That is no part of the specification; Mosquitto's bridges begin with it, and 5.0 has Subscription Options
    for what it asks.
    """

    packet_type: int = CONNECT
    fields: ClassVar[tuple[str, ...]] = (
        "version",
        "client_id",
        "clean_start",
        "keep_alive",
        "username",
        "password",
        "will",
        "properties",
        "is_bridge",
    )

    def __init__(
        self,
        version: int,
        client_id: str,
        clean_start: bool = True,
        keep_alive: int = 0,
        username: str | None = None,
        password: bytes | None = None,
        will: Will | None = None,
        properties: Properties | None = None,
        is_bridge: bool = False,
    ) -> None:
        self.version = version
        self.client_id = client_id
        self.clean_start = clean_start
        self.keep_alive = keep_alive
        self.username = username
        self.password = password
        self.will = will
        self.properties = properties
        self.is_bridge = is_bridge


@final
class Connack(Packet):
    """CONNACK (3.2). In 3.1.1 ``reason_code`` is the return code, 0 to 5."""

    packet_type: int = CONNACK
    fields: ClassVar[tuple[str, ...]] = ("session_present", "reason_code", "properties")

    def __init__(
        self, session_present: bool, reason_code: int = 0, properties: Properties | None = None
    ) -> None:
        self.session_present = session_present
        self.reason_code = reason_code
        self.properties = properties


@final
class Publish(Packet):
    """PUBLISH (3.3). ``packet_id`` is 0 for QoS 0; ``topic`` may be "" if a Topic Alias stands for it."""

    packet_type: int = PUBLISH
    fields: ClassVar[tuple[str, ...]] = (
        "topic",
        "payload",
        "qos",
        "dup",
        "retain",
        "packet_id",
        "properties",
    )

    def __init__(
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        dup: bool = False,
        retain: bool = False,
        packet_id: int = 0,
        properties: Properties | None = None,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.dup = dup
        self.retain = retain
        self.packet_id = packet_id
        self.properties = properties


@final
class Puback(Packet):
    """PUBACK (3.4): the answer to a QoS 1 PUBLISH."""

    packet_type: int = PUBACK
    fields: ClassVar[tuple[str, ...]] = ("packet_id", "reason_code", "properties")

    def __init__(self, packet_id: int, reason_code: int = 0, properties: Properties | None = None) -> None:
        self.packet_id = packet_id
        self.reason_code = reason_code
        self.properties = properties


@final
class Pubrec(Packet):
    """PUBREC (3.5): the first answer to a QoS 2 PUBLISH."""

    packet_type: int = PUBREC
    fields: ClassVar[tuple[str, ...]] = ("packet_id", "reason_code", "properties")

    def __init__(self, packet_id: int, reason_code: int = 0, properties: Properties | None = None) -> None:
        self.packet_id = packet_id
        self.reason_code = reason_code
        self.properties = properties


@final
class Pubrel(Packet):
    """PUBREL (3.6): the answer to PUBREC."""

    packet_type: int = PUBREL
    fields: ClassVar[tuple[str, ...]] = ("packet_id", "reason_code", "properties")

    def __init__(self, packet_id: int, reason_code: int = 0, properties: Properties | None = None) -> None:
        self.packet_id = packet_id
        self.reason_code = reason_code
        self.properties = properties


@final
class Pubcomp(Packet):
    """PUBCOMP (3.7): the answer to PUBREL."""

    packet_type: int = PUBCOMP
    fields: ClassVar[tuple[str, ...]] = ("packet_id", "reason_code", "properties")

    def __init__(self, packet_id: int, reason_code: int = 0, properties: Properties | None = None) -> None:
        self.packet_id = packet_id
        self.reason_code = reason_code
        self.properties = properties


@final
class Subscribe(Packet):
    """SUBSCRIBE (3.8). ``subscriptions`` are pairs of Topic Filter and Subscription Options (3.8.3.1)."""

    packet_type: int = SUBSCRIBE
    fields: ClassVar[tuple[str, ...]] = ("packet_id", "subscriptions", "properties")

    def __init__(
        self, packet_id: int, subscriptions: list[tuple[str, int]], properties: Properties | None = None
    ) -> None:
        self.packet_id = packet_id
        self.subscriptions = subscriptions
        self.properties = properties


@final
class Suback(Packet):
    """SUBACK (3.9): one Reason Code for each Topic Filter, in order."""

    packet_type: int = SUBACK
    fields: ClassVar[tuple[str, ...]] = ("packet_id", "reason_codes", "properties")

    def __init__(self, packet_id: int, reason_codes: list[int], properties: Properties | None = None) -> None:
        self.packet_id = packet_id
        self.reason_codes = reason_codes
        self.properties = properties


@final
class Unsubscribe(Packet):
    """UNSUBSCRIBE (3.10)."""

    packet_type: int = UNSUBSCRIBE
    fields: ClassVar[tuple[str, ...]] = ("packet_id", "topic_filters", "properties")

    def __init__(
        self, packet_id: int, topic_filters: list[str], properties: Properties | None = None
    ) -> None:
        self.packet_id = packet_id
        self.topic_filters = topic_filters
        self.properties = properties


@final
class Unsuback(Packet):
    """UNSUBACK (3.11): one Reason Code for each Topic Filter, in order; none in 3.1.1."""

    packet_type: int = UNSUBACK
    fields: ClassVar[tuple[str, ...]] = ("packet_id", "reason_codes", "properties")

    def __init__(self, packet_id: int, reason_codes: list[int], properties: Properties | None = None) -> None:
        self.packet_id = packet_id
        self.reason_codes = reason_codes
        self.properties = properties


@final
class Pingreq(Packet):
    """PINGREQ (3.12)."""

    packet_type: int = PINGREQ


@final
class Pingresp(Packet):
    """PINGRESP (3.13)."""

    packet_type: int = PINGRESP


@final
class Disconnect(Packet):
    """DISCONNECT (3.14)."""

    packet_type: int = DISCONNECT
    fields: ClassVar[tuple[str, ...]] = ("reason_code", "properties")

    def __init__(self, reason_code: int = 0, properties: Properties | None = None) -> None:
        self.reason_code = reason_code
        self.properties = properties


@final
class Auth(Packet):
    """AUTH (3.15), only in 5.0."""

    packet_type: int = AUTH
    fields: ClassVar[tuple[str, ...]] = ("reason_code", "properties")

    def __init__(self, reason_code: int = 0, properties: Properties | None = None) -> None:
        self.reason_code = reason_code
        self.properties = properties
