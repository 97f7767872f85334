"""A headless Chromium, and a small web server with a page of ours for it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.conftest import INTEROP_JS, require_peer
from tests.waiting import wait_until

TIMEOUT = 100.0
PATIENT = {"open_timeout": TIMEOUT, "ping_interval": None}
"""A busy machine may have it silent for long."""
FILES = {
    "/": (INTEROP_JS / "page.html", "text/html"),
    "/mqtt.min.js": (INTEROP_JS / "node_modules" / "mqtt" / "dist" / "mqtt.min.js", "text/javascript"),
}


class Pages(BaseHTTPRequestHandler):
    """The page, and what it loads."""

    def do_GET(self) -> None:
        path, kind = FILES[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(path.read_bytes())

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def web_server() -> Iterator[int]:
    """Its port."""
    require_peer("mqttjs")
    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join(TIMEOUT)


def key_hash(certificate: Path) -> str:
    """By which Chromium is told to trust a certificate (or one that is signed with its key)."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Tab:
    """A page that is open; ``apart``: in a window of its own, so that those before it are still seen."""

    def __init__(self, browser: Chromium, url: str, *, apart: bool = False) -> None:
        self.browser = browser
        where = {"browserContextId": browser.context} if browser.context else {}
        made = browser.call("Target.createTarget", url="about:blank", newWindow=apart, **where)
        self.target = made["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=self.target, flatten=True)["sessionId"]
        self.call("Page.enable")
        self.call("Page.navigate", url=url)
        wait_until(
            lambda: self.run(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")
        )

    def call(self, method: str, **arguments: Any) -> Any:
        return self.browser.call(method, self.session, **arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of an expression, or with arguments of a call; promises are waited for."""
        if arguments:
            script = f"({script})({', '.join(map(json.dumps, arguments))})"
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def screenshot(self) -> bytes:
        """As PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def close(self) -> None:
        """As a person does."""
        self.browser.call("Target.closeTarget", targetId=self.target)


class Chromium:
    """The browser, with a profile in ``folder``; it trusts ``certificate``."""

    def __init__(self, folder: Path, certificate: Path) -> None:
        command = [
            *(
                require_peer("chromium"),
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ),
            *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
            *("--remote-debugging-port=0", f"--user-data-dir={folder / 'profile'}"),
            *(f"--ignore-certificate-errors-spki-list={key_hash(certificate)}", "about:blank"),
        ]
        with (folder / "log").open("w") as log:
            self.popen = subprocess.Popen(command, stdout=log, stderr=log)
        self.context = ""
        self.numbers = itertools.count(1)
        self.ending = contextlib.ExitStack()
        self.ending.callback(self._end)
        try:
            self.connection = self.ending.enter_context(
                self._debugger(folder / "profile" / "DevToolsActivePort")
            )
        except BaseException:
            self.ending.close()
            raise

    def _debugger(self, told: Path) -> ClientConnection:
        """Its door for debuggers, which it writes into a file."""
        wait_until(lambda: told.exists() and told.read_text().count("\n") >= 1)
        port, path = told.read_text().split("\n")[:2]
        return connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None, proxy=None, **PATIENT)  # type: ignore[arg-type]

    def call(self, method: str, session: str = "", **arguments: Any) -> Any:
        """A command of its DevTools protocol."""
        number = next(self.numbers)
        order = {"id": number, "method": method, "params": arguments}
        self.connection.send(json.dumps(order | ({"sessionId": session} if session else {})))
        while True:
            told = json.loads(self.connection.recv(TIMEOUT))
            if told.get("id") == number:
                assert "error" not in told, told
                return told["result"]

    @contextlib.contextmanager
    def anew(self) -> Iterator[Chromium]:
        """Without what it remembers of pages it was shown before; those it opens are closed at the end."""
        self.context = self.call("Target.createBrowserContext")["browserContextId"]
        # A window for the tabs to come: without one, none can be opened.
        self.call("Target.createTarget", url="about:blank", newWindow=True, browserContextId=self.context)
        try:
            yield self
        finally:
            with contextlib.suppress(ConnectionClosed):
                self.call("Target.disposeBrowserContext", browserContextId=self.context)
            self.context = ""

    def close(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            self.call("Browser.close")
        self.ending.close()

    def _end(self) -> None:
        self.popen.terminate()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait(TIMEOUT)
