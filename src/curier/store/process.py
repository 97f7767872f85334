"""The store's own process: takes batches from a socket, makes each durable, answers.

    python -m curier.store.process SOCKET_FD LOCK_FD DIRECTORY DURABILITY MAX_BYTES
        LIFE PREVIOUS CLOCK_OFFSET BATCHES

Writing SQLite in a thread would take the interpreter's lock from the event loop at every row; in a process of
its own it costs the loop one packed write. The process ends when its socket does, after what it had received
whole; it ignores SIGINT, SIGTERM and SIGHUP, which are for the broker.

To it: length of the records (8 bytes), number of the batch in this life (8), records (``session.records``).
From it: status (1), number of the batch (8), length of a message for people (4), message. Little-endian.
While it is idle it looks at the files every second or two, and tells of trouble with them by itself, and of
its end with an empty message.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import sys
from pathlib import Path
from struct import Struct
from typing import Final

import apsw

from curier.errors import StoreError
from curier.store.life import Life
from curier.store.writer import Writer

REQUEST: Final = Struct("<QQ")
ANSWER: Final = Struct("<BQI")

DONE: Final = 0  # the batch is durable; batch 0: ready
FAILED: Final = 1  # it is not known to be kept; send it again before anything else
FATAL: Final = 2  # it will not get better
TROUBLE: Final = 3  # nobody has asked: nothing can be kept now; with no message: it can again

LOOK_SECONDS: Final = 1.0
READ_BYTES: Final = 16 * 1024  # memory for more would cost a small request more than its bytes do
FOLD_SECONDS: Final = 0.05  # with nothing to do for so long, the database gets what the journal file has
TIMEOUT: Final = Struct("@ll")  # struct timeval


def answer(status: int, batch: int, message: str = "") -> bytes:
    """One answer to the broker."""
    text = message.encode()
    return ANSWER.pack(status, batch, len(text)) + text


def main(arguments: list[str]) -> int:
    """Serve until the socket ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sock = socket.socket(fileno=int(arguments[0]))
    # LOCK_FD only has to stay open: the lock on the directory lasts as long as we do.
    try:
        try:
            directory, durability, max_bytes, name, previous, clock_offset, batches = arguments[2:]
            life = Life(name, previous, float(clock_offset), int(batches))
            writer = Writer(Path(directory), durability, life, int(max_bytes))
        except StoreError as error:
            sock.sendall(answer(FATAL, 0, str(error)))
            return 1
        sock.sendall(answer(DONE, 0))
        _serve(Inbox(sock), writer)
        with contextlib.suppress(OSError):  # everything was written, and the mark says so
            writer.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the broker is gone; whatever it had sent whole is on disk
    return 0


def _serve(inbox: Inbox, writer: Writer) -> None:
    sock = inbox.sock
    while (request := _wait(inbox, writer)) is not None:
        batch, records = request
        try:
            writer.write(batch, records)
        except apsw.Error as error:
            sock.sendall(answer(FAILED, batch, str(writer.database.explain(error))))
        except (StoreError, OSError) as error:
            sock.sendall(answer(FAILED, batch, _placed(str(error), writer.database.path)))
        else:
            sock.sendall(answer(DONE, batch))


def _wait(inbox: Inbox, writer: Writer) -> tuple[int, bytes] | None:
    """Until there is a request; look at the files meanwhile. None: at its end."""
    told = writer.trouble
    while True:
        try:
            writer.tidy()
        except OSError:
            pass  # the disk is full or fails: the next batch will tell
        inbox.set_patience(FOLD_SECONDS if writer.is_behind and not writer.trouble else LOOK_SECONDS)
        try:
            return inbox.request()
        except BlockingIOError:
            pass
        writer.rest()
        if writer.look() != told:
            told = writer.trouble
            inbox.sock.sendall(answer(TROUBLE, 0, told))


class Inbox:
    """What comes by the socket."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._data = b""
        self._patience = 0.0

    def set_patience(self, seconds: float) -> None:
        """How long to wait for the next bytes: by the kernel, so that it takes no call of its own."""
        if seconds != self._patience:
            self._patience = seconds
            whole = int(seconds)
            timeout = TIMEOUT.pack(whole, int((seconds - whole) * 1_000_000))
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)

    def request(self) -> tuple[int, bytes] | None:
        """The number of a batch, and its records; None where the socket ended before. Raises
        ``BlockingIOError`` where for so long no request has begun to come.
        """
        data = self._data or self.sock.recv(READ_BYTES)
        if len(data) >= REQUEST.size:
            size, batch = REQUEST.unpack_from(data)
            if len(data) == REQUEST.size + size:  # nearly always: one is on its way at a time
                self._data = b""
                return batch, data[REQUEST.size :]
        self._data = data
        if not data or not self._fill(REQUEST.size):
            return None
        size, batch = REQUEST.unpack(self._take(REQUEST.size))
        return (batch, self._take(size)) if self._fill(size) else None

    def _fill(self, size: int) -> bool:
        """Have so many bytes; False where the socket ended before."""
        parts = [self._data]
        missing = size - len(self._data)
        while missing > 0:
            try:
                part = self.sock.recv(min(max(missing, READ_BYTES), 1 << 20))
            except BlockingIOError:
                continue
            if not part:
                return False
            parts.append(part)
            missing -= len(part)
        self._data = b"".join(parts)
        return True

    def _take(self, size: int) -> bytes:
        """The first of them."""
        taken, self._data = self._data[:size], self._data[size:]
        return taken


def _placed(message: str, path: Path) -> str:
    return message if message.startswith(str(path.parent)) else f"{path}: {message}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
