"""A packet with all its fields, in lines for people or as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from curier.trace.dissection import dissect
from curier.trace.events import Packet
from curier.trace.fields import VERSION_WORDS, Field
from curier.trace.payloads import view
from curier.trace.rules import sentence
from curier.trace.summaries import short

MOST_PAYLOAD_LINES: Final = 20
MOST_PAYLOAD: Final = 4096  # bytes

_NAME: Final = 34  # columns
_VALUE: Final = 30


def field_lines(packet: Packet) -> Iterator[str]:
    """A line for each field: where it is, its name, its value, the statement it fulfils; then the payload.

    ``0-4`` are bytes 0 to 4, ``0:5`` and ``0:1-2`` bits of byte 0, the lowest being 0. A field that breaks a
    rule says so in a line of its own. Safe for a terminal.
    """
    found = dissect(packet.data, packet.wire.version, packet.to_server, packet.cut)
    guessed = ", to judge by its bytes" if found.guessed else ""
    size = f"{found.size} byte{'' if found.size == 1 else 's'}"
    yield f"  {found.name} of MQTT {VERSION_WORDS.get(found.version, '?')}{guessed}, {size}"
    for field in found.fields:
        yield from _lines(field, 0)
    if found.fields and found.fields[-1].name == "Payload":
        yield from _payload(packet.data[found.fields[-1].start :], packet.cut)


def _lines(field: Field, depth: int) -> Iterator[str]:
    name = "  " * depth + field.name
    value = short(field.value)
    rule = f"[{field.rule}]" if field.rule and not field.fault else ""
    yield f"  {_place(field):>9}  {name:{_NAME}} {value:{_VALUE}} {rule}".rstrip()
    if field.fault:
        why = f"{field.fault} [{field.rule}] {sentence(field.rule)}" if field.rule else field.fault
        yield f"  {'BROKEN':>9}  {'  ' * depth}{short(why, 400)}"
    for child in field.children:
        yield from _lines(child, depth + 1)


def _place(field: Field) -> str:
    if field.mask:
        low = (field.mask & -field.mask).bit_length() - 1
        high = field.mask.bit_length() - 1
        return f"{field.start}:{low}" if low == high else f"{field.start}:{low}-{high}"
    if field.end - field.start > 1:
        return f"{field.start}-{field.end - 1}"
    return str(field.start)


def _payload(payload: bytes, cut: int) -> Iterator[str]:
    seen = view(payload, most=MOST_PAYLOAD, cut=cut)
    if seen.kind == "empty":
        return
    lines = seen.text.split("\n")
    note = f", {seen.note}" if seen.note else ""
    yield f"  {'':>9}  {seen.kind}{note}:"
    for line in lines[:MOST_PAYLOAD_LINES]:
        yield f"  {'':>9}    {short(line, 400)}"
    if len(lines) > MOST_PAYLOAD_LINES:
        yield f"  {'':>9}    ... and {len(lines) - MOST_PAYLOAD_LINES} more lines"


def fields_json(packet: Packet) -> dict[str, object]:
    """The same as JSON can say it. The payload itself is in the event, not here."""
    found = dissect(packet.data, packet.wire.version, packet.to_server, packet.cut)
    said: dict[str, object] = {
        "time": packet.time,
        "wire": packet.wire.number,
        "client_id": packet.wire.client_id,
        "to_server": packet.to_server,
        "packet": found.name,
        "version": found.version,
        "size": found.size,
        "fields": [_field_json(field) for field in found.fields],
    }
    if found.guessed:
        said["version_guessed"] = True
    if found.fault:
        said |= {"fault": found.fault, "rule": found.rule}
    return said


def _field_json(field: Field) -> dict[str, object]:
    said: dict[str, object] = {
        "name": field.name,
        "value": field.value,
        "start": field.start,
        "end": field.end,
    }
    if field.mask:
        said["mask"] = field.mask
    if isinstance(field.raw, int | str):
        said["raw"] = field.raw
    if field.rule:
        said["rule"] = field.rule
    if field.fault:
        said["fault"] = field.fault
    if field.children:
        said["children"] = [_field_json(child) for child in field.children]
    return said
