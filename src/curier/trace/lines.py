"""Events as text, one line each, and back: what goes through sockets and into files.

A line is a JSON object. ``event`` names what it is, ``"packet"`` for ``Packet``; all other names are those of
the fields in ``events``, and a field that has its default is left out. Bytes are hexadecimal digits.
Fields that are not known are passed over, so that an older curier reads what a newer one has written. Each
line stands for itself, with its Wire in full.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any, Final, NoReturn

from curier.errors import MqttError
from curier.loglines import printable
from curier.trace.events import Closed, Event, Happening, Missed, Opened, Packet, Wire

MOST_CHARACTERS: Final = 2 * (268_435_455 + 5) + 2_000_000
"""Of one line: the largest Control Packet (2.1.4), and what is said of it. Who reads lines from a stranger
sets a bound of their own before they have one whole.
"""

MOST: Final = 2**63 - 1  # of a number

_EVENTS: Final[dict[str, type[Any]]] = {
    "opened": Opened,
    "closed": Closed,
    "packet": Packet,
    "happening": Happening,
    "missed": Missed,
}
_WORDS: Final = {kind: word for word, kind in _EVENTS.items()}


class NotALine(MqttError):
    """A text is no line of a recording; the message says what is wrong in it."""


def to_line(event: Event) -> str:
    """One line of ASCII, without its end."""
    line = {"event": _WORDS[type(event)]}
    line.update(_written(event))
    return json.dumps(line, separators=(",", ":"))


def from_line(text: str | bytes) -> Event:
    """The event of one line. Raises ``NotALine``; whatever ``text`` is, nothing else."""
    if len(text) > MOST_CHARACTERS:
        raise NotALine(f"a line of {len(text)} characters, and no event has more than {MOST_CHARACTERS}")
    try:
        line = json.loads(text, parse_constant=_refuse)
    except NotALine:
        raise
    except (ValueError, RecursionError) as error:  # not JSON, not UTF-8, or nested without end
        raise NotALine(f"no JSON: {printable(str(error))}, in {_shown(text)}") from None
    if not isinstance(line, dict):
        raise NotALine(f"a line of a recording is a JSON object, not {_shown(text)}")
    word = line.get("event")
    kind = _EVENTS.get(word) if isinstance(word, str) else None
    if kind is None:
        raise NotALine(f"event is {_shown(repr(word))}, and there are only {', '.join(_EVENTS)}")
    event: Event = _read(kind, line, str(word))
    return event


def _written(value: Any) -> dict[str, Any]:
    """The fields of a dataclass that have not their default."""
    written: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        part = getattr(value, field.name)
        if part != field.default:
            if isinstance(part, bytes):
                part = part.hex()
            elif isinstance(part, Wire):
                part = _written(part)
            written[field.name] = part
    return written


def _read(kind: type[Any], line: dict[str, Any], where: str) -> Any:
    """A dataclass of its fields."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if field.name in line:
            values[field.name] = _READERS[str(field.type)](line[field.name], f"{where}: {field.name}")
        elif field.default is dataclasses.MISSING:
            raise NotALine(f"{where}: {field.name} is missing")
    return kind(**values)


def _seconds(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NotALine(f"{where} must be a number of seconds since the epoch, not {_shown(repr(value))}")
    if not abs(value) <= MOST or not math.isfinite(value):
        raise NotALine(f"{where} is out of range: {_shown(repr(value))}")
    return float(value)


def _number(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
        raise NotALine(f"{where} must be a whole number from 0 to {MOST}, not {_shown(repr(value))}")
    return value


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise NotALine(f"{where} must be true or false, not {_shown(repr(value))}")
    return value


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise NotALine(f"{where} must be text, not {_shown(repr(value))}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotALine(f"{where} has half of a surrogate pair, which is no text") from None
    return value


def _bytes(value: object, where: str) -> bytes:
    try:
        return bytes.fromhex(_text(value, where))
    except ValueError as error:
        raise NotALine(f"{where} must be hexadecimal digits: {printable(str(error))}") from None


def _wire(value: object, where: str) -> Wire:
    if not isinstance(value, dict):
        raise NotALine(f"{where} must be an object, not {_shown(repr(value))}")
    wire: Wire = _read(Wire, value, where)
    if wire.version not in (0, 3, 4, 5):
        raise NotALine(f"{where}: version must be 3, 4 or 5, or 0 where it is not known, not {wire.version}")
    return wire


def _wire_or_none(value: object, where: str) -> Wire | None:
    return None if value is None else _wire(value, where)


_READERS: Final[dict[str, Callable[[object, str], object]]] = {
    "float": _seconds,
    "int": _number,
    "bool": _flag,
    "str": _text,
    "bytes": _bytes,
    "Wire": _wire,
    "Wire | None": _wire_or_none,
}
"""By what ``events`` says of a field."""


def _refuse(constant: str) -> NoReturn:
    raise NotALine(f"no JSON: {constant} is no number")


def _shown(text: str | bytes) -> str:
    """The beginning of what a stranger says, for an error."""
    return printable(text[:400].decode(errors="replace") if isinstance(text, bytes) else text, 80)
