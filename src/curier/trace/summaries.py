"""A Control Packet in one line: what a person would say of it, without its inner workings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from curier.codec import constants as c
from curier.codec import packets as p
from curier.codec.decode import decode
from curier.errors import ProtocolError
from curier.payloads import tame
from curier.trace.dissection import guess_version, shortened
from curier.trace.events import Packet
from curier.trace.fields import NAMES, RETURN_CODES, VERSION_WORDS
from curier.trace.payloads import brief
from curier.types import reason_name

MOST_CHARACTERS: Final = 120
"""Of a Topic Name and the like in a line."""
MOST_FILTERS: Final = 3


def summary(packet: Packet, most_payload: int = 40) -> str:
    """One line such as ``PUBLISH QoS 1 id 7 a/b 5 bytes "hello"``, safe for a terminal; broken ones say why.

    At most ``most_payload`` characters are of the payload, none if that is 0.
    """
    data, version = packet.data, packet.wire.version
    if not data:
        return "nothing"
    packet_type = data[0] >> 4
    cut = packet.cut
    if cut:
        if packet_type != c.PUBLISH:
            return f"{NAMES[packet_type]} {len(data) + cut} bytes, of which {cut} were cut"
        data, _ = shortened(data)
    version = version or guess_version(data)
    try:
        decoded = decode(data, 0, len(data), version)
    except ProtocolError as error:
        return f"{NAMES[packet_type]} broken: {error}"
    if isinstance(decoded, p.Publish):
        return _publish(decoded, most_payload, cut)
    words = _WORDS.get(packet_type)
    return f"{NAMES[packet_type]} {words(decoded, version)}".rstrip() if words else NAMES[packet_type]


def short(text: str, most: int = MOST_CHARACTERS) -> str:
    """Text out of a packet, within a line: no control characters, not too long, with its length if it was."""
    shown = tame(text[:most]).replace("\n", "\\n").replace("\t", "\\t")
    return shown if len(text) <= most else f"{shown}... ({len(text)} characters)"


def _publish(packet: p.Publish, most_payload: int, cut: int) -> str:
    parts = [f"PUBLISH QoS {packet.qos}"]
    if packet.packet_id:
        parts.append(f"id {packet.packet_id}")
    if packet.dup:
        parts.append("DUP")
    if packet.retain:
        parts.append("RETAIN")
    alias = packet.properties.topic_alias if packet.properties is not None else None
    if packet.topic:
        parts.append(short(packet.topic))
    if alias is not None:
        parts.append(f"(alias {alias})" if packet.topic else f"alias {alias}")
    size = len(packet.payload) + cut
    if most_payload:
        parts.append(brief(packet.payload, most_payload, cut))
    else:
        parts.append(f"{size} byte{'' if size == 1 else 's'}")
    return " ".join(parts)


def _connect(packet: Any, version: int) -> str:
    parts = [VERSION_WORDS[packet.version], short(packet.client_id) or "without Client Identifier"]
    if packet.clean_start:
        parts.append("clean")
    parts.append(f"keep alive {packet.keep_alive} s")
    if packet.username is not None:
        parts.append(f"user {short(packet.username)}")
    if packet.will is not None:
        parts.append(f"will QoS {packet.will.qos} {short(packet.will.topic)}")
    return " ".join(parts)


def _connack(packet: Any, version: int) -> str:
    code = packet.reason_code
    if version == c.MQTT_50:
        words = reason_name(code)
    else:
        words = f"{code} ({RETURN_CODES[code]})"
    return words + (" session present" if packet.session_present else "") + _why(packet)


def _acknowledgement(packet: Any, version: int) -> str:
    code = f" {reason_name(packet.reason_code)}" if packet.reason_code else ""
    return f"id {packet.packet_id}{code}{_why(packet)}"


def _subscribe(packet: Any, version: int) -> str:
    said = [f"{short(name)} QoS {options & 3}" for name, options in packet.subscriptions[:MOST_FILTERS]]
    return f"id {packet.packet_id} {_listed(said, len(packet.subscriptions))}"


def _unsubscribe(packet: Any, version: int) -> str:
    said = [short(name) for name in packet.topic_filters[:MOST_FILTERS]]
    return f"id {packet.packet_id} {_listed(said, len(packet.topic_filters))}"


def _codes(packet: Any, version: int) -> str:
    granted = packet.packet_type == c.SUBACK
    said = [
        f"QoS {code}" if granted and code <= 2 else reason_name(code)
        for code in packet.reason_codes[:MOST_FILTERS]
    ]
    listed = _listed(said, len(packet.reason_codes))
    return f"id {packet.packet_id} {listed}".rstrip() + _why(packet)


def _listed(said: list[str], count: int) -> str:
    return ", ".join(said) + (f" and {count - len(said)} more" if count > len(said) else "")


def _disconnect(packet: Any, version: int) -> str:
    return (reason_name(packet.reason_code) if packet.reason_code else "") + _why(packet)


def _auth(packet: Any, version: int) -> str:
    method = packet.properties.authentication_method if packet.properties is not None else None
    return reason_name(packet.reason_code) + (f" {short(method)}" if method else "") + _why(packet)


def _why(packet: Any) -> str:
    """The Reason String of an answer."""
    reason = packet.properties.reason_string if packet.properties is not None else None
    return f": {short(reason)}" if reason else ""


_WORDS: Final[dict[int, Callable[[Any, int], str]]] = {
    c.CONNECT: _connect,
    c.CONNACK: _connack,
    c.PUBACK: _acknowledgement,
    c.PUBREC: _acknowledgement,
    c.PUBREL: _acknowledgement,
    c.PUBCOMP: _acknowledgement,
    c.SUBSCRIBE: _subscribe,
    c.SUBACK: _codes,
    c.UNSUBSCRIBE: _unsubscribe,
    c.UNSUBACK: _codes,
    c.DISCONNECT: _disconnect,
    c.AUTH: _auth,
}
