"""Durable state as JSON lines: for people to read, for other programs, and for moving between versions.

The first line says what it is, every other line is one record, in an order that can be read in one pass:

    {"curier": "store", "format": 1}
    {"is": "session", "session": 1, "client_id": "ana", "version": 5, "expiry_interval": 3600, "ends_at": 0.0}
    {"is": "message", "number": 7, "topic": "a/b", "payload": "21.5", "qos": 1, ...}
    {"is": "delivery", "session": 1, "delivery": 8, "message": 7, "qos": 1, ...}

A session whose topics have a mount in front of them has ``"mount": "site-a/"``, too, and one that belongs to
a user ``"user": "ana"``. Bytes that are UTF-8
stand as text; others as base64, under a key that ends in ``_base64``. Points in time are seconds since 1970.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from typing import Any, Final

from curier.errors import StoreError
from curier.session.message import ApplicationMessage
from curier.session.records import (
    IdentifierTaken,
    MessageSaved,
    Queued,
    Received,
    Record,
    Retained,
    Sent,
    SessionSaved,
    Subscribed,
    WillSaved,
    one_by_one,
)
from curier.store.checking import Checker

FORMAT: Final = 1
HEADER: Final = {"curier": "store", "format": FORMAT}
PIECE: Final = 5000

_MESSAGE: Final = (
    ("topic", bytes),
    ("payload", bytes),
    ("qos", int),
    ("retain", bool),
    ("properties", bytes),
    ("expires_at", float),
)

# Kind of line, record, its fields; those of a message stand in the same line.
_KINDS: Final[tuple[tuple[str, type[Record], tuple[tuple[str, type], ...]], ...]] = (
    (
        "session",
        SessionSaved,
        (
            ("session", int),
            ("client_id", str),
            ("version", int),
            ("expiry_interval", int),
            ("ends_at", float),
            ("mount", bytes),
            ("user", str),
        ),
    ),
    (
        "subscription",
        Subscribed,
        (("session", int), ("topic_filter", bytes), ("options", int), ("identifier", int)),
    ),
    ("message", MessageSaved, (("number", int), ("message", ApplicationMessage))),
    (
        "delivery",
        Queued,
        (
            ("session", int),
            ("delivery", int),
            ("message", int),
            ("qos", int),
            ("retain", bool),
            ("identifiers", bytes),
            ("group", bytes),
        ),
    ),
    ("sent", Sent, (("session", int), ("delivery", int), ("packet_id", int))),
    ("received", Received, (("session", int), ("delivery", int), ("order", int))),
    ("identifier", IdentifierTaken, (("session", int), ("packet_id", int))),
    (
        "retained",
        Retained,
        (("topic", bytes), ("message", int), ("written_at", float), ("writer", str)),
    ),
    (
        "will",
        WillSaved,
        (
            ("session", int),
            ("message", ApplicationMessage),
            ("delay", int),
            ("expiry", int),
            ("due_at", float),
        ),
    ),
)
_OPTIONAL: Final = {"mount": b"", "user": "", "written_at": 0.0, "writer": ""}
"""What a line need not have, and what it means then: lines are older than that."""

_BY_RECORD: Final = {record: (name, fields) for name, record, fields in _KINDS}
_BY_NAME: Final = {name: (record, fields) for name, record, fields in _KINDS}


def to_lines(pieces: Iterable[list[Record]]) -> Iterator[str]:
    """What a store has kept (``Database.records``), as lines without line ends."""
    yield json.dumps(HEADER)
    for records in pieces:
        for record in one_by_one(records):
            name, fields = _BY_RECORD[type(record)]
            line: dict[str, object] = {"is": name}
            for field, kind in fields:
                value = getattr(record, field)
                if kind is ApplicationMessage:
                    for part, part_kind in _MESSAGE:
                        _put(line, part, part_kind, getattr(value, part))
                elif field not in _OPTIONAL or value != _OPTIONAL[field]:
                    _put(line, field, kind, value)
            yield json.dumps(line, ensure_ascii=False)


def _put(line: dict[str, object], field: str, kind: type, value: Any) -> None:
    if kind is not bytes:
        line[field] = value
        return
    try:
        line[field] = value.decode()
    except UnicodeDecodeError:
        line[field + "_base64"] = base64.b64encode(value).decode()


def from_lines(lines: Iterable[str | bytes], name: str) -> Iterator[list[Record]]:
    """The records of such lines, in pieces. ``name`` is what people call the file.

    Raises ``StoreError`` with the line for anything that ``to_lines`` would not have written.
    """
    reader = _Reader()
    piece: list[Record] = []
    number = 0
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line, object_pairs_hook=_object, parse_constant=_refuse)
            if number == 1:
                _check_header(value)
                continue
            piece.append(reader.record(value))
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{name}, line {number}: {error}") from None
        if len(piece) >= PIECE:
            yield piece
            piece = []
    if not number:
        raise StoreError(f"{name}: is empty; expected what 'curier store export' writes")
    yield piece


def _check_header(value: object) -> None:
    if not isinstance(value, dict) or value.get("curier") != "store":
        raise ValueError(f"expected {json.dumps(HEADER)}, as 'curier store export' writes it")
    if value.get("format") != FORMAT:
        raise ValueError(
            f"format {value.get('format')!r} is of another version of curier; this one reads {FORMAT}"
        )


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object, whose names are there once each."""
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f'"{twice}" is there twice')
    return made


def _refuse(constant: str) -> object:
    raise ValueError(f"{constant} is no JSON")


class _Reader:
    """Makes records of lines, and sees that they are such as a broker writes."""

    def __init__(self) -> None:
        self._checker = Checker()

    def record(self, line: object) -> Record:
        if not isinstance(line, dict):
            raise ValueError("expected a JSON object")
        name = line.pop("is", None)
        if not isinstance(name, str) or name not in _BY_NAME:
            raise ValueError(f'"is": expected one of {", ".join(_BY_NAME)}, got {name!r:.100}')
        record, fields = _BY_NAME[name]
        values = [
            _message(line) if kind is ApplicationMessage else _get(line, field, kind)
            for field, kind in fields
        ]
        if line:
            raise ValueError(f"unknown: {', '.join(sorted(line))}")
        made = record(*values)
        self._checker.check(made)
        if isinstance(made, MessageSaved):
            made.message.number = made.number
        return made


def _message(line: dict[str, object]) -> ApplicationMessage:
    return ApplicationMessage(*(_get(line, field, kind) for field, kind in _MESSAGE))


def _get(line: dict[str, object], field: str, kind: type) -> Any:
    if kind is bytes and field + "_base64" in line:
        coded = line.pop(field + "_base64")
        if not isinstance(coded, str):
            raise ValueError(f'"{field}_base64": expected text')
        return base64.b64decode(coded, validate=True)
    if field not in line and field in _OPTIONAL:
        return _OPTIONAL[field]
    if field not in line:
        raise ValueError(f'"{field}" is missing')
    value = line.pop(field)
    wanted = str if kind is bytes else kind
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:
        raise ValueError(f'"{field}": expected {_NAMES[wanted]}, got {value!r:.100}')
    return str(value).encode() if kind is bytes else value


_NAMES: Final = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
