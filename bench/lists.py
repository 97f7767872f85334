"""What pages of long lists cost the loop of a broker: 100 000 clients and retained topics, and as many that
were published to lately, asked for by HTTP.

For each question the time until its answer is there, the time of the loop that it took, both the least of
some, and the longest that the loop was stopped. The one who asks lies in the same process, so that a
millisecond of each is that of httpx.

    python bench/lists.py
    python bench/lists.py --rows 10000
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from pathlib import Path

import httpx

import curier
from curier.broker.keeping import new_session
from curier.types import Message
from curier.web.roles import Role
from curier.web.server import Web
from curier.web.tokens import add_token

QUESTIONS = (
    "clients?sort=client_id",
    "clients?sort=queued",
    "clients?sort=subscriptions&limit=500",
    "clients?sort=connected_at",
    "clients?search=7777",
    "clients?connected=false&sort=ends_at",
    "topics?limit=100",
    "topics?sort=newest",
    "topics?sort=size&limit=500",
    "topics?search=7777",
    "topics?search=7777&lately=true",
    "topics/level?lately=true",
    "topics/level?prefix=lately/7/device&lately=true",
)
TIMES = 5


class Stops:
    """The longest that the loop was stopped."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def look(self) -> None:
        """Until it is cancelled."""
        before = time.thread_time()  # of the processor: other programs are not meant
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            before = now


async def measure(client: httpx.AsyncClient, question: str, headers: dict[str, str]) -> str:
    waited, taken, longest = [], [], 0.0
    for path in (question, None):
        for _ in range(TIMES):
            stops = Stops()
            task = asyncio.create_task(stops.look()) if path is None else None
            began, used = time.perf_counter(), time.process_time()
            answer = await client.get(f"/api/v1/{question}", headers=headers)
            assert answer.status_code == 200, answer.text
            if task is None:  # who looks at the loop takes all of its time
                waited.append(time.perf_counter() - began)
                taken.append(time.process_time() - used)
            else:
                task.cancel()
                longest = max(longest, stops.longest)
    return f"{question:40} {min(waited) * 1e3:9.1f} {min(taken) * 1e3:9.1f} {longest * 1e3:9.1f}"


async def run(rows: int) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tokens = Path(directory) / "tokens"
        headers = {"authorization": f"Bearer {add_token(tokens, 'bench', Role.VIEWER)}"}
        async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
            for number in range(rows):
                session = new_session(broker.core, f"device-{number * 7919 % rows}", False)
                session.dropped_full = number % 97
                broker.publish(
                    Message(f"site/{number % 100}/device/{number}", b"x" * (number % 50), retain=True)
                )
                broker.publish(Message(f"lately/{number % 100}/device/{number}", b""))
                if number % 1000 == 0:
                    await asyncio.sleep(0)
            gc.collect()
            web = Web(broker, "http://127.0.0.1:0", tokens=tokens)
            async with web, httpx.AsyncClient(base_url=web.urls[0], trust_env=False, timeout=60) as client:
                print(f"{'ms':40} {'answer':>9} {'CPU':>9} {'longest':>9}")
                for question in QUESTIONS:
                    print(await measure(client, question, headers))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="clients, and topics (100000)")
    asyncio.run(run(parser.parse_args().rows))


if __name__ == "__main__":
    main()
