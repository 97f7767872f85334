"""The store's own process: takes batches from a socket, makes each durable, answers.

    python -m curier.store.process SOCKET_FD LOCK_FD DIRECTORY DURABILITY MAX_BYTES LIFE PREVIOUS CLOCK_OFFSET

Writing SQLite in a thread would take the interpreter's lock from the event loop at every row; in a process of
its own it costs the loop one packed write. The process ends when its socket does, after what it had received
whole; it ignores SIGINT, SIGTERM and SIGHUP, which are for the broker.

To it: length of the records (8 bytes), batch number (8), records (``session.records``). From it: status (1),
batch number (8), length of a message for people (4), message. Little-endian. While it is idle it looks at the
files every second or two, and tells of trouble with them by itself, and of its end with an empty message.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import sys
from pathlib import Path
from struct import Struct
from typing import Final

import apsw

from curier.errors import StoreError
from curier.session.records import decode
from curier.store.life import Life
from curier.store.writer import Writer

REQUEST: Final = Struct("<QQ")
ANSWER: Final = Struct("<BQI")

DONE: Final = 0  # the batch is durable; batch 0: ready
FAILED: Final = 1  # nothing of the batch was kept; send it again later
FATAL: Final = 2  # it will not get better
TROUBLE: Final = 3  # nobody has asked: nothing can be kept now; with no message: it can again

LOOK_SECONDS: Final = 1.0


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
            directory, durability, max_bytes, name, previous, clock_offset = arguments[2:]
            life = Life(name, previous, float(clock_offset))
            writer = Writer(Path(directory), durability, life, int(max_bytes))
        except StoreError as error:
            sock.sendall(answer(FATAL, 0, str(error)))
            return 1
        sock.sendall(answer(DONE, 0))
        _serve(sock, writer)
        with contextlib.suppress(OSError):  # everything was written, and the mark says so
            writer.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the broker is gone; whatever it had sent whole is on disk
    return 0


def _serve(sock: socket.socket, writer: Writer) -> None:
    while True:
        _wait(sock, writer)
        header = _receive(sock, REQUEST.size)
        if header is None:
            return
        size, batch = REQUEST.unpack(header)
        data = _receive(sock, size)
        if data is None:
            return
        try:
            writer.write(decode(data))
        except apsw.Error as error:
            sock.sendall(answer(FAILED, batch, str(writer.database.explain(error))))
        except (StoreError, OSError) as error:
            sock.sendall(answer(FAILED, batch, _placed(str(error), writer.database.path)))
        else:
            sock.sendall(answer(DONE, batch))


def _wait(sock: socket.socket, writer: Writer) -> None:
    """Until there is something to be received; look at the files meanwhile."""
    told = writer.trouble
    while True:
        with contextlib.suppress(OSError):  # the disk is full or fails: the next batch will tell
            writer.tidy()
        if select.select([sock], [], [], LOOK_SECONDS)[0]:
            return
        if writer.look() != told:
            told = writer.trouble
            sock.sendall(answer(TROUBLE, 0, told))


def _placed(message: str, path: Path) -> str:
    return message if message.startswith(str(path.parent)) else f"{path}: {message}"


def _receive(sock: socket.socket, size: int) -> bytes | None:
    """Exactly ``size`` bytes; None where the socket ended before."""
    parts: list[bytes] = []
    while size:
        part = sock.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
