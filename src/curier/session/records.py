"""The records of the journal: every change of durable state, as plain data and as bytes.

A record is a few ints, bytes and texts, so that a store can keep it without knowing the core. Sessions,
messages and deliveries are named by ever-growing numbers, which a store may use as keys. All records ever
made, replayed in order, give the durable state (``broker.restoring``); so do the fewer records that a store
makes of what it has kept.

As bytes (``encode``, ``decode``) a record is one byte for its kind, its numbers little-endian, then its bytes
and texts, each behind a length of four bytes. The form is for a store's own process and may change between
versions; what lies on disk is the store's business.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, Final, final

from curier.codec.primitives import LARGE_PIECE, join_small
from curier.errors import StoreError
from curier.session.message import ApplicationMessage


class Record:
    """One change of durable state."""

    __slots__ = ()


@final
class SessionSaved(Record):
    """A session exists, with these facts. ``ends_at`` is a point in time, or 0 while it is connected;
    ``mount`` is put in front of all topics of its client; ``user`` is whose it is, "": nobody's.
    """

    __slots__ = ("client_id", "ends_at", "expiry_interval", "mount", "session", "user", "version")

    def __init__(
        self,
        session: int,
        client_id: str,
        version: int,
        expiry_interval: int,
        ends_at: float,
        mount: bytes = b"",
        user: str = "",
    ) -> None:
        self.session = session
        self.client_id = client_id
        self.version = version
        self.expiry_interval = expiry_interval
        self.ends_at = ends_at
        self.mount = mount
        self.user = user


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
    """A message that later records name by ``number``; kept as long as any of them does.

    The number stays with the record: the message itself forgets it when nothing names it any more.
    """

    __slots__ = ("message", "number")

    def __init__(self, number: int, message: ApplicationMessage) -> None:
        self.number = number
        self.message = message


@final
class MessageRemoved(Record):
    """No delivery, retained message or will names this message any more."""

    __slots__ = ("message",)

    def __init__(self, message: int) -> None:
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
        group: bytes,
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
    """PUBREC came for a delivery: from now on PUBREL is sent, never again the PUBLISH [MQTT-4.3.3-6].

    ``order`` is a number of the journal: PUBREL goes in the order of PUBREC [MQTT-4.6.0-4].
    """

    __slots__ = ("delivery", "order", "session")

    def __init__(self, session: int, delivery: int, order: int) -> None:
        self.session = session
        self.delivery = delivery
        self.order = order


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
    """The retained message of a topic is now the message with this number; 0: there is none.

    It was written at ``written_at``, 0: nobody knows when, by the client called ``writer``, "": by none.
    """

    __slots__ = ("message", "topic", "writer", "written_at")

    def __init__(self, topic: bytes, message: int, written_at: float = 0.0, writer: str = "") -> None:
        self.topic = topic
        self.message = message
        self.written_at = written_at
        self.writer = writer


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
class Logged(Record):
    """A message goes to the log that all nodes of a cluster share, from where its receivers get it.

    ``session`` is that of its publisher, 0: the broker; ``packet_id`` that of a PUBLISH of QoS 2, 0: of any
    other. ``is_will``: it is that session's Will Message. It has no form as bytes.
    """

    __slots__ = ("is_will", "message", "packet_id", "session")

    def __init__(self, session: int, packet_id: int, message: ApplicationMessage, is_will: bool) -> None:
        self.session = session
        self.packet_id = packet_id
        self.message = message
        self.is_will = is_will


@final
class HandedOn(Record):
    """A message goes to the log of a cluster again, for the Shared Subscription ``group`` alone: ``session``
    had it as a member, and ends. It has no form as bytes.
    """

    __slots__ = ("group", "message", "session")

    def __init__(self, session: int, group: bytes, message: ApplicationMessage) -> None:
        self.session = session
        self.group = group
        self.message = message


@final
class ServerMet(Record):
    """A client's Session State is shared with this server from now on, and with no other."""

    __slots__ = ("server", "session")

    def __init__(self, session: int, server: str) -> None:
        self.session = session
        self.server = server


MessageRow = tuple[int, bytes, bytes, int, int, bytes, float]
"""Number, topic, payload, QoS, RETAIN, properties, when it expires: see ``ApplicationMessage``."""

DeliveryRow = tuple[int, int, int, int, int, bytes, bytes]
"""Session, delivery, message, QoS, RETAIN, identifiers, group: see ``Queued``."""


@final
class MessagesKept(Record):
    """Many ``MessageSaved`` in one, as the rows of a store: a million objects less to start with.

    It has no form as bytes; nor has ``QueuesKept``.
    """

    __slots__ = ("rows",)

    def __init__(self, rows: list[MessageRow]) -> None:
        self.rows = rows


@final
class QueuesKept(Record):
    """Many ``Queued`` in one, as the rows of a store; of these deliveries no other record tells."""

    __slots__ = ("rows",)

    def __init__(self, rows: list[DeliveryRow]) -> None:
        self.rows = rows


def one_by_one(records: list[Record]) -> list[Record]:
    """The same without ``MessagesKept`` and ``QueuesKept``."""
    singles: list[Record] = []
    for record in records:
        if isinstance(record, MessagesKept):
            for number, topic, payload, qos, retain, properties, expires_at in record.rows:
                message = ApplicationMessage(topic, payload, qos, retain != 0, properties, expires_at)
                singles.append(MessageSaved(number, message))
        elif isinstance(record, QueuesKept):
            for session, delivery, number, qos, retain, identifiers, group in record.rows:
                singles.append(Queued(session, delivery, number, qos, retain != 0, identifiers, group))
        else:
            singles.append(record)
    return singles


@final
class Batch:
    """Records to be made durable together, in order."""

    __slots__ = ("number", "records")

    def __init__(self, number: int, records: list[Record]) -> None:
        self.number = number
        self.records = records


_SESSION: Final = Struct("<BqBId")
_NUMBER: Final = Struct("<Bq")
_SUBSCRIBED: Final = Struct("<BqBI")
_MESSAGE: Final = Struct("<BqBBdIII")
_QUEUED: Final = Struct("<BqqqBBII")
_SENT: Final = Struct("<BqqH")
_RECEIVED: Final = Struct("<Bqqq")
_DELIVERED: Final = Struct("<Bqq")
_IDENTIFIER: Final = Struct("<BqH")
_RETAINED: Final = Struct("<BqdII")
_WILL: Final = Struct("<BqIqd")
_LENGTH: Final = Struct("<I")


def encode(records: list[Record]) -> bytes:
    """``records`` as bytes, one behind the other."""
    out: list[bytes] = []
    for record in records:
        _encode(record, out)
    return b"".join(out)


def encode_some(records: list[Record], begin: int, most: int, most_bytes: int) -> tuple[list[bytes], int]:
    """``records`` from ``begin`` on as bytes, in pieces, and where those begin that are left.

    At most so many, and none behind so many bytes of messages; large payloads do not count for that: each is
    a piece by itself and is not copied.
    """
    out: list[bytes] = []
    end = min(begin + most, len(records))
    size = 0
    while begin < end and size < most_bytes:
        record = records[begin]
        _encode(record, out)
        if isinstance(record, MessageSaved) and len(record.message.payload) <= LARGE_PIECE:
            size += record.message.size()
        begin += 1
    return join_small(out), begin


def _encode(record: Record, out: list[bytes]) -> None:
    # The commonest first: a message that arrives and is delivered makes these five.
    if isinstance(record, MessageSaved):
        _encode_message(record.number, record.message, out)
    elif isinstance(record, Queued):
        out.append(
            _QUEUED.pack(
                6,
                record.session,
                record.delivery,
                record.message,
                record.qos,
                record.retain,
                len(record.identifiers),
                len(record.group),
            )
        )
        out.append(record.identifiers)
        out.append(record.group)
    elif isinstance(record, Sent):
        out.append(_SENT.pack(7, record.session, record.delivery, record.packet_id))
    elif isinstance(record, Delivered):
        out.append(_DELIVERED.pack(9, record.session, record.delivery))
    elif isinstance(record, MessageRemoved):
        out.append(_NUMBER.pack(15, record.message))
    elif isinstance(record, Received):
        out.append(_RECEIVED.pack(8, record.session, record.delivery, record.order))
    elif isinstance(record, IdentifierTaken):
        out.append(_IDENTIFIER.pack(10, record.session, record.packet_id))
    elif isinstance(record, IdentifierFreed):
        out.append(_IDENTIFIER.pack(11, record.session, record.packet_id))
    elif isinstance(record, Retained):
        writer = record.writer.encode()
        out.append(_RETAINED.pack(12, record.message, record.written_at, len(record.topic), len(writer)))
        out.append(record.topic)
        out.append(writer)
    elif isinstance(record, SessionSaved):
        _encode_session(record, out)
    elif isinstance(record, SessionEnded):
        out.append(_NUMBER.pack(2, record.session))
    elif isinstance(record, Subscribed):
        out.append(_SUBSCRIBED.pack(3, record.session, record.options, record.identifier))
        _encode_prefixed(record.topic_filter, out)
    elif isinstance(record, Unsubscribed):
        out.append(_NUMBER.pack(4, record.session))
        _encode_prefixed(record.topic_filter, out)
    elif isinstance(record, WillSaved):
        out.append(_WILL.pack(13, record.session, record.delay, record.expiry, record.due_at))
        _encode_message(0, record.message, out)
    elif isinstance(record, WillRemoved):
        out.append(_NUMBER.pack(14, record.session))
    elif isinstance(record, ServerMet):
        server = record.server.encode()
        out.append(_NUMBER.pack(16, record.session))
        _encode_prefixed(server, out)
    else:
        raise TypeError(f"a {type(record).__name__} record has no form as bytes")


def _encode_session(record: SessionSaved, out: list[bytes]) -> None:
    kind = 1  # which all versions know
    if record.user:
        kind = 18
    elif record.mount:
        kind = 17
    facts = record.version, record.expiry_interval, record.ends_at
    out.append(_SESSION.pack(kind, record.session, *facts))
    _encode_prefixed(record.client_id.encode(), out)
    if kind >= 17:
        _encode_prefixed(record.mount, out)
    if kind == 18:
        _encode_prefixed(record.user.encode(), out)


def _encode_prefixed(data: bytes, out: list[bytes]) -> None:
    out.append(_LENGTH.pack(len(data)))
    out.append(data)


def _encode_message(number: int, message: ApplicationMessage, out: list[bytes]) -> None:
    topic = message.topic
    properties = message.properties
    payload = message.payload
    out.append(
        _MESSAGE.pack(
            5,
            number,
            message.qos,
            message.retain,
            message.expires_at,
            len(topic),
            len(properties),
            len(payload),
        )
    )
    out.append(topic)
    out.append(properties)
    out.append(payload)


def decode(data: bytes) -> list[Record]:
    """The records that ``encode`` made ``data`` of. Raises ``StoreError`` for anything else."""
    records: list[Record] = []
    reader = _Reader(data)
    try:
        while reader.pos < len(data):
            records.append(reader.record())
    except (ValueError, IndexError) as error:
        raise StoreError(f"not a record at byte {reader.pos} of {len(data)}: {error}") from None
    return records


@final
class _Reader:
    """Decodes records one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.pos = 0

    def numbers(self, form: Struct) -> tuple[Any, ...]:
        # struct.error is a ValueError only by name; a short buffer is found here instead.
        if self.pos + form.size > len(self.data):
            raise ValueError("it is cut off")
        values: tuple[Any, ...] = form.unpack_from(self.data, self.pos)
        self.pos += form.size
        return values

    def cut(self, length: int) -> bytes:
        begin = self.pos
        self.pos += length
        if self.pos > len(self.data):
            raise ValueError("it is cut off")
        return self.data[begin : self.pos]

    def prefixed(self) -> bytes:
        return self.cut(self.numbers(_LENGTH)[0])

    def message(self) -> ApplicationMessage:
        _, number, qos, retain, expires_at, topic_size, properties_size, size = self.numbers(_MESSAGE)
        topic = self.cut(topic_size)
        properties = self.cut(properties_size)
        message = ApplicationMessage(topic, self.cut(size), qos, bool(retain), properties, float(expires_at))
        message.number = number
        return message

    def record(self) -> Record:
        kind = self.data[self.pos]
        if kind == 5:
            message = self.message()
            return MessageSaved(message.number, message)
        if kind == 6:
            _, session, delivery, number, qos, retain, length, group = self.numbers(_QUEUED)
            return Queued(session, delivery, number, qos, bool(retain), self.cut(length), self.cut(group))
        if kind == 7:
            _, session, delivery, packet_id = self.numbers(_SENT)
            return Sent(session, delivery, packet_id)
        if kind == 8:
            _, session, delivery, order = self.numbers(_RECEIVED)
            return Received(session, delivery, order)
        if kind == 9:
            _, session, delivery = self.numbers(_DELIVERED)
            return Delivered(session, delivery)
        if kind == 10 or kind == 11:
            _, session, packet_id = self.numbers(_IDENTIFIER)
            return IdentifierTaken(session, packet_id) if kind == 10 else IdentifierFreed(session, packet_id)
        if kind == 12:
            _, number, written_at, length, writer = self.numbers(_RETAINED)
            return Retained(self.cut(length), number, float(written_at), self.cut(writer).decode())
        return self.rare_record(kind)

    def rare_record(self, kind: int) -> Record:
        if kind == 1 or kind == 17 or kind == 18:
            _, session, version, expiry_interval, ends_at = self.numbers(_SESSION)
            client_id = self.prefixed().decode()
            mount = self.prefixed() if kind >= 17 else b""
            user = self.prefixed().decode() if kind == 18 else ""
            return SessionSaved(session, client_id, version, expiry_interval, float(ends_at), mount, user)
        if kind == 2:
            return SessionEnded(self.numbers(_NUMBER)[1])
        if kind == 3:
            _, session, options, identifier = self.numbers(_SUBSCRIBED)
            return Subscribed(session, self.prefixed(), options, identifier)
        if kind == 4:
            session = self.numbers(_NUMBER)[1]
            return Unsubscribed(session, self.prefixed())
        if kind == 13:
            _, session, delay, expiry, due_at = self.numbers(_WILL)
            return WillSaved(session, self.message(), delay, expiry, float(due_at))
        if kind == 14:
            return WillRemoved(self.numbers(_NUMBER)[1])
        if kind == 15:
            return MessageRemoved(self.numbers(_NUMBER)[1])
        if kind == 16:
            session = self.numbers(_NUMBER)[1]
            return ServerMet(session, self.prefixed().decode())
        raise ValueError(f"there is no record of kind {kind}")
