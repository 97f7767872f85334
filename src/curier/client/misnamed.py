"""Settings of a client as other libraries call them, or misspelt: what they are here."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any, Final

from curier.client.settings import ClientSettings

URL: Final = 'is part of the URL: connect("mqtt://HOST:PORT")'

ELSEWHERE: Final = {
    "host": URL,
    "hostname": URL,
    "port": URL,
    "broker": URL,
    "server": URL,
    "unix_socket_path": 'is part of the URL: connect("unix:///PATH")',
    "transport": 'is part of the URL: connect("ws://HOST:PORT/PATH"), or wss:// with TLS',
    "websocket_path": 'is part of the URL: connect("ws://HOST:PORT/PATH"), or wss:// with TLS',
    "ssl": "is tls here, a curier.TlsSettings or an ssl.SSLContext, with mqtts:// in the URL",
    "ssl_context": "is tls here, a curier.TlsSettings or an ssl.SSLContext, with mqtts:// in the URL",
    "tls_context": "is tls here, with mqtts:// in the URL",
    "tls_params": "is tls here, a curier.TlsSettings, with mqtts:// in the URL",
    "session_expiry_interval": "is session_expiry here, in seconds",
    "clean_session": "is clean_start here; with session_expiry=0 the session ends with its connection",
    "keepalive": "is keep_alive here, in seconds",
    "identifier": "is client_id here",
    "user": "is username here",
    "protocol": "is version here: 5, 4 (for 3.1.1) or 3 (for 3.1)",
    "protocol_version": "is version here: 5, 4 (for 3.1.1) or 3 (for 3.1)",
    "timeout": "is connect_timeout here, in seconds",
    "last_will": "is will here, a curier.Will",
    "properties": "are settings of their own, such as session_expiry, receive_maximum, user_properties",
}
"""What paho-mqtt, aiomqtt and others call it, and what to write instead."""


def explain(args: tuple[Any, ...], settings: dict[str, Any]) -> None:
    """Raise ``TypeError``, with the way out, for what is no setting; none where each is one."""
    known = [one.name for one in fields(ClientSettings)]
    for name in settings:
        if name not in known:
            raise TypeError(f"connect: {name} {ELSEWHERE.get(name) or _near(name, known)}") from None
    if len(args) > 1:
        raise TypeError(
            "connect: all but the URL are keywords, and the port is part of the URL: "
            'connect("mqtt://HOST:PORT", client_id="gw")'
        ) from None
    if args and "url" in settings:
        raise TypeError("connect: the URL is there twice; several servers are a list of URLs") from None


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return (
        f"is no setting; did you mean {near[0]}?" if near else f"is no setting; there are {', '.join(known)}"
    )
