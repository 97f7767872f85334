"""Workers of one machine under load: they are killed, stopped and ended, and clients move among them.

The play and the judge are those of ``curier verify``. The process that joins the workers is left alone: with
it all ends, as the documentation says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from curier.client.urls import ServerUrl
from curier.settings.environment import WORKER
from curier.verify.brokers import BrokerUnderTest, Unjudged, free_port, tail
from curier.verify.play import Play
from tests.crash.cluster_rounds import Roaming

WORKERS: Final = 3
KINDS: Final = ("kill", "kill", "kill", "end", "stop 5", "stop 40")


class WorkersUnderTest(BrokerUnderTest):
    """One broker of three workers."""

    name = "three workers of curier"

    def __init__(self, directory: Path) -> None:
        self.log = directory / "workers.log"
        self.popen: subprocess.Popen[bytes] | None = None
        super().__init__(ServerUrl("mqtt", "127.0.0.1", free_port()))

    async def start(self) -> None:
        self.start_all()

    def start_all(self) -> None:
        command = [sys.executable, "-m", "curier", "broker", "--listen", f"tcp://{self.url.address}"]
        command += ["--workers", str(WORKERS), "--memory", "--node-name", "w"]
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "CURIER_WEB": "off"},
            )

    def worker(self, number: int) -> psutil.Process | None:
        """That one, if it runs now."""
        assert self.popen is not None
        for child in psutil.Process(self.popen.pid).children():
            with contextlib.suppress(psutil.Error):
                if child.environ().get(WORKER, "").partition(":")[0] == str(number):
                    return child
        return None

    async def kill(self) -> None:
        await self.close()

    async def close(self) -> None:
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()

    def check(self) -> None:
        if self.popen is not None and self.popen.poll() is not None:
            raise Unjudged(f"it ended by itself, with code {self.popen.poll()}{tail(self.log)}")


class WorkerRounds(Roaming):
    """The whole play. ``tell`` is called now and then."""

    def __init__(
        self, seed: int, rounds: int, directory: Path, tell: Callable[[Play], None] | None = None
    ) -> None:
        self.own = WorkersUnderTest(directory)
        super().__init__(self.own, seed, rounds, tell)

    def logs(self) -> str:
        return self.own.log.read_text()

    async def disturb(self) -> None:
        kind = self.dice.choice(KINDS)
        worker = self.own.worker(self.dice.randrange(WORKERS) + 1)
        if worker is None or self._is_off(str(worker.pid)):
            return
        self.counts[kind] += 1
        self.kills.append(time.time())
        with contextlib.suppress(psutil.NoSuchProcess):
            if kind in ("kill", "end"):
                worker.send_signal(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
            else:
                worker.suspend()
                self.timed.has_outage(float(kind.split()[1]))
                self._in(float(kind.split()[1]), lambda: _go_on(worker), str(worker.pid))
        await asyncio.sleep(self.dice.choice((0.0, 2.0)))


def _go_on(worker: psutil.Process) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.resume()
