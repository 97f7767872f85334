"""Retained messages (3.3.1.3): kept, replaced, removed, and looked through for those that have expired."""

from __future__ import annotations

from typing import Final, final

from curier.broker import shares
from curier.broker.deadlines import Deadline
from curier.broker.model import Owner, Route, ServerSession
from curier.broker.state import BrokerState, Sweep
from curier.session.message import NEVER, ApplicationMessage
from curier.session.records import Retained
from curier.topics.reserved import is_told_by_server
from curier.topics.retained import Node

LEVELS_PER_RETAINED: Final = 8  # that retained topics may have on average: each costs memory of its own
SWEEP_PER_STEP: Final = 2000  # retained messages looked at before others have their turn
SWEEP_INTERVAL: Final = 10.0
STEP_PAUSE: Final = 0.001  # seconds: what is due now would be done now


def retain(
    broker: BrokerState,
    message: ApplicationMessage,
    session: ServerSession | None,
    now: float,
    route: Route | None = None,
) -> str:
    """Make ``message`` the retained message of its topic, or remove that (3.3.1.3); plain words if it is
    full. It belongs to the client of ``session``; None: to the broker. ``route``, where it is known,
    remembers where the message is.
    """
    topic = message.topic
    if not message.payload:  # [MQTT-3.3.1-6] [MQTT-3.3.1-7]
        removed = broker.retained.remove(topic)
        if removed is not None:
            count(broker, removed, -1)
            _forget(broker, removed)
        return ""
    if not message.written_at:  # else it has been retained before
        message.written_at = now
    place = _place(broker, topic, route)
    previous: ApplicationMessage | None = None
    if place is not None and isinstance(place.value, ApplicationMessage):
        previous = place.value
        owner = session.owner if session is not None else None
        if session is not None and owner is not None and owner is previous.owner:
            if owner.source == session.source:
                return _replace_own(broker, place, previous, message, owner)
    why = _why_no_room(broker, message, previous, session, now)
    if why:
        return why
    if session is not None:
        message.owner = shares.owner_of(session)
    broker.retained.set(topic, message)  # [MQTT-3.3.1-5]
    count(broker, message, 1)
    if previous is not None:
        count(broker, previous, -1)
    _keep(broker, message, previous)
    return ""


def why_no_room(
    broker: BrokerState, message: ApplicationMessage, session: ServerSession | None, now: float
) -> str:
    """Plain words where ``retain`` would refuse ``message``; or ""."""
    if not message.payload:
        return ""
    return _why_no_room(broker, message, broker.retained.get(message.topic), session, now)


def _why_no_room(
    broker: BrokerState,
    message: ApplicationMessage,
    previous: ApplicationMessage | None,
    session: ServerSession | None,
    now: float,
) -> str:
    """The same for a message in the place of ``previous``."""
    size = message.size() - (previous.size() if previous is not None else 0)
    most = broker.options.max_retained_messages
    if previous is None and len(broker.retained) >= most:
        return f"all {most} retained messages are in use (max_retained_messages)"
    if previous is None and broker.retained.nodes >= LEVELS_PER_RETAINED * most:
        levels = LEVELS_PER_RETAINED * most
        return f"retained topics have {levels} levels in all, and no more are kept (max_retained_messages)"
    if size > 0 and broker.statistics.retained_bytes + size > broker.options.max_retained_bytes:
        return f"retained messages fill their {broker.options.max_retained_bytes} bytes (max_retained_bytes)"
    if session is None:
        return ""
    owner = shares.owner_of(session)
    why = shares.why_not_retained(broker, owner, previous, message.size())
    if not why and previous is None:
        why = shares.why_retained_too_fast(broker, owner.source, now)
    return why


def put(broker: BrokerState, message: ApplicationMessage, writer: object) -> None:
    """Make ``message`` the retained message of its topic, or remove that, without regard to limits: it has
    been taken. ``writer`` is the ``Owner`` it belongs to, or a Client Identifier that it counts for in no
    share; "": nobody's.
    """
    previous = broker.retained.remove(message.topic)
    if previous is not None:
        count(broker, previous, -1)
    if message.payload:
        message.owner = writer or None
        broker.retained.set(message.topic, message)
        count(broker, message, 1)
        if message.expires_at != NEVER:
            wake_sweep(broker, message.expires_at)


def _place(broker: BrokerState, topic: bytes, route: Route | None) -> Node | None:
    """Where the message retained on a topic is; None: nowhere."""
    if route is None:
        return broker.retained.find(topic)
    place = route.retained
    if place is None or place.is_dead:
        place = route.retained = broker.retained.find(topic)
    return place


def _replace_own(
    broker: BrokerState, place: Node, previous: ApplicationMessage, message: ApplicationMessage, owner: Owner
) -> str:
    """The same for a message of which the one before was the same client's, as most often."""
    statistics = broker.statistics
    change = message.size() - previous.size()
    if change > 0:
        most = broker.options.max_retained_bytes
        if statistics.retained_bytes + change > most:
            return f"retained messages fill their {most} bytes (max_retained_bytes)"
        why = shares.why_not_retained(broker, owner, previous, message.size())
        if why:
            return why
    message.owner = owner
    place.value = message  # [MQTT-3.3.1-5]
    if change:
        statistics.retained_bytes += change
        shares.grow(broker, owner, change)
    statistics.stored_payload += len(message.payload) - len(previous.payload)
    _keep(broker, message, previous)
    return ""


def _keep(broker: BrokerState, message: ApplicationMessage, previous: ApplicationMessage | None) -> None:
    """What else there is to do about a message that is retained now."""
    journal = broker.journal
    if journal is not None and not broker.is_clustered and not is_told_by_server(message.topic):
        number = journal.add_message(message)
        journal.add(Retained(message.topic, number, message.written_at, writer_of(message)))
        if previous is not None:
            journal.drop_message(previous)
    if message.expires_at != NEVER:
        wake_sweep(broker, message.expires_at)


def writer_of(message: ApplicationMessage) -> str:
    """The Client Identifier of who wrote a retained message, "": the broker, or nobody knows. What was there
    when the broker was started has had a writer, but no share counts it (``broker.shares``).
    """
    owner = message.owner
    client = owner.client if isinstance(owner, Owner) else owner
    return client.removeprefix("client ") if isinstance(client, str) else ""


def count(broker: BrokerState, message: ApplicationMessage, change: int) -> None:
    """A message is retained (``change`` 1), or is no more (-1)."""
    broker.statistics.retained_bytes += change * message.size()
    broker.statistics.stored_payload += change * len(message.payload)
    shares.count(broker, message, change)


def _forget(broker: BrokerState, message: ApplicationMessage) -> None:
    """The journal's part of removing a retained message."""
    if broker.journal is not None and message.number and not broker.is_clustered:
        broker.journal.add(Retained(message.topic, 0))
        broker.journal.drop_message(message)


def expire(broker: BrokerState, message: ApplicationMessage) -> None:
    """Remove a retained message whose Message Expiry Interval has passed (3.3.1.3)."""
    broker.retained.remove(message.topic)
    count(broker, message, -1)
    broker.statistics.expired_messages += 1
    _forget(broker, message)


def wake_sweep(broker: BrokerState, when: float) -> None:
    """There is a retained message that expires at ``when``."""
    sweep = broker.sweep
    if sweep.walk is not None:  # which may have passed it
        _meet(sweep, when)
        return
    when = max(when, sweep.not_before)
    if sweep.watch is None:
        sweep.watch = RetainedSweep(broker)
        broker.deadlines.add(sweep.watch, when)
    elif when < sweep.watch.when:
        broker.deadlines.move(sweep.watch, when)


def _meet(sweep: Sweep, when: float) -> None:
    if not sweep.next_expiry or when < sweep.next_expiry:
        sweep.next_expiry = when


@final
class RetainedSweep(Deadline):
    """Looks for expired retained messages from time to time, a piece at a time.

    A message that has expired is never sent even before the sweep finds it; this only frees its memory.
    """

    def __init__(self, broker: BrokerState) -> None:
        super().__init__()
        self.broker: BrokerState = broker

    def fire(self, now: float) -> float:
        broker = self.broker
        sweep = broker.sweep
        walk = sweep.walk
        if walk is None:
            walk = sweep.walk = broker.retained.walk(b"#")
            sweep.next_expiry = 0.0
        for message in walk.next(SWEEP_PER_STEP):
            if message.expires_at == NEVER:
                continue
            if not message.is_expired(now):
                _meet(sweep, message.expires_at)
            elif broker.retained.get(message.topic) is message:
                expire(broker, message)
        if not walk.done:
            return now + STEP_PAUSE
        return self._rest(now)

    def failed(self, error: Exception, now: float) -> float:
        return self._rest(now)

    def _rest(self, now: float) -> float:
        """The search is over; returns when to begin the next."""
        sweep = self.broker.sweep
        sweep.walk = None
        sweep.not_before = now + SWEEP_INTERVAL
        if sweep.next_expiry:
            return max(sweep.next_expiry, sweep.not_before)
        sweep.watch = None
        return 0.0
