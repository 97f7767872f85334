"""Messages that can be told apart: their payload, and many PUBLISH packets made of one template.

A payload begins with a header of 32 bytes, big-endian:

    run     4   drawn for each run, so that runs do not mix
    stream  4   the publisher within the run
    time    8   nanoseconds of ``clock()`` when it was sent, or should have been
    end     4   the number after the last message of the batch it was sent in, modulo 2**32
    number  8   from 0, for each stream
    check   4   CRC-32 of all before, without the last two bytes of ``number``; those are XORed onto it

and is filled up with bytes that depend on the stream. Within a batch only four bytes of the header differ
from packet to packet, and the Packet Identifier. So a batch is the template times n, with each of these
bytes written down the whole batch in one slice assignment. A receiver that knows the next number and ``end``
makes the same bytes and compares them with what it got: order, loss, doubles and damage of hundreds of
messages are decided by one comparison, which costs nanoseconds a message; only where it fails is each looked
at.
"""

from __future__ import annotations

import random
import struct
import time
from functools import lru_cache
from typing import Final
from zlib import crc32

HEADER: Final = struct.Struct(">IIQIQI")
HEADER_BYTES: Final = HEADER.size
CHECKED_BYTES: Final = 26
"""Of the header, those that CRC-32 is computed of."""

SPAN: Final = 65536
"""A batch does not go beyond a multiple of it: the numbers then differ in two bytes."""

MOST_IDS: Final = 65535
"""Packet Identifiers are used in turn: message n of a stream has ``n % MOST_IDS + 1``."""

_WALL: Final = time.time_ns() - time.perf_counter_ns()

_HIGH: Final = bytes(number >> 8 for number in range(SPAN))
_LOW: Final = bytes(range(256)) * 256
_XOR: Final = [bytes(byte ^ key for byte in range(256)) for key in range(256)]
# Twice the cycle of identifiers, so that every run of them is one slice.
_ID_HIGH: Final = bytes(number >> 8 for number in range(1, SPAN)) * 2
_ID_LOW: Final = bytes(number & 255 for number in range(1, SPAN)) * 2


def clock() -> int:
    """Nanoseconds since the epoch on a clock that never jumps within this process."""
    return time.perf_counter_ns() + _WALL


def id_columns(number: int, count: int) -> tuple[bytes, bytes]:
    """The high and the low bytes of the Packet Identifiers of ``count`` messages, from ``number`` on."""
    first = number % MOST_IDS
    return _ID_HIGH[first : first + count], _ID_LOW[first : first + count]


@lru_cache(maxsize=1024)
def fill(stream: int, size: int) -> bytes:
    """The ``size`` bytes after the header of every message of a stream."""
    return random.Random(stream).randbytes(size)


def check_of(data: bytes | bytearray, at: int, number: int) -> int:
    """The check of the header at ``data[at:]``, whose message has this number."""
    return crc32(data[at : at + CHECKED_BYTES]) ^ (number & 0xFFFF)


class Template:
    """Makes the PUBLISH packets of one stream.

    ``packet`` is one of them, encoded; its payload begins at ``at``, its Packet Identifier at ``id_at``
    (0: it has none).
    """

    def __init__(self, packet: bytes, at: int, id_at: int, run: int, stream: int) -> None:
        self.packet = bytearray(packet)
        self.size = len(packet)
        self.at = at
        self.id_at = id_at
        self.run = run
        self.stream = stream
        self.packet[at + HEADER_BYTES :] = fill(stream, self.size - at - HEADER_BYTES)

    def batch(self, number: int, count: int, sent_at: int, end: int) -> bytearray:
        """``count`` packets from ``number`` on, with Packet Identifier 0; not beyond a multiple of SPAN."""
        packet, at = self.packet, self.at
        HEADER.pack_into(packet, at, self.run, self.stream, sent_at, end & 0xFFFFFFFF, number, 0)
        check = crc32(packet[at : at + CHECKED_BYTES])
        low = number % SPAN
        if count == 1:
            struct.pack_into(">I", packet, at + 28, check ^ low)
            return packet[:]
        struct.pack_into(">I", packet, at + 28, check)
        batch = packet * count
        size = self.size
        high_bytes = _HIGH[low : low + count]
        low_bytes = _LOW[low : low + count]
        batch[at + 26 :: size] = high_bytes
        batch[at + 27 :: size] = low_bytes
        batch[at + 30 :: size] = high_bytes.translate(_XOR[check >> 8 & 0xFF])
        batch[at + 31 :: size] = low_bytes.translate(_XOR[check & 0xFF])
        return batch

    def numbered_batch(self, number: int, count: int, sent_at: int, end: int) -> bytearray:
        """The same with the Packet Identifiers of these messages, where they have any."""
        batch = self.batch(number, count, sent_at, end)
        if self.id_at:
            batch[self.id_at :: self.size], batch[self.id_at + 1 :: self.size] = id_columns(number, count)
        return batch
