"""In a thread that works on after the main thread has returned, everything connects as before."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest

import curier
from curier.client.dialing import threads
from curier.client.dialing.tcp import look_up
from curier.client.dialing.threads import MOST_THREADS, Threads, in_thread
from tests.waiting import until

PROGRAM = """
import asyncio, sys, threading
import curier
kind, url = sys.argv[1:]
over = threading.Event()
async def work():
    main = threading.main_thread()
    while main.is_alive():
        await asyncio.sleep(0.01)
    for tls in (None, "mqtts"):
        try:
            async with curier.connect(url.replace("mqtt:", "mqtts:") if tls else url) as client:
                await client.publish("a", "x", qos=1)
                print("published", flush=True)
        except curier.ConnectionLost as error:
            print("TLS" in str(error), flush=True)
def sync():
    threading.main_thread().join()
    with curier.connect_sync(url) as client:
        client.publish("a", "x", qos=1)
        print("published", flush=True)
threading.Thread(target=sync if kind == "sync" else lambda: asyncio.run(work())).start()
"""


@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_after_the_main_thread_has_returned(kind: str) -> None:
    """A name is looked up, certificates are read."""
    async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROGRAM, kind, f"mqtt://localhost:{broker.port}"),
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        out, _ = await asyncio.wait_for(process.communicate(), 100)
    assert out.split() == ([b"published"] if kind == "sync" else [b"published", b"True"])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_needs_no_thread(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(threads, "_threads")
    assert [address for _, address in await look_up(host, 1883)] == [host]


async def test_there_are_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(threads, "_threads", Threads())
    before = threading.active_count()
    go = threading.Event()
    most = 0

    def wait() -> int:
        go.wait(100)
        return threading.active_count()

    waiting = [asyncio.ensure_future(in_thread(wait)) for _ in range(100)]
    await asyncio.sleep(0)
    most = threading.active_count()
    go.set()
    counts = await asyncio.gather(*waiting)
    assert most - before == MOST_THREADS
    assert max(counts) - before <= MOST_THREADS
    assert await in_thread(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 // 0)
    await until(lambda: threading.active_count() <= before)
    assert await in_thread(lambda: 8) == 8


async def test_who_gives_up_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    task = asyncio.ensure_future(in_thread(lambda: go.wait(100)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    go.set()
    assert await in_thread(lambda: 7) == 7


def test_a_loop_that_is_closed_meanwhile() -> None:
    go = threading.Event()

    async def main() -> None:
        task = asyncio.ensure_future(in_thread(lambda: go.wait(100)))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    go.set()
    assert asyncio.run(in_thread(lambda: 7)) == 7
