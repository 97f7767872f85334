"""A program with its session on disk, to be killed: ``python -m tests.crash.program ROLE PORT DIRECTORY``.

``publisher`` publishes numbered messages, and writes into its ledger that it is about to (``b 7``) and that
it was accepted (``a 7``). ``taker`` takes them, writes each into its ledger, and acknowledges it then. Each
life begins with the line ``life``. Both go on until they find a file ``stop``; then the publisher stays until
all it has accepted is delivered.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from random import Random

import curier


class Ledger:
    """Lines that outlive the program: one system call each."""

    def __init__(self, path: Path) -> None:
        self.lines = path.read_text().splitlines() if path.exists() else []
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.write("life")

    def write(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())


def session(directory: Path, role: str) -> curier.Session:
    return curier.Session.disk(directory / f"{role}.session")


RECONNECT = curier.Reconnect(first=0.02, longest=0.2)


def compute(seconds: float) -> None:
    """Keep the event loop waiting: a kill at this time meets what is accepted and had no turn yet."""
    time.sleep(seconds)


async def publish(url: str, directory: Path) -> None:
    ledger = Ledger(directory / "publisher.ledger")
    number = sum(line.startswith("b ") for line in ledger.lines)  # it is told to stop in its last life only
    dice = Random(number)
    async with curier.connect(
        url,
        client_id="publisher",
        session=session(directory, "publisher"),
        retry_first_connect=True,
        reconnect=RECONNECT,
        max_inflight=50,
        linger=60,
    ) as client:
        while not (directory / "stop").exists():
            for _ in range(dice.randint(1, 20)):
                number += 1
                ledger.write(f"b {number}")
                qos = 1 + number % 2
                client.publish_nowait(f"t/{qos}", b"%d" % number, qos=qos)
                ledger.write(f"a {number}")
            compute(0.005)
            await asyncio.sleep(0)
        # Who leaves without a connection leaves what is unfinished on the disk: this waits for one.
        await client.publish("t/1", b"%d" % (number + 1), qos=1)


async def take(url: str, directory: Path) -> None:
    ledger = Ledger(directory / "taker.ledger")
    async with (
        curier.connect(
            url,
            client_id="taker",
            session=session(directory, "taker"),
            retry_first_connect=True,
            reconnect=RECONNECT,
        ) as client,
        client.subscribe("t/#", qos=2, ack="manual", keep=True) as stream,
    ):
        while not (directory / "stop-taking").exists():
            try:
                message = await stream.get(timeout=0.2)
            except TimeoutError:
                continue
            ledger.write(f"{message.qos} {message.payload.decode()}")
            message.ack()


def main() -> None:
    role, port, directory = sys.argv[1:]
    run = {"publisher": publish, "taker": take}[role]
    asyncio.run(run(f"mqtt://127.0.0.1:{port}", Path(directory)))


if __name__ == "__main__":
    main()
