"""Sessions: begun, saved, left by their connections, ended (4.1)."""

from __future__ import annotations

from typing import final

from curier.broker import leftovers, shares, telling
from curier.broker.attaching import detach_all
from curier.broker.deadlines import Deadline
from curier.broker.faults import name_of
from curier.broker.model import BrokerConnection, ServerSession
from curier.broker.mounting import Mount
from curier.broker.publishing import publish_will
from curier.broker.state import BrokerState
from curier.codec.constants import SESSION_NEVER_EXPIRES
from curier.session.records import SessionEnded, SessionSaved, WillRemoved, WillSaved


def new_session(
    broker: BrokerState, client_id: str, is_durable: bool, mount: Mount | None = None
) -> ServerSession:
    """Begin a Session, which ``is_durable`` if it may outlive its connection; in a cluster all are, since
    other nodes have to know whose they are, and their wills.
    """
    journal = broker.journal
    is_durable = is_durable or broker.is_clustered
    number = journal.next_number() if journal is not None else broker.next_number()
    session = ServerSession(client_id, number, journal if is_durable else None)
    session.mount = mount
    add_session(broker, session)
    return session


def add_session(broker: BrokerState, session: ServerSession) -> None:
    """Have ``session`` found by Client Identifier, by number, and on a walk over all."""
    broker.sessions[session.client_id] = session
    broker.sessions_by_number[session.number] = session
    session.place = len(broker.session_list)
    broker.session_list.append(session)


def remove_session(broker: BrokerState, session: ServerSession) -> None:
    """Undo ``add_session``."""
    shares.stored(broker, session, False, session.source)
    del broker.sessions[session.client_id]
    del broker.sessions_by_number[session.number]
    last = broker.session_list.pop()
    if last is not session:
        last.place = session.place
        broker.session_list[last.place] = last


def save_session(session: ServerSession) -> None:
    """Have the journal know the session as it is now."""
    if session.journal is not None:
        session.journal.add(
            SessionSaved(
                session.number,
                session.client_id,
                session.version,
                session.expiry_interval,
                session.ends_at,
                session.mount.prefix if session.mount is not None else b"",
                session.user,
            )
        )


def save_will(session: ServerSession) -> None:
    """Have the journal know the will of the session as it is now."""
    if session.journal is not None and session.will is not None:
        session.journal.add(
            WillSaved(
                session.number,
                session.will,
                session.will_delay,
                session.will_expiry,
                session.will_due_at,
            )
        )


def forget_will(session: ServerSession) -> None:
    """The session has no will any more, and it is not published [MQTT-3.1.2-10]."""
    if session.will is not None and session.journal is not None:
        session.journal.add(WillRemoved(session.number))
    session.will = None


def leave(broker: BrokerState, session: ServerSession, connection: BrokerConnection, now: float) -> None:
    """A connection of ``session`` has ended; the session stays for its Session Expiry Interval, or ends."""
    if session.connection is not connection and session.arriving is not connection:
        return
    session.connection = None
    session.arriving = None
    session.lane = session.in_trains = 0
    if connection.discard_will:
        forget_will(session)
    if not session.expiry_interval:
        end_session(broker, session, "its connection ended", now)
        return
    session.outgoing.close()
    if session.expiry_interval != SESSION_NEVER_EXPIRES:
        session.ends_at = now + session.expiry_interval
    save_session(session)
    if session.will is not None and session.will_delay:
        session.will_due_at = now + session.will_delay
        save_will(session)
    watch(broker, session)
    if not session.will_due_at:
        publish_will(broker, session, now)


def end_session(broker: BrokerState, session: ServerSession, why: str, now: float) -> None:
    """Discard Session State [MQTT-4.1.0-2]: its will is published now, shared messages go to other
    members.
    """
    if broker.sessions.get(session.client_id) is not session:
        return
    _take_out(broker, session, now)
    publish_will(broker, session, now)
    if session.journal is not None:
        if broker.is_clustered:
            leftovers.hand_on(session)
        session.journal.add(SessionEnded(session.number))
    _clear(broker, session, why, now)


def drop_session(broker: BrokerState, session: ServerSession, why: str, now: float) -> None:
    """Forget a session that goes on elsewhere: it has not ended, so nothing is published or written."""
    _take_out(broker, session, now)
    session.will = None
    _clear(broker, session, why, now)


def _take_out(broker: BrokerState, session: ServerSession, now: float) -> None:
    remove_session(broker, session)
    session.connection = None
    detach_all(broker, session, now)
    session.retained_sends.clear()


def _clear(broker: BrokerState, session: ServerSession, why: str, now: float) -> None:
    leftovers.begin(broker, session, now)
    session.clear()
    if session.watch is not None:
        broker.deadlines.cancel(session.watch)
        session.watch = None
    telling.session_ended(broker, session, why)


def settle(broker: BrokerState, now: float) -> None:
    """End the connections and sessions that are to be ended because of an error (``faults``).

    Every entry of the core does so last of all. Within a call of a hook something is still going on.
    """
    faults = broker.faults
    while faults.is_due and not broker.hooks.depth:
        faults.is_due = False
        ending = faults.ending
        faults.ending = []
        for connection in ending:
            _give_up(broker, connection, now)
        unkept = faults.unkept
        faults.unkept = []
        for session in unkept:
            if session.arriving is not None:
                _give_up(broker, session.arriving, now)
            try:
                end_session(broker, session, "it could not keep a message", now)
            except Exception as error:
                faults.note(f"ending the session of {session.client_id!r}", error)


def _give_up(broker: BrokerState, connection: BrokerConnection, now: float) -> None:
    """End a connection, whatever is wrong with it."""
    connection.now = now
    reason_code = connection.ending_code
    why = connection.ending_why
    try:
        connection.give_up(reason_code, why, now)
    except Exception as error:  # such as the one that is the reason
        broker.faults.note(f"telling {name_of(connection)} that it is disconnected", error)
    try:
        connection.end(reason_code, why, now)
    except Exception as error:
        broker.faults.note(f"ending the connection of {name_of(connection)}", error)


def watch(broker: BrokerState, session: ServerSession) -> None:
    """See that a session that is away gets its will published and its end in time."""
    when = session.will_due_at if session.will_due_at else session.ends_at
    if session.will_due_at and session.ends_at:
        when = min(session.will_due_at, session.ends_at)
    present = session.watch
    if when and (present is None or when < present.when):
        if present is not None:
            broker.deadlines.move(present, when)
        else:
            session.watch = SessionWatch(broker, session)
            broker.deadlines.add(session.watch, when)


@final
class SessionWatch(Deadline):
    """The delayed will and the end of a session whose client is away."""

    def __init__(self, broker: BrokerState, session: ServerSession) -> None:
        super().__init__()
        self.broker: BrokerState = broker
        self.session: ServerSession = session

    def fire(self, now: float) -> float:
        session = self.session
        if session.connection is None and session.arriving is None:
            if session.ends_at and session.ends_at <= now:
                session.watch = None
                self.broker.statistics.expired_sessions += 1
                end_session(self.broker, session, "its Session Expiry Interval has passed", now)
                return 0.0
            if session.will_due_at and session.will_due_at <= now:
                publish_will(self.broker, session, now)
        return self._next()

    def failed(self, error: Exception, now: float) -> float:
        when = self._next()
        if when > now:
            return when
        self.session.watch = None  # it would fail again
        return 0.0

    def _next(self) -> float:
        session = self.session
        when = session.ends_at
        if session.will_due_at and (not when or session.will_due_at < when):
            when = session.will_due_at
        if not when:
            session.watch = None
        return when
