"""The fast lane: plain packets from one publisher to all receivers, unseen.

Hot file. It repeats flat, for plain packets only, what ``protocol.connection``, ``protocol.server``,
``codec.publish``, ``publishing.accept`` and ``delivery`` do for all; ``tests/broker/test_lanes.py``
feeds both lanes the same bytes and compares output and state. ``bench/broker.py`` shows what it saves.

Plain is: a whole PUBLISH without DUP, RETAIN and Properties, or a four-byte acknowledgement; a PUBLISH with
RETAIN or Properties is ``special``, and so is one with QoS 1 whose acknowledgement waits for the disk. A
receiver is plain when it gets the publisher's bytes but for the Packet Identifier: same version, no
Subscription Identifier, no No Local, no session in the journal, room in its quota. The fast lane touches
nothing of a packet it will not finish; it then takes the general way.

Packets in a row that begin with the same bytes (so have the same QoS, length and Topic Name) are one run: at
QoS 0 one slice of the chunk for every receiver, at QoS 1 one ``Burst`` each. Others for the same receivers
are a train (``trains``). Numbers are native (``i64``).
"""

from __future__ import annotations

from typing import Final

from librt.strings import read_i16_be, read_i32_be
from mypy_extensions import i64

from curier.broker import permissions
from curier.broker.answers import pubacks, pubrec, refusal, some_refused, two_bytes
from curier.broker.blocks import with_ids
from curier.broker.delivery import choose, deliver_member, deliver_receiver, deliver_shared, nobody_takes
from curier.broker.finding import find_route
from curier.broker.layouts import LONGEST_KNOWN
from curier.broker.model import NO_SENDS, BrokerConnection, Receiver, Route, ServerSession, Spread
from curier.broker.outbound import pass_on
from curier.broker.special import may_be_kept, take_special
from curier.broker.spreading import go_on, hold
from curier.broker.state import WORK_OF_QOS_1, BrokerState
from curier.broker.trains import is_same, take_train
from curier.codec.constants import MQTT_50, PUBREC
from curier.codec.primitives import LARGE_PIECE, encode_two
from curier.protocol.connection import STEPS_AT_ONCE
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Burst, Outgoing

MOST_IN_RUN: Final = 2048
FEW: Final = 8  # receivers
MOST_TOGETHER: Final = FEW * MOST_IN_RUN  # messages of a run times receivers


def fast_lane(
    broker: BrokerState, connection: BrokerConnection, data: bytes, pos: int, end: int, now: float
) -> int:
    """Work on plain packets from ``pos`` until one is not; returns where that one begins."""
    session = connection.server_session
    if session is None or not connection.is_fast or broker.lanes_change:
        return pos
    lane: i64 = MQTT_50 if connection.version == MQTT_50 else 4
    if connection.has_permissions and connection.generation != broker.router.cache.generation:
        permissions.forget_routes(broker, connection)
    limit: i64 = connection.max_packet_size
    at: i64 = pos
    all_end: i64 = end
    packets: i64 = 0
    publishes: i64 = 0
    payload_bytes: i64 = 0
    is_owed: bool = False  # has anything come that is to be answered?
    is_clustered: bool = broker.is_clustered

    while at + 2 <= all_end and connection.steps < STEPS_AT_ONCE:
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
            if qos == 3 or length < 3 or (is_clustered and first & 7):  # those go to the log of all nodes
                break
            special = first & 9  # DUP, RETAIN
            is_short: bool = not first & 8  # may it be in a train, if it is special?
            topic_end: i64 = body + 2 + (i64(read_i16_be(data, body)) & 0xFFFF)
            payload_at = topic_end + 2 if qos else topic_end
            if payload_at > stop:
                break
            if lane == MQTT_50:
                if payload_at >= stop:
                    break
                special |= data[payload_at]  # Property Length
                is_short = is_short and data[payload_at] <= LONGEST_KNOWN
                payload_at += 1
            route: Route | None = None
            packet_id: i64 = 0
            is_recorded: bool = False  # does its acknowledgement wait for the disk?
            if not special:
                route = connection.routes[qos].get(data[body + 2 : topic_end])
                if route is None:
                    route = find_route(broker, connection, data[body + 2 : topic_end])
                elif route.is_fast:
                    route.is_used = True
                else:
                    break
                if route is None or (not route.is_empty and is_spent(broker, connection)):
                    break
                if route.is_durable and (qos == 2 or not may_be_kept(broker, qos)):
                    break
                if qos:
                    packet_id = two_bytes(data, topic_end)
                    if not packet_id or connection.receive_quota <= 0:
                        break
                    is_recorded = route.is_durable or bool(connection.held)
                    if is_recorded and qos == 2:
                        break
                    if route.is_empty and lane == MQTT_50:
                        break  # is told so
                if (
                    qos < 2
                    and not is_recorded
                    and route.takes_runs
                    and at + size + 1 < all_end
                    and data[at + size + 1] == data[at + 1]
                    and is_run(route, lane, qos)
                ):
                    head_size = topic_end - at if qos else payload_at - at
                    count = count_same(data, at, size, head_size, qos, all_end, lane, len(route.receivers))
                    if qos and count > 1 and session.subscriptions and route.has(session):
                        count = 1  # its acknowledgements go between its messages
            if (
                count == 1
                and qos < 2
                and (stop < all_end or is_recorded)
                and (is_short if route is None else not route.groups)
            ):
                train_end = take_train(broker, connection, session, lane, route, data, at, all_end, now)
                if train_end > at:
                    at = train_end
                    is_owed = True
                    if at < all_end and is_spent(broker, connection):
                        break
                    continue
            if route is None or is_recorded or (count == 1 and qos < 2 and not route.is_plain):
                if not take_special(
                    broker, connection, session, data, at, body + 2, topic_end, payload_at, stop, now
                ):
                    break
                at = stop
                is_owed = True
                connection.steps += 1
                if connection.paused:  # it is ending
                    break
                continue
            receivers: i64 = len(route.receivers)
            if not qos:
                broker.spent += receivers >> 4
                forward_qos_0(broker, session, lane, route, data, at, size, payload_at - at, count, now)
            else:
                if qos == 1:
                    broker.spent += receivers
                    lost = forward_qos_1(
                        broker,
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
                    if connection.spread is not None:
                        answer = b""  # comes when it is done
                    elif lost is None or lane != MQTT_50:
                        answer = pubacks(data, topic_end, size, count)
                    else:
                        answer = some_refused(connection, data, topic_end, size, count, lost)
                else:
                    if session.journal is not None or packet_id in session.incoming.identifiers:
                        break
                    most: i64 = (receivers + len(route.groups)) * WORK_OF_QOS_1
                    if broker.spent + most > broker.work_per_turn:
                        break
                    broker.spent += receivers * 2
                    is_kept = forward_qos_2(
                        broker, session, lane, route, data, at, stop, topic_end, payload_at, now
                    )
                    if is_kept or lane != MQTT_50:
                        session.incoming.take(packet_id)
                        connection.receive_quota -= 1
                        answer = pubrec(packet_id)
                    else:
                        answer = refusal(connection, PUBREC, packet_id)
                if answer:
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
            packet_id = two_bytes(data, body)
            if not packet_id:
                break
            outgoing = session.outgoing
            if first == 0x40 and packet_id == outgoing.expected:
                most = outgoing.bursts[outgoing.done].count
                puback: i64 = 0x40020000 | packet_id
                while count < most and stop + 4 <= all_end and i64(read_i32_be(data, stop)) == puback + count:
                    count += 1
                    stop += 4
                outgoing.confirm(count)
                if outgoing.has_waiting() or session.retained_sends is not NO_SENDS:
                    connection.pump(now)
            elif first == 0x40:
                if outgoing.acknowledged(packet_id) is None:
                    break  # unknown, or the wrong kind of acknowledgement
                if outgoing.queue or outgoing.resend or session.retained_sends:
                    connection.pump(now)
            elif first == 0x50:
                waiting = outgoing.find(packet_id)
                if waiting is not None and waiting.qos != 2:
                    break  # the wrong kind of acknowledgement
                connection.on_pubrec(packet_id, 0, now)
                is_owed = True
            elif first == 0x62:
                connection.on_pubrel(packet_id, now)
                is_owed = True
            elif first == 0x70:
                if packet_id not in outgoing.releasing:
                    break  # unknown, or the wrong kind of acknowledgement
                connection.on_pubcomp(packet_id, 0, now)
            else:
                break
            at = stop
            packets += count
            connection.steps += count if session.journal is not None else 1
            continue
        packets += count
        at += count * size
        connection.steps += 1
        if connection.paused:  # until all receivers have the run
            break

    connection.is_owed = is_owed or publishes > 0 or pos > 0 or at < all_end  # of what came with these, too
    if packets:
        traffic = connection.traffic
        traffic.packets_received += packets
        traffic.publishes_received += publishes
        traffic.publish_bytes_received += payload_bytes
    return at


def is_spent(broker: BrokerState, connection: BrokerConnection) -> bool:
    """Is there no time left in this turn? Then the connection rests."""
    return broker.spent >= broker.work_per_turn and connection.rests()


def is_run(route: Route, lane: i64, qos: i64) -> bool:
    """Are the receivers of one version, and of that QoS? A train serves others better, if they are few."""
    if len(route.receivers) <= FEW:
        is_like = True
        for receiver in route.receivers:
            other = receiver.session
            if not other.in_trains or not receiver.is_in_trains:
                return True
            if other.lane != lane or receiver.qos < qos or not receiver.is_plain:
                is_like = False
        return is_like
    return True


def count_same(
    data: bytes, at: i64, size: i64, head_size: i64, qos: i64, end: i64, lane: i64, receivers: i64
) -> i64:
    """How many PUBLISH packets like the one at ``at`` follow each other, it included: same first
    ``head_size`` bytes, so same length, QoS and Topic Name; at QoS 1 a Packet Identifier, and no Properties.
    """
    most: i64 = MOST_IN_RUN if receivers <= FEW else MOST_TOGETHER // receivers + 1
    count: i64 = 1
    first = at
    at += size
    if end - at > (most - 1) * size:
        end = at + (most - 1) * size
    while at + size <= end and is_same(data, first, at, head_size):
        if qos:
            tail = at + head_size
            if not two_bytes(data, tail):
                break
            if lane == MQTT_50 and data[tail + 2]:
                break
        count += 1
        at += size
    return count


def forward_qos_0(
    broker: BrokerState,
    session: ServerSession,
    lane: i64,
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
    if broker.is_clustered and session.number:
        pass_on(broker, session.client_id, lane, False, frames)
    others: list[Receiver] | None = None
    sent: i64 = 0
    for receiver in route.receivers:
        target = receiver.session
        other = target.connection
        if target.lane == lane and size <= target.largest and receiver.is_plain and other is not None:
            other.output.append(frames)
            other.has_blocks = other.has_blocks or len(frames) > LARGE_PIECE
            if not other.is_dirty:
                other.is_dirty = True
                other.dirty.append(other)
            sent += 1
        elif others is None:
            others = [receiver]
        else:
            others.append(receiver)
    if sent:
        broker.traffic.count_sent(sent * count, sent * count * (size - payload_at))
    if others is None and not route.groups:
        return
    if _is_too_much(broker, count, 1, others, route):
        _spread(broker, session, route, 0, frames, size, payload_at, count, others, now)
        return
    for index in range(count):
        start = index * size
        message: ApplicationMessage | None = None
        if others is not None:
            message = ApplicationMessage(route.topic, frames[start + payload_at : start + size], 0, False)
            for receiver in others:
                deliver_receiver(broker, route, message, session, now, receiver)
        for group in route.groups:
            member = choose(broker, group, 0, len(route.topic) + size - payload_at, 0)
            if member is not None and member.session.lane == lane and not member.identifier:
                other = member.session.connection
                if other is not None:
                    other.output.append(frames[start : start + size])
                    if not other.is_dirty:
                        other.is_dirty = True
                        other.dirty.append(other)
                    broker.traffic.count_sent(1, size - payload_at)
                    continue
            if message is None:
                message = ApplicationMessage(route.topic, frames[start + payload_at : start + size], 0, False)
            if member is None:
                nobody_takes(broker, group, message)
            else:
                deliver_member(broker, member, group.topic_filter, message, now)


def forward_qos_1(
    broker: BrokerState,
    session: ServerSession,
    lane: i64,
    route: Route,
    data: bytes,
    at: i64,
    size: i64,
    id_at: i64,
    payload_at: i64,
    count: i64,
    now: float,
) -> set[int] | None:
    """Give ``count`` equal-sized packets at ``at`` to all receivers: a burst for each that is plain.

    Receivers whose next Packet Identifier is the same, as those of a fan-out often are, share the bytes.
    Returns the indexes of packets for which there were receivers, and none of them had room; None: there are
    no such packets.
    """
    block = data if count * size == len(data) else data[at : at + count * size]  # often it is all that came
    message_size = len(route.topic) + size - payload_at
    frames = block
    frames_id: i64 = 0  # the first identifier in ``frames``
    frames_count: i64 = 0
    frames_skip: i64 = 0  # how many packets of ``block`` come before them
    others: list[Receiver] | None = None
    skips: list[i64] = []  # how many packets each of the others has got already
    most_done: i64 = 0  # how many somebody has got
    for receiver in route.receivers:
        target = receiver.session
        other = target.connection
        done: i64 = 0
        if (
            target.lane == lane
            and size <= target.largest
            and receiver.is_plain
            and receiver.qos >= 1
            and other is not None
        ):
            outgoing = target.outgoing
            room = outgoing.burst_room(count, message_size)
            while room:  # twice where the identifiers begin anew
                first_id = outgoing.burst_id()
                if first_id != frames_id or room != frames_count or done != frames_skip:
                    frames = with_ids(block, done, room, size, id_at, first_id)
                    frames_id = first_id
                    frames_count = room
                    frames_skip = done
                outgoing.add_burst(Burst(route.topic, frames, size, payload_at, first_id, room, b"", now))
                other.output.append(frames)
                done += room
                room = outgoing.burst_room(count - done, message_size) if done < count else 0
            if done:
                if not other.is_dirty:
                    other.is_dirty = True
                    other.dirty.append(other)
                broker.traffic.count_sent(done, done * (size - payload_at))
                if done > most_done:
                    most_done = done
                if done == count:
                    continue
        if others is None:
            others = []
        others.append(receiver)
        skips.append(done)
    if others is None and not route.groups:
        return None
    if _is_too_much(broker, count, WORK_OF_QOS_1, others, route):
        spread = _spread(
            broker, session, route, 1, block, size, payload_at, count, others, now, skips, most_done
        )
        spread.id_at = id_at
        return spread.lost
    lost: set[int] | None = None
    for index in range(count):
        is_kept: bool = index < most_done
        start = index * size
        message: ApplicationMessage | None = None
        if others is not None:
            message = ApplicationMessage(route.topic, block[start + payload_at : start + size], 1, False)
            for number, receiver in enumerate(others):
                if index >= skips[number] and deliver_receiver(
                    broker, route, message, session, now, receiver
                ):
                    is_kept = True
        for group in route.groups:
            member = choose(broker, group, 1, message_size, 0)
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
                    frames = with_ids(block, index, 1, size, id_at, first_id)
                    outgoing.add_burst(
                        Burst(route.topic, frames, size, payload_at, first_id, 1, group.topic_filter, now)
                    )
                    other.output.append(frames)
                    if not other.is_dirty:
                        other.is_dirty = True
                        other.dirty.append(other)
                    broker.traffic.count_sent(1, size - payload_at)
                    is_kept = True
                    continue
            if message is None:
                message = ApplicationMessage(route.topic, block[start + payload_at : start + size], 1, False)
            if member is None:
                is_kept = nobody_takes(broker, group, message) or is_kept
            elif deliver_member(broker, member, group.topic_filter, message, now):
                is_kept = True
        if not is_kept and not route.is_empty:
            if lost is None:
                lost = set()
            lost.add(index)
    return lost


def forward_qos_2(
    broker: BrokerState,
    session: ServerSession,
    lane: i64,
    route: Route,
    data: bytes,
    at: i64,
    stop: i64,
    topic_end: i64,
    payload_at: i64,
    now: float,
) -> bool:
    """Give one packet to all receivers; those that are plain share its bytes but for the identifier.

    False where there were receivers, and none of them had room.
    """
    is_kept: bool = route.is_empty
    head = data[at:topic_end]
    tail = data[topic_end + 2 : stop]
    message = ApplicationMessage(route.topic, data[payload_at:stop], 2, False)
    for receiver in route.receivers:
        target = receiver.session
        other = target.connection
        if (
            target.lane == lane
            and stop - at <= target.largest
            and receiver.is_plain
            and receiver.qos == 2
            and other is not None
            and target.outgoing.has_room()
        ):
            entry = Outgoing(message, 2, False)
            target.outgoing.start(entry, now)
            output = other.output
            output.append(head)
            output.append(encode_two(entry.packet_id))
            output.append(tail)
            if not other.is_dirty:
                other.is_dirty = True
                other.dirty.append(other)
            broker.traffic.count_sent(1, stop - payload_at)
            is_kept = True
        elif deliver_receiver(broker, route, message, session, now, receiver):
            is_kept = True
    if route.groups and deliver_shared(broker, route, message, now):
        is_kept = True
    return is_kept


def _is_too_much(
    broker: BrokerState, count: i64, work: i64, others: list[Receiver] | None, route: Route
) -> bool:
    """Is there no time in this turn to look at each of these for ``count`` messages?"""
    groups: i64 = len(route.groups)
    each = groups
    if others is not None:
        each += len(others)
    if count * work * each > broker.work_per_turn - broker.spent:
        return True
    broker.spent += count * groups  # or a member that is plain would cost nothing
    return False


def _spread(
    broker: BrokerState,
    session: ServerSession,
    route: Route,
    qos: int,
    block: bytes,
    size: i64,
    payload_at: i64,
    count: i64,
    others: list[Receiver] | None,
    now: float,
    skips: list[i64] | None = None,
    most_done: i64 = 0,
) -> Spread:
    """Give a run to these receivers one message after the other, over as many turns as it takes."""
    connection = session.connection
    assert connection is not None
    spread = Spread(route, session, connection, qos, others if others is not None else [])
    spread.block = block
    spread.size = size
    spread.payload_at = payload_at
    spread.count = count
    spread.skips = list(skips) if skips is not None else None
    spread.most_done = most_done
    go_on(broker, spread, broker.work_per_turn - broker.spent, now)
    if not spread.is_done:
        hold(broker, spread, connection)
    return spread
