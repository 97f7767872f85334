"""Give a message to every receiver: send it, or keep it in the session until it can be sent (3.3.4, 4.6).

This is the general way, which every message can take; most take the shorter one of ``fast_lane``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from curier.broker.routing import Receiver, Route
from curier.broker.sessions import Member, ServerSession
from curier.codec.publish import Layout, encode_expiry, publish_layout
from curier.session.journal import MAX_PENDING_BYTES
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Outgoing, OutgoingFlow

if TYPE_CHECKING:
    from curier.broker.connection import BrokerConnection
    from curier.broker.core import BrokerCore

TOO_LARGE: Final = "larger than the client's Maximum Packet Size"


def deliver(
    core: BrokerCore, route: Route, message: ApplicationMessage, sender: ServerSession | None, now: float
) -> None:
    """Give ``message`` to every receiver of its route [MQTT-4.5.0-1]; ``sender`` is for No Local."""
    for receiver in route.receivers:
        deliver_receiver(core, route, message, sender, now, receiver)
    if route.groups:
        deliver_shared(core, route, message, now)


def deliver_receiver(
    core: BrokerCore,
    route: Route,
    message: ApplicationMessage,
    sender: ServerSession | None,
    now: float,
    receiver: Receiver,
) -> None:
    """Give ``message`` to one receiver at the lower of both QoS [MQTT-3.8.4-8]."""
    if receiver.has_no_local and receiver.session is sender:  # [MQTT-3.8.3-3]
        if receiver.own is None:
            return
        receiver = receiver.own
    qos = message.qos if message.qos < receiver.qos else receiver.qos
    retain = message.retain and receiver.retain_as_published  # [MQTT-3.3.1-12] [MQTT-3.3.1-13]
    deliver_to(core, receiver.session, message, qos, retain, receiver.identifiers, b"", now)


def deliver_shared(core: BrokerCore, route: Route, message: ApplicationMessage, now: float) -> None:
    """Give ``message`` to one member of each Shared Subscription (4.8.2)."""
    for group in route.groups:
        member = group.choose(message.qos, core.options.max_queued_messages)
        if member is None:
            core.dropped_shared(group, message)
        else:
            deliver_member(core, member, group.topic_filter, message, now)


def deliver_member(
    core: BrokerCore, member: Member, group: bytes, message: ApplicationMessage, now: float
) -> None:
    """Give ``message`` to the chosen member, at the QoS granted to it [MQTT-4.8.2-3]."""
    qos = message.qos if message.qos < member.qos else member.qos
    retain = message.retain and member.retain_as_published
    deliver_to(core, member.session, message, qos, retain, member.identifier, group, now)


def deliver_to(
    core: BrokerCore,
    session: ServerSession,
    message: ApplicationMessage,
    qos: int,
    retain: bool,
    identifiers: bytes,
    group: bytes,
    now: float,
) -> None:
    """Send ``message`` to one session, or keep it there until it can be sent."""
    connection = session.connection
    if not qos:
        waits = core.options.queue_qos0
        if connection is not None and not (waits and session.outgoing.queue):  # [MQTT-4.6.0-5]
            if connection.is_congested:
                core.dropped(session, message, "the client is too slow")
            elif not connection.send_publish(message, 0, False, retain, identifiers, 0, now, 0):
                core.dropped(session, message, TOO_LARGE)
        elif waits and (connection is not None or session.expiry_interval):
            enqueue(core, session, Outgoing(message, 0, retain, identifiers), now)
        return
    outgoing = session.outgoing
    entry = Outgoing(message, qos, retain, identifiers, group)
    if (
        connection is not None
        and outgoing.has_room()
        and not outgoing.queue
        and not outgoing.resend
        and not connection.is_congested
    ):
        outgoing.record(entry)
        transmit(core, session, connection, entry, now)
    else:
        enqueue(core, session, entry, now)


def enqueue(core: BrokerCore, session: ServerSession, entry: Outgoing, now: float) -> None:
    """Keep ``entry`` in the session, within its caps; when full, drop the oldest or this one."""
    outgoing = session.outgoing
    journal = session.journal
    if not entry.qos and journal is not None and journal.pending_bytes > MAX_PENDING_BYTES:
        core.dropped(session, entry.message, "too much waits for the disk")
        return
    size = entry.message.size()
    if _why_full(core, outgoing, size):
        drop_expired(core, session, now)
    while why := _why_full(core, outgoing, size):
        if not core.options.drop_oldest or not outgoing.queue:
            core.dropped(session, entry.message, why)
            return
        oldest = _take(core, outgoing)
        outgoing.forget(oldest)
        core.dropped(session, oldest.message, why + ", and the oldest goes first")
    outgoing.record(entry)
    _put(core, outgoing, entry)


def _why_full(core: BrokerCore, outgoing: OutgoingFlow, size: int) -> str:
    """Plain words where a message of ``size`` bytes has no room in a queue, or ""."""
    options = core.options
    if len(outgoing.queue) >= options.max_queued_messages:
        return "its queue is full"
    if outgoing.queued_bytes + size > options.max_queued_bytes:
        return "its queue is full"
    if core.statistics.queued_bytes + size > options.max_queued_total_bytes:
        return "the queues of all clients together are full"
    return ""


def _put(core: BrokerCore, outgoing: OutgoingFlow, entry: Outgoing) -> None:
    outgoing.append(entry)
    core.statistics.queued_bytes += entry.message.size()


def _take(core: BrokerCore, outgoing: OutgoingFlow) -> Outgoing:
    entry = outgoing.pop()
    core.statistics.queued_bytes -= entry.message.size()
    return entry


def drop_expired(core: BrokerCore, session: ServerSession, now: float) -> None:
    """Make room: messages whose Message Expiry Interval has passed need not wait [MQTT-3.3.2-5]."""
    outgoing = session.outgoing
    if outgoing.first_expiry == NEVER or now < outgoing.first_expiry:
        return  # a full queue must not be searched for every message that comes
    outgoing.first_expiry = NEVER
    for _ in range(len(outgoing.queue)):
        entry = _take(core, outgoing)
        if entry.message.is_expired(now):
            outgoing.forget(entry)
            core.expired(session, entry.message)
        else:
            _put(core, outgoing, entry)


def transmit(
    core: BrokerCore, session: ServerSession, connection: BrokerConnection, entry: Outgoing, now: float
) -> None:
    """Send a QoS 1 or 2 message for the first time; the caller has seen that there is quota."""
    outgoing = session.outgoing
    outgoing.start(entry, now)
    hold = 0
    if entry.qos == 2 and entry.delivery and session.journal is not None:
        # Its Packet Identifier must be durable first, or a crash could double it.
        hold = session.journal.number
    if not connection.send_publish(
        entry.message, entry.qos, False, entry.retain, entry.identifiers, entry.packet_id, now, hold
    ):
        outgoing.abandon(entry)  # [MQTT-3.1.2-25]
        core.dropped(session, entry.message, TOO_LARGE)


def pump(core: BrokerCore, session: ServerSession, connection: BrokerConnection, now: float) -> None:
    """Send what waits in the session, as far as quota and output allow: first again, then new; then have
    retained messages fetched.
    """
    outgoing = session.outgoing
    while not connection.is_congested and session.connection is connection:
        if outgoing.resend:
            if not outgoing.has_room():
                return
            again = outgoing.resend.popleft()
            if outgoing.inflight.get(again.packet_id) is again and not again.on_wire:
                resend(core, session, connection, again, now)
        elif outgoing.queue:
            entry = outgoing.queue[0]
            if entry.qos and not outgoing.has_room():
                return
            _take(core, outgoing)
            if entry.message.is_expired(now):  # [MQTT-3.3.2-5]
                outgoing.forget(entry)
                core.expired(session, entry.message)
            elif entry.qos:
                transmit(core, session, connection, entry, now)
            else:
                outgoing.forget(entry)
                if not connection.send_publish(
                    entry.message, 0, False, entry.retain, entry.identifiers, 0, now, 0
                ):
                    core.dropped(session, entry.message, TOO_LARGE)
        else:
            if session.retained_sends and outgoing.has_room():
                connection.touch()  # they are fetched when the output is taken
            return


def resend(
    core: BrokerCore, session: ServerSession, connection: BrokerConnection, entry: Outgoing, now: float
) -> None:
    """Send a PUBLISH again, with DUP and its Packet Identifier [MQTT-3.3.1-1] [MQTT-4.4.0-1]."""
    session.outgoing.mark_sent(entry, now)
    if not connection.send_publish(
        entry.message, entry.qos, True, entry.retain, entry.identifiers, entry.packet_id, now, 0
    ):
        session.outgoing.abandon(entry)
        core.dropped(session, entry.message, TOO_LARGE)


@final
class Layouts:
    """The encodings of the message delivered last: one per version, QoS and RETAIN flag, shared by all
    receivers.
    """

    def __init__(self) -> None:
        self._message: ApplicationMessage | None = None
        self._now: float = 0.0
        self._layouts: list[Layout | None] = [None] * 16

    def get(
        self,
        message: ApplicationMessage,
        is_50: bool,
        qos: int,
        dup: bool,
        retain: bool,
        identifiers: bytes,
        now: float,
    ) -> Layout:
        """The PUBLISH of ``message`` but for its Packet Identifier. Message Expiry is counted down to
        ``now``.
        """
        if dup or identifiers:
            properties = self.properties(message, identifiers, now) if is_50 else None
            return publish_layout(message.topic, message.payload, qos, dup, retain, properties)
        if message is not self._message or (now != self._now and message.expires_at != NEVER):
            self._message = message
            self._layouts = [None] * 16
        self._now = now
        index = (8 if is_50 else 0) | (qos << 1) | (1 if retain else 0)
        layout = self._layouts[index]
        if layout is None:
            properties = self.properties(message, b"", now) if is_50 else None
            layout = self._layouts[index] = publish_layout(
                message.topic, message.payload, qos, False, retain, properties
            )
        return layout

    def properties(self, message: ApplicationMessage, identifiers: bytes, now: float) -> bytes:
        """The Properties a receiver gets: the publisher's, what is left of the expiry, its own
        identifiers.
        """
        properties = message.properties
        if message.expires_at != NEVER:
            properties = encode_expiry(message.remaining_expiry(now)) + properties
        return properties + identifiers if identifiers else properties
