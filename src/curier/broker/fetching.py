"""Retained messages on their way to a new subscription (3.3.1.3, 3.8.4): sent piece by piece.

``subscribing`` puts a walk over the matching retained messages into the session. The messages are fetched
from it when the output of a connection is taken, as many as the client's quota, its output and this turn have
room for: behind everything else that the turn brought, and all acknowledgements of a chunk at once.

A client that takes plain packets (``ServerSession.lane``) gets many messages encoded in one block, whose
QoS 1 packets cost one ``Burst`` together. ``tests/broker/test_lanes.py`` holds that equal to the general way,
``bench/subscriptions.py`` shows what it saves.
"""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter
from mypy_extensions import i64, u8

from curier.broker.delivery import deliver_to
from curier.broker.model import NO_SENDS, BrokerConnection, ServerSession, Subscription
from curier.broker.output import send_block
from curier.broker.state import BrokerState
from curier.codec.constants import MQTT_50
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Burst

FETCHED_PER_TURN: Final = 8192
"""Work for all clients together in one turn: messages sent, KiB sent, and eight nodes looked at count 1."""

JUDGED: Final = 4  # of that, for each message that rules decide about
FETCHED_AT_ONCE: Final = 1024  # of that, for one client
STEP: Final = 256  # messages taken from a walk together
MOST_BLOCK_BYTES: Final = 512 * 1024  # of messages that are worth copying into one block


def send_retained(
    broker: BrokerState, session: ServerSession, connection: BrokerConnection, now: float
) -> None:
    """Send some of the retained messages that new subscriptions of the session ask for."""
    outgoing = session.outgoing
    budget = FETCHED_AT_ONCE
    while session.retained_sends and session.connection is connection:
        if connection.is_congested or not outgoing.has_room() or outgoing.queue or outgoing.resend:
            return  # whatever ends this pumps again
        if budget <= 0 or broker.fetch_budget <= 0:
            broker.continue_later(connection)
            return
        send = session.retained_sends[0]
        if send.pending:
            messages = _still_retained(broker, send.pending)
            send.pending = []
        else:
            messages = send.walk.next(outgoing.quota if outgoing.quota < STEP else STEP)
            mount = session.mount
            if mount is not None:
                messages = [message for message in messages if mount.shows(message.topic)]
        cost = STEP // 8
        rights = session.rights_by(broker.router.judge)
        if rights is not None and messages:
            cost = JUDGED * len(messages)
            budget -= cost
            broker.fetch_budget -= cost
            messages = [message for message in messages if rights.is_shown(message.topic)]
        if messages:
            before = broker.traffic.publish_bytes_sent
            send.pending = _send(broker, session, connection, send.subscription, messages, now)
            cost = len(messages) + ((broker.traffic.publish_bytes_sent - before) >> 10)
        budget -= cost
        broker.fetch_budget -= cost
        if send.walk.done and not send.pending:
            session.retained_sends.popleft()
            if not session.retained_sends:
                session.retained_sends = NO_SENDS


def _still_retained(broker: BrokerState, messages: list[ApplicationMessage]) -> list[ApplicationMessage]:
    """What is retained now on the topics of messages that were met earlier and not sent."""
    found: list[ApplicationMessage] = []
    for message in messages:
        present = broker.retained.get(message.topic)
        if present is not None:
            found.append(present)
    return found


def _send(
    broker: BrokerState,
    session: ServerSession,
    connection: BrokerConnection,
    subscription: Subscription,
    messages: list[ApplicationMessage],
    now: float,
) -> list[ApplicationMessage]:
    """Send messages, at most as many as there is quota; returns those that the output has no room for."""
    start = 0
    takes_blocks = session.lane and not connection.peer_max_packet_size and broker.router.witness is None
    if takes_blocks and session.journal is None and _is_plain(messages, subscription.qos):
        start = _send_blocks(broker, session, connection, subscription, messages, now)
    for index in range(start, len(messages)):
        if connection.is_congested or not session.outgoing.has_room():
            return messages[index:]
        message = messages[index]
        if not message.is_expired(now):
            qos = message.qos if message.qos < subscription.qos else subscription.qos
            deliver_to(broker, session, message, qos, True, subscription.identifier, b"", now)
    return []


def _is_plain(messages: list[ApplicationMessage], most_qos: int) -> bool:
    """Are they small, and none to be sent with QoS 2?"""
    size: i64 = 0
    for message in messages:
        if message.qos == 2 and most_qos == 2:
            return False
        size += len(message.payload) + len(message.topic) + len(message.properties)
    return size <= MOST_BLOCK_BYTES


def _send_blocks(
    broker: BrokerState,
    session: ServerSession,
    connection: BrokerConnection,
    subscription: Subscription,
    messages: list[ApplicationMessage],
    now: float,
) -> int:
    """Send messages in blocks, each with Packet Identifiers in a row; returns how many were done with."""
    outgoing = session.outgoing
    largest = max([message.size() for message in messages])
    start = 0
    while start < len(messages) and not connection.is_congested:
        room = len(messages) - start
        if subscription.qos:
            room = outgoing.burst_room(room, largest)
            if not room:
                break
        part = messages[start : start + room] if start or room < len(messages) else messages
        start += room
        _send_block(broker, session, connection, subscription, part, now)
    return start


def _send_block(
    broker: BrokerState,
    session: ServerSession,
    connection: BrokerConnection,
    subscription: Subscription,
    messages: list[ApplicationMessage],
    now: float,
) -> None:
    """Send messages of QoS 0 and 1 in one block of bytes and, as to QoS 1, one burst."""
    outgoing = session.outgoing
    is_50 = session.lane == MQTT_50
    identifiers = subscription.identifier
    first_id: i64 = outgoing.burst_id()
    packet_id: i64 = first_id
    sent: i64 = 0
    payload_bytes: i64 = 0
    in_burst: list[ApplicationMessage] = []
    writer = BytesWriter()
    for message in messages:
        if message.is_expired(now):
            continue
        qos = 1 if message.qos and subscription.qos else 0
        topic = message.topic
        payload = message.payload
        properties = broker.layouts.properties(message, identifiers, now) if is_50 else b""
        remaining: i64 = 2 + len(topic) + len(payload) + len(properties)
        if qos:
            remaining += 2
        if is_50:
            remaining += 1 if len(properties) < 128 else 2 if len(properties) < 16384 else 3
        writer.append(0x33 if qos else 0x31)  # RETAIN is set [MQTT-3.3.1-8]
        _write_varint(writer, remaining)
        writer.append(u8(len(topic) >> 8))
        writer.append(u8(len(topic) & 255))
        writer.write(topic)
        if qos:
            writer.append(u8(packet_id >> 8))
            writer.append(u8(packet_id & 255))
            packet_id += 1
            in_burst.append(message)
        if is_50:
            _write_varint(writer, len(properties))
            writer.write(properties)
        writer.write(payload)
        sent += 1
        payload_bytes += len(payload)
    if not sent:
        return
    if in_burst:
        count = packet_id - first_id
        outgoing.add_burst(Burst(b"", b"", 0, 0, first_id, count, b"", now, in_burst, identifiers))
    traffic = broker.traffic
    traffic.packets_sent += sent
    traffic.publishes_sent += sent
    traffic.publish_bytes_sent += payload_bytes
    send_block(broker, connection, writer.getvalue())


def _write_varint(writer: BytesWriter, value: i64) -> None:
    """A Variable Byte Integer (1.5.5)."""
    while value > 127:
        writer.append(u8(value & 127 | 128))
        value >>= 7
    writer.append(u8(value))
