"""The store's own process: takes batches from a socket, makes each durable, answers.

    python -m curier.store.process SOCKET_FD LOCK_FD DIRECTORY DURABILITY MAX_BYTES

Writing SQLite in a thread would take the interpreter's lock from the event loop at every row; in a process of
its own it costs the loop one packed write. The process ends when its socket does, after what it had received
whole; it ignores SIGINT and SIGTERM, which are for the broker.

To it: length of the records (8 bytes), batch number (8), records (``session.records``). From it: status (1),
batch number (8), length of a message for people (4), message. Little-endian.
"""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from struct import Struct
from typing import Final

import apsw

from curier.errors import StoreError
from curier.session.records import decode
from curier.store.database import Database

REQUEST: Final = Struct("<QQ")
ANSWER: Final = Struct("<BQI")

DONE: Final = 0  # the batch is durable; batch 0: ready
FAILED: Final = 1  # nothing of the batch was kept; send it again later
FATAL: Final = 2  # it will not get better


def answer(status: int, batch: int, message: str = "") -> bytes:
    """One answer to the broker."""
    text = message.encode()
    return ANSWER.pack(status, batch, len(text)) + text


def main(arguments: list[str]) -> int:
    """Serve until the socket ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sock = socket.socket(fileno=int(arguments[0]))
    # LOCK_FD only has to stay open: the lock on the directory lasts as long as we do.
    try:
        try:
            database = Database(Path(arguments[2]), arguments[3], max_bytes=int(arguments[4]))
        except StoreError as error:
            sock.sendall(answer(FATAL, 0, str(error)))
            return 1
        sock.sendall(answer(DONE, 0))
        _serve(sock, database)
        database.close()
    except (BrokenPipeError, ConnectionResetError):
        pass  # the broker is gone; whatever it had sent whole is on disk
    return 0


def _serve(sock: socket.socket, database: Database) -> None:
    while True:
        header = _receive(sock, REQUEST.size)
        if header is None:
            return
        size, batch = REQUEST.unpack(header)
        data = _receive(sock, size)
        if data is None:
            return
        try:
            database.apply(decode(data))
        except apsw.Error as error:
            sock.sendall(answer(FAILED, batch, str(database.explain(error))))
        except StoreError as error:
            sock.sendall(answer(FAILED, batch, f"{database.path}: {error}"))
        else:
            sock.sendall(answer(DONE, batch))


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
