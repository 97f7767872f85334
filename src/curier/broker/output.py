"""What one connection is sent: PUBLISH packets in the form its client takes, as fast as it takes them."""

from __future__ import annotations

from curier.broker import memory, pacing, telling
from curier.broker.lanes import set_lanes
from curier.broker.layouts import Layouts
from curier.broker.model import BrokerConnection
from curier.broker.state import BrokerState
from curier.codec.constants import MQTT_50, QUOTA_EXCEEDED
from curier.codec.primitives import LARGE_PIECE, encode_two
from curier.codec.publish import Layout, encode_topic_alias, publish_layout
from curier.protocol.connection import CONNECTED
from curier.session.message import ApplicationMessage
from curier.session.outgoing import Outgoing


def send_entry(
    broker: BrokerState, connection: BrokerConnection, entry: Outgoing, dup: bool, now: float, hold: int
) -> bool:
    """Send the PUBLISH of ``entry``, which at QoS 1 and 2 has its Packet Identifier; see ``send_publish``."""
    return send_publish(
        broker,
        connection,
        entry.message,
        entry.qos,
        dup,
        entry.retain,
        entry.identifiers,
        entry.packet_id,
        now,
        hold,
    )


def send_publish(
    broker: BrokerState,
    connection: BrokerConnection,
    message: ApplicationMessage,
    qos: int,
    dup: bool,
    retain: bool,
    identifiers: bytes,
    packet_id: int,
    now: float,
    hold: int,
) -> bool:
    """Send one PUBLISH, after batch ``hold`` of the journal where that is not 0.

    False, and nothing is sent, where it is larger than the client's Maximum Packet Size [MQTT-3.1.2-24].
    """
    is_50 = connection.version == MQTT_50
    layouts = broker.layouts
    whole = message
    if connection.mount is not None:
        layouts = connection.mount.layouts
        message = connection.mount.leaving(message)
    if qos:
        hold = connection.hold_publish(hold)
    if connection.topic_aliases is not None and not hold and not dup:
        layout = _aliased_layout(layouts, connection, message, qos, retain, identifiers, now)
    else:
        layout = layouts.get(message, is_50, qos, dup, retain, identifiers, now)
    if connection.peer_max_packet_size and layout.size > connection.peer_max_packet_size:
        return False
    identifier = encode_two(packet_id)  # one that cannot be is met before half of the packet is sent
    if broker.hooks.witness is not None and telling.sending(broker, connection, whole, qos, packet_id):
        set_lanes(broker, connection)
    traffic = connection.traffic
    traffic.publishes_sent += 1
    traffic.publish_bytes_sent += len(message.payload)
    if connection.outflow is not None:
        pacing.sent(broker, connection, connection.outflow, layout.size, now)
    if hold:
        connection.send_after(hold, layout.head + identifier + layout.tail, 0, layout.payload)
        return True
    if connection.tap is not None:
        connection.send(layout.head + (identifier if qos else b"") + layout.tail, layout.payload)
    else:
        traffic.packets_sent += 1
        output = connection.output
        output.append(layout.head)
        if qos:
            output.append(identifier)
        output.append(layout.tail)
        if layout.payload:
            output.append(layout.payload)
        if layout.payload or len(layout.tail) > LARGE_PIECE:
            connection.has_large_output = True
        if not connection.is_dirty:
            connection.is_dirty = True
            connection.dirty.append(connection)
    _grow(broker, connection, layout.size)
    return True


def _aliased_layout(
    layouts: Layouts,
    connection: BrokerConnection,
    message: ApplicationMessage,
    qos: int,
    retain: bool,
    identifiers: bytes,
    now: float,
) -> Layout:
    """With a Topic Alias in place of the Topic Name, where there is one or room for one (3.3.2.3.4)."""
    aliases = connection.topic_aliases
    assert aliases is not None
    topic = message.topic
    alias = aliases.get(topic, 0)
    if not alias:
        # An alias costs three bytes itself.
        if len(aliases) < connection.outgoing_alias_maximum and len(topic) > 3:
            alias = len(aliases) + 1  # [MQTT-3.1.2-26]: never over the client's maximum
            properties = encode_topic_alias(alias) + layouts.properties(message, identifiers, now)
            layout = publish_layout(topic, message.payload, qos, False, retain, properties)
            if not connection.peer_max_packet_size or layout.size <= connection.peer_max_packet_size:
                aliases[topic] = alias  # only what is really sent sets a mapping
                return layout
        return layouts.get(message, True, qos, False, retain, identifiers, now)
    properties = encode_topic_alias(alias) + layouts.properties(message, identifiers, now)
    return publish_layout(b"", message.payload, qos, False, retain, properties)


def send_block(broker: BrokerState, connection: BrokerConnection, block: bytes) -> None:
    """Send many packets, which the caller has counted and which nobody needs to see."""
    connection.output.append(block)
    touch(connection)
    _grow(broker, connection, len(block))


def touch(connection: BrokerConnection) -> None:
    """Have the output taken when the turn ends."""
    if not connection.is_dirty:
        connection.is_dirty = True
        connection.dirty.append(connection)


def _grow(broker: BrokerState, connection: BrokerConnection, size: int) -> None:
    """``size`` bytes more wait to be written."""
    connection.unsent += size
    if connection.unsent > broker.options.output_soft_limit and not connection.is_behind:
        connection.is_behind = connection.is_congested = True
        set_lanes(broker, connection)


def release(broker: BrokerState, connection: BrokerConnection, batch: int, now: float) -> None:
    """Batch ``batch`` is durable: send what the connection has held for it."""
    connection.is_kept = False
    if connection.tap is not None:
        telling.stored(broker, connection, batch)
    connection.release(batch, now)
    if connection.held:
        connection.is_kept = True
        broker.holding.append(connection)


def written(broker: BrokerState, connection: BrokerConnection, sent: int, unsent: int, now: float) -> None:
    """The network has taken ``sent`` bytes; ``unsent`` bytes still wait in the driver."""
    broker.traffic.bytes_sent += sent
    connection.entrance.bytes_sent += sent
    connection.unsent = unsent
    if connection.state != CONNECTED:
        return
    if unsent != connection.counted_unsent:
        memory.output_waits(broker, connection, unsent, now)
    if sent and connection.is_behind:
        # A peer that takes bytes lives, though it is not read from while it takes too few.
        connection.received_at = max(connection.received_at, now)
    if unsent > broker.output_hard_limit:
        why = f"{unsent} bytes wait for this client, which does not take them"
        connection.send_disconnect(QUOTA_EXCEEDED, why, None)
        connection.end(QUOTA_EXCEEDED, why, now)
    elif unsent > broker.options.output_soft_limit:
        if not connection.is_behind:
            connection.is_behind = connection.is_congested = True
            set_lanes(broker, connection)
    elif connection.is_behind and unsent <= broker.options.output_soft_limit // 2:
        connection.is_behind = False
        if connection.outflow is not None and connection.outflow.is_holding:
            return  # it has its turn when there is room again
        connection.is_congested = False
        set_lanes(broker, connection)
        connection.now = now
        connection.pump(now)
