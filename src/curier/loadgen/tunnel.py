"""What a client's bytes go through where the broker wants TLS or WebSocket: the client's side, bytes alone.

By default each Control Packet is a record, and a frame, of its own, as most clients send them: that is what
costs a broker. Packets of one write may also share them (``Plan.batched``).
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Final

from curier.codec.primitives import packet_end
from curier.errors import ConnectionLost

if TYPE_CHECKING:
    from curier.loadgen.plan import Plan

RECORD_BYTES: Final = 16384
"""The most that a record carries (RFC 8446 section 5.1)."""

Piece = tuple[bytes | bytearray, int]
"""Bytes, and into pieces of what size they are to be cut."""


class Tunnel:
    """One way of getting bytes to a broker. A call that sends something returns it, for what lies below."""

    is_open = False

    def begin(self) -> list[Piece]:
        """The connection below is there."""
        raise NotImplementedError

    def receive(self, data: bytes) -> tuple[bytes, list[Piece]]:
        """Bytes from below; returns those for above, and an answer. Raises ``ConnectionLost``."""
        raise NotImplementedError

    def send(self, pieces: list[Piece]) -> list[Piece]:
        """Bytes from above."""
        raise NotImplementedError


class Tunnels:
    """Those of one connection, on each other; each write is given and taken as a whole."""

    def __init__(self, plan: Plan) -> None:
        self.is_open = False
        self.batched = plan.batched
        self._tunnels: list[Tunnel] = []  # from the socket up
        if plan.tls is not None:
            self._tunnels.append(TlsTunnel(plan.tls, plan.host))
        if plan.web_path is not None:
            self._tunnels.append(WebTunnel(plan))

    def begin(self) -> bytes | bytearray:
        """The socket is connected; returns what it is to send."""
        return self._down(0, self._tunnels[0].begin())

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Bytes of the socket; returns those of MQTT, and an answer for the socket."""
        said = b""
        for number, tunnel in enumerate(self._tunnels):
            was_open = tunnel.is_open
            data, answer = tunnel.receive(data)
            if answer:
                said += self._down(number, answer)
            if not tunnel.is_open:
                return b"", said
            if not was_open:
                if number + 1 < len(self._tunnels):
                    said += self._down(number + 1, self._tunnels[number + 1].begin())
                else:
                    self.is_open = True
        return data, said

    def send(self, out: list[bytes | bytearray]) -> bytes | bytearray:
        """Whole packets, those of each element of one size; returns what the socket is to send."""
        if self.batched:
            data = b"".join(out)
            pieces: list[Piece] = [(data, len(data))]
        else:
            pieces = [(packets, packet_end(bytes(packets[:5]), 0)) for packets in out]
        return self._down(len(self._tunnels), pieces)

    def _down(self, number: int, pieces: list[Piece]) -> bytes | bytearray:
        """What comes from tunnel ``number``, or from MQTT above all of them."""
        for tunnel in reversed(self._tunnels[:number]):
            pieces = tunnel.send(pieces)
        return pieces[0][0] if len(pieces) == 1 else b"".join([data for data, _ in pieces])


class TlsTunnel(Tunnel):
    """TLS; each piece is a record, or more where it does not go into one."""

    def __init__(self, context: ssl.SSLContext, host: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def begin(self) -> list[Piece]:
        self._shake()
        return self._said()

    def receive(self, data: bytes) -> tuple[bytes, list[Piece]]:
        self._incoming.write(data)
        if not self.is_open:
            self._shake()
        found: list[bytes] = []
        if self.is_open:
            read, incoming = self._object.read, self._incoming
            try:
                while incoming.pending or self._object.pending():
                    piece = read(RECORD_BYTES)
                    if not piece:
                        break
                    found.append(piece)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise ConnectionLost(_told(error)) from None
        return found[0] if len(found) == 1 else b"".join(found), self._said()

    def send(self, pieces: list[Piece]) -> list[Piece]:
        write = self._object.write
        for data, size in pieces:
            if len(data) <= size <= RECORD_BYTES:
                write(data)
                continue
            view = memoryview(data)
            for at in range(0, len(data), size):
                end = min(at + size, len(data))
                while at < end:  # OpenSSL writes no more than a record at once
                    at += write(view[at:end])
        return self._said()

    def _shake(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        except ssl.SSLError as error:
            raise ConnectionLost(_told(error)) from None
        self.is_open = True

    def _said(self) -> list[Piece]:
        if not self._outgoing.pending:
            return []
        data = self._outgoing.read()
        return [(data, len(data))]


class WebTunnel(Tunnel):
    """WebSocket (RFC 6455); each piece is a frame."""

    def __init__(self, plan: Plan) -> None:
        from websockets.client import ClientProtocol
        from websockets.typing import Subprotocol
        from websockets.uri import WebSocketURI

        from curier.net.frames import FrameReader
        from curier.net.websocket import SILENT

        path, _, query = (plan.web_path or "").partition("?")
        uri = WebSocketURI(plan.tls is not None, plan.host, plan.port, path, query)
        self._client = ClientProtocol(uri, subprotocols=[Subprotocol("mqtt")], logger=SILENT)
        self._reader = FrameReader(False)
        self._path = path
        self._head = b""

    def begin(self) -> list[Piece]:
        self._client.send_request(self._client.connect())
        return self._taken()

    def receive(self, data: bytes) -> tuple[bytes, list[Piece]]:
        from curier.net.frames import PONG, masked_frame

        if not self.is_open:
            data = self._open(data)
            if not self.is_open:
                return b"", []
        reader = self._reader
        found = reader.read(data)
        if reader.error_code or (reader.close_code and not found):
            raise ConnectionLost(
                f"it broke a rule of WebSocket: {reader.error}"
                if reader.error_code
                else f"the broker closed the WebSocket: {reader.close_code} {reader.close_reason}".rstrip()
            )
        if reader.ping is None:
            return found, []
        pong = masked_frame(PONG, reader.ping, os.urandom(4))
        reader.ping = None
        return found, [(pong, len(pong))]

    def send(self, pieces: list[Piece]) -> list[Piece]:
        return [masked_frames(data, size) for data, size in pieces]

    def _open(self, data: bytes) -> bytes:
        """Bytes of the server's answer; returns those behind it."""
        from curier.net.websocket import shown

        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            return b""
        status = head.partition(b"\r\n")[0].decode(errors="replace")
        if " 101" not in status[:12]:  # the package would wait for the page that follows
            raise ConnectionLost(f"the broker refused the WebSocket at {self._path}: {shown(status)}")
        self._client.receive_data(head + end)
        self._client.events_received()
        error = self._client.handshake_exc
        if error is not None:
            raise ConnectionLost(f"the broker's WebSocket handshake is wrong: {shown(str(error))}")
        if self._client.subprotocol != "mqtt":  # [MQTT-6.0.0-4]
            raise ConnectionLost("the broker did not choose the WebSocket subprotocol mqtt")
        self.is_open = True
        return rest

    def _taken(self) -> list[Piece]:
        data = b"".join(self._client.data_to_send())
        return [(data, len(data))]


def masked_frames(data: bytes | bytearray, size: int) -> Piece:
    """Binary frames of a client, each with ``size`` bytes of ``data``, which is a multiple of that.

    All is masked in one go; so the mask of each frame is the last one's, turned to where it begins.
    """
    from curier.net.frames import BINARY, head, masked_frame

    mask = os.urandom(4)
    count = len(data) // size
    frame = masked_frame(BINARY, data, mask)
    if count <= 1:
        return frame, len(frame)
    masked = frame[len(frame) - len(data) :]
    start = head(BINARY, size)
    start = bytes((start[0], start[1] | 0x80)) + start[2:]
    heads = [start + mask[turn:] + mask[:turn] for turn in range(4)]
    parts: list[bytes] = [b""] * (2 * count)
    parts[1::2] = [masked[at : at + size] for at in range(0, len(data), size)]
    for turn in range(4):  # of those frames whose number has this remainder
        parts[2 * turn :: 8] = [heads[turn * size % 4]] * len(range(turn, count, 4))
    return b"".join(parts), len(start) + 4 + size


def _told(error: ssl.SSLError) -> str:
    """Why TLS failed, as it goes behind the client's name."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return f"TLS failed: {error.reason or error}"
