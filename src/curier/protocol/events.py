"""What a client's connection tells: small plain objects, drained with ``ClientConnection.take_events``.

Every connection whose CONNECT was sent ends with exactly one ``ConnectRefused`` or ``Disconnected``.
Reason Codes are those of 5.0 in every version; ``properties`` is None where a packet had none, and before
5.0.
"""

from __future__ import annotations

from typing import final

from curier.codec.packets import Connack, Publish
from curier.codec.properties import Properties
from curier.session.outgoing import Outgoing


class Event:
    """Something that happened on a Network Connection."""

    __slots__ = ()


@final
class Connected(Event):
    """CONNACK accepted the connection; what waited in the session is on its way.

    ``session_present`` False means that the server knows no session: subscribe anew. ``lost`` are messages
    whose delivery had begun in a session the server does not have any more [MQTT-3.2.2-5]: nobody knows
    whether they arrived, with ``requeues`` they are published anew.
    """

    __slots__ = ("connack", "lost", "session_present")

    def __init__(self, connack: Connack, session_present: bool, lost: list[Outgoing]) -> None:
        self.connack = connack
        self.session_present = session_present
        self.lost = lost


@final
class ConnectRefused(Event):
    """CONNACK refused the connection, with a Reason Code of 0x80 or more; close the network."""

    __slots__ = ("properties", "reason_code", "reason_string")

    def __init__(self, reason_code: int, properties: Properties | None) -> None:
        self.reason_code = reason_code
        self.reason_string = reason_string(properties)
        self.properties = properties  # Server Reference, for one (4.11)


@final
class MessageReceived(Event):
    """A message came. The Topic Name in ``publish`` is whole, also where an alias stood for it."""

    __slots__ = ("publish",)

    def __init__(self, publish: Publish) -> None:
        self.publish = publish


@final
class Published(Event):
    """A message of this client is over: acknowledged, or refused with a Reason Code of 0x80 or more.

    For QoS 0: it is in the output. The refusal may come from this side, where what waited in the session
    is more than this server takes, or has expired.
    """

    __slots__ = ("entry", "reason_code", "reason_string")

    def __init__(self, entry: Outgoing, reason_code: int, reason_string: str) -> None:
        self.entry = entry
        self.reason_code = reason_code
        self.reason_string = reason_string


@final
class SubscribeDone(Event):
    """SUBACK: a Reason Code for each Topic Filter in order, the QoS granted or 0x80 and more."""

    __slots__ = ("packet_id", "properties", "reason_codes", "reason_string")

    def __init__(self, packet_id: int, reason_codes: list[int], properties: Properties | None) -> None:
        self.packet_id = packet_id
        self.reason_codes = reason_codes
        self.reason_string = reason_string(properties)
        self.properties = properties


@final
class UnsubscribeDone(Event):
    """UNSUBACK: a Reason Code for each Topic Filter in order; before 5.0, which has none, all 0."""

    __slots__ = ("packet_id", "properties", "reason_codes", "reason_string")

    def __init__(self, packet_id: int, reason_codes: list[int], properties: Properties | None) -> None:
        self.packet_id = packet_id
        self.reason_codes = reason_codes
        self.reason_string = reason_string(properties)
        self.properties = properties


@final
class AuthContinue(Event):
    """The server wants the next step of an authentication: answer with ``ClientConnection.auth`` (4.12)."""

    __slots__ = ("data", "properties")

    def __init__(self, data: bytes | None, properties: Properties | None) -> None:
        self.data = data
        self.properties = properties


@final
class AuthDone(Event):
    """A re-authentication succeeded (4.12.1)."""

    __slots__ = ("data", "properties")

    def __init__(self, data: bytes | None, properties: Properties | None) -> None:
        self.data = data
        self.properties = properties


@final
class Tolerated(Event):
    """The server broke a rule, and it was taken all the same. Told once for each rule on a connection.

    ``message`` is what it does, in plain words, ``statement`` what it breaks.
    """

    __slots__ = ("message", "statement")

    def __init__(self, message: str, statement: str) -> None:
        self.message = message
        self.statement = statement


@final
class PingAnswered(Event):
    """PINGRESP came, ``elapsed`` seconds after PINGREQ."""

    __slots__ = ("elapsed",)

    def __init__(self, elapsed: float) -> None:
        self.elapsed = elapsed


@final
class Disconnected(Event):
    """The connection is over: write what is left of the output, then close the network.

    ``by_server``: the server said so, with DISCONNECT; otherwise this side did, for the reason in ``why``.
    ``lost`` are messages whose delivery had begun in a session that ends with its connection.
    """

    __slots__ = ("by_server", "lost", "properties", "reason_code", "why")

    def __init__(
        self,
        reason_code: int,
        why: str,
        by_server: bool,
        properties: Properties | None,
        lost: list[Outgoing],
    ) -> None:
        self.reason_code = reason_code
        self.why = why
        self.by_server = by_server
        self.properties = properties
        self.lost = lost


def reason_string(properties: Properties | None) -> str:
    """The Reason String, or "" where there is none."""
    if properties is None or properties.reason_string is None:
        return ""
    return properties.reason_string
