"""A broker that says which callback of its loop took most of a processor.

    python -m bench.slowest [DIRECTORY]

A turn's length by the clock (``pauses``) is that of everything the machine does meanwhile; here it is what
the broker itself, and the kernel for it, have done. The garbage collector is tamed as ``curier broker`` does
it: where it is not, now and then a pass over all that is imported costs 15 to 25 ms. The first line of output
is the URL; each line of input is answered with the milliseconds of the longest callback since the one before.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio import events

import curier
from curier.cli.collector import looking_once
from curier.cli.host import keep_freed_memory

longest = 0.0
run_plain = events.Handle._run


def run_measured(handle: events.Handle) -> None:
    """Run a callback, and look what it costs."""
    global longest
    began = time.thread_time()
    run_plain(handle)
    took = time.thread_time() - began
    if took > longest:
        longest = took


def measure_callbacks() -> None:
    """From now on, in every loop of this process."""
    events.Handle._run = run_measured  # type: ignore[assignment]


def take_longest() -> float:
    """Of those since the last time, in milliseconds."""
    global longest
    took, longest = longest * 1000, 0.0
    return took


async def main(directory: str | None) -> None:
    """Serve until the input ends."""
    loop = asyncio.get_running_loop()
    options = curier.Options()
    async with curier.Broker("tcp://127.0.0.1:0", options=options, data=directory) as broker:
        print(broker.urls[0], flush=True)
        while await loop.run_in_executor(None, sys.stdin.readline):
            print(f"{take_longest():.2f}", flush=True)


if __name__ == "__main__":
    keep_freed_memory()
    measure_callbacks()
    with looking_once():
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
