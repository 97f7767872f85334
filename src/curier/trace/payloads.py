"""Payloads for people who look on: as text, JSON, hexadecimal bytes or CBOR, never longer than can be read.

What is shown of a payload that is not shown whole says so ("first N of M bytes"), and such a beginning is
never taken for JSON or CBOR. Nothing is replaced: what is not text is bytes.
"""

from __future__ import annotations

import json
import re
from typing import Final

from curier.errors import ConfigError
from curier.frozen import dataclass
from curier.payloads import BadPayload, decoder, json_of, tame

KINDS: Final = ("text", "json", "hex", "cbor")
MOST_BYTES: Final = 64 * 1024
"""Of a payload that is shown; one of more than that is not taken for JSON or CBOR."""
MOST_HEX: Final = 512
_DEEPEST: Final = 32  # steps of indentation; what lies deeper stands below each other
_ROW: Final = 16  # bytes in a line of hex
_BINARY: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")
"""Characters that text does not have; it may have tabs, ends of lines, and the colours of terminals."""
_JSON_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+')


@dataclass(frozen=True, slots=True)
class View:
    """What a payload looks like: ``text``, in lines, of its first ``shown`` of ``size`` bytes.

    ``kind`` is one of ``KINDS``, or "empty".
    """

    kind: str
    text: str
    shown: int
    size: int

    @property
    def note(self) -> str:
        """``"first N of M bytes"`` where that is not all, else ""."""
        return "" if self.shown == self.size else f"first {self.shown} of {self.size} bytes"


def view(data: bytes, kind: str = "", most: int = MOST_BYTES, cut: int = 0) -> View:
    """See a payload as ``kind`` of ``KINDS``, or as what it most likely is.

    At most ``most`` bytes are shown, of hex 512. ``cut`` is how many bytes are missing behind ``data``. What
    is not of the kind that was asked for is shown as text, or else as hex. Raises ``ConfigError`` where CBOR
    is asked for and its package is missing.
    """
    if not data and not cut:
        return View("empty", "", 0, 0)
    size = len(data) + cut
    if kind != "hex" and kind != "text" and not cut and size <= most:
        found = _structured(data, kind)
        if found is not None:
            return found
    if kind != "hex":
        head = data[:most]
        text = _text(head, whole=len(head) == size)
        if text is not None:
            return View("text", tame(text), len(text.encode()), size)
    head = data[: min(most, MOST_HEX)]
    return View("hex", hex_lines(head), len(head), size)


def brief(data: bytes, most: int = 60, cut: int = 0) -> str:
    """A payload within a line: ``5 bytes "hello"``; ``most`` characters of text, a third as many bytes."""
    size = len(data) + cut
    if not size:
        return "empty"
    head = data[: 4 * most + 4]
    text = _text(head, whole=len(head) == size)
    if text is None:
        count = max(1, most // 3)
        shown, dots = data[:count].hex(" "), " ..." if size > count else ""
    else:
        piece = text[:most]
        dots = "..." if len(piece.encode()) < size else ""
        shown = '"' + tame(piece).replace("\n", "\\n").replace("\t", "\\t") + '"'
    return f"{size} byte{'' if size == 1 else 's'} {shown}{dots}"


def hex_lines(data: bytes, start: int = 0) -> str:
    """Bytes in lines of sixteen: the offset of the first, from ``start`` on; the bytes; those as ASCII."""
    lines = []
    for at in range(0, len(data), _ROW):
        row = data[at : at + _ROW]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        letters = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        lines.append(f"{start + at:08x}  {left:23}  {right:23}  {letters}")
    return "\n".join(lines)


def _structured(data: bytes, kind: str) -> View | None:
    if kind in ("", "json"):
        text = _as_json(data, any_value=kind == "json")
        if text is not None:
            return View("json", tame(text), len(data), len(data))
    if kind == "cbor" or (kind == "" and _may_be_cbor(data)):
        try:
            text = json_of(decoder("cbor")(data), pretty=True)
        except BadPayload:
            return None
        except ConfigError:
            if kind:
                raise
            return None
        return View("cbor", tame(text), len(data), len(data))
    return None


def _may_be_cbor(data: bytes) -> bool:
    """Does it begin as an array, a map, or with the tag that says "CBOR", and is it no text?

    RFC 8949 sections 3.1 and 3.4.6. Almost any bytes are CBOR of some kind, so that nothing else is guessed.
    """
    return (0x80 <= data[0] <= 0xBF or data.startswith(b"\xd9\xd9\xf7")) and _text(data, whole=True) is None


def _as_json(data: bytes, any_value: bool) -> str | None:
    """An object or array (or ``any_value``), indented; None for all else.

    Its own characters are kept: no key that is there twice, no digit of a number is lost.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    if not any_value and text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        json.loads(text, parse_constant=_refuse, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return _indented(text)


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is not a value of JSON")


def _indented(text: str) -> str:
    """Valid JSON in lines of two spaces a step."""
    parts: list[str] = []
    depth = 0
    before = ""
    for token in _JSON_TOKEN.findall(text):
        closes = token in ("}", "]")
        depth -= closes
        if closes:
            if before not in ("{", "["):
                parts.append("\n" + "  " * min(depth, _DEEPEST))
        elif before in ("{", "[", ","):
            parts.append("\n" + "  " * min(depth, _DEEPEST))
        parts.append(": " if token == ":" else token)
        depth += token in ("{", "[")
        before = token
    return "".join(parts)


def _text(data: bytes, whole: bool) -> str | None:
    """``data`` as text, or None where it is none; where it is a beginning, its last character may be cut."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if whole or error.reason != "unexpected end of data":
            return None
        text = data[: error.start].decode()
    return None if _BINARY.search(text) else text
