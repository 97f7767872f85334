"""The broker's end of the socket to the store's process.

It has no transport of asyncio's, whose machinery costs a batch of one message more than its bytes do; and the
loop of ``curier broker`` calls its reader without a way round by the loop's queue (``add_prompt_reader``).
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, final

from curier.errors import StoreError
from curier.store.process import ANSWER, FATAL

WRITE_BYTES: Final = 256 * 1024  # given to the socket at once
MOST_AT_ONCE: Final = 2 * 1024 * 1024  # before others have their turn
READ_BYTES: Final = 16 * 1024


@final
class Link:
    """Takes the socket. ``on_answer`` gets status and words of each answer but the first, for which ``ready``
    is; ``on_lost`` is called when the process is gone, but not behind ``close``.
    """

    def __init__(
        self,
        sock: socket.socket,
        on_answer: Callable[[int, str], None],
        on_lost: Callable[[Link], None],
    ) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        self.is_lost = False
        self._on_answer = on_answer
        self._on_lost = on_lost
        self._sock = sock
        self._fd = sock.fileno()
        self._buffer = b""
        self._unsent: deque[memoryview] = deque()
        sock.setblocking(False)
        getattr(loop, "add_prompt_reader", loop.add_reader)(self._fd, self._read)

    def send(self, pieces: list[bytes]) -> None:
        """Send what the process reads as one; large pieces as they are, by and by."""
        if self.is_lost:  # the number of its descriptor may be that of another file by now
            return
        is_first = not self._unsent
        if len(pieces) == 1 and is_first and len(pieces[0]) <= WRITE_BYTES:  # what is sent at once, mostly
            try:
                size = os.write(self._fd, pieces[0])
            except OSError:
                size = 0  # for what is below to find out why
            if size == len(pieces[0]):
                return
            pieces = [pieces[0][size:]]
        self._unsent += map(memoryview, pieces)
        if is_first and not self._write():
            self._loop.add_writer(self._fd, self._go_on)

    def _go_on(self) -> None:
        if self._write():
            self._loop.remove_writer(self._fd)

    def _write(self) -> bool:
        """Write what the socket takes, and not too much at once. True: all of it."""
        unsent = self._unsent
        written = 0
        while unsent:
            if written >= MOST_AT_ONCE:
                return False
            piece = unsent.popleft()
            try:
                size = os.write(self._fd, piece[:WRITE_BYTES])
            except BlockingIOError:
                size = 0
            except OSError:  # it is gone, which its end of the socket tells as well
                unsent.clear()
                return True
            written += size
            if size < len(piece):
                unsent.appendleft(piece[size:])
            if not size:
                return False
        return True

    def _read(self) -> None:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lose()
            return
        if len(data) == ANSWER.size and not self._buffer and self.ready.done():
            status, _, size = ANSWER.unpack(data)
            if not size:
                self._on_answer(status, "")
                return
        self._buffer += data
        while len(self._buffer) >= ANSWER.size and not self.is_lost:
            status, _, size = ANSWER.unpack_from(self._buffer)
            end = ANSWER.size + size
            if len(self._buffer) < end:
                return
            message = self._buffer[ANSWER.size : end].decode(errors="replace")
            self._buffer = self._buffer[end:]
            if self.ready.done():
                self._on_answer(status, message)
            elif status == FATAL:
                self.ready.set_exception(StoreError(message))
            else:
                self.ready.set_result(None)

    def _lose(self) -> None:
        self.close()
        if not self.ready.done():
            self.ready.set_exception(StoreError("the store's process ended before it was ready"))
        self._on_lost(self)

    def close(self) -> None:
        """The process ends behind what it has received whole."""
        if self.is_lost:
            return
        self.is_lost = True
        self._unsent.clear()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._sock.close()
