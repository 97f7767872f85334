"""`curier broker --workers N`: the process that starts the others, and sees to them.

Each worker is this command again, with its number in the environment. One that ends is started again. One
that cannot even start ends all; so does one that could, and cannot again, while no other serves. They end
with this process, whatever ends it: each hears of it by its standard input. Where there is no cluster, this
process is also the engine by which they are one broker.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from curier.cli.log_setup import start_logging
from curier.cli.manager import served
from curier.cli.signals import signals
from curier.config import Config
from curier.errors import missing_package
from curier.settings.environment import CALLED, WORKER

if TYPE_CHECKING:
    from curier.local.engine import Engine

_log = logging.getLogger("curier.cli")

AGAIN_SECONDS: Final = 1.0
MOST_FAILURES: Final = 3
"""So often one that has served may end again before it does, if no other serves."""


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


def which(told: str) -> tuple[int, int]:
    """In a worker: its number, and the descriptor where the engine is, -1: nowhere; of ``WORKER``."""
    number, _, engine = told.partition(":")
    return int(number), int(engine or -1)


def engine_of(config: Config) -> Engine | None:
    """What joins the workers, where no cluster does. Raises ``ConfigError``."""
    if config.membership is not None:
        return None
    try:
        from curier.local.engine import Engine
    except ImportError as error:
        raise missing_package(error, "workers") from error
    return Engine()


async def _run(config: Config) -> int:
    start_logging(config)
    engine = engine_of(config)
    numbers = range(1, config.workers + 1)
    workers: list[_Worker] = []
    workers += [_Worker(number, config.name_of_worker(number), engine, workers) for number in numbers]
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
    """One process after the other, and how the one of now is: ``is_ready``, it serves clients."""

    def __init__(self, number: int, name: str, engine: Engine | None, workers: Sequence[_Worker]) -> None:
        self.number = number
        self._workers = workers
        self._name = name
        self._engine = engine
        self.is_ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None

    def signal(self, number: int) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def run(self, told_to_stop: asyncio.Event) -> int:
        """Until told to stop; its exit code."""
        has_served, failures = False, 0
        while True:
            code = await self._run_once()
            if self.is_ready.is_set():
                has_served, failures = True, 0
            else:
                failures += 1
            others_serve = any(one.is_ready.is_set() for one in self._workers)
            if told_to_stop.is_set() or not has_served or (failures >= MOST_FAILURES and not others_serve):
                return code
            self.is_ready.clear()
            _log.error("worker %d has ended (%d), and is started again", self.number, code)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _run_once(self) -> int:
        if self._engine is None:
            return await self._run_process(str(self.number), ())
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            with theirs:
                await self._engine.serve(ours, self._name)
                return await self._run_process(f"{self.number}:{theirs.fileno()}", (theirs,))
        finally:
            self._engine.gone(self._name)

    async def _run_process(self, told: str, passed: tuple[socket.socket, ...]) -> int:
        """It is told that, and gets those sockets."""
        process = self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "curier", *sys.argv[1:]),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, WORKER: told, CALLED: sys.argv[0]},
            pass_fds=[one.fileno() for one in passed],
            start_new_session=True,  # Ctrl-C comes by way of this process
        )
        for one in passed:
            one.close()
        if self._engine is not None:
            self._watch(process.pid, self._engine)
        assert process.stdout is not None
        while line := await process.stdout.readline():
            self.is_ready.set()
            if self.number == 1:
                sys.stdout.write(line.decode(errors="replace"))
                sys.stdout.flush()
        return await process.wait()

    def _watch(self, pid: int, engine: Engine) -> None:
        """Have the engine know at once when the process is dead: what it has started may hold its pipes yet,
        and then nobody hears of it by those.
        """
        try:
            watched = os.pidfd_open(pid)
        except ProcessLookupError:
            engine.gone(self._name)
            return
        loop = asyncio.get_running_loop()

        def dead() -> None:
            loop.remove_reader(watched)
            os.close(watched)
            engine.gone(self._name)

        loop.add_reader(watched, dead)
