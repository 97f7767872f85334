"""For how long one turn of the broker's loop keeps everybody else waiting, scenario by scenario.

    python -m bench.pauses [--seconds N] [--scenarios REGEX]

``curier broker`` tells its longest turn as ``$SYS/broker/turn/longest``; ``curier bench`` makes it work.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

import curier

CURIER = [str(Path(sys.executable).with_name("curier"))]
LOADS = {
    "qos0 1:1": "pubsub",
    "qos1 1:1": "pubsub --qos 1",
    "qos2 1:1": "pubsub --qos 2",
    "qos0 fan-in 50:1": "fanin",
    "qos1 fan-in 50:1": "fanin --qos 1",
    "qos0 fan-out 1:100": "fanout",
    "qos1 fan-out 1:100": "fanout --qos 1",
    "qos0 50 pairs": "pairs",
    "qos1 50 pairs": "pairs --qos 1",
    "qos1 shared 10:4": "pubsub --qos 1 --publishers 10 --subscribers 4 --shared",
    "qos0 1:1 64 KiB": "pubsub --payload 65536 --outstanding 100",
    "rr qos1": "rr --qos 1",
    "connect 5000": "connect --connections 5000",
}
MOST_MIB = 64


def measure(load: list[str] | None) -> float:
    """The longest turn in milliseconds while ``load`` runs; None: while a message of 64 MiB passes."""
    command = [*CURIER, "broker", "--memory", "--listen", "tcp://127.0.0.1:0", "--log-level", "warning"]
    command += ["--sys-interval", "0.5", "--max-packet-size", f"{MOST_MIB + 1} MiB"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker:
        assert broker.stdout is not None
        url = broker.stdout.readline().split()[-1].replace("tcp://", "mqtt://")
        longest = 0.0
        try:
            with curier.connect_sync(url) as client, client.subscribe("$SYS/broker/turn/longest") as told:
                time.sleep(1.0)
                while len(told):
                    told.get()
                if load is None:
                    with client.subscribe("large") as large:
                        client.publish("large", bytes(MOST_MIB << 20))
                        large.get()
                else:
                    subprocess.run([*CURIER, "bench", *load, url], check=True, capture_output=True)
                time.sleep(1.0)
                while len(told):
                    longest = max(longest, float(told.get().payload))
        finally:
            broker.terminate()
    return longest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run (3)")
    parser.add_argument("--scenarios", default=".", help="only those that this regular expression finds")
    arguments = parser.parse_args()
    print("| scenario | longest turn, ms |\n|---|---:|")
    for name, words in LOADS.items():
        if re.search(arguments.scenarios, name):
            load = words.split()
            if load[0] != "connect":
                load += ["--seconds", str(arguments.seconds)]
            print(f"| {name} | {measure(load):.1f} |", flush=True)
    if re.search(arguments.scenarios, "64 MiB"):
        print(f"| a message of {MOST_MIB} MiB | {measure(None):.1f} |")


if __name__ == "__main__":
    main()
