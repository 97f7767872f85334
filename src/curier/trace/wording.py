"""Packets, sizes and times in a few words, for lines and drawings."""

from __future__ import annotations

import time as clock
from typing import Final

from curier.codec.packets import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from curier.codec.packets import Packet as ControlPacket
from curier.loglines import printable
from curier.types import reason_name

VERSIONS: Final = {0: "", 3: "3.1", 4: "3.1.1", 5: "5.0"}
NEVER_EXPIRES: Final = 0xFFFFFFFF
SHOWN_FILTERS: Final = 3
HEX_BYTES: Final = 8

_CONNECT_RETURN_CODES: Final = {
    1: "unacceptable protocol version",
    2: "identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
"""Of 3.1.1, table 3.1."""


def label(name: str, packet: ControlPacket | None) -> str:
    """What goes onto an arrow: ``PUBLISH q2 #12 DUP``."""
    if isinstance(packet, Publish):
        number = f" #{packet.packet_id}" if packet.packet_id else ""
        return f"{name} q{packet.qos}{number}{' DUP' * packet.dup}{' RETAIN' * packet.retain}"
    if isinstance(packet, (Puback, Pubrec, Pubrel, Pubcomp)):
        return f"{name} #{packet.packet_id}"
    if isinstance(packet, (Subscribe, Suback, Unsubscribe, Unsuback)):
        return f"{name} #{packet.packet_id}"
    return name


def detail(packet: ControlPacket | None, version: int) -> str:
    """What a packet says besides its label and, of a PUBLISH, its topic and payload; often nothing."""
    if isinstance(packet, Publish) or packet is None:
        return ""
    if isinstance(packet, (Puback, Pubrec, Pubrel, Pubcomp, Auth)):
        code = code_words(packet.reason_code, version) if packet.reason_code else ""
        return ", ".join(filter(None, [code, _why(packet)])) if code or packet.properties is not None else ""
    if isinstance(packet, Connect):
        return _connect(packet)
    if isinstance(packet, Connack):
        there = "session present" if packet.session_present else ""
        return ", ".join(filter(None, [code_words(packet.reason_code, version, True), there, _why(packet)]))
    if isinstance(packet, Disconnect):
        code = code_words(packet.reason_code, version) if packet.reason_code else ""
        return ", ".join(filter(None, [code, _why(packet)]))
    if isinstance(packet, Subscribe):
        return _some([f"{shown(one)} {_options(options)}" for one, options in packet.subscriptions])
    if isinstance(packet, Unsubscribe):
        return _some([shown(one) for one in packet.topic_filters])
    if isinstance(packet, Suback):
        return _some([_granted(code) for code in packet.reason_codes])
    if isinstance(packet, Unsuback):
        return _some([code_words(code, version) for code in packet.reason_codes if code])
    return ""


def _connect(packet: Connect) -> str:
    words = [VERSIONS.get(packet.version, str(packet.version))]
    words.append(f"{(packet.client_id and shown(packet.client_id)) or '(no identifier)'}")
    if packet.clean_start:
        words.append("Clean Start" if packet.version == 5 else "Clean Session")
    words.append(f"Keep Alive {packet.keep_alive} s" if packet.keep_alive else "no Keep Alive")
    expiry = packet.properties.session_expiry_interval if packet.properties is not None else None
    if expiry:
        words.append(
            "session never expires" if expiry == NEVER_EXPIRES else f"session expires {expiry} s after"
        )
    if packet.username is not None:
        words.append(f"user {shown(packet.username)}")
    if packet.will is not None:
        words.append(f"will on {shown(packet.will.topic)}")
    return ", ".join(words)


def _why(packet: Connack | Puback | Pubrec | Pubrel | Pubcomp | Disconnect | Auth) -> str:
    reason = packet.properties.reason_string if packet.properties is not None else None
    return f"“{shown(reason, 200)}”" if reason else ""


def _options(options: int) -> str:
    words = [f"q{options & 3}"]
    if options & 4:
        words.append("No Local")
    if options & 8:
        words.append("Retain As Published")
    if options & 0x30:
        words.append(("", "retained if new", "no retained")[min(options >> 4 & 3, 2)])
    return " ".join(words)


def _granted(code: int) -> str:
    return f"granted q{code}" if code < 3 else reason_name(code)


def _some(words: list[str]) -> str:
    more = [f"and {len(words) - SHOWN_FILTERS} more"] if len(words) > SHOWN_FILTERS else []
    return ", ".join([*words[:SHOWN_FILTERS], *more])


def code_words(code: int, version: int, is_connack: bool = False) -> str:
    """A Reason Code, or a Connect Return code of 3.1.1, in words; "" for success."""
    if not code:
        return ""
    if is_connack and version in (3, 4):
        return f"{code} ({_CONNECT_RETURN_CODES.get(code, 'reserved')})"
    return reason_name(code)


def shown(text: str, most: int = 120) -> str:
    """What a stranger has named, for a drawing: no character in it moves a cursor, or text around."""
    text = printable(text, most)
    return text if text.isascii() else "".join(map(_visible, text))


def _visible(character: str) -> str:
    # Variation selectors and the like change how wide others are, differently in each terminal
    if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        return character.encode("unicode_escape").decode()
    return character


def payload_words(payload: bytes, size: int, most: int = 24) -> str:
    """A payload's beginning: text in quotation marks, otherwise hexadecimal digits, and how much there is."""
    if not size:
        return "(empty)"
    head = payload[: most * 4]
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode() if len(head) - error.start < 4 and len(head) < size else ""
    text = text[:most]
    if text and text.isprintable():
        rest = len(text.encode()) < size
        return f'"{shown(text)}"' + (f" first {len(text.encode())} of {size} B" if rest else "")
    rest = size > HEX_BYTES
    return f"{payload[:HEX_BYTES].hex(' ')}" + (f" first {HEX_BYTES} of {size} B" if rest else f" ({size} B)")


def size_words(size: int) -> str:
    """Bytes, to three digits: ``812 B``, ``1.5 KiB``."""
    if size < 1024:
        return f"{size} B"
    value, units = size / 1024, ["TiB", "GiB", "MiB", "KiB"]
    while value >= 1023.95 and len(units) > 1:
        value /= 1024
        units.pop()
    return f"{value:.1f} {units[-1]}"


def clock_words(time: float, utc: bool = False) -> str:
    """The time of day with milliseconds: ``12:04:05.113``."""
    millis = round(time * 1000)
    try:
        parts = clock.gmtime(millis // 1000) if utc else clock.localtime(millis // 1000)
    except (OverflowError, OSError, ValueError):  # a recording may claim any time
        return f"{time:.3f}"
    return f"{parts.tm_hour:02}:{parts.tm_min:02}:{parts.tm_sec:02}.{millis % 1000:03}"


def later_words(seconds: float) -> str:
    """How much later something was: ``+0.2 ms``; with a minus where the clock was set back."""
    sign, seconds = ("+", seconds) if seconds >= 0 else ("-", -seconds)
    return f"{sign}{span_words(seconds)}"


def span_words(seconds: float) -> str:
    """A time in the unit that fits: ``0.2 ms``, ``20.0 s``, ``5 min 3 s``."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"
    return f"{int(seconds // 86400)} days"
