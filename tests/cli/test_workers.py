"""`curier broker --workers N` without a cluster: real processes, which are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import curier
from curier.settings.environment import WORKER
from tests.ports import free_port
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has workers")


class Workers:
    """The process that sees to them, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
        self.process = process
        self.url = f"mqtt://127.0.0.1:{port}"
        self._log = log

    def says(self, text: str) -> int:
        """How often."""
        return self._log.read_text().count(text)

    def pids(self) -> dict[int, int]:
        """Of the workers that run, by their numbers."""
        found: dict[int, int] = {}
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            variables = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
            told = [one.partition(b"=")[2] for one in variables if one.startswith(f"{WORKER}=".encode())]
            if told:
                found[int(told[0].partition(b":")[0])] = int(child)
        return found

    def client(self, name: str) -> curier.Client:
        return curier.connect(self.url, client_id=name, clean_start=False, session_expiry=600, reconnect=None)

    async def worker_of(self, name: str) -> int:
        """Where that client connected last, by the log."""
        await until(lambda: self.says(f": {name} connected") > 0)
        lines = [line for line in self._log.read_text().splitlines() if f": {name} connected" in line]
        return int(lines[-1].partition("w-")[2].partition(":")[0])


@asynccontextmanager
async def workers(folder: Path, *options: str) -> AsyncIterator[Workers]:
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "curier", "broker", "--listen", f"tcp://127.0.0.1:{port}", "--no-web"]
    command += ["--workers", "2", "--memory", "--node-name", "w", *options]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=errors
        )
    made = Workers(process, port, log)
    try:
        assert process.stdout is not None
        first = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        assert first.startswith(b"listening on"), log.read_text()
        await until(lambda: made.says("has joined") == 2)
        yield made
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)


async def test_a_worker_is_killed_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    async with workers(tmp_path) as made:
        async with made.client("roams") as client:
            await client.subscribe("t/#", qos=1)
        async with curier.connect(made.url, client_id="feeds") as other:
            for number in range(20):
                await other.publish("t/a", str(number), qos=1 + number % 2)
            await other.publish("kept", "still here", qos=1, retain=True)
        victim = await made.worker_of("roams")
        os.kill(made.pids()[victim], signal.SIGKILL)
        await until(lambda: made.says(f"worker {victim} has ended (-9), and is started again") == 1)
        await until(lambda: made.says("has joined") == 3)
        async with made.client("roams") as client:  # whoever it comes to: the other one, or the new one
            stream = await client.subscribe("t/#", qos=1)
            heard = [(await stream.get(timeout=PATIENCE)).payload.decode() for _ in range(20)]
            assert heard == [str(number) for number in range(20)]
        met: set[int] = set()
        number = 0
        while len(met) < 2:  # the system chooses; the new one knows what is retained, too
            number += 1
            async with curier.connect(made.url, client_id=f"looks{number}") as late:
                async with late.subscribe("kept") as kept:
                    assert (await kept.get(timeout=PATIENCE)).payload == b"still here"
            met.add(await made.worker_of(f"looks{number}"))
        made.process.terminate()
        assert await asyncio.wait_for(made.process.wait(), PATIENCE) == 0
        assert made.says("has left") == 2


async def test_workers_end_with_the_process_that_joins_them(tmp_path: Path) -> None:
    async with workers(tmp_path) as made:
        pids = made.pids().values()
        assert len(pids) == 2
        made.process.kill()
        await until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))


async def test_all_workers_read_their_settings_again(tmp_path: Path) -> None:
    settings = tmp_path / "broker.toml"
    settings.write_text("[limits]\nmax_queued_messages = 10\n")
    async with workers(tmp_path, "--config", str(settings)) as made:
        settings.write_text("[limits]\nmax_queued_messages = 20\n")
        made.process.send_signal(signal.SIGHUP)
        await until(lambda: all(made.says(f"w-{one}: SIGHUP: max_queued_messages is 20") for one in (1, 2)))
