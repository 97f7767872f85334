"""MQTT over WebSocket, the client's side (MQTT 5.0 and 3.1.1 chapter 6, RFC 6455): an asyncio transport on
another one.

    the MQTT side's protocol   sees a transport that carries MQTT bytes
    ClientWebSocket            transport above, protocol below; frames them
    TCP or TLS transport

The handshake is that of the package ``websockets``, imported when first used; frames are those of ``frames``.
Binary frames only, subprotocol ``mqtt``, no compression. What a server can make us keep is bounded: the
handshake, a control frame, one pong.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from curier.errors import ConfigError, ConnectionLost

if TYPE_CHECKING:
    from curier.net.frames import FrameReader

SUBPROTOCOL: Final = "mqtt"
MAX_FRAME_BYTES: Final = 16 * 2**20
"""Larger frames end the connection."""

SEND_FRAME_BYTES: Final = 65_536
"""More is sent in several frames, since some servers take no larger ones."""

HANDSHAKE_BYTES: Final = 262_144
"""What the server may say before it has opened the WebSocket."""

CLOSE_SECONDS: Final = 2.0
"""How long the server has to answer a close frame before the connection is closed without."""

_TOKEN: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_VALUE: Final = r"[\x20-\x7e\x80-\xff\t]*"
_OWN_HEADERS: Final = r"host|upgrade|connection|content-length|transfer-encoding|sec-websocket-.*"

_CLOSED: Final = (
    "the server closed the connection during the WebSocket handshake; does it speak WebSocket there, and "
    "with TLS (wss://) or without (ws://)?"
)

SILENT: Final = logging.Logger("curier.net.websocket", logging.CRITICAL + 1)
"""For the package, which logs headers and frames, where passwords are: it has no parent and no handler."""


def check_headers(headers: Sequence[tuple[str, str]]) -> None:
    """Raise ``ConfigError`` for headers that cannot be added to a handshake. Values are not repeated."""
    for name, value in headers:
        if not re.fullmatch(_TOKEN, name):
            raise ConfigError(f"{name!r} cannot be the name of an HTTP header")
        if re.fullmatch(_OWN_HEADERS, name.lower()):
            raise ConfigError(f"the HTTP header {name} is part of the WebSocket handshake: leave it out")
        if not re.fullmatch(_VALUE, value):
            raise ConfigError(f"the value of the HTTP header {name} has characters that cannot be sent")


class ClientWebSocket(asyncio.Transport, asyncio.Protocol):
    """``connection_made`` sends the handshake; await ``opened``, then ``start`` a protocol.

    ``headers`` are added to the handshake; see ``check_headers``. ``path`` is percent-encoded, and may have
    a query. The protocol gets

    - ``data_received`` at most once for each chunk that the network brings, without regard to frames,
    - ``connection_lost`` with a ``ConnectionLost`` that says why, where the server broke a rule or gave a
      reason for closing; with ``None`` after ``close`` and where the server simply closed.

    ``close`` sends what is left and a close frame, and waits a moment for the server's; ``abort`` does not.
    ``write`` after either does nothing. Buffer sizes count framed bytes.
    """

    def __init__(
        self,
        host: str,
        port: int,
        path: str,
        *,
        secure: bool,
        headers: Sequence[tuple[str, str]] = (),
        max_frame_bytes: int = MAX_FRAME_BYTES,
    ) -> None:
        super().__init__()
        from websockets.client import ClientProtocol
        from websockets.typing import Subprotocol
        from websockets.uri import WebSocketURI

        from curier.net.frames import FrameReader

        check_headers(headers)
        self._path, _, query = path.partition("?")
        self._client = ClientProtocol(
            WebSocketURI(secure, host, port, self._path, query),
            subprotocols=[Subprotocol(SUBPROTOCOL)],  # [MQTT-6.0.0-3]
            logger=SILENT,
        )
        self._reader = FrameReader(False, max_frame_bytes)
        self._headers = headers
        self._below: asyncio.Transport | None = None
        self._protocol: asyncio.Protocol | None = None
        self._head: bytearray | None = bytearray()  # of the server's answer, until it is whole
        self._early = b""  # came with the handshake, before there was a protocol
        self._handshake_bytes = 0
        self._is_open = False
        self._is_closing = False
        self._is_paused = False
        self._is_congested = False
        self._is_ended = False
        self._is_lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._why: ConnectionLost | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ---- protocol: what the transport below tells ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast(asyncio.Transport, transport)
        request = self._client.connect()
        for name, value in self._headers:
            request.headers[name] = value
        self._client.send_request(request)
        self._send_handshake()

    def data_received(self, data: bytes) -> None:
        if self._is_ended:
            return
        if not self._is_open:
            data = self._shake_hands(data)
            if not self._is_open:
                return
        self._read(data)

    def eof_received(self) -> bool:
        if not self._is_ended:
            self._is_ended = True
            if not self._is_open:
                self._client.receive_eof()
                self._judge()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ended = self._is_closing = self._is_lost = True
        self._set_timer(None)
        if self._protocol is not None:
            self._protocol.connection_lost(self._why or exc)
        self._wake()

    def pause_writing(self) -> None:
        self._is_congested = True
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._is_congested = False
        if self._protocol is not None:
            self._protocol.resume_writing()
        self._pong()

    # ---- transport: what the protocol above asks ----

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._is_closing or not data:
            return
        from curier.net.frames import BINARY

        # [MQTT-6.0.0-1] binary frames; [MQTT-6.0.0-2] a packet may begin in one and end in another.
        if len(data) <= SEND_FRAME_BYTES:
            self._send(BINARY, data)
        else:
            view = memoryview(data).cast("B")
            for start in range(0, len(view), SEND_FRAME_BYTES):
                self._send(BINARY, view[start : start + SEND_FRAME_BYTES])

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise NotImplementedError("a WebSocket is closed in both directions at once")

    def close(self) -> None:
        from curier.net.frames import NORMAL

        if self._is_closing:
            return
        if not self._is_open:
            self.abort()
            return
        self._end(NORMAL, "")

    def abort(self) -> None:
        self._is_closing = self._is_ended = True
        if not self._is_lost:  # or some of asyncio's own raise
            self._network.abort()
        self._wake()

    def is_closing(self) -> bool:
        return self._is_closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def pause_reading(self) -> None:
        if not self._is_closing and not self._is_paused:
            self._is_paused = True
            self._network.pause_reading()

    def resume_reading(self) -> None:
        if not self._is_closing:
            self._read_on()

    def is_reading(self) -> bool:
        return not self._is_closing and not self._is_paused

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._network.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._network.get_write_buffer_size()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._network.get_write_buffer_limits()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._network.get_extra_info(name, default)

    # ---- the handshake ----

    async def opened(self) -> None:
        """Wait until the server has agreed; ``ConnectionLost`` says why it did not.

        There is no time limit here. Cancelling it leaves the connection as it is: then ``abort`` it.
        """
        if not self._is_open and not self._is_ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._why is not None:
            raise self._why
        if not self._is_open or self._is_closing:
            raise ConnectionLost(_CLOSED)

    def start(self, protocol: asyncio.Protocol) -> None:
        """Make ``protocol`` the user of the open WebSocket; what already came goes to it."""
        self._protocol = protocol
        protocol.connection_made(self)
        early, self._early = self._early, b""
        if early and not self._is_closing:
            protocol.data_received(early)
        self.resume_reading()

    def _shake_hands(self, data: bytes) -> bytes:
        """Bytes of the server's answer; returns those behind it, which are frames once this is open."""
        self._handshake_bytes += len(data)
        head = self._head
        if head is not None:
            before = len(head)
            head += data
            end = head.find(b"\r\n\r\n", max(0, before - 3))
            size = end + 4 - before if end >= 0 else len(data)
            self._client.receive_data(data[:size])
            data = data[size:]
            if end >= 0:
                self._head = None
            self._judge()
        if not self._is_open and not self._is_ended:
            if self._handshake_bytes > HANDSHAKE_BYTES:
                self._cut(f"the server sent more than {HANDSHAKE_BYTES} bytes of handshake")
            elif data:  # of a page that says why not
                self._client.receive_data(data)
                self._judge()
        return data

    def _judge(self) -> None:
        """What has the package made of the answer?"""
        answers = self._client.events_received()
        self._send_handshake()
        error = self._client.handshake_exc
        if error is not None:
            if self._why is None:
                self._cut(_refusal(error, self._path), error)
        elif answers:
            if self._client.subprotocol != SUBPROTOCOL:  # [MQTT-6.0.0-4]
                self._cut(
                    f"the server did not choose the WebSocket subprotocol {SUBPROTOCOL}; "
                    f"is {self._path} the path of an MQTT broker?"
                )
                return
            self._is_open = True
            self.pause_reading()  # until there is somebody to read
            self._wake()

    def _send_handshake(self) -> None:
        for data in self._client.data_to_send():
            if data:
                self._network.write(data)

    # ---- frames ----

    @property
    def _network(self) -> asyncio.Transport:
        assert self._below is not None, "used before connection_made"
        return self._below

    def _read(self, data: bytes) -> None:
        reader = self._reader
        mqtt = reader.read(data)
        self._pong()
        if mqtt and not self._is_closing:
            if self._protocol is None:
                self._early += mqtt
            else:
                self._protocol.data_received(mqtt)
        if self._is_closing:
            return
        if reader.error_code:
            self._why = ConnectionLost(_fault(reader))
            self._end(reader.error_code, reader.error)
        elif reader.close_code:
            self._why = _reason(reader)
            # "the endpoint typically echos the status code it received"
            self._end(reader.close_code, "")

    def _pong(self) -> None:
        """Answer the latest ping, once there is room: one answer will do (section 5.5.3), and so pings never
        fill our memory.
        """
        from curier.net.frames import PONG

        ping = self._reader.ping
        if ping is not None and not self._is_congested and not self._is_closing:
            self._reader.ping = None
            self._send(PONG, ping)

    def _send(self, opcode: int, data: bytes | bytearray | memoryview[Any]) -> None:
        from curier.net.frames import masked_frame

        self._network.write(masked_frame(opcode, data, os.urandom(4)))

    def _end(self, code: int, why: str) -> None:
        """Send our close frame; the connection ends when the server closes it, or soon."""
        from curier.net.frames import CLOSE, close_payload

        self._send(CLOSE, close_payload(code, why))
        self._is_closing = True
        if not self._network.is_closing():
            self._read_on()
            loop = asyncio.get_running_loop()
            self._set_timer(loop.call_later(CLOSE_SECONDS, self._network.close))

    def _read_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._network.resume_reading()

    def _cut(self, why: str, cause: Exception | None = None) -> None:
        self._why = ConnectionLost(why)
        self._why.__cause__ = cause
        self.abort()

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _fault(reader: FrameReader) -> str:
    """What the server did wrong."""
    from curier.net.frames import TOO_LARGE, UNSUPPORTED_DATA

    if reader.error_code == TOO_LARGE:
        most = reader.max_frame_bytes
        return (
            f"the server sent a WebSocket frame of more than {most} bytes; "
            "a larger maximum_packet_size has it taken"
        )
    if reader.error_code == UNSUPPORTED_DATA:
        return f"the server sent {reader.error}"  # a text frame
    return f"the server broke a rule of WebSocket: {reader.error}"


def _reason(reader: FrameReader) -> ConnectionLost | None:
    """Why the server closed, where it says so."""
    from websockets.frames import Close

    from curier.net.frames import NO_STATUS, NORMAL

    if reader.close_code in (NORMAL, NO_STATUS):
        return None
    words = str(Close(reader.close_code, reader.close_reason))
    return ConnectionLost(f"the server closed the WebSocket: {shown(words)}")


def _refusal(error: Exception, path: str) -> str:
    """Say why a handshake failed."""
    from websockets.exceptions import InvalidMessage, InvalidStatus

    if isinstance(error, InvalidStatus):
        answer = error.response
        words = shown(f"{answer.status_code} {answer.reason_phrase}".rstrip())
        hint = ""
        if answer.status_code in (401, 403):
            hint = "; it may want other headers with the handshake"
        elif answer.status_code == 404:
            hint = "; is the path right? Many brokers use /mqtt"
        elif 300 <= answer.status_code < 400:
            hint = f"; it points to {shown(answer.headers.get('Location', 'nowhere'))}"
        return f"the server refused the WebSocket at {path}: {words}{hint}"
    if isinstance(error, InvalidMessage):
        if isinstance(error.__cause__, EOFError):
            return _CLOSED
        why = shown(str(error.__cause__))
        return f"the server did not answer in HTTP: {why}; does it speak WebSocket there?"
    return f"the server's WebSocket handshake is wrong: {shown(str(error))}; does it speak WebSocket there?"


def shown(words: str) -> str:
    """Words of a stranger, fit for a message."""
    return re.sub(r"[^\x20-\x7e\xa0-\U0010ffff]", "?", words[:200])
