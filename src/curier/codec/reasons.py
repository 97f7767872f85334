"""Which Reason Codes each Control Packet may carry.

Source: the Reason Code table of each packet in MQTT 5.0 chapter 3; where table 2-6 gives DISCONNECT one
more (0x8C), table 2-6 is followed. For 3.1 and 3.1.1: the return codes of CONNACK (3.2.2.3) and SUBACK
(3.9.3); SUBACK 0x80 is accepted in 3.1 too, because Servers send it.
"""

from __future__ import annotations

from typing import Final

from curier.codec.constants import (
    AUTH,
    BAD_AUTHENTICATION_METHOD,
    BAD_USER_NAME_OR_PASSWORD,
    BANNED,
    CONNACK,
    DISCONNECT,
    MQTT_50,
    NOT_AUTHORIZED,
    PUBACK,
    PUBCOMP,
    PUBREC,
    PUBREL,
    SUBACK,
    UNSPECIFIED_ERROR,
    UNSUBACK,
)

_PUBLISH_RECEIVED: Final = frozenset(b"\x00\x10\x80\x83\x87\x90\x91\x97\x99")
_RELEASED: Final = frozenset(b"\x00\x92")

_OF_50: Final[dict[int, frozenset[int]]] = {
    CONNACK: frozenset(
        b"\x00\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x8c\x90\x95\x97\x99\x9a\x9b\x9c\x9d\x9f"
    ),  # [MQTT-3.2.2-8]
    PUBACK: _PUBLISH_RECEIVED,  # [MQTT-3.4.2-1]
    PUBREC: _PUBLISH_RECEIVED,  # [MQTT-3.5.2-1]
    PUBREL: _RELEASED,  # [MQTT-3.6.2-1]
    PUBCOMP: _RELEASED,  # [MQTT-3.7.2-1]
    SUBACK: frozenset(b"\x00\x01\x02\x80\x83\x87\x8f\x91\x97\x9e\xa1\xa2"),  # [MQTT-3.9.3-2]
    UNSUBACK: frozenset(b"\x00\x11\x80\x83\x87\x8f\x91"),  # [MQTT-3.11.3-2]
    DISCONNECT: frozenset(
        b"\x00\x04\x80\x81\x82\x83\x87\x89\x8b\x8c\x8d\x8e\x8f\x90\x93\x94\x95\x96\x97\x98\x99"
        b"\x9a\x9b\x9c\x9d\x9e\x9f\xa0\xa1\xa2"
    ),  # [MQTT-3.14.2-1]
    AUTH: frozenset(b"\x00\x18\x19"),  # [MQTT-3.15.2-1]
}

_OF_311: Final[dict[int, frozenset[int]]] = {
    CONNACK: frozenset(b"\x00\x01\x02\x03\x04\x05"),
    SUBACK: frozenset(b"\x00\x01\x02\x80"),  # 3.1.1 [MQTT-3.9.3-2]
}

_STATEMENTS: Final[dict[int, str]] = {
    CONNACK: "MQTT-3.2.2-8",
    PUBACK: "MQTT-3.4.2-1",
    PUBREC: "MQTT-3.5.2-1",
    PUBREL: "MQTT-3.6.2-1",
    PUBCOMP: "MQTT-3.7.2-1",
    SUBACK: "MQTT-3.9.3-2",
    UNSUBACK: "MQTT-3.11.3-2",
    DISCONNECT: "MQTT-3.14.2-1",
    AUTH: "MQTT-3.15.2-1",
}


def reason_code_allowed(packet_type: int, reason_code: int, version: int) -> bool:
    """Whether a packet of this type may carry this Reason Code (a return code in 3.1 and 3.1.1)."""
    if reason_code == 0:
        return True  # Success, Granted QoS 0 or Normal disconnection: every packet has it
    if version == MQTT_50:
        return reason_code in _OF_50[packet_type]
    return packet_type in _OF_311 and reason_code in _OF_311[packet_type]


def sendable(packet_type: int, reason_code: int) -> int:
    """``reason_code`` where a 5.0 packet of this type may carry it, else the nearest that it may.

    Codes come from hooks and authenticators, too, which need not know every table.
    """
    if reason_code_allowed(packet_type, reason_code, MQTT_50):
        return reason_code
    if reason_code in (BAD_USER_NAME_OR_PASSWORD, BANNED, BAD_AUTHENTICATION_METHOD):
        return NOT_AUTHORIZED
    return UNSPECIFIED_ERROR


def reason_code_statement(packet_type: int) -> str:
    """The statement that limits the Reason Codes of this packet."""
    return _STATEMENTS[packet_type]
