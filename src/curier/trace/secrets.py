"""What is secret in a Control Packet does not get into a recording: zeros stand in its place."""

from __future__ import annotations

from typing import Final

from curier.codec.constants import CONNECT, MQTT_50
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
