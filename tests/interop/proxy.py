"""Programs in front of a broker, and who asks there who comes."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from curier.auth import Authenticator, Credentials, Verdict
from tests.waiting import PATIENCE

CLIENT = "127.0.0.9"
"""Where clients come from; proxies come from 127.0.0.1."""

TIMEOUT = 2 * PATIENCE


class Doorkeeper(Authenticator):
    """Lets everybody in, and remembers who that was."""

    def __init__(self) -> None:
        self.seen: list[Credentials] = []

    async def authenticate(self, credentials: Credentials) -> Verdict:
        self.seen.append(credentials)
        return Verdict(0)


class Proxy:
    """A program that runs until the test is over."""

    def __init__(self, folder: Path, command: list[str], port: int) -> None:
        self.port = port
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.popen = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + TIMEOUT
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert self.popen.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, f"it does not listen: {self.log.read_text()}"
            time.sleep(0.02)

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.popen.terminate()
        self.popen.wait(TIMEOUT)
