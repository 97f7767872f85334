"""SUBSCRIBE and SUBACK, flat: what a client that subscribes to thousands of topics sends (3.8, 3.9).

It repeats, for packets without Properties and without a fault, what ``decode`` and ``encode`` do readably for
all; ``tests/codec/test_subscribe.py`` holds the two equal. Topic Filters stay the bytes they are.
"""

from __future__ import annotations

from typing import Final, final

from mypy_extensions import i64

from curier.codec.constants import MQTT_50
from curier.codec.filters import filter_fault
from curier.codec.primitives import encode_two, encode_varint

_PLAIN_CODES: Final = (b"\x00", b"\x01", b"\x02")
_DOLLAR: Final = 0x24
_NO_LOCAL: Final = 4


@final
class PlainSubscribe:
    """A SUBSCRIBE as the broker works on it: filters in UTF-8, and the Subscription Options of each."""

    __slots__ = ("filters", "identifier", "options", "packet_id")

    def __init__(self, packet_id: int, filters: list[bytes], options: list[int], identifier: int = 0) -> None:
        self.packet_id = packet_id
        self.filters = filters
        self.options = options
        self.identifier = identifier  # Subscription Identifier, or 0


def parse_subscribe(data: bytes, start: int, end: int, version: int) -> PlainSubscribe | None:
    """The SUBSCRIBE that fills ``data[start:end]``; None where it is not plain, for ``decode`` to look at."""
    at: i64 = start + 1
    stop: i64 = end
    if data[start] != 0x82:
        return None
    while at < stop and data[at] > 127:  # the Remaining Length was checked when the packet was framed
        at += 1
    at += 1
    if at + 2 > stop:
        return None
    packet_id = (data[at] << 8) | data[at + 1]
    at += 2
    is_50 = version == MQTT_50
    if is_50:
        if at >= stop or data[at]:
            return None
        at += 1
    if not packet_id or at >= stop:
        return None
    filters: list[bytes] = []
    options: list[int] = []
    while at < stop:
        if at + 2 > stop:
            return None
        begin = at + 2
        at = begin + ((data[at] << 8) | data[at + 1])
        if at >= stop or at == begin:
            return None
        topic_filter = data[begin:at]
        option: i64 = data[at]
        at += 1
        if not _is_text(topic_filter) or filter_fault(topic_filter, version)[0]:
            return None
        if option > 2 and (not is_50 or not _are_options(option, topic_filter)):
            return None
        filters.append(topic_filter)
        options.append(option)
    return PlainSubscribe(packet_id, filters, options)


def _is_text(text: bytes) -> bool:
    """Is this a UTF-8 Encoded String without U+0000 (1.5.4)?"""
    if 0 in text:
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _are_options(options: i64, topic_filter: bytes) -> bool:
    """Are these Subscription Options as 5.0 has them (3.8.3.1)?"""
    if options & 0xC0 or options & 3 == 3 or options >> 4 == 3:
        return False
    return not (options & _NO_LOCAL and topic_filter[0] == _DOLLAR and topic_filter.startswith(b"$share/"))


def plain_suback(packet_id: int, reason_codes: list[int], version: int) -> bytes:
    """A SUBACK without Properties; the caller answers for the Reason Codes."""
    if len(reason_codes) == 1 and reason_codes[0] <= 2:
        head = (
            b"\x90\x04" + encode_two(packet_id) + b"\x00"
            if version == MQTT_50
            else (b"\x90\x03" + encode_two(packet_id))
        )
        return head + _PLAIN_CODES[reason_codes[0]]
    properties = b"\x00" if version == MQTT_50 else b""
    size = 2 + len(properties) + len(reason_codes)
    return b"\x90" + encode_varint(size) + encode_two(packet_id) + properties + bytes(reason_codes)
