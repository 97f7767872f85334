"""One client's socket as the turn sees it: write, stop reading, close. Two implementations."""

from __future__ import annotations

import errno
import socket
from typing import Final

from mypy_extensions import mypyc_attr

from curier.broker.model import BrokerConnection
from curier.loglines import logger

log = logger("curier.net")

LINGER_SECONDS: Final = 2.0
"""How long a closed connection may take to read the last packet before it is cut.

Closing a socket with unread input makes the kernel send RST, which can destroy the DISCONNECT that says why.
So a wire first ends its own direction, then discards what still comes, until the peer closes or time is up.
"""

CHUNK_BYTES: Final = 256 * 1024  # read from one socket at once
TURN_BYTES: Final = 4 * 1024 * 1024  # read from all sockets before output is written
ACCEPTS_PER_TURN: Final = 64
BACKLOG: Final = 4096  # clients that may wait to be accepted
ACCEPT_AGAIN_SECONDS: Final = 1.0  # after the system has run out of file descriptors or memory

_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


def accept(listener: socket.socket) -> tuple[list[tuple[int, str]], bool]:
    """Some of the clients that wait: the descriptor of each, which blocks, and its address; and whether there
    may be more of them now.

    There may not be where the system has run out of what a connection needs.
    """
    clients: list[tuple[int, str]] = []
    for _ in range(ACCEPTS_PER_TURN):
        try:
            # What ``listener.accept()`` calls; a Python socket of its own would cost as much as all else.
            fd, peer = listener._accept()  # type: ignore[attr-defined]
        except BlockingIOError:
            break
        except OSError as error:
            if error.errno in _EXHAUSTED:
                log.error("cannot accept more connections: %s; trying again in a second", error.strerror)
                return clients, False
            continue  # a client's network failed before it was accepted; accept(2) says so here
        host, port = peer[:2]
        clients.append((fd, f"[{host}]:{port}" if ":" in host else f"{host}:{port}"))
    return clients, True


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
