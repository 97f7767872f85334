"""What lies between TCP and MQTT when a connection begins: a PROXY header, or HTTP that becomes WebSocket.

Source: the PROXY protocol sections 2.1 and 2.2; RFC 6455 sections 4 and 5.
"""

from __future__ import annotations

from typing import Final

from curier.greetings import HTTP, TLS, greeting
from curier.net.frames import FrameReader

MOST_HEAD: Final = 16 * 1024
"""Bytes of HTTP in front of WebSocket."""

_PROXY_1: Final = b"PROXY "
_PROXY_1_MOST: Final = 107
_PROXY_2: Final = b"\r\n\r\n\0\r\nQUIT\n"
_REQUEST: Final = b"GET "
_ANSWER: Final = b"HTTP/1."
_HEADS: Final = {True: (_PROXY_1, _PROXY_2, _REQUEST), False: (_ANSWER,)}


class NotMqtt(Exception):
    """No MQTT from here on; the message says what it is instead."""


class ByteStream:
    """One direction of a TCP connection. ``feed`` gives what is MQTT of the bytes that came.

    ``from_start``: the connection begins with what is fed first.
    """

    def __init__(self, to_server: bool, from_start: bool) -> None:
        self._to_server = to_server
        self._head: bytes | None = b"" if from_start else None
        self._frames: FrameReader | None = None
        self._lost = False

    @property
    def is_plain(self) -> bool:
        """Whether TCP carries MQTT, with nothing between."""
        return self._frames is None and not self._head

    def lose(self) -> None:
        """Bytes are missing where they cannot be: nothing can be read any more."""
        self._lost = True

    def feed(self, data: bytes) -> bytes:
        """Bytes came. Raises ``NotMqtt``."""
        if self._lost:
            return b""
        if self._head is not None:
            data = self._begin(data)
        if self._frames is None or not data:
            return data
        found = self._frames.read(data)
        if self._frames.error:
            raise NotMqtt(f"WebSocket is broken: {self._frames.error}")
        return found

    def _begin(self, data: bytes) -> bytes:
        """What is behind the head; nothing as long as that is not whole."""
        head = (self._head or b"") + data
        self._head = head
        kinds = [kind for kind in _HEADS[self._to_server] if head.startswith(kind[: len(head)])]
        if not kinds:
            self._head = None
            what = greeting(head)
            if what in (HTTP, TLS):
                raise NotMqtt(what)
            return head
        (kind,) = kinds
        if len(head) < len(kind):
            return b""
        end = self._head_end(kind, head)
        if end < 0:
            return b""
        self._head = b"" if kind in (_PROXY_1, _PROXY_2) else None
        if self._head is None:
            self._check_upgrade(head[:end].lower())
            self._frames = FrameReader(is_masked=self._to_server)
            return head[end:]
        return self._begin(head[end:]) if end < len(head) else b""

    def _head_end(self, kind: bytes, head: bytes) -> int:
        """Where the head ends, -1 while it does not."""
        if kind == _PROXY_2:
            size = 16 + int.from_bytes(head[14:16], "big")
            return size if len(head) >= max(16, size) else -1
        mark, most = (b"\r\n", _PROXY_1_MOST) if kind == _PROXY_1 else (b"\r\n\r\n", MOST_HEAD)
        at = head.find(mark, 0, most)
        if at < 0 and len(head) >= most:
            raise NotMqtt("HTTP without an end of its head" if most == MOST_HEAD else "a broken PROXY header")
        return at + len(mark) if at >= 0 else -1

    def _check_upgrade(self, head: bytes) -> None:
        if self._to_server:
            if b"upgrade: websocket" not in head.replace(b":  ", b": ").replace(b"upgrade:w", b"upgrade: w"):
                raise NotMqtt(HTTP)
        elif head[8:12] != b" 101":
            raise NotMqtt(HTTP)
