"""Servers of NATS with JetStream, in processes of their own on this machine."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from pathlib import Path

from tests.conftest import require_peer
from tests.ports import free_port
from tests.standing_still import stand_still

START_SECONDS = 60.0


class NatsServers:
    """``count`` of them, which are one cluster. ``close`` ends them. ``more`` stands in the configuration of
    each; ``monitor`` is how that is asked, ``http`` or ``https``.
    """

    def __init__(
        self,
        folder: Path,
        count: int = 3,
        sync: str = "always",
        max_payload: str = "8MB",
        host: str = "127.0.0.1",
        max_file: str = "4GB",
        more: str = "",
        monitor: str = "http",
    ) -> None:
        self._program = require_peer("nats-server")
        self.folder = folder
        self._monitor = monitor
        self._host = host
        self.ports = [free_port() for _ in range(count)]
        self.monitors = [free_port() for _ in range(count)]
        self.routes = [free_port() for _ in range(count)]
        self.processes: list[subprocess.Popen[bytes] | None] = [None] * count
        for at in range(count):
            together = ", ".join(f'"nats://{self.caller(at)}:{port}"' for port in self.routes)
            cluster = (
                f'cluster {{ name: c, listen: "{host}:{self.routes[at]}", routes: [{together}], '
                "no_advertise: true }\n"  # so that they know of each other by these routes alone
            )
            (folder / f"{at}.conf").write_text(
                f'server_name: s{at}\nlisten: "{host}:{self.ports[at]}"\n'
                f'{monitor}: "{host}:{self.monitors[at]}"\nmax_payload: {max_payload}\n'
                f'jetstream {{ store_dir: "{self.store(at)}", sync_interval: {sync}, '
                f"max_file: {max_file} }}\n" + (cluster if count > 1 else "") + more
            )
        for at in range(count):
            self.start(at)
        for port in self.ports:
            self._wait_for(port)

    def store(self, at: int) -> Path:
        """Where that one has its streams."""
        return self.folder / f"js{at}"

    def caller(self, at: int) -> str:
        """By which address that one calls the others, where they listen on all: nobody else does."""
        return "127.0.0.1" if self._host == "127.0.0.1" else f"127.{20 + at}.0.1"

    def urls_at(self, host: str) -> tuple[str, ...]:
        return tuple([f"nats://{host}:{port}" for port in self.ports])

    @property
    def urls(self) -> tuple[str, ...]:
        return self.urls_at("127.0.0.1")

    @property
    def monitor_urls(self) -> tuple[str, ...]:
        return tuple([f"{self._monitor}://127.0.0.1:{port}" for port in self.monitors])

    def start(self, at: int) -> None:
        command = [self._program, "-c", str(self.folder / f"{at}.conf"), "-l", str(self.folder / f"{at}.log")]
        self.processes[at] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self, at: int) -> None:
        """SIGKILL."""
        process = self.processes[at]
        assert process is not None
        process.kill()
        process.wait()

    def end(self, at: int) -> None:
        """SIGTERM."""
        process = self.processes[at]
        assert process is not None
        process.terminate()
        process.wait()

    def stop(self, at: int) -> None:
        stand_still(self._process(at).pid)

    def go_on(self, at: int) -> None:
        self._process(at).send_signal(signal.SIGCONT)

    def close(self) -> None:
        for process in self.processes:
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()

    def _process(self, at: int) -> subprocess.Popen[bytes]:
        process = self.processes[at]
        assert process is not None
        return process

    def _wait_for(self, port: int) -> None:
        end = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return
            assert time.monotonic() < end, "nats-server did not start"
            time.sleep(0.05)
