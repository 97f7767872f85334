"""MQTT over WebSocket (MQTT 5.0 and 3.1.1 chapter 6, RFC 6455): an asyncio transport on another one.

    the MQTT side's protocol   sees a transport that carries MQTT bytes
    WebSocketTransport         transport above, protocol below; frames them
    TCP or TLS transport

The framing itself is the sans-I/O layer of the package ``websockets``, imported when first used. Binary
frames only, subprotocol ``mqtt``, no compression. What a peer can make us keep is bounded: the handshake, the
size of a frame, one pong.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, cast

from curier.errors import ConfigError, ConnectionLost

if TYPE_CHECKING:
    from websockets.client import ClientProtocol
    from websockets.http11 import Request, Response
    from websockets.protocol import Protocol as Framing
    from websockets.server import ServerProtocol
    from websockets.typing import BytesLike

SUBPROTOCOL: Final = "mqtt"
MAX_FRAME_BYTES: Final = 16 * 2**20
"""A frame is kept until its last byte is there; larger ones end the connection."""

SEND_FRAME_BYTES: Final = 65_536
"""More is sent in several frames, since some servers take no larger ones."""

HANDSHAKE_BYTES: Final = 262_144
"""What the peer may say before it has opened the WebSocket."""

CLOSE_SECONDS: Final = 2.0
"""How long the peer has to answer a close frame before the connection is closed without."""

HANDSHAKE_SECONDS: Final = 10.0
"""How long a client has to open the WebSocket."""

_TOKEN: Final = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_VALUE: Final = r"[\x20-\x7e\x80-\xff\t]*"
_OWN_HEADERS: Final = r"host|upgrade|connection|content-length|transfer-encoding|sec-websocket-.*"

_CLOSED: Final = (
    "the server closed the connection during the WebSocket handshake; does it speak WebSocket there, and "
    "with TLS (wss://) or without (ws://)?"
)

# The package logs headers and frames, where passwords are. This logger has no parent and no handler.
_SILENT: Final = logging.Logger("curier.net.websocket", logging.CRITICAL + 1)


def check_headers(headers: Sequence[tuple[str, str]]) -> None:
    """Raise ``ConfigError`` for headers that cannot be added to a handshake. Values are not repeated."""
    for name, value in headers:
        if not re.fullmatch(_TOKEN, name):
            raise ConfigError(f"{name!r} cannot be the name of an HTTP header")
        if re.fullmatch(_OWN_HEADERS, name.lower()):
            raise ConfigError(f"the HTTP header {name} is part of the WebSocket handshake: leave it out")
        if not re.fullmatch(_VALUE, value):
            raise ConfigError(f"the value of the HTTP header {name} has characters that cannot be sent")


class WebSocketTransport(asyncio.Transport, asyncio.Protocol):
    """What both roles have in common. The MQTT side's protocol gets

    - ``data_received`` at most once for each chunk that the network brings, without regard to frames,
    - ``connection_lost`` with a ``ConnectionLost`` that says why, where the peer broke a rule or gave a
      reason for closing; with ``None`` after ``close`` and where the peer simply closed.

    ``close`` sends what is left and a close frame, and waits a moment for the peer's; ``abort`` does not.
    ``write`` after either does nothing. Buffer sizes count framed bytes.
    """

    peer = "the peer"

    def __init__(self, framing: Framing, max_frame_bytes: int) -> None:
        super().__init__()
        self._framing = framing
        self._max_frame_bytes = max_frame_bytes
        self._below: asyncio.Transport | None = None
        self._protocol: asyncio.Protocol | None = None
        self._early = b""  # came with the handshake, before there was a protocol
        self._handshake_bytes = 0
        self._is_closing = False
        self._is_paused = False
        self._is_congested = False
        self._is_ended = False
        self._pong = b""  # waits for room
        self._why: ConnectionLost | None = None
        self._timer: asyncio.TimerHandle | None = None

    # ---- protocol: what the transport below tells ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        from websockets.protocol import CONNECTING

        if self._is_ended:
            return
        if self._framing.state is CONNECTING:
            self._handshake_bytes += len(data)
            if self._handshake_bytes > HANDSHAKE_BYTES:
                self._cut(ConnectionLost(f"{self.peer} sent more than {HANDSHAKE_BYTES} bytes of handshake"))
                return
        self._framing.receive_data(data)
        self._process()

    def eof_received(self) -> bool:
        if not self._is_ended:
            self._is_ended = True
            self._framing.receive_eof()
            self._process()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_ended = self._is_closing = True
        self._set_timer(None)
        self._lost(self._why or exc)

    def pause_writing(self) -> None:
        self._is_congested = True
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._is_congested = False
        if self._protocol is not None:
            self._protocol.resume_writing()
        if self._pong and not self._is_congested and not self._is_closing:
            pong, self._pong = self._pong, b""
            self._network.write(pong)

    # ---- transport: what the protocol above asks ----

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._is_closing or not data:
            return
        # [MQTT-6.0.0-1] binary frames; [MQTT-6.0.0-2] a packet may begin in one and end in another.
        if len(data) <= SEND_FRAME_BYTES:
            self._framing.send_binary(data)
        else:
            view = memoryview(data).cast("B")
            for start in range(0, len(view), SEND_FRAME_BYTES):
                self._framing.send_binary(view[start : start + SEND_FRAME_BYTES])
        for sent in self._framing.data_to_send():  # writelines, in some Pythons, never pauses the protocol
            self._network.write(sent)

    def can_write_eof(self) -> bool:
        return False

    def write_eof(self) -> None:
        raise NotImplementedError("a WebSocket is closed in both directions at once")

    def close(self) -> None:
        from websockets.protocol import OPEN

        if self._is_closing:
            return
        if self._framing.state is not OPEN:
            self.abort()
            return
        self._framing.send_close(1000)
        self._send(self._framing.data_to_send())
        self._await_end()

    def abort(self) -> None:
        self._is_closing = self._is_ended = True
        self._network.abort()

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

    # ---- in between ----

    @property
    def _network(self) -> asyncio.Transport:
        assert self._below is not None, "used before connection_made"
        return self._below

    def _handshake(self, event: Request | Response) -> None:
        raise NotImplementedError

    def _lost(self, error: Exception | None) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def _start(self, protocol: asyncio.Protocol) -> None:
        """The WebSocket is open and somebody is there to use it."""
        self._protocol = protocol
        protocol.connection_made(self)
        early, self._early = self._early, b""
        if early and not self._is_closing:
            protocol.data_received(early)

    def _process(self) -> None:
        """Do what the last bytes ask for."""
        from websockets.frames import Frame, Opcode

        events = self._framing.events_received()
        answers = self._framing.data_to_send()
        chunks: list[BytesLike] = []
        pings = 0
        text = False
        for event in events:
            if not isinstance(event, Frame):
                self._handshake(event)
            elif event.opcode is Opcode.PING:
                pings += 1
            elif event.opcode is Opcode.TEXT:
                text = True
                break
            elif event.opcode in (Opcode.BINARY, Opcode.CONT):
                chunks.append(event.data)
        self._answer(answers, pings)
        if chunks and not self._is_closing:
            data = b"".join(chunks)
            if self._protocol is None:
                self._early += data
            else:
                self._protocol.data_received(data)
        if text and not self._is_closing:
            # [MQTT-6.0.0-1] "If any other type of data frame is received the recipient MUST close"
            self._why = ConnectionLost(
                f"{self.peer} sent a WebSocket text frame; MQTT takes binary ones only"
            )
            self._framing.fail(1003, "MQTT takes binary frames only [MQTT-6.0.0-1]")
            self._send(self._framing.data_to_send())
            self._await_end()
        elif self._framing.close_expected() and not self._is_closing:
            self._why = self._reason()
            self._await_end()

    def _answer(self, answers: list[bytes], pings: int) -> None:
        """Send what the framing has to say: a pong for each ping, and then perhaps a close frame."""
        # RFC 6455 section 5.5.3: one pong, to the latest ping, will do. So pings never fill our memory.
        pongs, rest = answers[:pings], answers[pings:]
        if pongs and not self._is_closing:
            if self._is_congested:
                self._pong = pongs[-1]
            else:
                self._network.write(pongs[-1])
        self._send(rest)

    def _send(self, writes: list[bytes]) -> None:
        for data in writes:
            if data:
                self._network.write(data)
            elif not self._network.is_closing():  # the framing's sign for the end
                if self._network.can_write_eof():
                    self._network.write_eof()
                else:
                    self._network.close()

    def _reason(self) -> ConnectionLost | None:
        """Why this connection is to end, where the framing says so."""
        from websockets.exceptions import PayloadTooBig

        error, close = self._framing.parser_exc, self._framing.close_rcvd
        if isinstance(error, PayloadTooBig):
            lost = ConnectionLost(
                f"{self.peer} sent a WebSocket frame of more than {self._max_frame_bytes} bytes; "
                "raise max_frame_bytes to take it"
            )
        elif isinstance(error, EOFError):
            return None  # the connection was cut
        elif error is not None:
            lost = ConnectionLost(f"{self.peer} broke a rule of WebSocket: {error}")
        elif close is not None and close.code not in (1000, 1005):
            lost = ConnectionLost(f"{self.peer} closed the WebSocket: {shown(str(close))}")
        else:
            return None
        lost.__cause__ = error
        return lost

    def _await_end(self) -> None:
        """Both close frames are under way; the connection ends now, or soon."""
        self._is_closing = True
        if not self._network.is_closing():
            self._read_on()
            loop = asyncio.get_running_loop()
            self._set_timer(loop.call_later(CLOSE_SECONDS, self._network.close))

    def _read_on(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._network.resume_reading()

    def _cut(self, why: ConnectionLost) -> None:
        self._why = why
        self.abort()

    def _set_timer(self, timer: asyncio.TimerHandle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer


class ClientWebSocket(WebSocketTransport):
    """The client role. ``connection_made`` sends the handshake; await ``opened``, then ``start`` a protocol.

    ``headers`` are added to the handshake; see ``check_headers``. ``path`` is percent-encoded, and may have
    a query.
    """

    peer = "the server"

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
        from websockets.client import ClientProtocol
        from websockets.typing import Subprotocol
        from websockets.uri import WebSocketURI

        check_headers(headers)
        path, _, query = path.partition("?")
        client = ClientProtocol(
            WebSocketURI(secure, host, port, path, query),
            subprotocols=[Subprotocol(SUBPROTOCOL)],  # [MQTT-6.0.0-3]
            max_size=(None, max_frame_bytes),
            logger=_SILENT,
        )
        super().__init__(client, max_frame_bytes)
        self._client: ClientProtocol = client
        self._headers = headers
        self._path = path
        self._is_open = False
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        request = self._client.connect()
        for name, value in self._headers:
            request.headers[name] = value
        self._client.send_request(request)
        self._send(self._client.data_to_send())

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
        self._start(protocol)
        self.resume_reading()

    def _process(self) -> None:
        super()._process()
        error = self._client.handshake_exc
        if error is not None and self._why is None:
            why = ConnectionLost(_refusal(error, self._path))
            why.__cause__ = error
            self._cut(why)

    def _handshake(self, event: Request | Response) -> None:
        if self._client.handshake_exc is not None:
            return
        if self._client.subprotocol != SUBPROTOCOL:  # [MQTT-6.0.0-4]
            self._cut(
                ConnectionLost(
                    f"the server did not choose the WebSocket subprotocol {SUBPROTOCOL}; "
                    f"is {self._path} the path of an MQTT broker?"
                )
            )
            return
        self._is_open = True
        self.pause_reading()  # until there is somebody to read
        self._wake()

    def _lost(self, error: Exception | None) -> None:
        super()._lost(error)
        self._wake()

    def abort(self) -> None:
        super().abort()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class ServerWebSocket(WebSocketTransport):
    """The server role, as the protocol of an accepted TCP or TLS transport.

    ``make`` makes the MQTT side's protocol once a client has opened the WebSocket. ``paths``: those that are
    served, ``None``: every one. ``origins``: web pages that may connect, such as ``"https://example.org"``;
    ``None``: every one. A program that is no browser sends no origin, and may connect in either case. A
    client that has not opened the WebSocket after ``handshake_seconds`` is cut.
    """

    peer = "the client"

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        *,
        paths: Sequence[str] | None = None,
        origins: Sequence[str] | None = None,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        handshake_seconds: float = HANDSHAKE_SECONDS,
    ) -> None:
        from websockets.server import ServerProtocol
        from websockets.typing import Origin, Subprotocol

        server = ServerProtocol(
            origins=None if origins is None else [None, *map(Origin, origins)],
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            select_subprotocol=_select,
            max_size=(None, max_frame_bytes),
            logger=_SILENT,
        )
        super().__init__(server, max_frame_bytes)
        self._server: ServerProtocol = server
        self._make = make
        self._paths = paths
        self._handshake_seconds = handshake_seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        loop = asyncio.get_running_loop()
        self._set_timer(loop.call_later(self._handshake_seconds, self.abort))

    def _handshake(self, event: Request | Response) -> None:
        from websockets.http11 import Request

        assert isinstance(event, Request)
        if self._server.eof_sent:  # it broke a rule, or closed, in the same breath
            self.abort()
            return
        path = event.path.partition("?")[0]
        if self._paths is not None and path not in self._paths:
            response = self._server.reject(404, "There is no MQTT here.\n")
        else:
            response = self._server.accept(event)
        self._server.send_response(response)
        self._send(self._server.data_to_send())
        if response.status_code != 101:
            self._await_end()
            return
        self._set_timer(None)
        self._start(self._make())


def _select(server: ServerProtocol, offered: Sequence[Any]) -> Any:
    """Choose ``mqtt`` [MQTT-6.0.0-4]; a client that does not offer it is refused [MQTT-6.0.0-3]."""
    from websockets.exceptions import NegotiationError

    if SUBPROTOCOL not in offered:
        raise NegotiationError(f"offer the subprotocol {SUBPROTOCOL}")
    return SUBPROTOCOL


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
