"""From one publisher to all receivers: the fast lane, and the general way that everything else takes.

Hot file. ``fast_lane`` repeats in one flat loop, for plain packets only, what ``protocol.connection``,
``protocol.server``, ``codec.publish``, ``connection.accept_publish`` and ``deliver`` below do for all;
``tests/broker/test_lanes.py`` feeds both lanes the same bytes and compares output and state.
``bench/broker.py`` shows what it saves.

Plain is: a whole PUBLISH without DUP, RETAIN and Properties on a topic whose route is known and in no
journal, or a four-byte acknowledgement. A receiver is plain when it gets the publisher's bytes but for the
Packet Identifier: same version, no Subscription Identifier, no No Local, room in its quota. The fast lane
touches nothing of a packet it will not finish; the packet then takes the general way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from librt.strings import BytesWriter
from mypy_extensions import i64, u8

from curier.broker.routing import Receiver, Route
from curier.broker.sessions import Member, ServerSession
from curier.codec.constants import MQTT_50
from curier.codec.primitives import PACKET_IDS
from curier.codec.publish import Layout, encode_expiry, publish_layout
from curier.session.journal import MAX_PENDING_BYTES
from curier.session.message import NEVER, ApplicationMessage
from curier.session.outgoing import Burst, Outgoing, OutgoingFlow

if TYPE_CHECKING:
    from curier.broker.connection import BrokerConnection
    from curier.broker.core import BrokerCore

PUBACKS: Final = [b"\x40\x02" + packet_id for packet_id in PACKET_IDS]
PUBRECS: Final = [b"\x50\x02" + packet_id for packet_id in PACKET_IDS]

TOO_LARGE: Final = "larger than the client's Maximum Packet Size"


def fast_lane(connection: BrokerConnection, data: bytes, pos: int, end: int, now: float) -> int:
    """Work on plain packets from ``pos`` until one is not; returns where that one begins."""
    session = connection.server_session
    if session is None or not connection.is_fast:
        return pos
    core = connection.core
    lane = MQTT_50 if connection.version == MQTT_50 else 4
    if connection.has_permissions and connection.generation != core.router.cache.generation:
        connection.forget_routes()
    limit: i64 = connection.max_packet_size
    at: i64 = pos
    all_end: i64 = end
    packets: i64 = 0
    publishes: i64 = 0
    payload_bytes: i64 = 0

    while at + 2 <= all_end:
        first: i64 = data[at]
        length: i64 = data[at + 1]
        body: i64 = at + 2
        if length > 127:
            length &= 127
            shift: i64 = 7
            byte: i64 = 128
            while byte > 127 and body < all_end and shift < 28:
                byte = data[body]
                body += 1
                length |= (byte & 127) << shift
                shift += 7
            if byte > 127 or not byte:
                break
        stop = body + length
        size = stop - at
        if stop > all_end or size > limit:
            break
        count: i64 = 1

        if first >> 4 == 3:
            qos = (first >> 1) & 3
            if first & 9 or qos == 3 or length < 3:
                break
            topic_end: i64 = body + 2 + ((data[body] << 8) | data[body + 1])
            payload_at = topic_end + 2 if qos else topic_end
            if payload_at > stop:
                break
            if lane == MQTT_50:
                if payload_at >= stop or data[payload_at]:
                    break
                payload_at += 1
            route = connection.routes[qos].get(data[body + 2 : topic_end])
            if route is None or not route.is_fast:
                break
            if not qos:
                if route.takes_runs:
                    count = count_same(data, at, size, payload_at - at, 0, all_end, False)
                forward_qos_0(core, session, lane, route, data, at, size, payload_at - at, count, now)
            else:
                packet_id = (data[topic_end] << 8) | data[topic_end + 1]
                if not packet_id or connection.receive_quota <= 0 or connection.held:
                    break
                if route.is_empty and lane == MQTT_50:
                    break  # is told so
                if qos == 1:
                    if route.takes_runs:
                        count = count_same(data, at, size, topic_end - at, 2, all_end, lane == MQTT_50)
                        if count > 1 and route.has(session):
                            count = 1  # its acknowledgements go between its messages
                    forward_qos_1(
                        core,
                        session,
                        lane,
                        route,
                        data,
                        at,
                        size,
                        topic_end - at,
                        payload_at - at,
                        count,
                        now,
                    )
                    answer = pubacks(data, topic_end, size, count)
                else:
                    if session.journal is not None or packet_id in session.incoming.identifiers:
                        break
                    session.incoming.take(packet_id)
                    connection.receive_quota -= 1
                    forward_qos_2(core, session, lane, route, data, at, stop, topic_end, payload_at, now)
                    answer = PUBRECS[packet_id]
                connection.output.append(answer)
                if not connection.is_dirty:
                    connection.is_dirty = True
                    connection.dirty.append(connection)
                connection.traffic.packets_sent += count
            publishes += count
            payload_bytes += count * (stop - payload_at)

        elif length != 2:
            break
        else:
            packet_id = (data[body] << 8) | data[body + 1]
            if not packet_id:
                break
            outgoing = session.outgoing
            if first == 0x40 and packet_id == outgoing.expected:
                most = outgoing.bursts[0].count
                while (
                    count < most
                    and stop + 4 <= all_end
                    and data[stop] == 0x40
                    and data[stop + 1] == 2
                    and ((data[stop + 2] << 8) | data[stop + 3]) == packet_id + count
                ):
                    count += 1
                    stop += 4
                outgoing.confirm(count)
                if outgoing.queue or session.retained_sends:
                    connection.pump(now)
            elif first == 0x40:
                if outgoing.acknowledged(packet_id) is None:
                    break  # unknown, or the wrong kind of acknowledgement
                if outgoing.queue or outgoing.resend or session.retained_sends:
                    connection.pump(now)
            elif first == 0x50:
                outgoing.settle()
                waiting = outgoing.inflight.get(packet_id)
                if waiting is not None and waiting.qos != 2:
                    break  # the wrong kind of acknowledgement
                connection.on_pubrec(packet_id, 0, now)
            elif first == 0x62:
                connection.on_pubrel(packet_id, now)
            elif first == 0x70:
                connection.on_pubcomp(packet_id, 0, now)
            else:
                break
            at = stop
            packets += count
            continue
        packets += count
        at += count * size

    if packets:
        traffic = connection.traffic
        traffic.packets_received += packets
        traffic.publishes_received += publishes
        traffic.publish_bytes_received += payload_bytes
    return at


def count_same(data: bytes, at: i64, size: i64, head_size: i64, id_size: i64, end: i64, is_50: bool) -> i64:
    """How many PUBLISH packets like the one at ``at`` follow each other, it included: same first
    ``head_size`` bytes, so same length, QoS and Topic Name; a Packet Identifier; no Properties.
    """
    head = data[at : at + head_size]
    count: i64 = 1
    at += size
    while at + size <= end and data[at : at + head_size] == head:
        tail = at + head_size
        if id_size:
            if not data[tail] and not data[tail + 1]:
                break
            if is_50 and data[tail + 2]:
                break
        count += 1
        at += size
    return count


def pubacks(data: bytes, id_at: i64, size: i64, count: i64) -> bytes:
    """PUBACKs for ``count`` PUBLISH packets of ``size`` bytes, the first with its identifier at ``id_at``."""
    if count == 1:
        return PUBACKS[(data[id_at] << 8) | data[id_at + 1]]
    writer = BytesWriter()
    for _ in range(count):
        writer.append(0x40)
        writer.append(0x02)
        writer.append(data[id_at])
        writer.append(data[id_at + 1])
        id_at += size
    return writer.getvalue()


def forward_qos_0(
    core: BrokerCore,
    session: ServerSession,
    lane: int,
    route: Route,
    data: bytes,
    at: i64,
    size: i64,
    payload_at: i64,
    count: i64,
    now: float,
) -> None:
    """Give ``count`` equal-sized packets at ``at`` to all receivers: one slice for all that are plain."""
    frames = data[at : at + count * size]
    others: list[Receiver] | None = None
    sent: i64 = 0
    for receiver in route.receivers:
        target = receiver.session
        other = target.connection
        if target.lane == lane and receiver.is_plain and other is not None:
            other.output.append(frames)
            if not other.is_dirty:
                other.is_dirty = True
                other.dirty.append(other)
            sent += 1
        elif others is None:
            others = [receiver]
        else:
            others.append(receiver)
    if sent:
        _count_sent(core, sent * count, sent * count * (size - payload_at))
    if others is None and not route.groups:
        return
    for index in range(count):
        start = index * size
        message: ApplicationMessage | None = None
        if others is not None:
            message = ApplicationMessage(route.topic, frames[start + payload_at : start + size], 0, False)
            for receiver in others:
                deliver_receiver(core, route, message, session, now, receiver)
        for group in route.groups:
            member = group.choose(0, core.options.max_queued_messages)
            if member is not None and member.session.lane == lane and not member.identifier:
                other = member.session.connection
                if other is not None:
                    other.output.append(frames[start : start + size])
                    if not other.is_dirty:
                        other.is_dirty = True
                        other.dirty.append(other)
                    _count_sent(core, 1, size - payload_at)
                    continue
            if message is None:
                message = ApplicationMessage(route.topic, frames[start + payload_at : start + size], 0, False)
            if member is None:
                core.dropped_shared(group, message)
            else:
                deliver_member(core, member, group.topic_filter, message, now)


def forward_qos_1(
    core: BrokerCore,
    session: ServerSession,
    lane: int,
    route: Route,
    data: bytes,
    at: i64,
    size: i64,
    id_at: i64,
    payload_at: i64,
    count: i64,
    now: float,
) -> None:
    """Give ``count`` equal-sized packets at ``at`` to all receivers: a burst for each that is plain.

    Receivers whose next Packet Identifier is the same, as those of a fan-out often are, share the bytes.
    """
    block = data[at : at + count * size]
    message_size = len(route.topic) + size - payload_at
    frames = block
    frames_id: i64 = 0  # the first identifier in ``frames``
    frames_count: i64 = 0
    others: list[Receiver] | None = None
    skips: list[i64] = []  # how many packets each of the others has got already
    for receiver in route.receivers:
        target = receiver.session
        other = target.connection
        room: i64 = 0
        if target.lane == lane and receiver.is_plain and receiver.qos >= 1 and other is not None:
            outgoing = target.outgoing
            room = outgoing.burst_room(count, message_size)
            if room:
                first_id = outgoing.burst_id()
                if first_id != frames_id or room != frames_count:
                    frames = with_ids(block, room, size, id_at, first_id)
                    frames_id = first_id
                    frames_count = room
                outgoing.add_burst(Burst(route.topic, frames, size, payload_at, first_id, room, b"", now))
                other.output.append(frames)
                if not other.is_dirty:
                    other.is_dirty = True
                    other.dirty.append(other)
                _count_sent(core, room, room * (size - payload_at))
                if room == count:
                    continue
        if others is None:
            others = []
        others.append(receiver)
        skips.append(room)
    if others is None and not route.groups:
        return
    for index in range(count):
        start = index * size
        message: ApplicationMessage | None = None
        if others is not None:
            message = ApplicationMessage(route.topic, block[start + payload_at : start + size], 1, False)
            for number, receiver in enumerate(others):
                if index >= skips[number]:
                    deliver_receiver(core, route, message, session, now, receiver)
        for group in route.groups:
            member = group.choose(1, core.options.max_queued_messages)
            if (
                member is not None
                and member.session.lane == lane
                and member.qos >= 1
                and not member.identifier
            ):
                other = member.session.connection
                outgoing = member.session.outgoing
                if other is not None and outgoing.burst_room(1, message_size):
                    first_id = outgoing.burst_id()
                    frames = with_ids(block[start : start + size], 1, size, id_at, first_id)
                    outgoing.add_burst(
                        Burst(route.topic, frames, size, payload_at, first_id, 1, group.topic_filter, now)
                    )
                    other.output.append(frames)
                    if not other.is_dirty:
                        other.is_dirty = True
                        other.dirty.append(other)
                    _count_sent(core, 1, size - payload_at)
                    continue
            if message is None:
                message = ApplicationMessage(route.topic, block[start + payload_at : start + size], 1, False)
            if member is None:
                core.dropped_shared(group, message)
            else:
                deliver_member(core, member, group.topic_filter, message, now)


def with_ids(block: bytes, count: i64, size: i64, id_at: i64, first_id: i64) -> bytes:
    """The first ``count`` packets of ``block`` with Packet Identifiers from ``first_id`` on."""
    writer = BytesWriter()
    writer.write(block)
    writer.truncate(count * size)
    packet_id = first_id
    for _ in range(count):
        writer[id_at] = u8(packet_id >> 8)
        writer[id_at + 1] = u8(packet_id & 255)
        id_at += size
        packet_id += 1
    return writer.getvalue()


def forward_qos_2(
    core: BrokerCore,
    session: ServerSession,
    lane: int,
    route: Route,
    data: bytes,
    at: i64,
    stop: i64,
    topic_end: i64,
    payload_at: i64,
    now: float,
) -> None:
    """Give one packet to all receivers; those that are plain share its bytes but for the identifier."""
    head = data[at:topic_end]
    tail = data[topic_end + 2 : stop]
    message = ApplicationMessage(route.topic, data[payload_at:stop], 2, False)
    for receiver in route.receivers:
        target = receiver.session
        other = target.connection
        if (
            target.lane == lane
            and receiver.is_plain
            and receiver.qos == 2
            and other is not None
            and target.outgoing.has_room()
        ):
            entry = Outgoing(message, 2, False)
            target.outgoing.start(entry, now)
            output = other.output
            output.append(head)
            output.append(PACKET_IDS[entry.packet_id])
            output.append(tail)
            if not other.is_dirty:
                other.is_dirty = True
                other.dirty.append(other)
            _count_sent(core, 1, stop - payload_at)
        else:
            deliver_receiver(core, route, message, session, now, receiver)
    if route.groups:
        deliver_shared(core, route, message, now)


def _count_sent(core: BrokerCore, count: i64, payload_bytes: i64) -> None:
    traffic = core.traffic
    traffic.packets_sent += count
    traffic.publishes_sent += count
    traffic.publish_bytes_sent += payload_bytes


# ---- the general way ----


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
