"""Who is it, where a server's first bytes are not MQTT's? A wrong port is the most common mistake of all."""

from __future__ import annotations

import re
from typing import Final

_FIRST_BYTES: Final = (0x20, 0xF0)  # CONNACK and AUTH: nothing else may come first [MQTT-3.2.0-1]

_KNOWN: Final = (
    (rb"SSH-", "an SSH server"),
    (rb"HTTP/|<!doctype|<html", "a web server; MQTT over WebSocket is ws:// or wss://"),
    (rb"AMQP", "an AMQP server; its MQTT has a port of its own, mostly 1883"),
    (rb"INFO \{", "NATS speaking its own protocol; its MQTT has a port of its own, mostly 1883"),
    (rb"220[ -].*(smtp|mail)|220[ -].*esmtp", "a mail server (SMTP)"),
    (rb"220[ -]", "a mail or FTP server"),
    (rb"\+OK", "a mail server (POP3)"),
    (rb"\* OK", "a mail server (IMAP)"),
    (rb"RFB \d", "a VNC server"),
    (rb"-(ERR|DENIED|NOAUTH)", "a Redis server"),
    (rb"...\x00(\x0a|\xff)", "a MySQL or MariaDB server"),
    (rb"[\xfb-\xfe\xf0-\xfa]?\xff[\xfb-\xfe]", "a telnet server"),
    (rb"\x15\x03[\x00-\x04]", "a server that speaks TLS: try mqtts:// (or wss://)"),
    (rb"\x16\x03[\x00-\x04]", "somebody who speaks TLS"),
)


def is_mqtt(data: bytes) -> bool:
    """May these be the first bytes of a server that has got our CONNECT?"""
    return data[0] in _FIRST_BYTES


def who_speaks(data: bytes) -> str:
    """What is known of a peer by its first bytes, in plain words."""
    for known, who in _KNOWN:
        if re.match(known, data, re.DOTALL | re.IGNORECASE):
            return f"{who} ({_shown(data)})"
    return f"not MQTT ({_shown(data)})"


def _shown(data: bytes) -> str:
    """The first bytes of a stranger, fit for a message: as text, if they are."""
    line = data[:60].split(b"\n")[0].rstrip(b"\r")
    if len(line) > 2 and re.fullmatch(rb"[\x20-\x7e\t]+", line):
        return f"it says {line.decode('ascii')!r}"
    return f"its first bytes are {data[:16].hex(' ')}"
