"""The errors of curier, as one tree under one root.

    MqttError
    ├── ProtocolError(reason_code, message, statement)   a rule of MQTT was broken
    │   ├── MalformedPacket      bytes that are no Control Packet
    │   ├── LocalProtocolError   this program asked for something MQTT forbids
    │   └── RemoteProtocolError  the peer did something MQTT forbids
    ├── Refused(reason_code, reason_string)              the other side said no, within the rules
    │   ├── ConnectRefused       to a connection: CONNACK
    │   ├── SubscribeRefused     to a subscription: SUBACK
    │   └── PublishRefused       to a message: PUBACK, PUBREC, or a limit the server had announced
    ├── ConnectionLost                                   the Network Connection ended
    ├── QueueFull                                        as many messages wait as may
    ├── PublishWithdrawn                                 the program has withdrawn the message
    ├── StoreError                                       durable state cannot be read or written
    ├── ClusterError                                     this broker cannot be one node of its cluster
    │   ├── ClusterAway                                  too little of NATS can be reached; it may try again
    │   ├── TakenForDead                                 the other nodes do without it; it may join anew
    │   └── OtherVersion                                 the other nodes need another version of curier here
    └── ConfigError                                      a setting is wrong; says where, and what was expected

A protocol error carries the Reason Code that answers it and the spec statement it broke, so that the
answer on the wire is chosen once, where the error is found (MQTT 5.0 section 4.13).
"""

from __future__ import annotations

from curier.types import reason_name


class MqttError(Exception):
    """Root of every error that curier raises on purpose; its text is for people."""

    def __init__(self, why: str = "") -> None:
        super().__init__(why)


class ProtocolError(MqttError):
    """A rule of MQTT was broken.

    ``reason_code`` is the 5.0 Reason Code (section 2.4) that answers it, ``statement`` the id of the
    normative statement (such as ``"MQTT-3.1.2-3"``), or "" where the spec gives the rule no id. ``start`` and
    ``end`` are where in its Control Packet the fault lies, in bytes; -1 where nobody said.
    """

    start = -1
    end = -1

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
        super().__init__(f"refused with Reason Code {reason_name(reason_code)}{why}")
        self.reason_code = reason_code
        self.reason_string = reason_string


class ConnectRefused(Refused):
    """The server refused the connection (5.0 section 3.2.2.2); ``server_reference`` is where it wants us
    to go, as it says it (4.11), or "".

    ``return_code`` is the number in its CONNACK: 1 to 5 before 5.0 (3.1.1 section 3.2.2.3), else the Reason
    Code; 0 where it was not the server who refused.
    """

    def __init__(self, reason_code: int, reason_string: str = "", return_code: int = 0) -> None:
        super().__init__(reason_code, reason_string)
        self.return_code = return_code
        self.server_reference = ""


class SubscribeRefused(Refused):
    """The server refused a subscription (5.0 section 3.9.3); ``topic_filter`` is the first it refused."""

    def __init__(self, reason_code: int, reason_string: str = "", topic_filter: str = "") -> None:
        super().__init__(reason_code, reason_string)
        self.topic_filter = topic_filter

    def __str__(self) -> str:
        return f"{self.topic_filter}: {super().__str__()}" if self.topic_filter else super().__str__()


class PublishRefused(Refused):
    """A message was refused: by the server (5.0 sections 3.4.2.1 and 3.5.2.1), or because it is more than the
    server takes, or because its Message Expiry Interval passed before it could be sent.
    """


class ConnectionLost(MqttError):
    """The Network Connection ended before the operation was complete, or could not be opened.

    ``reason_code`` is that of the server's DISCONNECT where ``by_server``, 0x80 where nobody said one.
    ``was_open``: was there a connection that carries MQTT? ``server_reference`` is where the server wants us
    to go instead, as it says it (4.11), or "".
    """

    def __init__(
        self, why: str = "", reason_code: int = 0x80, by_server: bool = False, was_open: bool = True
    ) -> None:
        super().__init__(why)
        self.reason_code = reason_code
        self.by_server = by_server
        self.was_open = was_open
        self.server_reference = ""


class QueueFull(MqttError):
    """As many messages, or bytes of them, wait to be sent as may; the message names the setting."""


class PublishWithdrawn(MqttError):
    """The program has withdrawn the message, before anything of it was sent."""


class StoreError(MqttError):
    """Durable state cannot be read or written; the message names the file and the way out."""


class ClusterError(MqttError):
    """This broker cannot be one node of its cluster; the message says why, and the way out."""


class ClusterAway(ClusterError):
    """Too little of the cluster's NATS could be reached, for too long. It may be tried again."""


class TakenForDead(ClusterError):
    """The other nodes have gone on without this one: it was paused, or cut off. It may join anew."""


class OtherVersion(ClusterError):
    """What the other nodes write cannot be read by this version of curier, however often it is tried."""


def missing_package(error: ImportError, what: str) -> ConfigError:
    """What to raise where ``what`` lacks a package of an extra; other errors are raised again."""
    package = (error.name or "").partition(".")[0]
    extra = _EXTRAS.get(package)
    if extra is None:
        raise error
    return ConfigError(f"{what} needs the package {package}: pip install 'curier[{extra}]'")


_EXTRAS = {
    "apsw": "broker",
    "argon2": "broker",
    "cryptography": "broker",
    "acme": "acme",
    "josepy": "acme",
    "jwt": "jwt",
    "scramp": "scram",
    "psycopg": "postgresql",
    "pymysql": "mysql",
    "bonsai": "ldap",
    "nats": "cluster",
    "starlette": "web",
    "uvicorn": "web",
    "h11": "web",
    "textual": "top",
    "msgspec": "web",
}
"""The packages that something is not there without, and which extra has each."""


class ConfigError(MqttError):
    """A setting is wrong; the message names the file, line and key, and says what was expected."""
