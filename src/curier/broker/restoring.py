"""Durable state from the records of the journal, when a broker starts again (4.1.1).

Records are replayed in order, all that were ever made or the fewer a store has kept of them; both give the
same state. Then ``finish`` does what the end of the last life left to do: everybody's Network Connection has
ended, so expiry counts and wills become due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from curier.broker.sessions import ServerSession
from curier.broker.subscribing import attach, detach
from curier.codec.constants import SESSION_NEVER_EXPIRES
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

if TYPE_CHECKING:
    from curier.broker.core import BrokerCore


@final
class Restorer(FlowRestorer):
    """Replays records into a new ``BrokerCore`` that has a journal and no connections yet.

    The journal of the core goes on behind ``highest``.
    """

    def __init__(self, core: BrokerCore) -> None:
        super().__init__()
        self.core: BrokerCore = core

    def _replay_session(self, record: Record) -> None:
        core = self.core
        if isinstance(record, SessionSaved):
            session = core.sessions_by_number.get(record.session)
            if session is None:
                session = ServerSession(record.client_id, record.session, core.journal)
                core.sessions[record.client_id] = session
                core.sessions_by_number[record.session] = session
                self._seen(record.session)
            session.version = record.version
            session.expiry_interval = record.expiry_interval
            session.ends_at = record.ends_at
        elif isinstance(record, SessionEnded):
            session = self._session(record.session)
            for topic_filter, subscription in session.subscriptions.items():
                detach(core, session, topic_filter, subscription)
            del core.sessions[session.client_id]
            del core.sessions_by_number[record.session]
        elif isinstance(record, Subscribed):
            session = self._session(record.session)
            attach(core, session, record.topic_filter, record.options, record.options & 3, record.identifier)
        elif isinstance(record, Unsubscribed):
            session = self._session(record.session)
            removed = session.subscriptions.pop(record.topic_filter, None)
            if removed is not None:
                detach(core, session, record.topic_filter, removed)
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
        session = self.core.sessions_by_number.get(number)
        if session is None:
            raise KeyError(f"session {number}")
        return session

    def _retain(self, record: Retained) -> None:
        core = self.core
        previous = core.retained.remove(record.topic)
        if previous is not None:
            previous.references -= 1
            core.statistics.retained_bytes -= previous.size()
        if record.message:
            message = self._messages[record.message]
            message.references += 1
            core.retained.set(record.topic, message)
            core.statistics.retained_bytes += message.size()
            if message.expires_at:
                core.sweep.wake(message.expires_at)

    def finish(self, now: float) -> None:
        """All records are replayed: put deliveries in their places and start the clocks."""
        core = self.core
        self._place()
        if core.journal is not None:
            core.journal.continue_after(self.highest)
            for message in self._messages.values():
                if not message.references:  # a crash came between its two records
                    core.journal.add(MessageRemoved(message.number))
                    message.number = 0
        self._messages = {}
        for session in core.sessions.values():
            core.statistics.queued_bytes += session.outgoing.queued_bytes
        for session in list(core.sessions.values()):
            self._leave(session, now)

    def _leave(self, session: ServerSession, now: float) -> None:
        """Whoever was connected is so no more: like any lost connection, as of now."""
        core = self.core
        if not session.expiry_interval:
            core.end_session(session, "the broker was restarted", now)
            return
        if not session.ends_at and session.expiry_interval != SESSION_NEVER_EXPIRES:
            session.ends_at = now + session.expiry_interval
            core.save_session(session)
        if session.will is not None and not session.will_due_at:
            session.will_due_at = now + session.will_delay
            core.save_will(session)
        core.watch(session)
