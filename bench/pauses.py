"""For how long one turn of the broker's loop keeps everybody else waiting, scenario by scenario.

    python -m bench.pauses [--seconds N] [--times N] [--scenarios REGEX]

``curier broker`` tells its longest turn as ``$SYS/broker/turn/longest``; ``curier bench`` makes it work. That
is by the clock, which goes on while others have the processor; so a second broker gets the same work, and of
that the longest callback of the loop is told, in time of the processor (``bench/slowest.py``).
``bench/large.py`` sends what is as large as a packet may be, or as small, and is measured in the second way
only. With ``--check`` the exit code is 1 where one took more of the processor's time than is promised.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import DEVNULL, PIPE

import curier

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.large import CASES

CURIER = [str(Path(sys.executable).with_name("curier"))]
LOADS = {
    "qos0 mixed 10:1": "fanin --publishers 10",
    "qos1 mixed 10:1": "fanin --publishers 10 --qos 1",
    "qos0 1:1": "pubsub --topics 1 --spread 0",
    "qos1 1:1": "pubsub --qos 1 --topics 1 --spread 0",
    "qos2 1:1": "pubsub --qos 2 --topics 1 --spread 0",
    "qos0 fan-in 50:1": "fanin --topics 1 --spread 0",
    "qos1 fan-in 50:1": "fanin --qos 1 --topics 1 --spread 0",
    "qos0 fan-out 1:100": "fanout --topics 1 --spread 0",
    "qos1 fan-out 1:100": "fanout --qos 1 --topics 1 --spread 0",
    "qos0 50 pairs": "pairs --topics 1 --spread 0",
    "qos1 50 pairs": "pairs --qos 1 --topics 1 --spread 0",
    "qos1 shared 10:4": "pubsub --qos 1 --publishers 10 --subscribers 4 --shared --topics 1 --spread 0",
    "qos0 1:1 64 KiB": "pubsub --payload 65536 --outstanding 100 --topics 1 --spread 0",
    "rr qos1": "rr --qos 1",
    "connect 5000": "connect --connections 5000",
}
MOST_MIB = 64
PROMISED_MS = 20.0


def measure(work: Callable[[str], None], *options: str) -> float:
    """The longest turn in milliseconds while ``work``, given the URL of a broker with ``options``, runs."""
    command = [*CURIER, "broker", "--listen", "tcp://127.0.0.1:0", "--log-level", "error"]
    command += ["--sys-interval", "0.5", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdout is not None
        url = broker.stdout.readline().split()[-1].replace("tcp://", "mqtt://")
        longest = 0.0
        try:
            with curier.connect_sync(url) as client, client.subscribe("$SYS/broker/turn/longest") as told:
                time.sleep(1.0)
                while len(told):
                    told.get()
                work(url)
                time.sleep(1.0)
                while len(told):
                    longest = max(longest, float(told.get().payload))
        finally:
            broker.terminate()
    return longest


def bench(load: list[str], url: str) -> None:
    """Make the broker work as ``curier bench`` does."""
    subprocess.run([*CURIER, "bench", *load, url], check=True, capture_output=True)


def pass_one(url: str) -> None:
    """Have one message of 64 MiB pass."""
    with curier.connect_sync(url) as client, client.subscribe("large") as large:
        client.publish("large", bytes(MOST_MIB << 20))
        large.get()


def processor_time(work: Callable[[str], object], is_durable: bool = False) -> float:
    """That of the longest callback in milliseconds while ``work`` runs."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "bench.slowest", *([directory] if is_durable else [])]
        with subprocess.Popen(
            command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True, bufsize=1
        ) as broker:
            assert broker.stdin is not None
            assert broker.stdout is not None
            url = broker.stdout.readline().strip()
            broker.stdin.write("begin\n")
            broker.stdout.readline()
            work(url)
            time.sleep(0.3)
            broker.stdin.write("end\n")
            took = float(broker.stdout.readline())
            broker.stdin.close()
    return took


def measure_case(name: str, times: int) -> float:
    """Print the row of one case of ``bench/large.py``, best and worst of some runs; returns the worst."""
    case = CASES[name]
    found = sorted(processor_time(case.run, case.is_durable) for _ in range(times))
    print(f"| {name} | {found[0]:.1f} | {found[-1]:.1f} |", flush=True)
    return found[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run (3)")
    parser.add_argument("--times", type=int, default=3, help="runs of each large packet (3)")
    parser.add_argument("--scenarios", default=".", help="only those that this regular expression finds")
    parser.add_argument("--check", action="store_true", help=f"say what takes over {PROMISED_MS:g} ms")
    arguments = parser.parse_args()
    took: dict[str, float] = {}
    print("| scenario | longest turn, ms | processor time of the longest |\n|---|---:|---:|")
    for name, words in LOADS.items():
        if re.search(arguments.scenarios, name):
            load = words.split()
            if load[0] != "connect":
                load += ["--seconds", str(arguments.seconds)]
            longest = measure(partial(bench, load), "--memory")
            took[name] = processor_time(partial(bench, load))
            print(f"| {name} | {longest:.1f} | {took[name]:.1f} |", flush=True)
    if re.search(arguments.scenarios, "64 MiB"):
        longest = measure(pass_one, "--memory", "--max-packet-size", f"{MOST_MIB + 1} MiB")
        print(f"| a message of {MOST_MIB} MiB | {longest:.1f} | |", flush=True)
    print(f"\n| packets | processor time of the longest, ms | worst of {arguments.times} |\n|---|---:|---:|")
    for name in CASES:
        if re.search(arguments.scenarios, name):
            took[name] = measure_case(name, arguments.times)
    slow = {name: milliseconds for name, milliseconds in took.items() if milliseconds > PROMISED_MS}
    for name, milliseconds in slow.items() if arguments.check else ():
        print(f"{name} took {milliseconds:.1f} ms: at most {PROMISED_MS:g} are promised")
    sys.exit(bool(slow) and arguments.check)


if __name__ == "__main__":
    main()
