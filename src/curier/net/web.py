"""MQTT over WebSocket, the server's side (MQTT 5.0 and 3.1.1 chapter 6, RFC 6455), as a layer.

Binary frames only, no extension. A frame's content goes up as it comes. Down goes what one turn has for the
client, in one frame while it is not large; no packet is cut over two frames, though [MQTT-6.0.0-2] would
allow it. What a peer can make us keep: its request (``upgrade``), fourteen bytes of a head or one control
frame, and what one ping said.
"""

from __future__ import annotations

from typing import Final, final

from curier.net.frames import (
    BINARY,
    PING,
    PONG,
    FrameReader,
    binary_frames,
    close_frame,
    head,
)
from curier.net.layer import Layer, LayerError, Visit
from curier.net.upgrade import Handshake, Refused, Site

A_PING: Final = head(PING, 0)


@final
class WebSocket(Layer):
    """One connection. ``address``: the client's, or that of the proxy before it."""

    def __init__(self, site: Site, address: str) -> None:
        super().__init__()
        self.address = address
        """Where the client is: once the layer is open, what a trusted proxy says."""
        self.ping_interval = site.ping_interval
        self._handshake: Handshake | None = Handshake(site, address)
        self._reader: FrameReader = FrameReader(True)
        self._said: bytes = b""
        self._is_closed: bool = False  # a close frame of ours is sent: nothing follows it
        self._error: LayerError | None = None

    def receive(self, data: bytes) -> bytes:
        if self._error is not None:
            raise self._error
        if self._handshake is not None:
            data = self._open(self._handshake, data)
            if not self.is_open:
                return b""
        reader = self._reader
        mqtt = reader.read(data)
        if reader.error_code:
            self._end(reader.error_code, reader.error)
            self._error = LayerError(f"a rule of WebSocket was broken: {reader.error}")
            if not mqtt:
                raise self._error
            self.has_more = True
        elif reader.close_code and not self.is_ended:
            # "the endpoint typically echos the status code it received"
            self._end(reader.close_code, "")
            self.is_ended = True
        return mqtt

    def moved(self, address: str) -> None:
        self.address = address
        if self._handshake is not None:
            self._handshake.address = address

    def midst(self) -> str:
        handshake = self._handshake
        return "" if handshake is None or not handshake.has_begun else "its HTTP request"

    def send(self, data: bytes) -> list[bytes]:
        """In frames; large packets are not copied. Nothing, once a close frame is sent."""
        return [] if self._is_closed else binary_frames(data)

    def send_pieces(self, pieces: list[bytes]) -> list[bytes]:
        """In one frame, so that large pieces need not be copied: others may be sent them, too."""
        if self._is_closed:
            return []
        size = 0
        for piece in pieces:
            size += len(piece)
        return [head(BINARY, size), *pieces]

    def ping(self) -> bytes:
        """Nobody need answer it: Keep Alive is the rule."""
        return b"" if self._is_closed or not self.is_open else A_PING

    def answers(self) -> bytes:
        """To pings the latest one's answer alone (section 5.5.3): while nobody asks, since the network takes
        nothing, pings do not pile up.
        """
        said = self._said
        self._said = b""
        if self._reader.ping is not None:
            said += self._pong()
        return said

    def close(self, code: int) -> bytes:
        if self._is_closed or not self.is_open:
            return b""
        self._is_closed = True
        return close_frame(code)

    def _open(self, handshake: Handshake, data: bytes) -> bytes:
        """Bytes of the request; returns what stands behind it."""
        try:
            opened = handshake.receive(data)
        except Refused as refused:
            self._said += refused.answer
            self._is_closed = True
            if not str(refused):
                self.is_ended = True
                return b""
            self._error = (Visit if refused.is_visit else LayerError)(str(refused))
            raise self._error from None
        if opened is None:
            return b""
        self._handshake = None
        self.address = handshake.address
        self.is_open = True
        answer, rest = opened
        self._said += answer
        return rest

    def _pong(self) -> bytes:
        said = self._reader.ping
        self._reader.ping = None
        return b"" if said is None or self._is_closed else head(PONG, len(said)) + said

    def _end(self, code: int, why: str) -> None:
        """Our close frame, if there was none, behind what else is to be said."""
        self._said += self._pong()
        if not self._is_closed:
            self._said += close_frame(code, why)
            self._is_closed = True
