"""Standard output for streams of messages: gathered while there is more to come, written when there is not.

It never blocks the event loop, so that a reader that stands still (``less``, a full disk of somebody else's)
costs no connection: what waits to be acknowledged waits then.
"""

from __future__ import annotations

import asyncio
import io
import os
import select
import stat
import sys
from typing import BinaryIO, Final

GATHERED_BYTES: Final = 64 * 1024
"""From so much on ``is_full`` says that it is time to ``flush``."""

PIECE_BYTES: Final = select.PIPE_BUF if hasattr(select, "PIPE_BUF") else 512
"""A pipe that says it can be written to takes so much without blocking."""


class Output:
    """Bytes on their way to ``stream``, standard output if there is none.

    Writing raises ``BrokenPipeError`` when nobody reads any more. A cancelled ``flush`` loses nothing and
    doubles nothing: the next one goes on.
    """

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout.buffer
        self._parts: list[bytes] = []
        self._gathered = 0
        self._left = memoryview(b"")
        self._descriptor = _pollable(self._stream)

    def write(self, data: bytes) -> None:
        """Gather ``data``."""
        self._parts.append(data)
        self._gathered += len(data)

    @property
    def is_full(self) -> bool:
        """Is there so much that it should be written before more comes?"""
        return self._gathered >= GATHERED_BYTES

    async def flush(self) -> None:
        """Write all that is gathered, and return when the operating system has it."""
        if self._parts:
            self._left = memoryview(b"".join([self._left, *self._parts]))
            self._parts.clear()
            self._gathered = 0
        if self._descriptor is None:
            data, self._left = self._left, memoryview(b"")
            self._stream.write(data)
            self._stream.flush()
            return
        while self._left:
            if not select.select((), (self._descriptor,), (), 0)[1]:
                await _writable(self._descriptor)
            written = os.write(self._descriptor, self._left[:PIECE_BYTES])
            self._left = self._left[written:]

    def abandon(self) -> None:
        """Let what is written from now on vanish, as the reader has: also what Python flushes at its end."""
        self._left = memoryview(b"")
        if self._descriptor is not None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._descriptor)
            os.close(nowhere)


def _pollable(stream: BinaryIO) -> int | None:
    """The descriptor of a pipe, a terminal or a socket, which can be waited for; None for a file."""
    try:
        descriptor = stream.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, io.UnsupportedOperation):
        return None
    is_file = stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(descriptor))
    return None if is_file or os.name == "nt" else descriptor


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
