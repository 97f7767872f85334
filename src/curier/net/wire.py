"""One client's socket as the turn sees it: write, stop reading, close. Two implementations."""

from __future__ import annotations

import sys
from typing import Final, final

from mypy_extensions import mypyc_attr

from curier.broker.model import BrokerConnection
from curier.codec.constants import (
    MALFORMED_PACKET,
    PACKET_TOO_LARGE,
    PROTOCOL_ERROR,
    SERVER_BUSY,
    SERVER_SHUTTING_DOWN,
)
from curier.net.layers import Layers

if sys.platform == "linux":
    import fcntl
    import termios

LINGER_SECONDS: Final = 2.0
"""How long a closed connection may take to read the last packet before it is cut; and as long again, while
what it has not taken yet gets less.

Closing a socket with unread input makes the kernel send RST, which can destroy the DISCONNECT that says why.
So a wire first ends its own direction, then discards what still comes, until the peer closes or time is up.
"""

MOST_LINGER_SECONDS: Final = 10.0  # in all

CHUNK_BYTES: Final = 256 * 1024  # read from one socket at once
WRITE_BYTES: Final = 1024 * 1024  # given to one socket at once; the kernel would take four times that
TURN_BYTES: Final = 4 * 1024 * 1024  # read from all sockets before output is written
BACKLOG: Final = 4096  # clients that may wait to be accepted

# Close codes of WebSocket (RFC 6455 section 7.4.1), by the Reason Code with which the broker ends it.
_NORMAL: Final = 1000
_POLICY_VIOLATION: Final = 1008
_CLOSE_CODES: Final = {
    MALFORMED_PACKET: 1002,
    PROTOCOL_ERROR: 1002,
    SERVER_BUSY: 1013,
    SERVER_SHUTTING_DOWN: 1001,
    PACKET_TOO_LARGE: 1009,
}


def close_code(connection: BrokerConnection) -> int:
    """How WebSocket says why the connection has ended."""
    if connection.has_left:
        return _NORMAL
    return _CLOSE_CODES.get(connection.ending_code, _POLICY_VIOLATION)


@final
class Linger:
    """May a closing wire stay open, of which the client has not taken ``unsent`` bytes?"""

    def __init__(self, unsent: int, now: float) -> None:
        self.unsent: int = unsent
        self.until: float = now + MOST_LINGER_SECONDS

    def goes_on(self, unsent: int, now: float) -> bool:
        """``LINGER_SECONDS`` later: has it taken some, or is it the time that has come?"""
        before = self.unsent
        self.unsent = unsent
        return unsent < before and now + LINGER_SECONDS <= self.until


def unread_bytes(fd: int) -> int:
    """How many bytes the system still has for a peer, where it tells that (tcp(7), SIOCOUTQ)."""
    if sys.platform != "linux":
        return 0
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


@mypyc_attr(allow_interpreted_subclasses=True)
class Wire:
    """The network's end of one ``BrokerConnection``."""

    def __init__(self, connection: BrokerConnection, layers: Layers | None = None) -> None:
        self.connection: BrokerConnection = connection
        self.layers: Layers | None = layers  # None: MQTT is what the socket carries
        self.said: int = 0  # bytes that its layers have to say themselves, among those that it is to send
        self.linger: Linger | None = None  # once it is closing
        self.is_reading: bool = True
        self.has_ended: bool = False  # the client's direction, before its last bytes could be worked on

    def write(self, data: bytes) -> int:
        """Take ``data`` for sending; returns how many bytes now wait unsent, all earlier ones included."""
        raise TypeError("a Wire writes")

    def write_later(self, data: bytes) -> int:
        """The same, but for what is much, and much was written in this turn."""
        return self.write(data)

    def write_pieces(self, pieces: list[bytes]) -> int:
        """The same, where there are layers, which have to see whole Control Packets."""
        raise TypeError("a Wire with layers writes")

    def push(self, added: int) -> int:
        """Send what the layers have, as far as the network takes it; returns as ``write`` does.

        ``added`` bytes of it are new. What the layers add to them is not counted while it waits: what is
        counted then never goes down by more than was taken.
        """
        raise TypeError("a Wire with layers pushes")

    def worked(self) -> None:
        """A step of the handshake is taken: go on."""
        raise TypeError("a Wire with layers works")

    def hold(self) -> None:
        """Read no more until it is."""
        raise TypeError("a Wire with layers holds")

    def ended(self) -> None:
        """The peer has closed a layer in order: close, behind what this turn writes."""
        raise TypeError("a Wire with layers is ended")

    def set_reading(self, wanted: bool) -> None:
        """Start or stop reading: a client that sends too fast waits, the broker's memory does not grow."""
        raise TypeError("a Wire reads")

    def close(self) -> None:
        """Send what is left, then close. No more bytes reach the core."""
        raise TypeError("a Wire closes")
