"""Messages and their deliveries from the records of the journal; and a client's session, from its records
and as records, when its program starts again.

The broker's sessions have more to them than flows, and restore the rest themselves (``broker.restoring``).
"""

from __future__ import annotations

from typing import Final, final

from curier.errors import StoreError
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.records import (
    Delivered,
    DeliveryRow,
    IdentifierFreed,
    IdentifierTaken,
    MessageRemoved,
    MessageRow,
    MessageSaved,
    MessagesKept,
    Queued,
    QueuesKept,
    Received,
    Record,
    Sent,
    ServerMet,
    SessionSaved,
)
from curier.session.session import Session

SESSION_NUMBER: Final = 1  # of the only session there is
_NEVER_EXPIRES: Final = 0xFFFFFFFF


class FlowRestorer:
    """Replays records of messages, deliveries and Packet Identifiers; a subclass knows the sessions.

    ``highest`` is the largest number met, ``count`` says how many records it were, those in rows included.
    """

    def __init__(self) -> None:
        self.highest: int = 0
        self.count: int = 0
        self._messages: dict[int, ApplicationMessage] = {}
        self._entries: dict[int, Outgoing] = {}  # by delivery, in the order of the queues
        self._owners: dict[int, Session] = {}  # of deliveries
        self._releasing: dict[int, Outgoing] = {}  # those whose PUBREC came, in that order

    def _session(self, number: int) -> Session:
        """Raises ``KeyError`` for one that no record told of."""
        raise NotImplementedError

    def _owner(self, number: int) -> Session:
        """Whose delivery it is that names this session."""
        return self._session(number)

    def _replay_session(self, record: Record) -> None:
        """A record of a session itself, or of retained messages."""
        raise NotImplementedError

    def replay(self, records: list[Record]) -> None:
        """The next records. Raises ``StoreError`` for one that does not fit those before it."""
        for record in records:
            try:
                self._replay(record)
            except KeyError as error:
                raise StoreError(
                    f"a {type(record).__name__} record names {error.args[0]}, which is not there"
                ) from None
            except TypeError as error:  # a row of a damaged file
                raise StoreError(f"a {type(record).__name__} record is damaged ({error})") from None

    def _replay(self, record: Record) -> None:
        if isinstance(record, MessagesKept):
            self._replay_messages(record.rows)
            return
        if isinstance(record, QueuesKept):
            self._replay_queues(record.rows)
            return
        self.count += 1
        if isinstance(record, MessageSaved):
            message = record.message
            message.number = record.number
            message.references = 0
            self._messages[record.number] = message
            self._seen(record.number)
        elif isinstance(record, Queued):
            message = self._messages[record.message]
            message.references += 1
            entry = Outgoing(message, record.qos, record.retain, record.identifiers, record.group)
            entry.delivery = record.delivery
            self._entries[record.delivery] = entry
            self._owners[record.delivery] = self._owner(record.session)
            self._seen(record.delivery)
        elif isinstance(record, Sent):
            self._entries[record.delivery].packet_id = record.packet_id
        elif isinstance(record, Received):
            self._releasing[record.delivery] = self._entries[record.delivery]
            self._seen(record.order)
        elif isinstance(record, Delivered):
            self._entries.pop(record.delivery).message.references -= 1
            del self._owners[record.delivery]
            self._releasing.pop(record.delivery, None)
        elif isinstance(record, MessageRemoved):
            del self._messages[record.message]
        elif isinstance(record, IdentifierTaken):
            self._session(record.session).incoming.restore(record.packet_id)
        elif isinstance(record, IdentifierFreed):
            self._session(record.session).incoming.identifiers.discard(record.packet_id)
        else:
            self._replay_session(record)

    def _replay_messages(self, rows: list[MessageRow]) -> None:
        messages = self._messages
        for number, topic, payload, qos, retain, properties, expires_at in rows:
            message = ApplicationMessage(topic, payload, qos, retain != 0, properties, expires_at)
            message.number = number
            messages[number] = message
            self._seen(number)
        self.count += len(rows)

    def _replay_queues(self, rows: list[DeliveryRow]) -> None:
        messages = self._messages
        for session, number, message_number, qos, retain, identifiers, group in rows:
            message = messages[message_number]
            message.references += 1
            entry = Outgoing(message, qos, retain != 0, identifiers, group)
            entry.delivery = number
            self._owner(session).outgoing.append(entry)
            self._seen(number)
        self.count += len(rows)

    def _seen(self, number: int) -> None:
        if number > self.highest:
            self.highest = number

    def _place(self) -> None:
        """All records are replayed: put the deliveries in their places."""
        for delivery, entry in self._entries.items():
            outgoing = self._owners[delivery].outgoing
            if not entry.packet_id:
                outgoing.append(entry)
                continue
            outgoing.last_id = entry.packet_id
            if delivery not in self._releasing:
                outgoing.inflight[entry.packet_id] = entry
        for delivery, entry in self._releasing.items():
            self._owners[delivery].outgoing.releasing[entry.packet_id] = entry
        self._entries = {}
        self._owners = {}
        self._releasing = {}


@final
class SessionRestorer(FlowRestorer):
    """Replays records into ``session``, whose ``client_id`` is "" until one says it.

    ``server`` is the server that knows the session, "" where none does.
    """

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal: Journal = journal
        self.session: Session = Session("", SESSION_NUMBER, journal)
        self.server: str = ""

    def _session(self, number: int) -> Session:
        return self.session

    def _replay_session(self, record: Record) -> None:
        if isinstance(record, SessionSaved):
            self.session.client_id = record.client_id
        elif isinstance(record, ServerMet):
            self.server = record.server
        else:
            raise StoreError(f"a {type(record).__name__} record, which no client makes")

    def finish(self) -> Session:
        """All records are replayed: the session is as it was."""
        self._place()
        self.journal.continue_after(self.highest)
        return self.session


def records_of(session: Session, server: str) -> list[Record]:
    """Records that give ``session`` when they are replayed."""
    records: list[Record] = [
        SessionSaved(session.number, session.client_id, 5, _NEVER_EXPIRES, 0.0),
        ServerMet(session.number, server),
    ]
    return records + flow_records(session)


def flow_records(session: Session) -> list[Record]:
    """Records that give what is on its way in ``session``, both ways, when they are replayed."""
    outgoing = session.outgoing
    outgoing.settle()
    records: list[Record] = []
    begun = [*outgoing.releasing.values(), *outgoing.inflight.values()]
    saved: set[int] = set()
    for entry in sorted([*begun, *outgoing.queue], key=_delivery):
        if entry.delivery:
            message = entry.message
            if message.number not in saved:
                saved.add(message.number)
                records.append(MessageSaved(message.number, message))
            records.append(
                Queued(
                    session.number,
                    entry.delivery,
                    message.number,
                    entry.qos,
                    entry.retain,
                    entry.identifiers,
                    entry.group,
                )
            )
    records += [Sent(session.number, entry.delivery, entry.packet_id) for entry in begun]
    for entry in outgoing.releasing.values():
        records.append(Received(session.number, entry.delivery, entry.delivery))
    records += [IdentifierTaken(session.number, packet_id) for packet_id in session.incoming.identifiers]
    return records


def _delivery(entry: Outgoing) -> int:
    return entry.delivery
