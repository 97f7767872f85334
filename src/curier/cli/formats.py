"""How ``curier sub`` and ``curier rr`` print a message: payload only, topic and payload, JSON, or a format.

A format (``-F``) is text with sequences: ``%`` and a letter is a part of the message, with width and
alignment as in ``%-20t``; ``@`` and a letter is a part of the time, as strftime(3) has it; ``\\`` and a
letter is a character that is hard to type. It is compiled once; a message then costs one call for each part.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from typing import Final

from curier.frozen import dataclass
from curier.payloads import BadPayload, Decode, Pairs, coloured, decoder, is_structured, json_of, tame
from curier.types import Message

Print = Callable[[Message], bytes]
"""A message as the bytes for standard output. Raises ``BadPayload``."""

Part = Callable[[Message, int], bytes]
"""A part of a message that came at this time, in nanoseconds since the epoch."""


class BadFormat(ValueError):
    """A format that cannot be; the message says why."""


@dataclass(frozen=True, slots=True)
class Look:
    """What output should look like: see the options of ``curier sub``.

    ``format`` is the text after ``-F``. ``terminal``: people watch, so colours are welcome, and control
    characters out of messages must not reach the screen.
    """

    verbose: bool = False
    json_lines: bool = False
    format: str | None = None
    decode: str | None = None
    pretty: bool = False
    newline: bool = True
    terminal: bool = False
    colours: bool = False


def printer(look: Look) -> Print:
    """The function that prints messages so. Raises ``BadFormat``, or ``ConfigError`` for missing packages."""
    shown = _shown(look)
    end = b"\n" if look.newline else b""
    if look.json_lines:
        return compile_format("%j", look, shown)
    if look.format is not None:
        return compile_format(look.format, look, shown)
    if look.verbose:
        topic = _words(look)

        def print_both(message: Message) -> bytes:
            payload = shown(message) if message.payload else b"(null)"
            return topic(message.topic) + b" " + payload + end

        return print_both

    def print_payload(message: Message) -> bytes:
        return shown(message) + end if message.payload else b""

    return print_payload


def _shown(look: Look) -> Callable[[Message], bytes]:
    """How a payload looks."""
    kind = look.decode
    words = _words(look)
    if kind is not None:
        decode = decoder(kind)
        if is_structured(kind):
            return lambda message: _json(decode(message.payload), look).encode()
        return lambda message: words(str(decode(message.payload)))
    if look.pretty:
        read = decoder("json")

        def show_pretty(message: Message) -> bytes:
            try:
                return _json(read(message.payload), look).encode()
            except BadPayload:
                return words(message.payload.decode(errors="backslashreplace"))

        return show_pretty
    if look.terminal:
        return lambda message: words(message.payload.decode(errors="backslashreplace"))
    return lambda message: message.payload


def _json(value: object, look: Look) -> str:
    text = json_of(value, look.pretty)
    return coloured(text) if look.pretty and look.colours else text


def _words(look: Look) -> Callable[[str], bytes]:
    """Text out of a message; on a terminal, without what the terminal would take for commands."""
    if not look.terminal:
        return str.encode
    return lambda text: tame(text).encode()


# -- formats --

_SEQUENCE: Final = (
    r"%(?P<flags>[-0]*)(?P<width>\d*)(?:\.(?P<most>\d+))?(?P<part>.)"
    r"|@(?P<time>.)|\\(?P<escape>.)|(?P<text>[^%@\\]+)|(?P<rest>.)"
)
_ESCAPES: Final = {
    "\\": b"\\",
    "0": b"\0",
    "a": b"\a",
    "e": b"\x1b",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
}


def compile_format(text: str, look: Look, shown: Callable[[Message], bytes] | None = None) -> Print:
    """The function that prints messages as a format says. Raises ``BadFormat``."""
    parts = [_part(found, look, shown or _shown(look)) for found in re.finditer(_SEQUENCE, text, re.DOTALL)]
    if look.newline:
        parts.append(_constant(b"\n"))

    def print_formatted(message: Message) -> bytes:
        now = time.time_ns()
        return b"".join([part(message, now) for part in parts])

    return print_formatted


def _part(found: re.Match[str], look: Look, shown: Callable[[Message], bytes]) -> Part:
    if found["text"] is not None:
        return _constant(found["text"].encode())
    if found["rest"] is not None:
        raise BadFormat(f"the format ends with {found[0]!r}; write it twice if it is meant")
    if (escape := found["escape"]) is not None:
        if escape not in _ESCAPES:
            raise BadFormat(f"there is no sequence \\{escape}; there are {_list(_ESCAPES, chr(92))}")
        return _constant(_ESCAPES[escape])
    if (letter := found["time"]) is not None:
        return _time_part(letter)
    name = found["part"]
    if name == "%":
        return _constant(b"%")
    width = _Width(found["flags"], int(found["width"] or 0), int(found["most"]) if found["most"] else None)
    if name in _HELPERS:
        part, most = _HELPERS[name](look), width.most if name == "I" else None
        return lambda message, now: width.pad(part(message, now)[:most], False)
    return _message_part(name, width, look, shown)


def _list(names: dict[str, bytes], before: str) -> str:
    return " ".join(before + name for name in names)


def _constant(data: bytes) -> Part:
    return lambda message, now: data


def _time_part(letter: str) -> Part:
    if letter == "@":
        return _constant(b"@")
    if letter == "N":
        return lambda message, now: b"%09d" % (now % 10**9)
    return lambda message, now: time.strftime(f"%{letter}", time.localtime(now // 10**9)).encode()


class _Width:
    """The width of a part: ``flags`` may hold ``-`` (to the left) and ``0`` (padded with zeros)."""

    def __init__(self, flags: str, least: int, most: int | None) -> None:
        if max(least, most or 0) > 10_000:
            raise BadFormat("a width may be 10000 at most")
        self.least = least
        self.most = most
        self.left = "-" in flags
        self.zeros = "0" in flags and not self.left

    def pad(self, data: bytes, zeros: bool) -> bytes:
        """At least so wide; bytes count, but for those that continue a character of UTF-8."""
        missing = self.least - sum(byte & 0xC0 != 0x80 for byte in data) if self.least else 0
        if missing <= 0:
            return data
        padding = (b"0" if zeros and self.zeros else b" ") * missing
        return data + padding if self.left else padding + data


def _message_part(name: str, width: _Width, look: Look, shown: Callable[[Message], bytes]) -> Part:
    words = _words(look)
    texts: dict[str, Callable[[Message], str | None]] = {
        "t": lambda message: message.topic,
        "C": lambda message: message.content_type,
        "R": lambda message: message.response_topic,
    }
    if name in texts:
        text = texts[name]
        return lambda message, now: width.pad(words((text(message) or "")[: width.most]), False)
    numbers: dict[str, Callable[[Message], object]] = {
        "A": lambda message: None,  # the connection has put the Topic Name in the place of its alias
        "E": lambda message: message.message_expiry,
        "F": lambda message: 1 if message.payload_is_text else None,
        "S": lambda message: " ".join(map(str, message.subscription_identifiers)),
        "l": lambda message: len(message.payload),
        "m": _packet_id,
        "q": lambda message: int(message.qos),
        "r": lambda message: int(message.retain),
        "x": lambda message: message.payload.hex(),
        "X": lambda message: message.payload.hex().upper(),
    }
    if name in numbers:
        number = numbers[name]

        def show_number(message: Message, now: int) -> bytes:
            value = number(message)
            return width.pad(b"" if value is None else str(value).encode(), True)

        return show_number
    others: dict[str, Callable[[Message], bytes]] = {
        "p": shown,
        "D": lambda message: _binary(message.correlation_data or b"", look),
        "P": lambda message: b" ".join(words(f"{key}:{value}") for key, value in message.user_properties),
    }
    if name not in others:
        every = " ".join(f"%{one}" for one in sorted([*texts, *numbers, *others, *_HELPERS], key=str.lower))
        raise BadFormat(f"there is no sequence %{name}; there are %% {every}")
    other, zeros = others[name], name == "p"
    return lambda message, now: width.pad(other(message), zeros)


def _packet_id(message: Message) -> int:
    """That of the delivery; 0 at QoS 0."""
    return getattr(message, "packet_id", 0)


def _binary(data: bytes, look: Look) -> bytes:
    return _words(look)(data.decode(errors="backslashreplace")) if look.terminal else data


# -- helpers: times and JSON --


def _iso_time(look: Look) -> Part:
    return lambda message, now: time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(now // 10**9)).encode()


def _unix_time(look: Look) -> Part:
    return lambda message, now: b"%d.%09d" % divmod(now, 10**9)


def _json_part(look: Look) -> Part:
    """Everything about a message, its payload decoded as ``--decode`` says, or else as text."""
    decode = decoder(look.decode) if look.decode else None

    def show(message: Message, now: int) -> bytes:
        told = _told(message, now)
        if decode is not None:
            told["payload"] = decode(message.payload)
        elif not message.payload:
            told["payload"] = None
        else:
            _tell_bytes(told, "payload", message.payload)
        return _json(told, look).encode()

    return show


def _json_payload_part(look: Look) -> Part:
    """The same, with a payload that is JSON itself."""
    decode: Decode = decoder(look.decode if look.decode and is_structured(look.decode) else "json")

    def show(message: Message, now: int) -> bytes:
        told = _told(message, now)
        told["payload"] = decode(message.payload) if message.payload else None
        return _json(told, look).encode()

    return show


def _told(message: Message, now: int) -> dict[str, object]:
    """What JSON says of a message, without its payload."""
    told: dict[str, object] = {
        "tst": time.strftime(f"%Y-%m-%dT%H:%M:%S.{now // 1000 % 10**6:06d}%z", time.localtime(now // 10**9)),
        "topic": message.topic,
        "qos": int(message.qos),
        "retain": int(message.retain),
        "payloadlen": len(message.payload),
    }
    if message.qos:
        told["mid"] = _packet_id(message)
    properties: dict[str, object] = {}
    if message.payload_is_text:
        properties["payload-format-indicator"] = 1
    for name, value in (
        ("message-expiry-interval", message.message_expiry),
        ("content-type", message.content_type),
        ("response-topic", message.response_topic),
    ):
        if value is not None:
            properties[name] = value
    if message.correlation_data is not None:
        _tell_bytes(properties, "correlation-data", message.correlation_data)
    if message.user_properties:
        properties["user-properties"] = Pairs(message.user_properties)
    if properties or message.subscription_identifiers:
        identifiers = [("subscription-identifier", one) for one in message.subscription_identifiers]
        told["properties"] = Pairs([*properties.items(), *identifiers])
    return told


def _tell_bytes(told: dict[str, object], name: str, data: bytes) -> None:
    """Bytes as text where they are UTF-8, else under a name that says that they are base64."""
    try:
        told[name] = data.decode()
    except UnicodeDecodeError:
        told[f"{name}-base64"] = base64.b64encode(data).decode()


_HELPERS: Final[dict[str, Callable[[Look], Part]]] = {
    "I": _iso_time,
    "U": _unix_time,
    "j": _json_part,
    "J": _json_payload_part,
}
