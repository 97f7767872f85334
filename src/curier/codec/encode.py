"""Control Packets to bytes, the shortest form each version allows.

What ``codec.decode`` would refuse is refused here as well, with :class:`LocalProtocolError`, so that a
mistake of the caller ends here and not at the peer. Properties are left out before 5.0, which has none.

Source: MQTT 5.0 chapters 2 and 3; MQTT 3.1.1 chapters 2 and 3; for version 3, MQTT 3.1.
"""

from __future__ import annotations

from typing import Final

from curier.codec.constants import (
    AUTH,
    BRIDGE_BIT,
    CONNACK,
    CONNECT,
    DISCONNECT,
    MAXIMUM_REMAINING_LENGTH,
    MQTT_31,
    MQTT_50,
    MQTT_311,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    PUBLISH,
    PUBREL,
    SUBACK,
    SUBSCRIBE,
    TOPIC_FILTER_INVALID,
    UNSUBACK,
    UNSUBSCRIBE,
    UNSUPPORTED_PROTOCOL_VERSION,
)
from curier.codec.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Packet,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from curier.codec.primitives import (
    encode_binary,
    encode_packet_id,
    encode_topic,
    encode_two,
    encode_utf8,
    encode_varint,
)
from curier.codec.properties import WILL, Properties, encode_properties
from curier.codec.reasons import reason_code_allowed, reason_code_statement
from curier.errors import LocalProtocolError

_NO_PROPERTIES: Final = b"\x00"
_ACKNOWLEDGED_FLAGS: Final = 0b0010  # of PUBREL, SUBSCRIBE and UNSUBSCRIBE (2.1.3) [MQTT-2.1.3-1]


def encode(packet: Packet, version: int) -> bytes:
    """The bytes of ``packet`` in MQTT ``version`` 3, 4 or 5; a CONNECT says its own version.

    Raises :class:`LocalProtocolError` for what MQTT forbids or cannot express.
    """
    if isinstance(packet, Publish):
        return _publish(packet, version)
    if isinstance(packet, (Puback, Pubrec, Pubrel, Pubcomp)):
        return encode_ack(
            packet.packet_type, packet.packet_id, packet.reason_code, packet.properties, version
        )
    if isinstance(packet, Subscribe):
        return _subscribe(packet, version)
    if isinstance(packet, Suback):
        return _suback(packet, version)
    if isinstance(packet, Unsubscribe):
        return _unsubscribe(packet, version)
    if isinstance(packet, Unsuback):
        return _unsuback(packet, version)
    if isinstance(packet, Pingreq):
        return b"\xc0\x00"
    if isinstance(packet, Pingresp):
        return b"\xd0\x00"
    if isinstance(packet, Disconnect):
        return _disconnect(packet, version)
    if isinstance(packet, Connect):
        return _connect(packet)
    if isinstance(packet, Connack):
        return _connack(packet, version)
    if isinstance(packet, Auth):
        return _auth(packet, version)
    raise _forbidden(f"{packet!r} is no Control Packet")


def encode_ack(
    packet_type: int, packet_id: int, reason_code: int, properties: Properties | None, version: int
) -> bytes:
    """A PUBACK, PUBREC, PUBREL or PUBCOMP (3.4 to 3.7) as short as it can be; four bytes before 5.0."""
    flags = _ACKNOWLEDGED_FLAGS if packet_type == PUBREL else 0  # [MQTT-3.6.1-1]
    if version != MQTT_50 or (reason_code == 0 and properties is None):
        return bytes([packet_type << 4 | flags, 2]) + encode_packet_id(packet_id)
    _check_reason_code(packet_type, reason_code, version)
    parts = [encode_packet_id(packet_id)]
    encoded = encode_properties(properties, packet_type)
    if encoded != _NO_PROPERTIES:
        parts.append(bytes([reason_code]))
        parts.append(encoded)
    elif reason_code:
        parts.append(bytes([reason_code]))
    return _packet(packet_type, flags, parts)


def _forbidden(why: str, statement: str = "", reason_code: int = PROTOCOL_ERROR) -> LocalProtocolError:
    return LocalProtocolError(reason_code, why, statement)


def _packet(packet_type: int, flags: int, parts: list[bytes]) -> bytes:
    """The Control Packet with this body, whose bytes are copied once."""
    size = 0
    for part in parts:
        size += len(part)
    if size > MAXIMUM_REMAINING_LENGTH:
        raise _forbidden(f"a Control Packet of {size} bytes is too large for MQTT", "", PACKET_TOO_LARGE)
    parts.insert(0, bytes([packet_type << 4 | flags]) + encode_varint(size))
    return b"".join(parts)


def _properties(properties: Properties | None, packet_type: int, version: int) -> bytes:
    return encode_properties(properties, packet_type) if version == MQTT_50 else b""


def _check_reason_code(packet_type: int, reason_code: int, version: int) -> None:
    if not reason_code_allowed(packet_type, reason_code, version):
        why = f"Reason Code {reason_code} does not belong in this Control Packet"
        raise _forbidden(why, reason_code_statement(packet_type))


def _check_qos(qos: int) -> None:
    if qos < 0 or qos > 2:
        raise _forbidden(f"QoS {qos} is not 0, 1 or 2", "MQTT-3.3.1-4")  # [MQTT-3.3.1-4]


def _topic_filter(topic_filter: str) -> bytes:
    if not topic_filter:
        raise _forbidden("a Topic Filter must not be empty", "MQTT-4.7.3-1", TOPIC_FILTER_INVALID)
    return encode_utf8(topic_filter)


def _check_method(properties: Properties | None) -> None:
    """Refuse Authentication Data without Authentication Method (3.1.2.11.10)."""
    if properties is not None and properties.authentication_data is not None:
        if properties.authentication_method is None:
            raise _forbidden("Authentication Data needs an Authentication Method")


def _connect(packet: Connect) -> bytes:
    """CONNECT (3.1)."""
    version = packet.version
    if version == MQTT_31:
        name = b"MQIsdp"
    elif version == MQTT_311 or version == MQTT_50:
        name = b"MQTT"  # [MQTT-3.1.2-1]
    else:
        raise _forbidden(f"there is no MQTT version {version}", "MQTT-3.1.2-2", UNSUPPORTED_PROTOCOL_VERSION)
    level = version
    if packet.is_bridge:
        if version == MQTT_50:
            raise _forbidden("5.0 has no bridge bit: it has No Local and Retain As Published", "MQTT-3.1.2-2")
        level |= BRIDGE_BIT
    if packet.keep_alive < 0 or packet.keep_alive > 65535:
        raise _forbidden(f"a Keep Alive of {packet.keep_alive} seconds is not in 0 to 65535")
    if version != MQTT_50 and packet.password is not None and packet.username is None:
        raise _forbidden("a password needs a user name before MQTT 5.0", "3.1.1/MQTT-3.1.2-22")
    _check_method(packet.properties)
    # The payload, in this order [MQTT-3.1.3-1]
    payload = [encode_utf8(packet.client_id)]
    flags = 0x02 if packet.clean_start else 0x00
    will = packet.will
    if will is not None:
        _check_qos(will.qos)
        flags |= 0x04 | will.qos << 3 | (0x20 if will.retain else 0x00)
        payload.append(_properties(will.properties, WILL, version))
        payload.append(encode_topic(will.topic))
        payload.append(encode_binary(will.payload))
    if packet.username is not None:
        flags |= 0x80
        payload.append(encode_utf8(packet.username))
    if packet.password is not None:
        flags |= 0x40
        payload.append(encode_binary(packet.password))
    head = encode_binary(name) + bytes([level, flags]) + encode_two(packet.keep_alive)
    return _packet(CONNECT, 0, [head, _properties(packet.properties, CONNECT, version), *payload])


def _connack(packet: Connack, version: int) -> bytes:
    """CONNACK (3.2)."""
    code = packet.reason_code
    _check_reason_code(CONNACK, code, version)
    if packet.session_present and code:
        raise _forbidden("Session Present cannot be 1 in a refusal", "MQTT-3.2.2-6")  # [MQTT-3.2.2-6]
    _check_method(packet.properties)
    flags = 1 if packet.session_present and version != MQTT_31 else 0  # 3.1 has no Session Present
    return _packet(CONNACK, 0, [bytes([flags, code]), _properties(packet.properties, CONNACK, version)])


def _publish(packet: Publish, version: int) -> bytes:
    """PUBLISH (3.3)."""
    qos = packet.qos
    _check_qos(qos)
    if packet.dup and not qos:
        raise _forbidden("DUP must be 0 for QoS 0", "MQTT-3.3.1-2")  # [MQTT-3.3.1-2]
    if packet.packet_id and not qos:
        raise _forbidden("a PUBLISH of QoS 0 has no Packet Identifier", "MQTT-2.2.1-2")  # [MQTT-2.2.1-2]
    properties = packet.properties
    aliased = version == MQTT_50 and properties is not None and properties.topic_alias is not None
    topic = b"\x00\x00" if aliased and not packet.topic else encode_topic(packet.topic)
    packet_id = encode_packet_id(packet.packet_id) if qos else b""
    flags = (8 if packet.dup else 0) | qos << 1 | (1 if packet.retain else 0)
    encoded = _properties(properties, PUBLISH, version)
    return _packet(PUBLISH, flags, [topic, packet_id, encoded, packet.payload])


def _subscribe(packet: Subscribe, version: int) -> bytes:
    """SUBSCRIBE (3.8)."""
    if not packet.subscriptions:
        raise _forbidden("a SUBSCRIBE needs a Topic Filter", "MQTT-3.8.3-2")  # [MQTT-3.8.3-2]
    parts = [encode_packet_id(packet.packet_id), _properties(packet.properties, SUBSCRIBE, version)]
    for topic_filter, options in packet.subscriptions:
        _check_subscription_options(topic_filter, options, version)
        parts.append(_topic_filter(topic_filter))
        parts.append(bytes([options]))
    return _packet(SUBSCRIBE, _ACKNOWLEDGED_FLAGS, parts)


def _check_subscription_options(topic_filter: str, options: int, version: int) -> None:
    """The rules of section 3.8.3.1."""
    most = 0x2E if version == MQTT_50 else 0x02
    if options < 0 or options > most or options & 0x03 == 3:
        raise _forbidden(f"Subscription Options {options} are not allowed", "MQTT-3.8.3-5")  # [MQTT-3.8.3-5]
    if options & 0x04 and topic_filter.startswith("$share/"):
        raise _forbidden("a Shared Subscription cannot have No Local", "MQTT-3.8.3-4")  # [MQTT-3.8.3-4]


def _suback(packet: Suback, version: int) -> bytes:
    """SUBACK (3.9)."""
    packet_id = encode_packet_id(packet.packet_id)
    encoded = _properties(packet.properties, SUBACK, version)
    return _packet(SUBACK, 0, [packet_id, encoded, _reason_codes(packet.reason_codes, SUBACK, version)])


def _unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    """UNSUBSCRIBE (3.10)."""
    if not packet.topic_filters:
        raise _forbidden("an UNSUBSCRIBE needs a Topic Filter", "MQTT-3.10.3-2")  # [MQTT-3.10.3-2]
    parts = [encode_packet_id(packet.packet_id), _properties(packet.properties, UNSUBSCRIBE, version)]
    for topic_filter in packet.topic_filters:
        parts.append(_topic_filter(topic_filter))
    return _packet(UNSUBSCRIBE, _ACKNOWLEDGED_FLAGS, parts)


def _unsuback(packet: Unsuback, version: int) -> bytes:
    """UNSUBACK (3.11); before 5.0 it has no Reason Codes."""
    parts = [encode_packet_id(packet.packet_id)]
    if version == MQTT_50:
        parts.append(encode_properties(packet.properties, UNSUBACK))
        parts.append(_reason_codes(packet.reason_codes, UNSUBACK, version))
    return _packet(UNSUBACK, 0, parts)


def _reason_codes(reason_codes: list[int], packet_type: int, version: int) -> bytes:
    if not reason_codes:
        raise _forbidden(
            "there must be a Reason Code for each Topic Filter", "MQTT-3.8.4-6"
        )  # [MQTT-3.8.4-6]
    for code in reason_codes:
        _check_reason_code(packet_type, code, version)
    return bytes(reason_codes)


def _disconnect(packet: Disconnect, version: int) -> bytes:
    """DISCONNECT (3.14)."""
    if version != MQTT_50:
        return b"\xe0\x00"
    _check_reason_code(DISCONNECT, packet.reason_code, version)
    encoded = encode_properties(packet.properties, DISCONNECT)
    if encoded != _NO_PROPERTIES:
        return _packet(DISCONNECT, 0, [bytes([packet.reason_code]), encoded])
    return _packet(DISCONNECT, 0, [bytes([packet.reason_code])] if packet.reason_code else [])


def _auth(packet: Auth, version: int) -> bytes:
    """AUTH (3.15)."""
    if version != MQTT_50:
        raise _forbidden("there is no AUTH before MQTT 5.0")
    _check_reason_code(AUTH, packet.reason_code, version)
    encoded = encode_properties(packet.properties, AUTH)
    if packet.reason_code == 0 and encoded == _NO_PROPERTIES:
        return b"\xf0\x00"
    if packet.properties is None or packet.properties.authentication_method is None:
        raise _forbidden("an AUTH needs an Authentication Method")
    return _packet(AUTH, 0, [bytes([packet.reason_code]), encoded])
