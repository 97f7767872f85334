"""One of the two clients of a bridge.

What a client publishes with QoS 2 on a session that outlives its program needs the state of that session in
the next life of the program as well [MQTT-4.1.0-1]: a server that has seen a Packet Identifier takes another
message under it for the same one. So where QoS 2 goes to this end, its session is on disk. Its messages that
are not complete are sent again by the client then; and the broker that they came from sends them again, too.
Those are found here, so that they are not published twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from curier.bridge.hops import Pairs
from curier.client.client import Client
from curier.client.events import Connected, Event
from curier.client.outbox import Receipt, encode_message_properties
from curier.client.settings import ClientSettings

if TYPE_CHECKING:
    from curier.client.received import ReceivedMessage

_Key = tuple[bytes, bytes, int, bool, bytes]


class End(Client):
    """``on_event`` is told what happens to it, at once. ``keeps_retain``: may what is carried be retained?"""

    def __init__(
        self, settings: ClientSettings, on_event: Callable[[Event], None], keeps_retain: bool = True
    ) -> None:
        super().__init__(settings)
        self._keeps_retain = keeps_retain
        self._on_event = on_event
        self._left: dict[_Key, list[Receipt]] = {}  # of an earlier life of the program
        self._is_known = False

    @property
    def most_qos(self) -> int:
        """What the server takes (3.2.2.3.4)."""
        most = self.server_properties.maximum_qos
        return 2 if most is None else most

    @property
    def takes_retained(self) -> bool:
        """Does the server (3.2.2.3.5)?"""
        return self.server_properties.retain_available != 0

    def retains(self, message: ReceivedMessage) -> bool:
        """Is it to be retained here?"""
        return message.retain and self._keeps_retain and self.takes_retained

    def taken_up(
        self, message: ReceivedMessage, topic: str, qos: int, user_properties: Pairs
    ) -> Receipt | None:
        """The receipt of a message that an earlier life has begun to publish, where this is the same."""
        if not self._left:
            return None
        properties = encode_message_properties(
            message.content_type,
            message.response_topic,
            message.correlation_data,
            user_properties,
            message.payload_is_text,
        )
        key = (topic.encode(), message.payload, qos, self.retains(message), properties)
        found = self._left.get(key)
        if not found:
            return None
        receipt = found.pop(0)
        if not found:
            del self._left[key]
        return receipt

    def _told(self, event: Event) -> None:
        if isinstance(event, Connected) and not self._is_known:
            self._is_known = True
            self._take_up()
        super()._told(event)
        self._on_event(event)

    def _take_up(self) -> None:
        """Have receipts for what an earlier life has left, before the first answer to any of it is read."""
        outbox = self._outbox
        for entry in outbox.link.connection.client_session.outgoing.unfinished():
            if entry in outbox.waiters:
                continue
            receipt = outbox.waiters[entry] = Receipt(None, outbox, entry)
            message = entry.message
            key = (message.topic, message.payload, entry.qos, entry.retain, message.properties)
            self._left.setdefault(key, []).append(receipt)
