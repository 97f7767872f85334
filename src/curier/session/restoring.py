"""One session from its records, when a client's program starts again, and its records from a session.

Only what a client keeps: its two flows, its Client Identifier and the server it shares them with. The
broker's sessions have more to them, and restore themselves (``broker.restoring``).
"""

from __future__ import annotations

from typing import Final, final

from curier.errors import StoreError
from curier.session.journal import Journal
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing
from curier.session.records import (
    Delivered,
    IdentifierFreed,
    IdentifierTaken,
    MessageRemoved,
    MessageSaved,
    Queued,
    Received,
    Record,
    Sent,
    ServerMet,
    SessionSaved,
)
from curier.session.session import Session

SESSION_NUMBER: Final = 1  # of the only session there is
_NEVER_EXPIRES: Final = 0xFFFFFFFF


@final
class SessionRestorer:
    """Replays records into ``session``, whose ``client_id`` is "" until one says it.

    ``server`` is the server that knows the session, "" where none does.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal: Journal = journal
        self.session: Session = Session("", SESSION_NUMBER, journal)
        self.server: str = ""
        self._highest: int = 0
        self._messages: dict[int, ApplicationMessage] = {}
        self._entries: dict[int, Outgoing] = {}  # by delivery, in order
        self._releasing: dict[int, Outgoing] = {}  # those whose PUBREC came, in that order

    def replay(self, records: list[Record]) -> None:
        """The next records. Raises ``StoreError`` for one that does not fit those before it."""
        for record in records:
            try:
                self._replay(record)
            except KeyError as error:
                raise StoreError(
                    f"a {type(record).__name__} record names {error.args[0]}, which is not there"
                ) from None

    def _replay(self, record: Record) -> None:
        if isinstance(record, MessageSaved):
            message = record.message
            message.number = record.number
            message.references = 0
            self._messages[record.number] = message
            self._highest = max(self._highest, record.number)
        elif isinstance(record, Queued):
            message = self._messages[record.message]
            message.references += 1
            entry = Outgoing(message, record.qos, record.retain)
            entry.delivery = record.delivery
            self._entries[record.delivery] = entry
            self._highest = max(self._highest, record.delivery)
        elif isinstance(record, Sent):
            self._entries[record.delivery].packet_id = record.packet_id
        elif isinstance(record, Received):
            self._releasing[record.delivery] = self._entries[record.delivery]
            self._highest = max(self._highest, record.order)
        elif isinstance(record, Delivered):
            self._entries.pop(record.delivery).message.references -= 1
            self._releasing.pop(record.delivery, None)
        elif isinstance(record, MessageRemoved):
            del self._messages[record.message]
        elif isinstance(record, IdentifierTaken):
            self.session.incoming.restore(record.packet_id)
        elif isinstance(record, IdentifierFreed):
            self.session.incoming.identifiers.discard(record.packet_id)
        elif isinstance(record, SessionSaved):
            self.session.client_id = record.client_id
        elif isinstance(record, ServerMet):
            self.server = record.server
        else:
            raise StoreError(f"a {type(record).__name__} record, which no client makes")

    def finish(self) -> Session:
        """All records are replayed: put the messages in their places."""
        outgoing = self.session.outgoing
        for delivery, entry in self._entries.items():
            if not entry.packet_id:
                outgoing.append(entry)
                continue
            outgoing.last_id = entry.packet_id
            if delivery not in self._releasing:
                outgoing.inflight[entry.packet_id] = entry
        for entry in self._releasing.values():
            outgoing.releasing[entry.packet_id] = entry
        self.journal.continue_after(self._highest)
        return self.session


def records_of(session: Session, server: str) -> list[Record]:
    """Records that give ``session`` when they are replayed."""
    records: list[Record] = [
        SessionSaved(session.number, session.client_id, 5, _NEVER_EXPIRES, 0.0),
        ServerMet(session.number, server),
    ]
    outgoing = session.outgoing
    begun = [*outgoing.releasing.values(), *outgoing.inflight.values()]
    saved: set[int] = set()
    for entry in sorted([*begun, *outgoing.queue], key=_delivery):
        if entry.delivery:
            message = entry.message
            if message.number not in saved:
                saved.add(message.number)
                records.append(MessageSaved(message.number, message))
            records.append(
                Queued(session.number, entry.delivery, message.number, entry.qos, entry.retain, b"", b"")
            )
    records += [Sent(session.number, entry.delivery, entry.packet_id) for entry in begun]
    for entry in outgoing.releasing.values():
        records.append(Received(session.number, entry.delivery, entry.delivery))
    records += [IdentifierTaken(session.number, packet_id) for packet_id in session.incoming.identifiers]
    return records


def _delivery(entry: Outgoing) -> int:
    return entry.delivery
