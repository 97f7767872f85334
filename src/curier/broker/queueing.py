"""Messages that wait in a session until they can be sent, within its caps and those of all sessions.

What becomes of a message that finds the queue full is ``when_full``: the newest is dropped, or the oldest; or
no message is taken from anybody (``refuse``) that would be lost to a session which outlives its connection.
"""

from __future__ import annotations

from typing import Final

from curier.broker import telling
from curier.broker.model import ServerSession
from curier.broker.options import DROP_OLDEST
from curier.broker.state import BrokerState
from curier.session.journal import MAX_PENDING_BYTES
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Outgoing, OutgoingFlow

NOBODY_HAS_ROOM: Final = "the queues of all receivers are full"  # what a 5.0 publisher is told

LOOKED_THROUGH: Final = 1000  # messages of a full queue, for those that have expired
LOOK_PAUSE: Final = 1.0  # seconds, where there are more


def enqueue(broker: BrokerState, session: ServerSession, entry: Outgoing, now: float) -> bool:
    """Keep ``entry`` in the session, within its caps; when it is full, drop the oldest or this one.

    False where the newest one was dropped, which is ``entry``.
    """
    outgoing = session.outgoing
    journal = session.journal
    if not entry.qos and journal is not None and journal.pending_bytes > MAX_PENDING_BYTES:
        telling.dropped(broker, session, entry.message, "too much waits for the disk")
        return False
    size = entry.message.size()
    if why_full(broker, outgoing, size):
        drop_expired(broker, session, now)
    while why := why_full(broker, outgoing, size):
        if broker.options.when_full != DROP_OLDEST or not outgoing.queue:
            _drop(broker, session, entry.message, why)
            return False
        oldest = take(broker, outgoing)
        outgoing.forget(oldest)
        _drop(broker, session, oldest.message, why + ", and the oldest goes first")
    outgoing.record(entry)
    entry.sent_at = now  # since when it waits
    put(broker, outgoing, entry)
    if broker.hooks.witness is not None:
        telling.queued(broker, session, entry.message)
    _go_on(broker, session)
    return True


def _go_on(broker: BrokerState, session: ServerSession) -> None:
    """A message of QoS 0 waits for those before it, and for no acknowledgement: where they were dropped, it
    goes.
    """
    connection = session.connection
    queue = session.outgoing.queue
    if connection is not None and queue and not queue[0].qos and not connection.is_congested:
        broker.continue_later(connection)


def _drop(broker: BrokerState, session: ServerSession, message: ApplicationMessage, why: str) -> None:
    broker.statistics.dropped_full += 1
    session.dropped_full += 1
    telling.dropped(broker, session, message, why)


def why_full(broker: BrokerState, outgoing: OutgoingFlow, size: int) -> str:
    """Plain words where a message of ``size`` bytes has no room in a queue, or ""."""
    options = broker.options
    if len(outgoing.queue) >= options.max_queued_messages:
        return "its queue is full"
    if outgoing.queued_bytes + size > options.max_queued_bytes:
        return "its queue is full"
    if broker.statistics.queued_bytes + size > options.max_queued_total_bytes:
        return "the queues of all clients together are full"
    if broker.statistics.queued_bytes + size > broker.memory_limit - (broker.memory_limit >> 2):
        return "the queues of all clients together take all the memory they may have"
    return ""


def has_no_room(broker: BrokerState, session: ServerSession, size: int, now: float) -> bool:
    """Would a message of ``size`` bytes be lost to this session, which outlives its connection?"""
    if not (session.journal is not None or session.expiry_interval):
        return False
    outgoing = session.outgoing
    if not why_full(broker, outgoing, size):
        return False
    drop_expired(broker, session, now)
    return why_full(broker, outgoing, size) != ""


def put(broker: BrokerState, outgoing: OutgoingFlow, entry: Outgoing) -> None:
    """Put ``entry`` at the end of a queue."""
    outgoing.append(entry)
    broker.statistics.queued_bytes += entry.message.size()
    broker.statistics.stored_payload += len(entry.message.payload)


def put_back(broker: BrokerState, outgoing: OutgoingFlow, entry: Outgoing) -> None:
    """Put ``entry`` where it was taken: at the beginning of a queue."""
    outgoing.put_first(entry)
    broker.statistics.queued_bytes += entry.message.size()
    broker.statistics.stored_payload += len(entry.message.payload)


def take(broker: BrokerState, outgoing: OutgoingFlow) -> Outgoing:
    """Take the first entry from a queue that has one."""
    entry = outgoing.pop()
    broker.statistics.queued_bytes -= entry.message.size()
    broker.statistics.stored_payload -= len(entry.message.payload)
    return entry


def purge(broker: BrokerState, session: ServerSession, place: int, why: str) -> int:
    """Drop the message at ``place`` of a queue, as somebody wants; returns the bytes it counted for."""
    outgoing = session.outgoing
    entry = outgoing.queue[place]
    del outgoing.queue[place]
    size = entry.message.size()
    outgoing.queued_bytes -= size
    broker.statistics.queued_bytes -= size
    broker.statistics.stored_payload -= len(entry.message.payload)
    outgoing.forget(entry)
    telling.dropped(broker, session, entry.message, why)
    return size


def drop_expired(broker: BrokerState, session: ServerSession, now: float) -> None:
    """Make room: messages whose Message Expiry Interval has passed need not wait [MQTT-3.3.2-5].

    Of a long queue only the beginning is looked through, and that not for every message that comes.
    """
    outgoing = session.outgoing
    if outgoing.first_expiry == NEVER or now < outgoing.first_expiry:
        return
    looks = min(len(outgoing.queue), LOOKED_THROUGH)
    is_all = looks == len(outgoing.queue)
    outgoing.first_expiry = NEVER if is_all else now + LOOK_PAUSE
    alive: list[Outgoing] = []
    for _ in range(looks):
        entry = take(broker, outgoing)
        if entry.message.is_expired(now):
            outgoing.forget(entry)
            telling.expired(broker, session, entry.message)
        else:
            alive.append(entry)
    for entry in reversed(alive):
        put_back(broker, outgoing, entry)
