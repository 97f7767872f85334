"""Durable state from the records of the journal, when a broker starts again (4.1.1).

Records are replayed in order, all that were ever made or the fewer a store has kept of them; both give the
same state. Then ``finish`` does what the end of the last life left to do: everybody's Network Connection has
ended, so expiry counts and wills become due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from curier.broker.deadlines import Deadline
from curier.broker.sessions import Member, ServerSession
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

SAVED_PER_STEP: Final = 1000  # sessions
SAVE_PAUSE: Final = 0.01  # seconds, which is time enough for the disk


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
                core.add_session(session)
                self._seen(record.session)
            session.version = record.version
            session.expiry_interval = record.expiry_interval
            session.ends_at = record.ends_at
        elif isinstance(record, SessionEnded):
            session = self._session(record.session)
            for topic_filter, subscription in session.subscriptions.items():
                detach(core, session, topic_filter, subscription)
            core.remove_session(session)
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
        for group in core.groups.values():  # however the store has sorted its subscriptions
            group.members.sort(key=_number)
        left: list[ServerSession] = []
        for session in list(core.sessions.values()):
            core.statistics.queued_bytes += session.outgoing.queued_bytes
            if self._leave(session, now):
                left.append(session)
        LeftSessions(core, left).start(now)

    def _leave(self, session: ServerSession, now: float) -> bool:
        """Whoever was connected is so no more: like any lost connection, as of now. Must that be saved?"""
        core = self.core
        if not session.expiry_interval:
            core.end_session(session, "the broker was restarted", now)
            return False
        has_changed = False
        if not session.ends_at and session.expiry_interval != SESSION_NEVER_EXPIRES:
            session.ends_at = now + session.expiry_interval
            has_changed = True
        if session.will is not None and not session.will_due_at:
            session.will_due_at = now + session.will_delay
            has_changed = True
        core.watch(session)
        return has_changed


def _number(member: Member) -> int:
    return member.session.number


@final
class LeftSessions(Deadline):
    """Saves when the sessions end that a crash has left, a piece at a time: a million at once would keep
    everybody waiting for the disk.

    Those not yet saved when the next crash comes begin their Session Expiry Interval anew.
    """

    def __init__(self, core: BrokerCore, sessions: list[ServerSession]) -> None:
        super().__init__()
        self.core: BrokerCore = core
        self._sessions: list[ServerSession] = sessions

    def start(self, now: float) -> None:
        again = self.fire(now)
        if again:
            self.core.deadlines.add(self, again)

    def fire(self, now: float) -> float:
        core = self.core
        for session in self._sessions[-SAVED_PER_STEP:]:
            if core.sessions.get(session.client_id) is session:
                core.save_session(session)
                if session.will_due_at:
                    core.save_will(session)
        del self._sessions[-SAVED_PER_STEP:]
        return now + SAVE_PAUSE if self._sessions else 0.0
