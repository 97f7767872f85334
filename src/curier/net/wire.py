"""One client's socket as the turn sees it: write, stop reading, close. Two implementations."""

from __future__ import annotations

from typing import Final

from curier.broker.connection import BrokerConnection

LINGER_SECONDS: Final = 2.0
"""How long a closed connection may take to read the last packet before it is cut.

Closing a socket with unread input makes the kernel send RST, which can destroy the DISCONNECT that says why.
So a wire first ends its own direction, then discards what still comes, until the peer closes or time is up.
"""

CHUNK_BYTES: Final = 256 * 1024  # read from one socket at once
TURN_BYTES: Final = 4 * 1024 * 1024  # read from all sockets before output is written
ACCEPTS_PER_TURN: Final = 64
BACKLOG: Final = 4096  # clients that may wait to be accepted


def address_of(peer: object) -> str:
    """A peer's address for people: ``127.0.0.1:40000``, ``[::1]:40000``."""
    if isinstance(peer, tuple):
        host, port = peer[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return str(peer or "")


class Wire:
    """The network's end of one ``BrokerConnection``."""

    def __init__(self, connection: BrokerConnection) -> None:
        self.connection = connection
        self.is_reading = True

    def write(self, data: bytes) -> int:
        """Take ``data`` for sending; returns how many bytes now wait unsent, all earlier ones included."""
        raise TypeError("a Wire writes")

    def set_reading(self, wanted: bool) -> None:
        """Start or stop reading: a client that sends too fast waits, the broker's memory does not grow."""
        raise TypeError("a Wire reads")

    def close(self) -> None:
        """Send what is left, then close. No more bytes reach the core."""
        raise TypeError("a Wire closes")
