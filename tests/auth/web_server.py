"""A web server in a thread, for what asks one; it answers as it is told to."""

from __future__ import annotations

import asyncio
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    certificate: object = None


@dataclass
class WebServer:
    """``answer`` is what all are answered: status, headers and body. While ``gate`` is not set, they wait."""

    port: int = 0
    answer: tuple[int, dict[str, str], bytes] = (200, {}, b"{}")
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    async def has_been_asked(self, times: int) -> None:
        """Return when it has been asked so often; the test's time limit ends it otherwise."""
        while len(self.asked) < times:  # noqa: ASYNC110  # in another thread
            await asyncio.sleep(0.001)


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[WebServer]:
    this = WebServer()
    this.gate.set()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def setup(self) -> None:
            super().setup()
            this.connections += 1

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            certificate = self.request.getpeercert() if tls is not None else None
            headers = {name.lower(): value for name, value in self.headers.items()}
            this.asked.append(Asked(self.command, self.path, headers, body, certificate))
            this.gate.wait(100)
            status, headers, body = this.answer
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:  # whoever asked has gone
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    this.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield this
    finally:
        this.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
