"""How much of what was written the other side's network has not taken yet.

A large message fits into the kernel's send buffer whole, where asyncio does not see it any more. On a slow
line it may be there for minutes, and that it becomes less is the only sign of life.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

SO_NWRITE: Final = 0x1024  # macOS: bytes in the send buffer


def unsent_bytes(transport: asyncio.Transport, carrier: asyncio.Transport | None = None) -> int:
    """Bytes that wait, in asyncio's buffers and in the kernel's. ``carrier`` is the transport of the socket,
    whose buffer TLS does not count.

    Of the kernel's Linux and macOS tell; elsewhere only asyncio's are counted. Those of TLS and WebSocket are
    counted as they are on the wire.
    """
    waiting = transport.get_write_buffer_size()
    if carrier is not None and transport.get_extra_info("ssl_object") is not None:
        waiting += carrier.get_write_buffer_size()
    socket = transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0:
        return waiting
    try:
        if sys.platform == "linux":
            import fcntl
            import termios

            answer = fcntl.ioctl(
                socket.fileno(), termios.TIOCOUTQ, bytes(4)
            )  # SIOCOUTQ is another name of it
            waiting += int.from_bytes(answer, sys.byteorder)
        elif sys.platform == "darwin":
            waiting += socket.getsockopt(0xFFFF, SO_NWRITE)
    except OSError:  # it was closed just now
        pass
    return waiting
