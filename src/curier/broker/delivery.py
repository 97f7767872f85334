"""Give a message to every receiver: send it, or keep it in the session until it can be sent (3.3.4, 4.6).

This is the general way, which every message can take; most take the shorter one of ``fast_lane``.
"""

from __future__ import annotations

from typing import Final

from curier.broker import telling
from curier.broker.faults import MOST_OF_NAME, WHY
from curier.broker.model import BrokerConnection, Member, Receiver, Route, ServerSession, SharedGroup
from curier.broker.output import send_entry, send_publish, touch
from curier.broker.queueing import enqueue, has_no_room, put, put_back, take, why_full
from curier.broker.state import WORK_OF_QOS_1, BrokerState
from curier.codec.constants import MQTT_50
from curier.codec.publish import publish_size
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Outgoing

NOT_FOR_IT: Final = "its client may no longer receive it"
TOO_LARGE: Final = "larger than the client's Maximum Packet Size"
MOST_ASKED: Final = 1000  # members of a Shared Subscription for one message, so that it takes bounded time
GROWTHS: Final = frozenset([1366, 2731, 5462, 10923, 21846, 43691])
"""With so many entries a dict moves to more memory: a millisecond for 21 846, and a flood has all its
receivers come to it in one turn."""

WORK_OF_GROWTH: Final = 5  # bits: that of moving 32 entries is 1

EXPIRY_SIZE: Final = 5  # bytes of the Message Expiry Interval among the Properties


def deliver(
    broker: BrokerState, route: Route, message: ApplicationMessage, sender: ServerSession | None, now: float
) -> bool:
    """Give ``message`` to every receiver of its route [MQTT-4.5.0-1]; ``sender`` is for No Local.

    False where there were receivers, and the queues of all of them were full.
    """
    is_kept = route.is_empty
    for receiver in route.receivers:
        if deliver_receiver(broker, route, message, sender, now, receiver):
            is_kept = True
    if route.groups and deliver_shared(broker, route, message, now):
        is_kept = True
    return is_kept


def deliver_receiver(
    broker: BrokerState,
    route: Route,
    message: ApplicationMessage,
    sender: ServerSession | None,
    now: float,
    receiver: Receiver,
) -> bool:
    """Give ``message`` to one receiver at the lower of both QoS [MQTT-3.8.4-8]. False: its queue was full."""
    if receiver.has_no_local and receiver.session is sender:  # [MQTT-3.8.3-3]
        if receiver.own is None:
            if broker.hooks.witness is not None:
                telling.not_for_itself(broker, receiver.session, message)
            return True
        receiver = receiver.own
    qos = message.qos if message.qos < receiver.qos else receiver.qos
    retain = message.retain and receiver.retain_as_published  # [MQTT-3.3.1-12] [MQTT-3.3.1-13]
    return deliver_to(broker, receiver.session, message, qos, retain, receiver.identifiers, b"", now)


def deliver_shared(broker: BrokerState, route: Route, message: ApplicationMessage, now: float) -> bool:
    """Give ``message`` to one member of each Shared Subscription (4.8.2). False: nobody could keep it."""
    is_kept = False
    for group in route.groups:
        member = choose_for(broker, group, message)
        if member is None:
            is_kept = nobody_takes(broker, group, message) or is_kept
        elif deliver_member(broker, member, group.topic_filter, message, now):
            is_kept = True
    return is_kept


def nobody_takes(broker: BrokerState, group: SharedGroup, message: ApplicationMessage) -> bool:
    """Drop a message that no member can take. True where none of them, as far as it is looked, has a QoS with
    which messages wait for who is away: then nobody has lost what was promised.
    """
    if group.is_anywhere:
        _leave_to_cluster(broker, group, message)
        return True
    telling.dropped_shared(broker, group, message)
    for asked, member in enumerate(group.members):
        if member.qos:
            return False
        if asked >= MOST_ASKED:
            break
    return True


def _leave_to_cluster(broker: BrokerState, group: SharedGroup, message: ApplicationMessage) -> None:
    """The cluster is to find a member for what was published here with QoS 0. For messages of the log it has
    chosen already, and for those of other nodes these have.
    """
    if not (message.qos or message.retain or broker.is_inbound or message.owner is not None):
        broker.for_groups.append((group.name, message))


def who_would_lose(
    broker: BrokerState, route: Route, message: ApplicationMessage, sender: ServerSession | None, now: float
) -> ServerSession | None:
    """A session that outlives its connection and has no room for ``message``; None where all have.

    Of a Shared Subscription one member must have room.
    """
    size = message.size()
    for receiver in route.receivers:
        session = receiver.session
        if receiver.qos and not (receiver.has_no_local and session is sender):
            if must_wait(session) and has_no_room(broker, session, size, now):
                return session
    for group in route.groups:
        content, properties = _sizes(message)
        if _find(broker, group, message.qos, content, properties, _hidden(group, message)) < 0:
            for member in group.members:
                if member.key in broker.sessions_by_number and has_no_room(broker, member.session, size, now):
                    return member.session
    return None


def must_wait(session: ServerSession) -> bool:
    """Would a QoS 1 or 2 message have to wait in the session?"""
    connection = session.connection
    outgoing = session.outgoing
    return (
        connection is None
        or connection.is_congested
        or not outgoing.has_room()
        or bool(outgoing.queue)
        or bool(outgoing.resend)
    )


def choose_for(broker: BrokerState, group: SharedGroup, message: ApplicationMessage) -> Member | None:
    """The member that gets ``message``; None where nobody can."""
    content, properties = _sizes(message)
    return choose(broker, group, message.qos, content, properties, _hidden(group, message))


def _hidden(group: SharedGroup, message: ApplicationMessage) -> int:
    """Bytes of the Properties that the members are not sent, because of their mount."""
    if group.mount is None:
        return 0
    return len(message.properties) - len(group.mount.leaving(message).properties)


def _sizes(message: ApplicationMessage) -> tuple[int, int]:
    """Bytes of Topic Name and payload, and of the Properties that go with them."""
    properties = len(message.properties) + (EXPIRY_SIZE if message.expires_at != NEVER else 0)
    return len(message.topic) + len(message.payload), properties


def choose(
    broker: BrokerState, group: SharedGroup, qos: int, content: int, properties: int, hidden: int = 0
) -> Member | None:
    """The member that gets the next message, published at ``qos``, whose Topic Name and payload have
    ``content`` bytes, and the Properties that go with it ``properties``, ``hidden`` of which are not sent;
    None where nobody can.

    Fair by rotation. A member that cannot take a message now (away, slow, its Receive Maximum used up) is
    skipped for one that can; if none can, a member that can at least keep it gets it. Who takes no packet so
    large is skipped altogether: the server may choose one that does (3.1.2.11.4). Where none of the
    ``MOST_ASKED`` members asked can be given it, the next message begins behind them.
    """
    index = _find(broker, group, qos, content, properties, hidden)
    count = len(group.members)
    if index < 0:
        if count > MOST_ASKED:
            group.turn = (group.turn + MOST_ASKED) % count
        return None
    group.turn = index + 1 if index + 1 < count else 0
    return group.members[index]


def _find(
    broker: BrokerState, group: SharedGroup, qos: int, content: int, properties: int, hidden: int
) -> int:
    """The place of that member; -1: there is none."""
    members = group.members
    count = len(members)
    turn = group.turn
    waiting = -1  # the first that is connected and has no quota left
    away = -1  # the first that is away or slow
    for step in range(min(count, MOST_ASKED)):
        index = turn + step
        if index >= count:
            index %= count
        member = members[index]
        session = member.session
        outgoing = session.outgoing
        connection = session.connection
        if connection is not None and connection.peer_max_packet_size:
            if not _takes(connection, member, qos, content - group.hidden, properties - hidden):
                continue
        if connection is not None and not connection.is_congested:
            if not qos or not member.qos or outgoing.has_room():
                return index
            if waiting < 0 and not why_full(broker, outgoing, content + properties):
                waiting = index
        elif qos and member.qos and away < 0 and not why_full(broker, outgoing, content + properties):
            if member.key in broker.sessions_by_number:  # or it has ended
                away = index
    return waiting if waiting >= 0 else away


def _takes(connection: BrokerConnection, member: Member, qos: int, content: int, properties: int) -> bool:
    """Is the PUBLISH within the Maximum Packet Size of this member's connection [MQTT-3.1.2-24]?"""
    if connection.version == MQTT_50:
        properties += len(member.identifier)
    else:
        properties = -1
    return publish_size(content, min(qos, member.qos), properties) <= connection.peer_max_packet_size


def deliver_member(
    broker: BrokerState, member: Member, group: bytes, message: ApplicationMessage, now: float
) -> bool:
    """Give ``message`` to the chosen member, at the QoS granted to it [MQTT-4.8.2-3]. False: it was full."""
    qos = message.qos if message.qos < member.qos else member.qos
    retain = message.retain and member.retain_as_published
    return deliver_to(broker, member.session, message, qos, retain, member.identifier, group, now)


def deliver_to(
    broker: BrokerState,
    session: ServerSession,
    message: ApplicationMessage,
    qos: int,
    retain: bool,
    identifiers: bytes,
    group: bytes,
    now: float,
) -> bool:
    """Send ``message`` to one session, or keep it there until it can be sent.

    False where it should have waited and its queue was full. QoS 0 promises nothing: then it is True. An
    error that is met with this receiver costs this receiver: neither the publisher nor the other ones.
    """
    connection = session.connection
    broker.spent += WORK_OF_QOS_1 if qos else 1
    if not qos:
        waits = broker.options.queue_qos0
        try:
            if connection is not None and not (waits and session.outgoing.queue):  # [MQTT-4.6.0-5]
                if connection.is_congested:
                    telling.dropped(broker, session, message, _why_none(connection))
                elif not send_publish(broker, connection, message, 0, False, retain, identifiers, 0, now, 0):
                    telling.dropped(broker, session, message, TOO_LARGE)
            elif waits and (connection is not None or session.expiry_interval):
                enqueue(broker, session, Outgoing(message, 0, retain, identifiers), now)
            elif broker.hooks.witness is not None:
                telling.away(broker, session, message)
        except Exception as error:
            blame(broker, session, error)
        return True
    entry = Outgoing(message, qos, retain, identifiers, group)
    try:
        if connection is None or must_wait(session):
            return enqueue(broker, session, entry, now)
        session.outgoing.record(entry)
        transmit(broker, session, connection, entry, now)
    except Exception as error:
        blame(broker, session, error)
        return _keep(broker, session, entry, now)
    return True


def _why_none(connection: BrokerConnection) -> str:
    """Why a client is sent nothing now."""
    if connection.is_ending:
        return WHY
    if connection.outflow is not None and connection.outflow.is_holding and not connection.is_behind:
        return connection.outflow.why
    return "the client is too slow"


def blame(broker: BrokerState, session: ServerSession, error: Exception) -> None:
    """A message could not be sent to ``session``, whose connection pays for it."""
    where = f"delivering a message to {session.client_id[:MOST_OF_NAME]!r}"
    connection = session.connection
    if connection is not None:
        broker.faults.met(where, error, connection)
    else:
        broker.faults.note(where, error)


def _keep(broker: BrokerState, session: ServerSession, entry: Outgoing, now: float) -> bool:
    """See that ``entry``, which could not be sent, is in the session: its publisher is told that it is. False
    where its queue was full.

    A session that cannot even keep it ends: nothing is promised to it any more, and its client learns that.
    """
    outgoing = session.outgoing
    if outgoing.inflight.get(entry.packet_id) is entry or entry in outgoing.queue:
        return True
    try:
        if not entry.delivery:
            return enqueue(broker, session, entry, now)
        put(broker, outgoing, entry)
    except Exception as error:
        name = session.client_id[:MOST_OF_NAME]
        broker.faults.note(f"the session of {name!r} cannot keep a message, and ends", error)
        broker.faults.lost_a_message(session)
    return True


def transmit(
    broker: BrokerState, session: ServerSession, connection: BrokerConnection, entry: Outgoing, now: float
) -> None:
    """Send a QoS 1 or 2 message for the first time; the caller has seen that there is quota."""
    outgoing = session.outgoing
    outgoing.start(entry, now)
    unfinished = len(outgoing.inflight)
    if unfinished > 1000 and unfinished in GROWTHS:
        broker.spent += unfinished >> WORK_OF_GROWTH
    hold = 0
    if entry.qos == 2 and entry.delivery and session.journal is not None:
        # Its Packet Identifier must be durable first, or a crash could double it.
        hold = session.journal.number
    if not send_entry(broker, connection, entry, False, now, hold):
        outgoing.abandon(entry)  # [MQTT-3.1.2-25]
        telling.dropped(broker, session, entry.message, TOO_LARGE)


def pump(broker: BrokerState, session: ServerSession, connection: BrokerConnection, now: float) -> None:
    """Send what waits in the session, as far as quota and output allow: first again, then new; then have
    retained messages fetched.
    """
    outgoing = session.outgoing
    rights = session.rights_by(broker.router.judge)
    while not connection.is_congested and session.connection is connection:
        if broker.spent >= broker.work_per_turn and (outgoing.resend or outgoing.queue):
            broker.continue_later(connection)
            return
        if outgoing.resend:
            if not outgoing.has_room():
                return
            broker.spent += WORK_OF_QOS_1
            again = outgoing.resend.popleft()
            if outgoing.inflight.get(again.packet_id) is again and not again.on_wire:
                if rights is None or rights.receives(again.message.topic):
                    resend(broker, session, connection, again, now)
                else:  # it was sent before, and is not any more
                    outgoing.abandon(again)
                    telling.dropped(broker, session, again.message, NOT_FOR_IT)
        elif outgoing.queue:
            entry = outgoing.queue[0]
            if entry.qos and not outgoing.has_room():
                return
            take(broker, outgoing)
            broker.spent += WORK_OF_QOS_1 if entry.qos else 1
            if entry.message.is_expired(now):  # [MQTT-3.3.2-5]
                outgoing.forget(entry)
                telling.expired(broker, session, entry.message)
            elif rights is not None and not rights.receives(entry.message.topic):
                outgoing.forget(entry)
                telling.dropped(broker, session, entry.message, NOT_FOR_IT)
            elif entry.qos:
                try:
                    transmit(broker, session, connection, entry, now)
                except Exception:
                    if not entry.packet_id:
                        put_back(broker, outgoing, entry)
                    raise
            else:
                outgoing.forget(entry)
                if not send_entry(broker, connection, entry, False, now, 0):
                    telling.dropped(broker, session, entry.message, TOO_LARGE)
        else:
            if session.retained_sends and outgoing.has_room():
                touch(connection)  # they are fetched when the output is taken
            return


def resend(
    broker: BrokerState, session: ServerSession, connection: BrokerConnection, entry: Outgoing, now: float
) -> None:
    """Send a PUBLISH again, with DUP and its Packet Identifier [MQTT-3.3.1-1] [MQTT-4.4.0-1]."""
    session.outgoing.mark_sent(entry, now)
    if not send_entry(broker, connection, entry, True, now, 0):
        session.outgoing.abandon(entry)
        telling.dropped(broker, session, entry.message, TOO_LARGE)
