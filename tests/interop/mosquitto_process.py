"""A Mosquitto in a process of its own, which can be killed and started again."""

from __future__ import annotations

import socket
import subprocess
import time
from pathlib import Path

from tests.conftest import require_peer
from tests.ports import free_port
from tests.waiting import PATIENCE

TIMEOUT = 2 * PATIENCE


class MosquittoProcess:
    """A Mosquitto on a free port of this machine, with these further lines of configuration."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self.config = folder / "mosquitto.conf"
        text = (f"listener {self.port} 127.0.0.1", "allow_anonymous true", *lines)
        self.config.write_text("".join(f"{line}\n" for line in text))
        self.start()

    def start(self) -> None:
        command = [require_peer("mosquitto"), "-c", str(self.config)]
        self.popen = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + TIMEOUT
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline, "Mosquitto does not listen"
            time.sleep(0.02)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(TIMEOUT)

    def close(self) -> None:
        if self.popen.poll() is None:
            self.kill()
