"""One client's socket as the turn sees it: write, stop reading, close. Two implementations."""

from __future__ import annotations

from typing import Final

from mypy_extensions import mypyc_attr

from curier.broker.model import BrokerConnection

LINGER_SECONDS: Final = 2.0
"""How long a closed connection may take to read the last packet before it is cut.

Closing a socket with unread input makes the kernel send RST, which can destroy the DISCONNECT that says why.
So a wire first ends its own direction, then discards what still comes, until the peer closes or time is up.
"""

CHUNK_BYTES: Final = 256 * 1024  # read from one socket at once
TURN_BYTES: Final = 4 * 1024 * 1024  # read from all sockets before output is written
BACKLOG: Final = 4096  # clients that may wait to be accepted


@mypyc_attr(allow_interpreted_subclasses=True)
class Wire:
    """The network's end of one ``BrokerConnection``."""

    def __init__(self, connection: BrokerConnection) -> None:
        self.connection: BrokerConnection = connection
        self.is_reading: bool = True
        self.has_ended: bool = False  # the client's direction, before its last bytes could be worked on

    def write(self, data: bytes) -> int:
        """Take ``data`` for sending; returns how many bytes now wait unsent, all earlier ones included."""
        raise TypeError("a Wire writes")

    def set_reading(self, wanted: bool) -> None:
        """Start or stop reading: a client that sends too fast waits, the broker's memory does not grow."""
        raise TypeError("a Wire reads")

    def close(self) -> None:
        """Send what is left, then close. No more bytes reach the core."""
        raise TypeError("a Wire closes")
