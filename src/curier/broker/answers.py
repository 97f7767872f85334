"""PUBACK and PUBREC of the fast lane."""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter, read_i16_be, write_i32_be
from mypy_extensions import i32, i64

from curier.broker.model import BrokerConnection, Spread
from curier.broker.queueing import NOBODY_HAS_ROOM
from curier.codec.constants import MQTT_50, PUBACK, QUOTA_EXCEEDED
from curier.codec.primitives import encode_two

_PUBACKS: Final[list[list[bytes]]] = [[] for _ in range(256)]
_PUBRECS: Final[list[list[bytes]]] = [[] for _ in range(256)]
"""Whole packets, by the first and the second byte of their identifier. A row is made when one of it is asked
for: all of them are 7 MiB, which a broker at rest has no use for.
"""


def puback(packet_id: i64) -> bytes:
    """The PUBACK for a Packet Identifier, without a Reason Code (3.4.2.1)."""
    row = _PUBACKS[packet_id >> 8]
    return row[packet_id & 0xFF] if row else _make_row(row, b"\x40\x02", packet_id)


def pubrec(packet_id: i64) -> bytes:
    """The PUBREC for a Packet Identifier, without a Reason Code (3.5.2.1)."""
    row = _PUBRECS[packet_id >> 8]
    return row[packet_id & 0xFF] if row else _make_row(row, b"\x50\x02", packet_id)


def _make_row(row: list[bytes], head: bytes, packet_id: i64) -> bytes:
    first = packet_id & 0xFF00
    row += [head + encode_two(first + second) for second in range(256)]
    return row[packet_id & 0xFF]


def two_bytes(data: bytes, at: i64) -> i64:
    """The Two Byte Integer at ``at`` (1.5.2)."""
    return i64(read_i16_be(data, at)) & 0xFFFF


def pubacks(data: bytes, id_at: i64, size: i64, count: i64) -> bytes:
    """PUBACKs for ``count`` PUBLISH packets of ``size`` bytes, the first with its identifier at ``id_at``."""
    if count == 1:
        return puback(two_bytes(data, id_at))
    writer = BytesWriter()
    end = id_at + count * size
    while id_at < end:
        write_i32_be(writer, i32(0x40020000 | two_bytes(data, id_at)))
        id_at += size
    return writer.getvalue()


def some_refused(
    connection: BrokerConnection, data: bytes, id_at: i64, size: i64, count: i64, lost: set[int]
) -> bytes:
    """The same, where nobody had room for some of them: those are refused."""
    answers: list[bytes] = []
    for index in range(count):
        packet_id = two_bytes(data, id_at)
        id_at += size
        answers.append(refusal(connection, PUBACK, packet_id) if index in lost else puback(packet_id))
    return b"".join(answers)


def answer_run(connection: BrokerConnection, spread: Spread) -> None:
    """All receivers have a run: acknowledge it."""
    if spread.qos:
        lost = spread.lost
        block = spread.block
        if lost is None or connection.version != MQTT_50:
            answer = pubacks(block, spread.id_at, spread.size, spread.count)
        else:
            answer = some_refused(connection, block, spread.id_at, spread.size, spread.count, lost)
        connection.traffic.packets_sent += spread.count - 1  # and one more where it is sent
        connection.send(answer)


def refusal(connection: BrokerConnection, kind: int, packet_id: int) -> bytes:
    """The answer to a message that nobody had room for."""
    return connection.acknowledgement(kind, packet_id, QUOTA_EXCEEDED, NOBODY_HAS_ROOM)
