"""A Control Packet taken apart: each field with its place, its value in words, the rule it obeys or breaks.

``fields`` finds what is there; what is wrong with it the codec says, so that the broker and whoever looks on
judge alike. Works on any bytes: a broken packet is taken apart up to where it breaks.
"""

from __future__ import annotations

import dataclasses
from typing import Final

from curier.codec import constants as c
from curier.codec.decode import claimed_version, decode
from curier.codec.primitives import encode_varint
from curier.errors import ProtocolError, RemoteProtocolError
from curier.frozen import dataclass
from curier.trace.fields import LAYOUTS, NAMES, Field, OutOfBytes, Walk, fixed_header, unreadable

_OF_CLIENTS: Final = (c.CONNECT, c.SUBSCRIBE, c.UNSUBSCRIBE, c.PINGREQ)
_OF_SERVERS: Final = (c.CONNACK, c.SUBACK, c.UNSUBACK, c.PINGRESP)


@dataclass(frozen=True, slots=True)
class Dissection:
    """What ``dissect`` found. ``fields`` tile the packet: each begins where the last one ends.

    ``version`` is 3, 4 or 5; ``guessed`` where nobody knew it. ``size`` is in bytes,
    cut ones included.
    ``fault`` says what is wrong, with the bytes, and ``rule`` is the statement that is broken; both are ""
    for a sound packet, and ``rule`` where the specification gives a rule no id.
    """

    name: str
    version: int
    guessed: bool
    size: int
    fields: tuple[Field, ...]
    fault: str = ""
    rule: str = ""


def dissect(data: bytes, version: int, to_server: bool | None = None, cut: int = 0) -> Dissection:
    """Take apart the one Control Packet that ``data`` is, in MQTT ``version`` 3, 4 or 5.

    Where the version is 0 it is guessed. A CONNECT says its own. ``to_server`` is its direction, None if
    unknown: what only the other side may send is a fault then. ``cut`` bytes are missing behind ``data`` in
    the recording, which is no fault. Takes time and memory in proportion to ``data``, and raises nothing,
    whatever that is.
    """
    if not data:
        return Dissection("nothing", version, False, cut, (), "" if cut else "there are no bytes")
    packet_type = data[0] >> 4
    guessed = not version and packet_type != c.CONNECT
    if packet_type == c.CONNECT:
        version = claimed_version(data, 0, len(data))
    elif not version:
        version = guess_version(data)
    walk = Walk(data, version, cut)
    try:
        for step in (fixed_header, *LAYOUTS.get(packet_type, ())):
            step(walk)
    except OutOfBytes as short:
        _add_rest(walk, short.name, f"of {short.size} bytes")
    if walk.pos < len(data):
        _add_rest(walk, "Bytes behind the last field", "")
    fields = tuple(walk.fields)
    error = _judge(data, version, to_server, cut, fields)
    if error is None:
        return Dissection(NAMES[packet_type], version, guessed, len(data) + cut, fields)
    marked = _marked(fields, error)
    return Dissection(
        NAMES[packet_type], version, guessed, len(data) + cut, marked, error.message, error.statement
    )


def guess_version(data: bytes) -> int:
    """The version in which these bytes are a sound packet: 5 where that can be, else 4.

    3.1 looks like 3.1.1, and packets without Properties look the same in all versions.
    """
    for version in (c.MQTT_50, c.MQTT_311):
        try:
            decode(data, 0, len(data), version)
        except ProtocolError:
            continue
        return version
    return c.MQTT_311


def fault(data: bytes, version: int, to_server: bool | None = None) -> ProtocolError | None:
    """What is wrong with a whole packet, as an error that says where; None for a sound one."""
    try:
        decode(data, 0, len(data), version)
    except ProtocolError as error:
        return error
    if to_server is None:
        return None
    packet_type = data[0] >> 4
    wrong = ""
    if not to_server and packet_type in _OF_CLIENTS:
        wrong = "only Clients send it"
    elif to_server and packet_type in _OF_SERVERS:
        wrong = "only Servers send it"
    elif not to_server and packet_type == c.DISCONNECT and version != c.MQTT_50:
        wrong = "only Clients send it before 5.0"
    if not wrong:
        return None
    misdirected = RemoteProtocolError(c.PROTOCOL_ERROR, f"{NAMES[packet_type]}: {wrong}")
    misdirected.start, misdirected.end = 0, 1
    return misdirected


def _judge(
    data: bytes, version: int, to_server: bool | None, cut: int, fields: tuple[Field, ...]
) -> ProtocolError | None:
    if not cut:
        error = fault(data, version, to_server)
        return (
            error if error is not None or to_server is None else _misplaced(fields, data[0] >> 4, to_server)
        )
    if fields[-1].name != "Payload":
        return None  # nobody knows what was there
    whole, shift = shortened(data)
    error = fault(whole, version, to_server)
    if error is not None and error.start >= 2:
        error.start += shift
        error.end += shift
    return error


def shortened(data: bytes) -> tuple[bytes, int]:
    """A PUBLISH whose payload was cut, with a Remaining Length that fits; how many bytes that saves."""
    start = 1
    while start < min(len(data), 5) and data[start] > 127:
        start += 1
    body = data[start + 1 :]
    whole = data[:1] + encode_varint(len(body)) + body
    return whole, len(data) - len(whole)


def _misplaced(fields: tuple[Field, ...], packet_type: int, to_server: bool) -> ProtocolError | None:
    """The Properties that this packet may have only on its way in the other direction."""
    name, statement = "", ""
    if packet_type == c.PUBLISH and to_server:
        name, statement = "Subscription Identifier", "MQTT-3.3.4-6"
    elif packet_type == c.DISCONNECT and not to_server:
        name, statement = "Session Expiry Interval", "MQTT-3.14.2-2"
    for field in fields:
        for child in field.children:
            if name and child.name == name:
                side = "Clients" if to_server else "Servers"
                error = RemoteProtocolError(
                    c.PROTOCOL_ERROR, f"{name} at byte {child.start} is not for {side} to send", statement
                )
                error.start, error.end = child.start, child.end
                return error
    return None


def _add_rest(walk: Walk, name: str, of: str) -> None:
    start = walk.pos
    walk.pos = len(walk.data)
    value = "missing" if start == walk.pos else unreadable(walk, start, walk.pos)
    if walk.cut:
        value = f"{walk.pos - start} {of or 'bytes'}, cut from the recording"
    walk.add(name, value, start)


def _marked(fields: tuple[Field, ...], error: ProtocolError) -> tuple[Field, ...]:
    """The fields, with the fault noted at the innermost one that it is about."""
    index = len(fields) - 1
    for at, field in enumerate(fields):
        if field.start <= error.start < max(field.end, field.start + 1):
            index = at
            break
    field = fields[index]
    about = [child for child in field.children if child.mask and child.rule == error.statement]
    if about:
        changed = dataclasses.replace(about[0], fault=error.message)
        children = tuple(changed if child is about[0] else child for child in field.children)
        field = dataclasses.replace(field, children=children)
    elif field.children and not field.children[0].mask:
        field = dataclasses.replace(field, children=_marked(field.children, error))
    else:
        field = dataclasses.replace(field, fault=error.message, rule=error.statement)
    return (*fields[:index], field, *fields[index + 1 :])
