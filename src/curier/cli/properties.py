"""``-D packet property value``: MQTT 5.0 properties on the command line, and what becomes of them.

Names are those of mosquitto_pub: the words of the specification with ``-`` between them. Properties that the
client chooses for itself are refused with the reason, so that none is ignored.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import click

Pair = tuple[str, str]

_OF_A_MESSAGE: Final = {
    "content-type": "text",
    "correlation-data": "binary",
    "message-expiry-interval": "four bytes",
    "payload-format-indicator": "flag",
    "response-topic": "text",
    "user-property": "pair",
}
_PROPERTIES: Final[dict[str, dict[str, str]]] = {
    "connect": {
        "authentication-data": "binary",
        "authentication-method": "text",
        "maximum-packet-size": "four bytes",
        "receive-maximum": "two bytes",
        "session-expiry-interval": "four bytes",
        "topic-alias-maximum": "two bytes",
        "user-property": "pair",
    },
    "publish": _OF_A_MESSAGE,
    "will": {**_OF_A_MESSAGE, "will-delay-interval": "four bytes"},
    "subscribe": {"subscription-identifier": "identifier", "user-property": "pair"},
    "disconnect": {"session-expiry-interval": "four bytes"},
}
_WHY_NOT: Final = {
    ("publish", "topic-alias"): "curier chooses Topic Aliases itself, within what the server allows",
    ("connect", "request-problem-information"): "curier always asks for reasons",
    ("connect", "request-response-information"): "rr makes its own Response Topic; -e names another",
}
_MOST: Final = {"flag": 1, "two bytes": 0xFFFF, "four bytes": 0xFFFFFFFF, "identifier": 268_435_455}
_LEAST: Final = {"identifier": 1, "maximum-packet-size": 1, "receive-maximum": 1}
_NAMES: Final = {
    "message-expiry-interval": "message_expiry",
    "session-expiry-interval": "session_expiry",
    "payload-format-indicator": "payload_is_text",
    "subscription-identifier": "identifier",
    "will-delay-interval": "delay",
}
"""Where curier's own name is not the specification's with underscores."""


class PropertyOptions:
    """What ``-D`` says, by packet: names of curier and their values; User Properties apart, in order."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, Any]] = {}
        self.pairs: dict[str, list[Pair]] = {}

    def __bool__(self) -> bool:
        return bool(self.values or self.pairs)

    def of(self, packet: str) -> dict[str, Any]:
        """The properties of a packet as keyword arguments."""
        found = dict(self.values.get(packet, {}))
        if packet in self.pairs:
            found["user_properties"] = tuple(self.pairs[packet])
        return found


def parse_properties(
    singles: Iterable[tuple[str, str, str]],
    pairs: Iterable[tuple[str, str, str, str]],
    packets: Iterable[str],
) -> PropertyOptions:
    """All ``-D`` of a command that sends these packets. Raises ``click.UsageError``."""
    found = PropertyOptions()
    known = tuple(packets)
    for packet, name, value in singles:
        kind = _kind(packet.lower(), name, known)
        if kind == "pair":
            raise click.UsageError(f"-D {packet} {name} takes a name and a value, as in: k v")
        values = found.values.setdefault(packet.lower(), {})
        key = _NAMES.get(name, name.replace("-", "_"))
        if key in values:
            raise click.UsageError(f"-D {packet} {name} is there more than once")
        values[key] = _value(f"-D {packet} {name}", name, kind, value)
    for packet, name, key, value in pairs:
        _kind(packet.lower(), name, known)
        found.pairs.setdefault(packet.lower(), []).append((key, value))
    return found


def _kind(packet: str, name: str, packets: tuple[str, ...]) -> str:
    if packet not in packets:
        raise click.UsageError(f"-D {packet}: expected one of these packets: {', '.join(packets)}")
    why = _WHY_NOT.get((packet, name))
    if why is not None:
        raise click.UsageError(f"-D {packet} {name} cannot be set: {why}")
    properties = _PROPERTIES[packet]
    if name not in properties:
        raise click.UsageError(f"-D {packet} {name}: expected one of these: {', '.join(properties)}")
    return properties[name]


def _value(option: str, name: str, kind: str, text: str) -> object:
    if kind == "text":
        return text
    if kind == "binary":
        return text.encode(errors="surrogateescape")
    least, most = _LEAST.get(name, _LEAST.get(kind, 0)), _MOST[kind]
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise click.UsageError(f"{option}: expected a whole number, {least} to {most}, got {text!r}")
    return text == "1" if kind == "flag" else int(text)
