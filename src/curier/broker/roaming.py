"""One node of a cluster: sessions that come from other nodes and go to them, and messages that come by the
log which all nodes share.

A session is on one node at a time. It travels as the records that would restore it (``exported``), and what
its new node restores is the session as it was when its former node last wrote it down; what the log has had
for it since is given to it on the way in (``install``).
"""

from __future__ import annotations

from typing import Final, final

from curier.broker import keeping, retaining, shares, sharing, spreading
from curier.broker.delivery import deliver_receiver
from curier.broker.model import LogMessage, ServerSession
from curier.broker.publishing import publish_will
from curier.broker.restoring import Restorer, was_left
from curier.broker.state import BrokerState
from curier.codec.constants import SESSION_TAKEN_OVER
from curier.errors import StoreError
from curier.session.records import (
    IdentifierTaken,
    MessageSaved,
    Queued,
    Received,
    Record,
    Sent,
    SessionSaved,
    Subscribed,
    WillSaved,
)
from curier.session.restoring import flow_records

ELSEWHERE: Final = "its session is on another node now [MQTT-3.1.4-3]"
GOES_ON: Final = "here, and goes on at another node"


def exported(session: ServerSession) -> list[Record]:
    """The session as it is now, as records; of messages that are on their way to it, those that wait for an
    acknowledgement or have a QoS to be kept for.
    """
    number = session.number
    prefix = session.mount.prefix if session.mount is not None else b""
    records: list[Record] = [
        SessionSaved(
            number,
            session.client_id,
            session.version,
            session.expiry_interval,
            session.ends_at,
            prefix,
            session.user,
        )
    ]
    for topic_filter, one in session.subscriptions.items():
        options = one.qos | (4 if one.no_local else 0) | (8 if one.retain_as_published else 0)
        records.append(Subscribed(number, topic_filter, options, _identifier(one.identifier)))
    if session.will is not None:
        records.append(
            WillSaved(number, session.will, session.will_delay, session.will_expiry, session.will_due_at)
        )
    return records + flow_records(session)


def _identifier(encoded: bytes) -> int:
    """The Subscription Identifier of a property as it is sent (3.8.2.1.2), 0: there is none."""
    value = 0
    for place, byte in enumerate(encoded[1:]):
        value |= (byte & 0x7F) << (7 * place)
    return value


@final
class _Renumbered:
    """Records of another node with numbers of this one's journal, where each name has its own."""

    def __init__(self, broker: BrokerState) -> None:
        self.broker: BrokerState = broker
        self.numbers: dict[int, int] = {}

    def number(self, theirs: int) -> int:
        """Ours, for what they call ``theirs``."""
        ours = self.numbers.get(theirs, 0)
        if not ours:
            journal = self.broker.journal
            assert journal is not None
            ours = self.numbers[theirs] = journal.next_number()
        return ours

    def change(self, record: Record) -> None:
        """Have it say our numbers."""
        if isinstance(record, (SessionSaved, Subscribed, WillSaved, IdentifierTaken)):
            record.session = self.number(record.session)
        elif isinstance(record, MessageSaved):
            record.number = self.number(record.number)
        elif isinstance(record, Queued):
            record.session = self.number(record.session)
            record.message = self.number(record.message)
            record.delivery = self.number(record.delivery)
        elif isinstance(record, Sent):
            record.session = self.number(record.session)
            record.delivery = self.number(record.delivery)
        elif isinstance(record, Received):
            record.session = self.number(record.session)
            record.delivery = self.number(record.delivery)
            record.order = self.number(record.order)
        else:
            raise StoreError(f"a session does not have a {type(record).__name__} record")


def install(
    broker: BrokerState, records: list[Record], freed: list[int], missed: list[LogMessage], now: float
) -> None:
    """Have the session of these records here, whose client is away, with what the log has had for it since,
    and without these Packet Identifiers of messages of its client.

    Raises ``StoreError`` for records that do not make a session.
    """
    renumbered = _Renumbered(broker)
    for record in records:
        renumbered.change(record)
    restorer = Restorer(broker)
    restorer.replay(records)
    session = restorer.finish_one()
    keeping.save_session(session)
    session.incoming.identifiers.difference_update(freed)
    broker.statistics.queued_bytes += session.outgoing.queued_bytes
    broker.statistics.stored_payload += session.outgoing.queued_payload()
    for one in missed:
        _give_to(broker, session, one, now)
    if session.ends_at and session.ends_at <= now:
        broker.statistics.expired_sessions += 1
        keeping.end_session(broker, session, "its Session Expiry Interval has passed", now)
        return
    was_left(broker, session, now)
    if session.will is not None and session.will_due_at <= now:  # before its client comes again
        publish_will(broker, session, now)


def _give_to(broker: BrokerState, session: ServerSession, one: LogMessage, now: float) -> None:
    """Give a message that came by while the session was not here to that session alone."""
    message = one.message
    sharing.give(broker, one, now)
    if one.is_for_group:
        return
    route = broker.router.route(message.topic)
    sender = session if one.client_id == session.client_id else None
    for receiver in route.receivers:
        if receiver.session is session:
            deliver_receiver(broker, route, message, sender, now, receiver)


def read_log(broker: BrokerState, one: LogMessage, now: float) -> None:
    """A message came by in the log: all nodes retain it, and give it to the sessions they have."""
    sharing.give(broker, one, now)
    if one.is_for_group:
        return
    if one.message.retain:
        writer = broker.sessions.get(one.client_id) if one.client_id else None
        retaining.put(broker, one.message, shares.owner_of(writer) if writer is not None else one.client_id)
    if one.message.is_expired(now):  # [MQTT-3.3.2-5]
        return
    sender = broker.sessions.get(one.client_id) if one.client_id else None
    spreading.give(broker, broker.router.route(one.message.topic), one.message, sender, now)


def yield_session(broker: BrokerState, session: ServerSession, now: float) -> None:
    """Its client has come to another node: here its connection ends, as if it had come here again. The
    session stays, if it outlives its connection, until it is written down and can be dropped.
    """
    connection = session.connection if session.connection is not None else session.arriving
    if connection is not None:  # [MQTT-3.1.4-3]
        connection.send_disconnect(SESSION_TAKEN_OVER, ELSEWHERE, None)
        connection.end(SESSION_TAKEN_OVER, ELSEWHERE, now)


def drop(broker: BrokerState, session: ServerSession, now: float) -> None:
    """The session goes on elsewhere: nothing of it is said or written here any more."""
    connection = session.connection if session.connection is not None else session.arriving
    keeping.drop_session(broker, session, GOES_ON, now)
    session.arriving = None
    if connection is not None:
        connection.send_disconnect(SESSION_TAKEN_OVER, ELSEWHERE, None)
        connection.end(SESSION_TAKEN_OVER, ELSEWHERE, now)
