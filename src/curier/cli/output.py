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

from curier.cli.streams import CannotWrite, give_up

GATHERED_BYTES: Final = 64 * 1024
"""From so much on ``is_full`` says that it is time to ``flush``."""

PIECE_BYTES: Final = select.PIPE_BUF if hasattr(select, "PIPE_BUF") else 512
"""A pipe that says it can be written to takes so much without blocking."""


class Output:
    """Bytes on their way to ``stream``, standard output if there is none.

    Writing raises ``BrokenPipeError`` when nobody reads any more, ``CannotWrite`` for what else may be. A
    cancelled ``flush`` loses nothing and doubles nothing: the next one goes on.
    """

    def __init__(self, stream: BinaryIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout.buffer
        self._parts: list[bytes] = []
        self._gathered = 0
        self._left = memoryview(b"")
        self._descriptor = _descriptor_of(self._stream)
        self._may_block = self._descriptor is not None and _may_block(self._descriptor)
        self._terminal = _own_terminal(self._descriptor) if self._descriptor is not None else None

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
        try:
            while self._left:
                self._left = self._left[await self._write_some() :]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CannotWrite(error.strerror) from error

    async def _write_some(self) -> int:
        if self._descriptor is None:
            self._stream.write(self._left)
            self._stream.flush()
            return len(self._left)
        if self._terminal is not None:
            try:
                return os.write(self._terminal, self._left)
            except BlockingIOError:
                await _writable(self._terminal)
                return 0
        if not self._may_block:
            return os.write(self._descriptor, self._left)
        if not select.select((), (self._descriptor,), (), 0)[1]:
            await _writable(self._descriptor)
        return os.write(self._descriptor, self._left[:PIECE_BYTES])

    def abandon(self) -> None:
        """Let what is written from now on vanish, as the reader has: also what Python flushes at its end."""
        self._left = memoryview(b"")
        if self._descriptor is not None:
            give_up(self._descriptor)


def _descriptor_of(stream: BinaryIO) -> int | None:
    """The descriptor of a stream; None where something stands in for it."""
    try:
        return stream.fileno()
    except (OSError, io.UnsupportedOperation):
        return None


def _may_block(descriptor: int) -> bool:
    """Whether it is a pipe, a terminal or a socket, which can be waited for, and not a file."""
    mode = os.fstat(descriptor).st_mode
    is_file = stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(descriptor))
    return not is_file and os.name != "nt"


def _own_terminal(descriptor: int) -> int | None:
    """A descriptor of our own of the terminal that this is, which never blocks; None for what is none.

    A terminal that stands still (Ctrl-S) takes a few bytes and blocks for the rest. Not to block is a matter
    of what was opened, which the shell has, too, so we open it once more.
    """
    if os.name == "nt" or not os.isatty(descriptor):
        return None
    try:
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # another user's, or of another place
        return None


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(descriptor)
