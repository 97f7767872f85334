"""The bridges of a ``mosquitto.conf``: ``connection``, and what stands below it until the next one."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from curier.mosquitto_conf.reading import Line

OF_BRIDGES: Final = frozenset(
    """address addresses cleansession clientid idle_timeout keepalive_interval notification_topic
    notifications notifications_local_only password restart_timeout round_robin start_type threshold topic
    try_private username""".split()
)
"""Besides those that begin with ``bridge_``, ``local_`` and ``remote_``."""

_PREFIXES: Final = ("bridge_", "local_", "remote_")

TEXTS: Final = {
    "bridge_alpn": "alpn",
    "bridge_bind_address": "local_address",
    "bridge_cafile": "ca_file",
    "bridge_certfile": "certificate",
    "bridge_keyfile": "key",
    "clientid": "client_id",
    "local_username": "user",
    "notification_topic": "notification_topic",
    "password": "password",
    "remote_clientid": "client_id",
    "remote_password": "password",
    "remote_username": "username",
    "username": "username",
}
"""Options that are texts here as well, with another name."""

OTHERS: Final = {
    "bridge_outgoing_retain": "outgoing_retain",
    "cleansession": "clean_start",
    "idle_timeout": "idle_timeout",
    "keepalive_interval": "keep_alive",
    "round_robin": "round_robin",
    "threshold": "threshold",
    "try_private": "bridge_bit",
}
"""Flags and numbers."""

NOT_NEEDED: Final = {
    "bridge_attempt_unsubscribe": "what is not a topic any more is unsubscribed from",
    "bridge_ciphers": "OpenSSL's own choice is a safe one",
    "bridge_ciphers_tls1.3": "OpenSSL's own choice is a safe one",
    "bridge_max_topic_alias": "Topic Aliases are used where the other side takes them",
    "bridge_reload_type": "a bridge that has changed begins anew at SIGHUP, with the session it had",
    "bridge_tcp_keepalive": "keep_alive finds out that a connection is gone",
    "bridge_tcp_user_timeout": "keep_alive finds out that a connection is gone",
    "local_cleansession": "what waits here is kept, however the other side does it",
    "local_clientid": "it is made of the bridge's name",
    "local_password": "nobody asks a bridge of the broker itself for a password",
}

MORE_OPEN: Final = {
    "bridge_capath": "put the certificates of the directory into one file, for ca_file",
    "bridge_identity": "a key that both sides know (PSK) cannot be had for bridges; use certificates",
    "bridge_psk": "a key that both sides know (PSK) cannot be had for bridges; use certificates",
    "bridge_insecure": "it leaves out the check of the host's name alone; say server_name in its place",
    "bridge_require_ocsp": "OCSP is not asked",
}
"""What a bridge would be more open without. Of the flags, where they are true."""

_VERSIONS: Final = {"mqttv31": "3.1", "mqttv311": "3.1.1", "mqttv50": "5.0"}
_TLS: Final = ("bridge_cafile", "bridge_capath", "bridge_psk", "bridge_identity")
NAME: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}")
Say = Callable[[Line, str], None]


@dataclass
class Bridge:
    """Settings by name, as ``[[bridge]]`` has them."""

    line: Line
    lines: list[Line] = field(default_factory=list)
    settings: dict[str, object] = field(default_factory=dict)

    def last(self, name: str) -> Line | None:
        """The line that counts."""
        return next((line for line in reversed(self.lines) if line.name == name), None)


def is_of_bridge(name: str) -> bool:
    """Does such a line belong to the connection above it?"""
    return name in OF_BRIDGES or name.startswith(_PREFIXES)


def bridges_of(lines: Sequence[Line], note: Say, left_out: list[str]) -> tuple[list[Bridge], list[Line]]:
    """The bridges, and the lines that belong to none. Raises ``ConfigError`` for what Mosquitto refuses."""
    drafts: list[Bridge] = []
    rest: list[Line] = []
    for line in lines:
        if line.name == "connection":
            if not line.value:
                raise line.wrong("there is no name")
            if any(line.value == one.line.value for one in drafts):
                raise line.wrong(
                    f"there is a connection {line.value!r} already, which Mosquitto refuses, too"
                )
            drafts.append(Bridge(line))
        elif not is_of_bridge(line.name):
            rest.append(line)
        elif not drafts:
            raise line.wrong("it stands below no connection, which Mosquitto refuses, too")
        else:
            drafts[-1].lines.append(line)
    found: list[Bridge] = []
    for draft in drafts:
        why = next((why for line in draft.lines if (why := _why_open(line))), "")
        if why:
            left_out.append(f"{draft.line.place}: the bridge {draft.line.value!r}: {why}")
            continue
        _translate(draft, note)
        found.append(draft)
    return found, rest


def _why_open(line: Line) -> str:
    if line.name in ("bridge_insecure", "bridge_require_ocsp") and not line.is_true:
        return ""
    return f"{line.name}: {MORE_OPEN[line.name]}" if line.name in MORE_OPEN else ""


def _translate(bridge: Bridge, note: Say) -> None:
    made = bridge.settings
    name = bridge.line.value
    made["name"] = name if NAME.fullmatch(name) else re.sub(r"[^A-Za-z0-9_-]", "-", name)[:64]
    if made["name"] != name:
        note(bridge.line, f"it is called {made['name']!r}: a name has letters, figures, dots, - and _")
    made["url"] = _urls(bridge)
    topics = [line for line in bridge.lines if line.name == "topic"]
    if not topics:
        raise bridge.line.wrong("there is no topic, which Mosquitto refuses, too")
    made["topics"] = tuple(map(_topic, topics))
    for line in bridge.lines:
        _translate_line(line, made, note)
    _notifications(bridge)
    for key in ("bridge_bit", "outgoing_retain"):
        if made.get(key) is True:
            del made[key]  # the default


def _translate_line(line: Line, made: dict[str, object], note: Say) -> None:
    name = line.name
    if name in TEXTS:
        made[TEXTS[name]] = line.value
    elif name in OTHERS:
        made[OTHERS[name]] = line.is_true if line.value in ("true", "false") else line.amount
    elif name == "bridge_protocol_version":
        if line.value not in _VERSIONS:
            raise line.wrong(f"expected one of {', '.join(_VERSIONS)}, got {line.value!r}")
        made["version"] = _VERSIONS[line.value]
    elif name == "bridge_tls_version":
        if line.value == "tlsv1.3":
            made["lowest_tls"] = "1.3"
        else:
            note(line, "nothing is lower than 1.2, and what both sides have is the highest")
    elif name == "bridge_session_expiry_interval":
        made["session_expiry"] = _number(line)
    elif name == "bridge_receive_maximum":
        if line.amount:
            made["window"] = min(line.amount, 10_000)
    elif name == "bridge_max_packet_size":
        if line.amount:
            made["max_packet_size"] = line.amount
    elif name == "restart_timeout":
        _waits(line, made, note)
    elif name == "start_type":
        if line.value not in ("automatic", "lazy", "once"):
            raise line.wrong(f"expected automatic, lazy or once, got {line.value!r}")
        made["start"] = line.value
    elif name in NOT_NEEDED:
        note(line, f"not needed: {NOT_NEEDED[name]}")


def _urls(bridge: Bridge) -> tuple[str, ...]:
    """All addresses. TLS is spoken where there is something that it is checked with, as by Mosquitto."""
    addresses = [
        word for line in bridge.lines if line.name in ("address", "addresses") for word in line.value.split()
    ]
    if not addresses:
        raise bridge.line.wrong("there is no address, which Mosquitto refuses, too")
    scheme = "mqtts" if any(map(_asks_for_tls, bridge.lines)) else "mqtt"
    return tuple(f"{scheme}://{_with_port(one)}" for one in addresses)


def _asks_for_tls(line: Line) -> bool:
    """Where nothing else is said, those whom the system trusts are trusted here as well."""
    return line.name in _TLS or (line.name == "bridge_tls_use_os_certs" and line.is_true)


def _with_port(address: str) -> str:
    """1883 where no port is said, with TLS as well."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = address, "1883"
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"{host}:{port}"


def _topic(line: Line) -> str:
    """The same words, with the QoS that Mosquitto has where none is said."""
    words = line.value.split()[:5]  # what follows is not looked at
    direction = words[1] if len(words) > 1 else "out"
    if direction not in ("out", "in", "both"):
        raise line.wrong(f"the direction is out, in or both, not {direction!r}")
    qos = words[2] if len(words) > 2 else "0"
    if qos not in ("0", "1", "2"):
        raise line.wrong(f"the QoS is 0, 1 or 2, not {qos!r}")
    return " ".join([words[0], direction, qos, *words[3:]])


def _waits(line: Line, made: dict[str, object], note: Say) -> None:
    words = line.value.split()
    if not 1 <= len(words) <= 2 or not all(word.isdecimal() for word in words) or words[0] == "0":
        raise line.wrong(f"expected one number of seconds above 0, or two, got {line.value!r}")
    made["first_wait"] = int(words[0])
    made["longest_wait"] = max(int(words[-1]), int(words[0]))
    if len(words) == 1:
        note(line, "it waits up to so long, by chance, so that not all come back at once")


def _number(line: Line) -> int:
    if not line.value.isdecimal():
        raise line.wrong(f"expected a number of seconds, got {line.value!r}")
    return int(line.value)


def _notifications(bridge: Bridge) -> None:
    """Mosquitto's bridges tell both sides unless they are told otherwise."""
    told, local = bridge.last("notifications"), bridge.last("notifications_local_only")
    if told is not None and not told.is_true:
        bridge.settings["notifications"] = "none"
    elif local is None or not local.is_true:
        bridge.settings["notifications"] = "both"
