"""One direction of a Network Connection, cut into Control Packets, however its bytes come.

A read of a socket is no packet, nor is a frame of WebSocket. What cannot be MQTT is given as well, so that
whoever stands between two sides passes every byte on.
"""

from __future__ import annotations

from typing import Final

from curier.codec.constants import AUTH, CONNACK, CONNECT, DISCONNECT
from curier.frozen import dataclass

MOST_KEPT: Final = 2**20
"""Bytes that are gathered of one packet; of a longer one, what is beyond comes piece by piece."""

PACKET: Final = "packet"  # a whole Control Packet, or the beginning of one that is too long to be gathered
MORE: Final = "more"  # of the long packet before
RAW: Final = "raw"  # no MQTT, or a packet that never became whole

_FIRST_OF_CLIENT: Final = frozenset([CONNECT << 4])  # [MQTT-3.1.0-1]
_FIRST_OF_SERVER: Final = frozenset([CONNACK << 4, AUTH << 4, DISCONNECT << 4])  # [MQTT-3.2.0-1], 4.12


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes that came in a row. ``left`` is how many bytes of a ``PACKET`` come behind it, as ``MORE``."""

    kind: str
    data: bytes
    left: int = 0


class Framer:
    """Cuts the bytes of one direction; the pieces together are the bytes that came, in their order.

    ``from_start``: the Network Connection begins here, so that its first packet has to be one that can be
    first. ``why_not`` says why all that came since is no MQTT, "" as long as it is.
    """

    def __init__(self, from_client: bool, from_start: bool = True, most_kept: int = MOST_KEPT) -> None:
        self.why_not: str = ""
        self._first = (_FIRST_OF_CLIENT if from_client else _FIRST_OF_SERVER) if from_start else None
        self._most_kept = most_kept
        self._waiting = bytearray()
        self._left = 0  # of a long packet, so much is still to come

    def feed(self, data: bytes) -> list[Piece]:
        """Bytes came; what is whole now."""
        if self.why_not:
            return [Piece(RAW, data)] if data else []
        pieces: list[Piece] = []
        if self._left:
            more = data[: self._left]
            self._left -= len(more)
            pieces.append(Piece(MORE, more))
            data = data[len(more) :]
        waiting = self._waiting
        waiting += data
        at = 0
        while at < len(waiting) and not self.why_not:
            at = self._next(at, pieces)
            if at < 0:
                break
        return pieces

    def finish(self) -> list[Piece]:
        """Nothing more comes: the packet that never became whole, if there is one."""
        rest = bytes(self._waiting)
        self._waiting.clear()
        return [Piece(RAW, rest)] if rest else []

    def _next(self, at: int, pieces: list[Piece]) -> int:
        """Give the packet that begins at ``at``; where the next one does, or -1 where nothing is left."""
        waiting = self._waiting
        self.why_not = self._fault(at)
        if self.why_not:
            pieces.append(Piece(RAW, bytes(waiting[at:])))
            waiting.clear()
            return -1
        size = size_of(waiting, at)
        have = len(waiting) - at
        if 0 < size <= have:
            self._first = None
            pieces.append(Piece(PACKET, bytes(waiting[at : at + size])))
            if size == have:
                waiting.clear()
                return -1
            return at + size
        del waiting[:at]
        if size > self._most_kept and have >= self._most_kept:
            self._first = None
            self._left = size - have
            pieces.append(Piece(PACKET, bytes(waiting), self._left))
            waiting.clear()
        return -1

    def _fault(self, at: int) -> str:
        """Why no Control Packet begins at ``at``, "" where one may."""
        waiting = self._waiting
        first = waiting[at]
        if self._first is not None and first not in self._first:
            return f"it begins with the byte 0x{first:02X}, as no connection of MQTT does"
        if first >> 4 == 0:
            return f"0x{first:02X} begins no Control Packet"
        if len(waiting) - at >= 5 and all(byte > 127 for byte in waiting[at + 1 : at + 5]):
            return "a Remaining Length goes on after its fourth byte"
        return ""


def size_of(data: bytearray, at: int) -> int:
    """How many bytes the packet at ``at`` has, 0 while its Fixed Header is not whole (2.1.4).

    A Remaining Length that is longer than it needs to be breaks a rule of 5.0, but says where a packet ends.
    """
    value = 0
    for number in range(4):
        if at + 1 + number >= len(data):
            return 0
        byte = data[at + 1 + number]
        value |= (byte & 0x7F) << 7 * number
        if byte < 128:
            return number + 2 + value
    return 0
