"""A process of its own for checks of passwords, at low priority.

A thread will not do. It needs the interpreter's lock for a moment before and after each check, and a thread
of low priority that has the lock, or is handed it, on a busy machine keeps the event loop waiting until it
gets a core. So does the system's lock on the memory that each check takes and gives back.

To it: length of the hash (2 bytes), of the password (4), both. From it: 1 right, 0 wrong, 2 could not be
checked; length of a message for people (2 bytes), message. Little-endian. ``hashes`` is the other end.
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress

from curier.auth.hashes import ANSWER, PROGRAM, REQUEST, CheckError


class HashProcess:
    """Used by one thread at a time. The process begins with the first check, and again if it has died."""

    def __init__(self, niceness: int) -> None:
        self._niceness = niceness
        self._process: subprocess.Popen[bytes] | None = None

    def fits(self, encoded: str, password: bytes) -> bool:
        """``hashes.fits``, over there. Blocks. Raises ``CheckError``."""
        request = REQUEST.pack(len(encoded), len(password)) + encoded.encode() + password
        for _ in range(2):
            try:
                answer = self._ask(request)
            except OSError as error:
                self.close()
                raise CheckError(f"the process for it cannot be started: {error.strerror}") from None
            if answer is not None:
                break
            self.close()
        else:
            raise CheckError("the process for it has died, twice")
        status, message = answer
        if status > 1:
            raise CheckError(message)
        return status == 1

    def _ask(self, request: bytes) -> tuple[int, str] | None:
        """The answer; None: the process has died."""
        process = self._process
        if process is None:
            # By its path: as a module of curier it would import what it does not need.
            command = [sys.executable, "-P", PROGRAM, str(self._niceness)]
            process = subprocess.Popen(command, bufsize=-1, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(request)
            process.stdin.flush()
        except BrokenPipeError:
            return None
        header = process.stdout.read(ANSWER.size)
        if len(header) < ANSWER.size:
            return None
        status, length = ANSWER.unpack(header)
        return status, process.stdout.read(length).decode()

    def close(self) -> None:
        """End the process, as soon as it has done what it does."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        process.stdout.close()
        process.wait()
