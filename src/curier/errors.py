"""The errors of curier, as one tree under one root.

    MqttError
    ├── ProtocolError(reason_code, message, statement)   a rule of MQTT was broken
    │   ├── MalformedPacket      bytes that are no Control Packet
    │   ├── LocalProtocolError   this program asked for something MQTT forbids
    │   └── RemoteProtocolError  the peer did something MQTT forbids
    ├── Refused(reason_code, reason_string)              the other side said no, within the rules
    ├── ConnectionLost                                   the Network Connection ended
    ├── StoreError                                       durable state cannot be read or written
    └── ConfigError                                      a setting is wrong; says where, and what was expected

A protocol error carries the Reason Code that answers it and the spec statement it broke, so that the
answer on the wire is chosen once, where the error is found (MQTT 5.0 section 4.13).
"""

from __future__ import annotations


class MqttError(Exception):
    """Root of every error that curier raises on purpose."""


class ProtocolError(MqttError):
    """A rule of MQTT was broken.

    ``reason_code`` is the 5.0 Reason Code (section 2.4) that answers it, ``statement`` the id of the
    normative statement (such as ``"MQTT-3.1.2-3"``), or "" where the spec gives the rule no id.
    """

    def __init__(self, reason_code: int, message: str, statement: str = "") -> None:
        super().__init__(f"{message} [{statement}]" if statement else message)
        self.reason_code = reason_code
        self.message = message
        self.statement = statement


class MalformedPacket(ProtocolError):
    """Bytes that cannot be parsed as a Control Packet (5.0 section 1.2, Reason Code 0x81)."""

    def __init__(self, message: str, statement: str = "", reason_code: int = 0x81) -> None:
        super().__init__(reason_code, message, statement)


class LocalProtocolError(ProtocolError):
    """The caller asked for something that MQTT forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer did something that MQTT forbids; the Network Connection is to be closed."""


class Refused(MqttError):
    """The other side refused a connection, subscription or message, within the rules.

    ``reason_code`` is a 5.0 Reason Code of 0x80 or more; ``reason_string`` is for people.
    """

    def __init__(self, reason_code: int, reason_string: str = "") -> None:
        why = f": {reason_string}" if reason_string else ""
        super().__init__(f"refused with Reason Code 0x{reason_code:02X}{why}")
        self.reason_code = reason_code
        self.reason_string = reason_string


class ConnectionLost(MqttError):
    """The Network Connection ended before the operation was complete."""


class StoreError(MqttError):
    """Durable state cannot be read or written; the message names the file and the way out."""


class ConfigError(MqttError):
    """A setting is wrong; the message names the file, line and key, and says what was expected."""
