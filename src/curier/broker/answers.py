"""PUBACK and PUBREC of the fast lane."""

from __future__ import annotations

from typing import Final

from librt.strings import BytesWriter, read_i16_be, write_i32_be
from mypy_extensions import i32, i64

from curier.broker.model import BrokerConnection
from curier.broker.queueing import NOBODY_HAS_ROOM
from curier.codec.constants import PUBACK, QUOTA_EXCEEDED
from curier.codec.primitives import encode_two

PUBACKS: Final = [b"\x40\x02" + encode_two(packet_id) for packet_id in range(0x10000)]
PUBRECS: Final = [b"\x50\x02" + encode_two(packet_id) for packet_id in range(0x10000)]


def two_bytes(data: bytes, at: i64) -> i64:
    """The Two Byte Integer at ``at`` (1.5.2)."""
    return i64(read_i16_be(data, at)) & 0xFFFF


def pubacks(data: bytes, id_at: i64, size: i64, count: i64) -> bytes:
    """PUBACKs for ``count`` PUBLISH packets of ``size`` bytes, the first with its identifier at ``id_at``."""
    if count == 1:
        return PUBACKS[two_bytes(data, id_at)]
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
        answers.append(refusal(connection, PUBACK, packet_id) if index in lost else PUBACKS[packet_id])
    return b"".join(answers)


def refusal(connection: BrokerConnection, kind: int, packet_id: int) -> bytes:
    """The answer to a message that nobody had room for."""
    return connection.acknowledgement(kind, packet_id, QUOTA_EXCEEDED, NOBODY_HAS_ROOM)
