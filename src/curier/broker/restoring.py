"""Durable state from the records of the journal, when a broker starts again (4.1.1).

Records are replayed in order, all that were ever made or the fewer a store has kept of them; both give the
same state. Then ``finish`` does what the end of the last life left to do: everybody's Network Connection has
ended, so expiry counts and wills become due.
"""

from __future__ import annotations

from typing import Final, final

from curier.broker import keeping, leftovers, retaining, shares
from curier.broker.attaching import attach, detach
from curier.broker.deadlines import Deadline
from curier.broker.model import ServerSession
from curier.broker.state import BrokerState
from curier.codec.constants import SESSION_NEVER_EXPIRES
from curier.errors import StoreError
from curier.session.message import ApplicationMessage
from curier.session.records import (
    MessageRemoved,
    Record,
    Retained,
    SessionEnded,
    SessionSaved,
    Subscribed,
    Unsubscribed,
    WillRemoved,
    WillSaved,
)
from curier.session.restoring import FlowRestorer

SAVED_PER_STEP: Final = 1000  # sessions
SAVE_PAUSE: Final = 0.01  # seconds, which is time enough for the disk


@final
class Restorer(FlowRestorer):
    """Replays records into a new ``BrokerCore`` that has a journal and no connections yet.

    The journal of the broker goes on behind ``highest``.
    """

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self._removed: dict[int, ServerSession] = {}  # in the records replayed so far
        self._found: ServerSession | None = None  # last
        self._ended: dict[int, ServerSession] = {}  # whose messages were not yet forgotten (``leftovers``)

    def _replay_session(self, record: Record) -> None:
        broker = self.broker
        if isinstance(record, SessionSaved) and not record.client_id:
            session = self._removed.pop(record.session, None)
            if session is None:
                session = ServerSession("", record.session, broker.journal)
                self._seen(record.session)
            session.mount = broker.mount(record.mount)
            self._ended[record.session] = session
        elif isinstance(record, SessionSaved):
            session = broker.sessions_by_number.get(record.session)
            if session is None:
                session = self._found = ServerSession(record.client_id, record.session, broker.journal)
                keeping.add_session(broker, session)
                self._seen(record.session)
            session.mount = broker.mount(record.mount)
            session.user = record.user
            session.version = record.version
            session.expiry_interval = record.expiry_interval
            session.ends_at = record.ends_at
        elif isinstance(record, SessionEnded) and self._ended.pop(record.session, None) is not None:
            pass
        elif isinstance(record, SessionEnded):
            session = self._session(record.session)
            for topic_filter, subscription in session.subscriptions.items():
                detach(broker, session, topic_filter, subscription)
            keeping.remove_session(broker, session)
            self._removed[record.session] = session
        elif isinstance(record, Subscribed):
            session = self._session(record.session)
            attach(
                broker, session, record.topic_filter, record.options, record.options & 3, record.identifier
            )
        elif isinstance(record, Unsubscribed):
            session = self._session(record.session)
            removed = session.subscriptions.pop(record.topic_filter, None)
            if removed is not None:
                detach(broker, session, record.topic_filter, removed)
        elif isinstance(record, WillSaved):
            session = self._session(record.session)
            session.will = record.message
            session.will_delay = record.delay
            session.will_expiry = record.expiry
            session.will_due_at = record.due_at
        elif isinstance(record, WillRemoved):
            session = self._session(record.session)
            session.will = None
            session.will_due_at = 0.0
        elif isinstance(record, Retained):
            self._retain(record)

    def _session(self, number: int) -> ServerSession:
        session = self.broker.sessions_by_number.get(number)
        if session is None:
            raise KeyError(f"session {number}")
        return session

    def _owner(self, number: int) -> ServerSession:
        ended = self._ended.get(number)
        return ended if ended is not None else self._session(number)

    def _retain(self, record: Retained) -> None:
        broker = self.broker
        previous = broker.retained.get(record.topic)
        if previous is not None:
            previous.references -= 1
        if not record.message:
            retaining.put(broker, ApplicationMessage(record.topic, b"", 0, True), "")
            return
        message = self._messages[record.message]
        message.references += 1
        message.written_at = record.written_at
        retaining.put(broker, message, record.writer)  # in words: it counts in no share (``broker.shares``)

    def finish_one(self) -> ServerSession:
        """All records of the only session there is are replayed: put its deliveries in their places."""
        self._place()
        if self._found is None:
            raise StoreError("there is no session in these records")
        return self._found

    def finish(self, now: float) -> None:
        """All records are replayed: put deliveries in their places and start the clocks."""
        broker = self.broker
        self._place()
        if broker.journal is not None:
            broker.journal.continue_after(self.highest)
            for message in self._messages.values():
                if not message.references:  # a crash came between its two records
                    broker.journal.add(MessageRemoved(message.number))
                    message.number = 0
        self._messages = {}
        self._removed = {}
        for group in broker.groups.values():  # however the store has sorted its subscriptions
            group.sort()
        left: list[ServerSession] = []
        for session in list(broker.sessions.values()):
            broker.statistics.queued_bytes += session.outgoing.queued_bytes
            broker.statistics.stored_payload += session.outgoing.queued_payload()
            try:
                has_changed = was_left(broker, session, now)
            except Exception as error:
                broker.faults.note(f"restoring the session of {session.client_id!r}", error)
                continue
            if has_changed:
                left.append(session)
        for session in self._ended.values():
            broker.statistics.queued_bytes += session.outgoing.queued_bytes
            broker.statistics.stored_payload += session.outgoing.queued_payload()
            leftovers.begin(broker, session, now, True)
        LeftSessions(broker, left).start(now)
        keeping.settle(broker, now)


def was_left(broker: BrokerState, session: ServerSession, now: float) -> bool:
    """Whoever was connected is so no more: like any lost connection, as of now. Must that be saved?"""
    if not session.expiry_interval:
        keeping.end_session(broker, session, "the broker was restarted", now)
        return False
    shares.stored(broker, session, True, "")
    has_changed = False
    if not session.ends_at and session.expiry_interval != SESSION_NEVER_EXPIRES:
        session.ends_at = now + session.expiry_interval
        has_changed = True
    if session.will is not None and not session.will_due_at:
        session.will_due_at = now + session.will_delay
        has_changed = True
    keeping.watch(broker, session)
    return has_changed


@final
class LeftSessions(Deadline):
    """Saves when the sessions end that a crash has left, a piece at a time: a million at once would keep
    everybody waiting for the disk.

    Those not yet saved when the next crash comes begin their Session Expiry Interval anew.
    """

    def __init__(self, broker: BrokerState, sessions: list[ServerSession]) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self._sessions: list[ServerSession] = sessions

    def start(self, now: float) -> None:
        again = self.fire(now)
        if again:
            self.broker.deadlines.add(self, again)

    def fire(self, now: float) -> float:
        broker = self.broker
        sessions = self._sessions[-SAVED_PER_STEP:]
        del self._sessions[-SAVED_PER_STEP:]
        for session in sessions:
            if broker.sessions.get(session.client_id) is session:
                keeping.save_session(session)
                if session.will_due_at:
                    keeping.save_will(session)
        return self._next(now)

    def failed(self, error: Exception, now: float) -> float:
        return self._next(now)

    def _next(self, now: float) -> float:
        return now + SAVE_PAUSE if self._sessions else 0.0
