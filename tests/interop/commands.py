"""Both families of commands, side by side, and a server that says what a test wants."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping

from tests.waiting import in_longer

TIMES = (1, 5, 25)
"""Seconds for ``-W``, of which mosquitto_sub takes whole ones."""


class Commands:
    """Runs a command of either family with the same words."""

    def __init__(self, port: int, environment: Mapping[str, str] | None = None) -> None:
        self.port = port
        self.environment = {**os.environ, **(environment or {})}
        self.server = ["-h", "127.0.0.1", "-p", str(port)]

    def both(self, name: str, *words: str) -> "list[subprocess.CompletedProcess[bytes]]":
        """What curier's says, and what mosquitto's does."""
        return [self.curier(name, *words), self.mosquitto(name, *words)]

    def codes(self, name: str, *words: str) -> tuple[int, int]:
        """The exit codes of both."""
        ours, theirs = self.both(name, *words)
        return ours.returncode, theirs.returncode

    def codes_in_time(self, expected: tuple[int, int], name: str, *words: str) -> tuple[int, int]:
        """The exit codes of both with ``-W``; with more time, where they are others: who is not connected
        when it is up has a code of its own.
        """
        return in_longer(
            lambda seconds: self.codes(name, *words, "-W", f"{seconds:g}"),
            lambda codes: codes == expected,
            TIMES,
        )

    def start(self, family: str, name: str, *words: str) -> "subprocess.Popen[bytes]":
        """One that goes on; it is in the background when the broker has its subscription."""
        command = [f"mosquitto_{name}"] if family == "mosquitto" else [sys.executable, "-m", "curier", name]
        return subprocess.Popen(
            [*command, *self.server, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def mosquitto(self, name: str, *words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return self._run([f"mosquitto_{name}"], words, stdin)

    def curier(self, name: str, *words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        return self._run([sys.executable, "-m", "curier", name], words, stdin)

    def _run(
        self, command: list[str], words: tuple[str, ...], stdin: bytes
    ) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [*command, *self.server, *words],
            input=stdin,
            capture_output=True,
            timeout=100,
            env=self.environment,
        )


class ScriptedServer:
    """Takes connections, and answers what comes first, second and so on with these bytes; then closes.

    ``{id}`` is the Packet Identifier of what is answered. None: it says nothing more, and closes nothing.
    ``context``: it speaks TLS, and answers what it has been ``asked`` when ``may_answer`` is set, as it is.
    """

    def __init__(self, *answers: bytes | None, context: ssl.SSLContext | None = None) -> None:
        self._answers = answers
        self._context = context
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    @property
    def commands(self) -> Commands:
        """Both families of commands, to this server."""
        return Commands(self.port)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._answer, args=(connection,), daemon=True))
                self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context is not None:
                connection.recv(1, socket.MSG_PEEK)
                self.asked.set()
                self.may_answer.wait()
                connection = self._context.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            for answer in self._answers:
                packet = connection.recv(65536)
                if answer is None:
                    return
                connection.sendall(answer.replace(b"{id}", packet[2:4]))
            connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """No thread is left that waits at one of its sockets: the next has its number."""
        self.may_answer.set()
        for thread in self._threads:  # the first adds others, and its own sockets, until it has ended
            for one in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            thread.join()
        for one in (self._listener, *self._open):
            one.close()
