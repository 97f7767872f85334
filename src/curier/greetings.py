"""What the first bytes of a connection look like, for people who wonder why it was refused.

It knows no layer. Nothing is decided by it: whoever asks has refused already.
"""

from __future__ import annotations

from typing import Final

MQTT: Final = "MQTT"
HTTP: Final = "HTTP"
TLS: Final = "TLS"

GREETING_BYTES: Final = 16  # tell what a connection begins with

_PROXY_2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_HTTP: Final = (
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"OPTIONS ",
    b"DELETE ",
    b"PATCH ",
    b"CONNECT ",
    b"PRI ",
)


def greeting(first: bytes) -> str:
    """What begins so, in words with an article; "" for what nobody knows."""
    if first.startswith(b"PROXY "):
        return "a PROXY header (version 1)"
    if first.startswith(_PROXY_2):
        return "a PROXY header (version 2)"
    if first.startswith(b"\x16\x03"):  # RFC 8446 section 5.1: a handshake, of version 1.0 in appearance
        return TLS
    if first.startswith(_HTTP):
        return HTTP
    if first.startswith(b"\x10") and first.find(b"MQ", 2, 9) > 0:  # MQTT 5.0 section 3.1.2.1
        return MQTT
    return ""


def way_out(what: str) -> str:
    """Where that is spoken which ``greeting`` has named."""
    if what == TLS:
        return "TLS needs a listener of tls:// or wss://"
    if what == HTTP:
        return "HTTP, and WebSocket with it, needs a listener of ws:// or wss://"
    if what == MQTT:
        return "MQTT without WebSocket needs a listener of tcp:// or tls://"
    return "a PROXY header needs a listener with proxy_protocol"


def told_in_http(words: str) -> bytes:
    """A refusal for those who speak HTTP, where it is not spoken."""
    body = words.encode()
    return (
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )
