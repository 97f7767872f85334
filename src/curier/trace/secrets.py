"""What is secret in a Control Packet does not get into a recording: zeros stand in its place."""

from __future__ import annotations

from typing import Final

from curier.codec.constants import (
    AUTH,
    AUTHENTICATION_DATA,
    CONNACK,
    CONNECT,
    MQTT_50,
    SUBSCRIPTION_IDENTIFIER,
    USER_PROPERTY,
)
from curier.codec.primitives import Reader
from curier.errors import MalformedPacket

_PASSWORD: Final = 0x40
_USER_NAME: Final = 0x80
_WILL_FLAG: Final = 0x04


def without_password(packet: bytes) -> bytes:
    """The same packet, its password all zeros and as long as before.

    ``packet`` may be cut short, or wrong: of a CONNECT that cannot be read to its password everything from
    there on is zeros, or, where it is wrong before that, all behind its first bytes.
    """
    if not packet or packet[0] >> 4 != CONNECT:
        return packet
    reader = Reader(packet, 0, len(packet))
    safe = min(len(packet), 2)  # up to here there is nothing to hide
    try:
        reader.byte("Fixed Header")
        reader.varint("Remaining Length", may_be_long=True)
        reader.binary("Protocol Name")
        version = reader.byte("Protocol Version") & 0x7F
        flags = reader.byte("Connect Flags")
        safe = reader.pos
        if not flags & _PASSWORD:
            return packet
        reader.two("Keep Alive")
        _skip_properties(reader, version)
        reader.binary("Client Identifier")
        if flags & _WILL_FLAG:
            _skip_properties(reader, version)
            reader.binary("Will Topic")
            reader.binary("Will Payload")
        if flags & _USER_NAME:
            reader.binary("User Name")
        safe = min(reader.pos + 2, len(packet))  # the password is the last of all [MQTT-3.1.3-1]
    except MalformedPacket:
        pass
    return packet[:safe] + bytes(len(packet) - safe)


def _skip_properties(reader: Reader, version: int) -> None:
    if version != MQTT_50:
        return
    length = reader.varint("Property Length")
    reader.pos += length
    if reader.pos > reader.end:
        reader.byte("Properties")  # raises: they end behind the packet


def without_secrets(packet: bytes, version: int) -> bytes:
    """The same packet without its password, and without the Authentication Data of an exchange (4.12).

    Of a CONNACK or AUTH that cannot be read, all behind its first two bytes is zeros.
    """
    kind = packet[0] >> 4 if packet else 0
    if kind == CONNECT:
        packet = without_password(packet)
    elif version != MQTT_50 or kind not in (CONNACK, AUTH):
        return packet
    reader = Reader(packet, 0, len(packet))
    try:
        reader.byte("Fixed Header")
        if not reader.varint("Remaining Length", may_be_long=True):
            return packet
        if kind == CONNECT:
            reader.binary("Protocol Name")
            if reader.byte("Protocol Version") & 0x7F != MQTT_50:
                return packet
            reader.byte("Connect Flags")
            reader.two("Keep Alive")
        elif kind == CONNACK:
            reader.byte("Connect Acknowledge Flags")
            reader.byte("Reason Code")
        else:
            reader.byte("Reason Code")
            if reader.pos == reader.end:
                return packet  # without Properties (3.15.2.2.1)
        begin, end = _authentication_data(reader)
    except MalformedPacket:
        begin, end = min(2, len(packet)), len(packet)
    return packet[:begin] + bytes(end - begin) + packet[end:]


def _authentication_data(reader: Reader) -> tuple[int, int]:
    """Where it is among the Properties that come next; an empty range: nowhere."""
    stop = reader.varint("Property Length")
    stop = min(stop + reader.pos, reader.end)
    while reader.pos < stop:
        identifier = reader.byte("Property")
        if identifier == SUBSCRIPTION_IDENTIFIER:
            reader.varint("Property")
        elif identifier in _SIZES:
            for _ in range(_SIZES[identifier]):
                reader.byte("Property")
        else:
            at = reader.pos + 2
            reader.binary("Property")
            if identifier == AUTHENTICATION_DATA:
                return at, reader.pos
            if identifier == USER_PROPERTY:
                reader.binary("Property")
    return stop, stop


_SIZES: Final = dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1)
_SIZES.update(dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2))
_SIZES.update(dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4))
"""Of the values of Properties (2.2.2.2), in bytes; all others say it themselves."""
