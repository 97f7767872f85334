"""The journal: durable state changes as small records, in the order they happened (DESIGN: durable state).

The core adds a record wherever state changes that must survive a crash. What is said to a peer because of
such a change (an acknowledgement is a promise) is held until the batch with that record is durable:

    number = journal.number        # the batch that is being filled
    ... change state, records are added ...
    connection.send_after(number, puback)

Whoever drives the core takes the batch when the turn ends, makes it durable, and tells the core
(``BrokerCore.committed``). A broker that keeps nothing has no journal at all, and waits for nothing.

Records are plain data: ints, bytes and text, so that a store can pack them without knowing the core.
Sessions, messages and deliveries are named by ever-growing numbers, which a store may use as keys.
"""

from __future__ import annotations

from typing import final

from curier.session.message import ApplicationMessage


class Record:
    """One change of durable state."""

    __slots__ = ()


@final
class SessionSaved(Record):
    """A session exists, with these facts. ``ends_at`` is a point in time, or 0 while it is connected."""

    __slots__ = ("client_id", "ends_at", "expiry_interval", "session", "version")

    def __init__(
        self, session: int, client_id: str, version: int, expiry_interval: int, ends_at: float
    ) -> None:
        self.session = session
        self.client_id = client_id
        self.version = version
        self.expiry_interval = expiry_interval
        self.ends_at = ends_at


@final
class SessionEnded(Record):
    """A session is gone, with its subscriptions, queue, identifiers and will."""

    __slots__ = ("session",)

    def __init__(self, session: int) -> None:
        self.session = session


@final
class Subscribed(Record):
    """A subscription was made or replaced; ``options`` is the Subscription Options byte, ``identifier`` 0
    for none.
    """

    __slots__ = ("identifier", "options", "session", "topic_filter")

    def __init__(self, session: int, topic_filter: bytes, options: int, identifier: int) -> None:
        self.session = session
        self.topic_filter = topic_filter
        self.options = options
        self.identifier = identifier


@final
class Unsubscribed(Record):
    """A subscription is gone."""

    __slots__ = ("session", "topic_filter")

    def __init__(self, session: int, topic_filter: bytes) -> None:
        self.session = session
        self.topic_filter = topic_filter


@final
class MessageSaved(Record):
    """A message that later records name by its ``number``; kept as long as any of them does."""

    __slots__ = ("message",)

    def __init__(self, message: ApplicationMessage) -> None:
        self.message = message


@final
class Queued(Record):
    """A message is on its way to a session, as delivery number ``delivery``, behind all earlier ones."""

    __slots__ = ("delivery", "group", "identifiers", "message", "qos", "retain", "session")

    def __init__(
        self,
        session: int,
        delivery: int,
        message: int,
        qos: int,
        retain: bool,
        identifiers: bytes,
        group: int,
    ) -> None:
        self.session = session
        self.delivery = delivery
        self.message = message
        self.qos = qos
        self.retain = retain
        self.identifiers = identifiers
        self.group = group


@final
class Sent(Record):
    """A delivery was given a Packet Identifier."""

    __slots__ = ("delivery", "packet_id", "session")

    def __init__(self, session: int, delivery: int, packet_id: int) -> None:
        self.session = session
        self.delivery = delivery
        self.packet_id = packet_id


@final
class Received(Record):
    """PUBREC came for a delivery: from now on PUBREL is sent, never again the PUBLISH [MQTT-4.3.3-6]."""

    __slots__ = ("delivery", "session")

    def __init__(self, session: int, delivery: int) -> None:
        self.session = session
        self.delivery = delivery


@final
class Delivered(Record):
    """A delivery is over: acknowledged, refused, expired or dropped."""

    __slots__ = ("delivery", "session")

    def __init__(self, session: int, delivery: int) -> None:
        self.session = session
        self.delivery = delivery


@final
class IdentifierTaken(Record):
    """A QoS 2 PUBLISH with this Packet Identifier was received; until its PUBREL, others with it are
    duplicates.
    """

    __slots__ = ("packet_id", "session")

    def __init__(self, session: int, packet_id: int) -> None:
        self.session = session
        self.packet_id = packet_id


@final
class IdentifierFreed(Record):
    """PUBREL came for a received Packet Identifier."""

    __slots__ = ("packet_id", "session")

    def __init__(self, session: int, packet_id: int) -> None:
        self.session = session
        self.packet_id = packet_id


@final
class Retained(Record):
    """The retained message of a topic is now the message with this number; 0: there is none."""

    __slots__ = ("message", "topic")

    def __init__(self, topic: bytes, message: int) -> None:
        self.topic = topic
        self.message = message


@final
class WillSaved(Record):
    """A session's will: the message, delay and expiry in seconds (-1: none), and when it is due.

    ``due_at`` is 0 while the client is connected; the expiry counts from the publication of the will.
    """

    __slots__ = ("delay", "due_at", "expiry", "message", "session")

    def __init__(
        self, session: int, message: ApplicationMessage, delay: int, expiry: int, due_at: float
    ) -> None:
        self.session = session
        self.message = message
        self.delay = delay
        self.expiry = expiry
        self.due_at = due_at


@final
class WillRemoved(Record):
    """A session has no will any more: published, or deleted by DISCONNECT."""

    __slots__ = ("session",)

    def __init__(self, session: int) -> None:
        self.session = session


@final
class Batch:
    """Records to be made durable together, in order."""

    __slots__ = ("number", "records")

    def __init__(self, number: int, records: list[Record]) -> None:
        self.number = number
        self.records = records


@final
class Journal:
    """Collects records into batches.

    ``number`` is that of the batch being filled; batches are numbered from 1 without gaps. ``length`` grows
    with every record ever added: whoever compares it before and after an action knows whether the action
    has to wait for the disk.
    """

    def __init__(self, last_number: int = 0) -> None:
        self.number: int = 1
        self.length: int = 0
        self._records: list[Record] = []
        self._last: int = last_number  # of sessions, messages and deliveries

    def next_number(self) -> int:
        """A fresh number for a session, message or delivery."""
        self._last += 1
        return self._last

    def add(self, record: Record) -> None:
        self._records.append(record)
        self.length += 1

    def add_message(self, message: ApplicationMessage) -> int:
        """Make a message nameable in records; its number. Adds a record the first time only."""
        if not message.number:
            message.number = self.next_number()
            self.add(MessageSaved(message))
        return message.number

    def take(self) -> Batch | None:
        """The records since the last batch, or None when there are none."""
        if not self._records:
            return None
        batch = Batch(self.number, self._records)
        self._records = []
        self.number += 1
        return batch
