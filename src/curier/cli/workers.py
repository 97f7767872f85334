"""`curier broker --workers N`: the process that starts the others, and sees to them.

Each worker is this command again, with its number in the environment. One that ends is started again, one
that cannot even start ends all. They end with this process, whatever ends it: each hears of it by its
standard input.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Final

from curier.cli.log_setup import start_logging
from curier.cli.manager import served
from curier.cli.signals import signals
from curier.config import Config
from curier.settings.environment import WORKER

_log = logging.getLogger("curier.cli")

AGAIN_SECONDS: Final = 1.0


def run_workers(config: Config) -> None:
    """Run ``config.workers`` processes until told to stop. Raises ``SystemExit`` where one cannot start."""
    code = asyncio.run(_run(config))
    if code:
        raise SystemExit(code)


def end_with_parent() -> None:
    """In a worker: stop when the process that started it is gone."""

    def look() -> None:
        with suppress(OSError):
            while os.read(sys.stdin.fileno(), 64):
                pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, name="parent", daemon=True).start()


async def _run(config: Config) -> int:
    start_logging(config)
    workers = [_Worker(number) for number in range(1, config.workers + 1)]
    told_to_stop = asyncio.Event()

    def reload() -> None:
        for worker in workers:
            worker.signal(signal.SIGHUP)

    with signals(told_to_stop.set, reload):
        running = [asyncio.create_task(worker.run(told_to_stop)) for worker in workers]
        stopping = asyncio.create_task(told_to_stop.wait())
        try:
            for worker in workers:
                ready = asyncio.create_task(worker.is_ready.wait())
                await asyncio.wait((ready, stopping, *running), return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
            async with served(f"{len(workers)} workers"):
                await asyncio.wait((stopping, *running), return_when=asyncio.FIRST_COMPLETED)
        finally:
            told_to_stop.set()
            for worker in workers:
                worker.signal(signal.SIGTERM)
            codes = await asyncio.gather(*running)
            stopping.cancel()
    return max(codes)


class _Worker:
    """One process after the other."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.is_ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def run(self, told_to_stop: asyncio.Event) -> int:
        """Until told to stop; its exit code."""
        while True:
            code = await self._run_once()
            if told_to_stop.is_set() or not self.is_ready.is_set():
                return code
            _log.error("worker %d has ended (%d), and is started again", self.number, code)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _run_once(self) -> int:
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "curier", *sys.argv[1:]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, WORKER: str(self.number)},
            start_new_session=True,  # Ctrl-C comes by way of this process
        )
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.is_ready.set()
            if self.number == 1:
                sys.stdout.write(line.decode(errors="replace"))
                sys.stdout.flush()
        return await process.wait()
