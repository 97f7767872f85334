"""Short PUBLISH packets in a row, a block, in the other forms that receivers get them in.

Hot file, a part of ``trains``: what is in a block is known to be well formed, with QoS 0 or 1, and to have so
few Properties that their length is one byte in any form.
"""

from __future__ import annotations

from librt.strings import BytesWriter
from mypy_extensions import i64, u8

from curier.broker.answers import two_bytes
from curier.broker.model import BrokerConnection
from curier.broker.special import ALIAS_ONLY
from curier.codec.constants import TOPIC_ALIAS
from curier.codec.publish import id_place, short_size


def begin(made: BytesWriter, first: i64, remaining: i64) -> None:
    """The Fixed Header of a short packet."""
    made.append(u8(first))
    if remaining > 127:
        made.append(u8(remaining & 127 | 128))
        remaining >>= 7
    made.append(u8(remaining))


def two(made: BytesWriter, number: i64) -> None:
    """A Two Byte Integer (1.5.2)."""
    made.append(u8(number >> 8))
    made.append(u8(number & 255))


def numbered(block: bytes, first: i64, packet_id: i64) -> bytes:
    """``block``, short PUBLISH packets, with another first byte of each, and Packet Identifiers from that one
    on where it is not 0.
    """
    writer = BytesWriter()
    writer.write(block)
    at: i64 = 0
    end: i64 = len(block)
    while at < end:
        writer[at] = u8(first)
        if packet_id:
            place = id_place(block, at)
            writer[place] = u8(packet_id >> 8)
            writer[place + 1] = u8(packet_id & 255)
            packet_id += 1
        at += short_size(block, at)
    return writer.getvalue()


def with_ids(block: bytes, skip: i64, count: i64, size: i64, id_at: i64, first_id: i64) -> bytes:
    """``count`` packets of ``block`` behind the first ``skip``, with Packet Identifiers from ``first_id``."""
    writer = BytesWriter()
    if count * size == len(block):
        writer.write(block)
    else:
        writer.write(block[skip * size : (skip + count) * size])
    end = first_id + count
    while first_id < end:
        writer[id_at] = u8(first_id >> 8)
        writer[id_at + 1] = u8(first_id & 255)
        id_at += size
        first_id += 1
    return writer.getvalue()


def translated(block: bytes, was_50: bool, qos: i64, is_50: bool) -> bytes:
    """``block``, short PUBLISH packets with few Properties, as they are in a version and with QoS 0 or 1. For
    QoS 1 they come with that.
    """
    writer = BytesWriter()
    at: i64 = 0
    end: i64 = len(block)
    while at < end:
        stop = at + short_size(block, at)
        name_at: i64 = at + 2 if block[at + 1] < 128 else at + 3
        name_end = name_at + 2 + two_bytes(block, name_at)
        payload_at = name_end
        if block[at] & 2:
            payload_at += 2
        properties_at = payload_at
        if was_50:
            payload_at += 1 + block[payload_at]
        remaining = name_end - name_at + stop - payload_at
        if is_50:
            remaining += payload_at - properties_at if was_50 else 1
        begin(writer, 0x32 if qos else 0x30, remaining + 2 if qos else remaining)
        writer.write(block[name_at : name_end + 2 if qos else name_end])
        if is_50 and was_50:
            writer.write(block[properties_at:payload_at])
        elif is_50:
            writer.append(0)
        writer.write(block[payload_at:stop])
        at = stop
    return writer.getvalue()


def identified(block: bytes, first: i64, packet_id: i64, identifiers: bytes) -> bytes:
    """``block``, packets of 5.0, with these Subscription Identifiers behind the other Properties; else as
    ``numbered`` has it.
    """
    writer = BytesWriter()
    more: i64 = len(identifiers)
    at: i64 = 0
    end: i64 = len(block)
    while at < end:
        stop = at + short_size(block, at)
        name_at: i64 = at + 2 if block[at + 1] < 128 else at + 3
        name_end = name_at + 2 + two_bytes(block, name_at)
        begin(writer, first, stop - name_at + more)
        writer.write(block[name_at:name_end])
        properties_at = name_end + 1
        if packet_id:
            properties_at += 2
            two(writer, packet_id)
            packet_id += 1
        length: i64 = block[properties_at - 1]
        writer.append(u8(length + more))
        if length:
            writer.write(block[properties_at : properties_at + length])
        writer.write(identifiers)
        writer.write(block[properties_at + length : stop])
        at = stop
    return writer.getvalue()


def aliased(connection: BrokerConnection, block: bytes, first: i64, packet_id: i64) -> bytes:
    """``block``, packets of 5.0, with the Topic Aliases of that client; else as ``numbered`` has it."""
    aliases = connection.topic_aliases
    assert aliases is not None
    most = connection.outgoing_alias_maximum
    writer = BytesWriter()
    at: i64 = 0
    end: i64 = len(block)
    while at < end:
        stop = at + short_size(block, at)
        name_at: i64 = at + 4 if block[at + 1] < 128 else at + 5
        name_end = name_at + two_bytes(block, name_at - 2)
        properties_at = name_end + 3 if packet_id else name_end + 1
        length: i64 = block[properties_at - 1]
        topic = block[name_at:name_end]
        alias: i64 = aliases.get(topic, 0)
        name = b"" if alias else topic
        if not alias and len(aliases) < most and len(topic) > ALIAS_ONLY:
            alias = len(aliases) + 1  # [MQTT-3.1.2-26]
            aliases[topic] = alias
        remaining = 3 + len(name) + stop - properties_at
        if packet_id:
            remaining += 2
        if alias:
            remaining += ALIAS_ONLY
        begin(writer, first, remaining)
        two(writer, len(name))
        writer.write(name)
        if packet_id:
            two(writer, packet_id)
            packet_id += 1
        if alias:
            writer.append(u8(ALIAS_ONLY + length))
            writer.append(TOPIC_ALIAS)
            two(writer, alias)
        else:
            writer.append(u8(length))
        writer.write(block[properties_at:stop])
        at = stop
    return writer.getvalue()
