"""Somebody who looks on: told of chosen connections' packets, and of what becomes of messages between them.

``curier.trace`` is one. A broker has one or none, and where it has none, nothing is done for it. What it
raises ends its looking on, and nothing else (``hooks.Hooks.witnessed``).
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from curier.broker.model import BrokerConnection
from curier.session.message import ApplicationMessage

# What happens to messages, in the words of ``curier.trace.events``
PUBLISHED: Final = "published"
QUEUED: Final = "queued"
DROPPED: Final = "dropped"
EXPIRED: Final = "expired"
DENIED: Final = "denied"
REFUSED: Final = "refused"
NOT_FOR: Final = "not for"
NOBODY: Final = "nobody"
STORED: Final = "stored"
DELIVERED: Final = "delivered"
RETAINED: Final = "retained"
SESSION_ENDED: Final = "session ended"


@mypyc_attr(allow_interpreted_subclasses=True)
class Witness:
    """Override all of it. Nothing here may call the broker back, or wait."""

    def sees(self, connection: BrokerConnection) -> bool:
        """Is every packet of this connection wanted? If so, none of them takes the fast lane."""
        return False

    def sees_topic(self, topic: bytes) -> bool:
        """Is everything wanted that is published on this topic, from and to whomever?"""
        return False

    def meets(self, connection: BrokerConnection, packet: bytes) -> bool:
        """Is the PUBLISH ``packet`` of a client that is not seen on such a topic? Then it is, from now on."""
        return False

    def opened(self, connection: BrokerConnection) -> None:
        """A Network Connection begins."""

    def closed(self, connection: BrokerConnection, by: str, why: str) -> None:
        """It has ended, by "client", "server" or "network"."""

    def packet(self, connection: BrokerConnection, is_outgoing: bool, data: bytes) -> None:
        """One whole Control Packet of a connection that is seen, in the order of the wire."""

    def arrived(
        self, connection: BrokerConnection | None, message: ApplicationMessage, packet_id: int
    ) -> None:
        """A message was taken: from a client, whose PUBLISH had ``packet_id`` or 0, or (None) from the broker
        itself or as a will.
        """

    def stored(self, connection: BrokerConnection, packet: bytes) -> None:
        """What ``packet`` waited for is durable, or what was before it: the packet goes next."""

    def refused(
        self, connection: BrokerConnection, kind: str, topic: bytes, packet_id: int, why: str
    ) -> None:
        """A client's PUBLISH was not taken. ``kind`` is ``DENIED`` or ``REFUSED``."""

    def sending(
        self, connection: BrokerConnection, message: ApplicationMessage, qos: int, packet_id: int
    ) -> bool:
        """``message`` is about to be sent, in a PUBLISH with this Packet Identifier. True: because of it
        ``connection`` is seen from now on.
        """
        return False

    def happened(
        self,
        kind: str,
        client_id: str,
        connection: BrokerConnection | None,
        message: ApplicationMessage | None,
        why: str,
    ) -> None:
        """Something of the above has happened to a message, or to a session (None)."""
