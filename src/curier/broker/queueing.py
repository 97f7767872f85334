"""Messages that wait in a session until they can be sent, within its caps and those of all sessions."""

from __future__ import annotations

from curier.broker import telling
from curier.broker.model import ServerSession
from curier.broker.state import BrokerState
from curier.session.journal import MAX_PENDING_BYTES
from curier.session.message import NEVER
from curier.session.outgoing import Outgoing, OutgoingFlow


def enqueue(broker: BrokerState, session: ServerSession, entry: Outgoing, now: float) -> None:
    """Keep ``entry`` in the session, within its caps; when full, drop the oldest or this one."""
    outgoing = session.outgoing
    journal = session.journal
    if not entry.qos and journal is not None and journal.pending_bytes > MAX_PENDING_BYTES:
        telling.dropped(broker, session, entry.message, "too much waits for the disk")
        return
    size = entry.message.size()
    if _why_full(broker, outgoing, size):
        drop_expired(broker, session, now)
    while why := _why_full(broker, outgoing, size):
        if not broker.options.drop_oldest or not outgoing.queue:
            telling.dropped(broker, session, entry.message, why)
            return
        oldest = take(broker, outgoing)
        outgoing.forget(oldest)
        telling.dropped(broker, session, oldest.message, why + ", and the oldest goes first")
    outgoing.record(entry)
    put(broker, outgoing, entry)


def _why_full(broker: BrokerState, outgoing: OutgoingFlow, size: int) -> str:
    """Plain words where a message of ``size`` bytes has no room in a queue, or ""."""
    options = broker.options
    if len(outgoing.queue) >= options.max_queued_messages:
        return "its queue is full"
    if outgoing.queued_bytes + size > options.max_queued_bytes:
        return "its queue is full"
    if broker.statistics.queued_bytes + size > options.max_queued_total_bytes:
        return "the queues of all clients together are full"
    return ""


def put(broker: BrokerState, outgoing: OutgoingFlow, entry: Outgoing) -> None:
    """Put ``entry`` at the end of a queue."""
    outgoing.append(entry)
    broker.statistics.queued_bytes += entry.message.size()
    broker.statistics.stored_payload += len(entry.message.payload)


def take(broker: BrokerState, outgoing: OutgoingFlow) -> Outgoing:
    """Take the first entry from a queue that has one."""
    entry = outgoing.pop()
    broker.statistics.queued_bytes -= entry.message.size()
    broker.statistics.stored_payload -= len(entry.message.payload)
    return entry


def drop_expired(broker: BrokerState, session: ServerSession, now: float) -> None:
    """Make room: messages whose Message Expiry Interval has passed need not wait [MQTT-3.3.2-5]."""
    outgoing = session.outgoing
    if outgoing.first_expiry == NEVER or now < outgoing.first_expiry:
        return  # a full queue must not be searched for every message that comes
    outgoing.first_expiry = NEVER
    for _ in range(len(outgoing.queue)):
        entry = take(broker, outgoing)
        if entry.message.is_expired(now):
            outgoing.forget(entry)
            telling.expired(broker, session, entry.message)
        else:
            put(broker, outgoing, entry)
