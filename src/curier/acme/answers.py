"""The answer to HTTP-01 [RFC 8555 section 8.3]: a small HTTP server, open only while an authority asks.

It knows the challenges of now, and nothing else: no files, no other page.
"""

from __future__ import annotations

import errno
import os
import socket
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Self

PATH: Final = "/.well-known/acme-challenge/"
MOST_CONNECTIONS: Final = 64
"""At once; the port is open to everybody."""

SECONDS: Final = 10.0
"""How long one may take with a line of its request."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, sock: socket.socket, known: dict[str, str]) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock
        self.known: Final = known
        self._room = threading.BoundedSemaphore(MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """That a stranger went away is not told."""


class _Handler(BaseHTTPRequestHandler):
    timeout = SECONDS
    server_version = "curier"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer a challenge of now."""
        assert isinstance(self.server, _Server)
        answer = self.server.known.get(self.path.removeprefix(PATH)) if self.path.startswith(PATH) else None
        data = (answer or "Nothing is here but answers to ACME.\n").encode()
        self.send_response(200 if answer else 404)
        self.send_header("Content-Type", "application/octet-stream" if answer else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        """What strangers ask for is not told."""


class Answers:
    """While it is entered, ``known`` is answered: the key authorization of each token.

    Entering raises ``OSError``, in words, for a port that cannot be had.
    """

    def __init__(self, host: str, port: int) -> None:
        self.known: Final[dict[str, str]] = {}
        self._host = host
        self._port = port
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        where = f"acme_http: port {self._port}{f' of {self._host}' if self._host else ''}"
        try:
            sock = self._listen()
        except OSError as error:
            hint = ""
            if error.errno == errno.EACCES:
                hint = (
                    ": it needs the right to ports below 1024 (AmbientCapabilities=CAP_NET_BIND_SERVICE), or "
                    "set another acme_http and lead port 80 there"
                )
            elif error.errno == errno.EADDRINUSE:
                hint = (
                    f": have its program lead {PATH} to another port of this machine, and set acme_http to it"
                )
            raise OSError(
                error.errno, f"{where} cannot be listened on ({os.strerror(error.errno or 0)}){hint}"
            ) from None
        self._server = _Server(sock, self.known)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _listen(self) -> socket.socket:
        if not self._host and socket.has_dualstack_ipv6():
            try:
                return socket.create_server(
                    ("", self._port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=MOST_CONNECTIONS
                )
            except OSError as error:
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # a machine without IPv6
                    raise
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        return socket.create_server((self._host, self._port), family=family, backlog=MOST_CONNECTIONS)
