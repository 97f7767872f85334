"""What `curier broker --workers N` gives: one process beside several, by TCP and by TLS.

    python bench/workers.py [--workers 2] [--rounds 3] [--seconds 4] [--rows REGEX]

One Markdown table. Each run has a fresh broker, and `curier bench` for its clients, on all processors
there are: so the load shares them, and of a rate that the generator limits nothing can be said. Look at the
CPU time of all processes of the broker, for each message in or out, or each connection, and at how much of a
core they had in all. "Engine" is the part of that which joins the workers.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.compare import READY_SECONDS, free_port

CURIER = [sys.executable, "-m", "curier"]
ROWS = (
    ("QoS 0, 50 publishers to one", "mqtt", "fanin"),
    ("QoS 0, 20 pairs", "mqtt", "pairs --publishers 20 --subscribers 20"),
    ("QoS 0, one to 100", "mqtt", "fanout"),
    ("QoS 1, 50 publishers to one", "mqtt", "fanin --qos 1"),
    ("QoS 1, one to 100", "mqtt", "fanout --qos 1"),
    ("TLS, QoS 0, 50 publishers to one", "mqtts", "fanin"),
    ("TLS, QoS 0, 20 pairs", "mqtts", "pairs --publishers 20 --subscribers 20"),
    ("TLS, QoS 0, one to 100", "mqtts", "fanout"),
    ("connections", "mqtt", "connect --connections 3000"),
    ("TLS, connections", "mqtts", "connect --connections 500"),
)


class Usage:
    """CPU seconds of a broker's processes: all, and the one that was started."""

    def __init__(self, pid: int) -> None:
        own = psutil.Process(pid)
        times = {one.pid: sum(one.cpu_times()[:2]) for one in (own, *own.children(recursive=True))}
        self.engine, self.all = times[pid], sum(times.values())


@contextmanager
def running(count: int, folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """A broker of ``count`` processes: its process, and its URLs by scheme."""
    ports = {"mqtt": free_port(), "mqtts": free_port()}
    command = [*CURIER, "broker", "--memory", "--no-web", "--log-level", "warning"]
    command += [
        "--listen",
        f"tcp://127.0.0.1:{ports['mqtt']}",
        "--listen",
        f"tls://127.0.0.1:{ports['mqtts']}",
    ]
    command += ["--certificate", str(folder / "server.pem"), "--key", str(folder / "server.key")]
    command += ["--workers", str(count), "--node-name", "w"] if count > 1 else []
    broker = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert broker.stdout is not None
        if not broker.stdout.readline():
            raise SystemExit("the broker did not start")
        until = time.monotonic() + READY_SECONDS
        while count > 1 and len(psutil.Process(broker.pid).children()) < count:
            if time.monotonic() > until:
                raise SystemExit("not all workers started")
            time.sleep(0.1)
        time.sleep(2.0)
        yield broker.pid, {scheme: f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()}
    finally:
        broker.terminate()
        broker.wait()


def measure(count: int, scheme: str, arguments: str, seconds: float, folder: Path) -> dict[str, float]:
    """One run: a rate, CPU µs of all and of the engine, cores."""
    scenario, *rest = arguments.split()
    command = [*CURIER, "bench", scenario]
    with running(count, folder) as (pid, urls):
        command += [urls[scheme], *rest, "--json"]
        command += ["--seconds", str(seconds)] if scenario != "connect" else []
        command += ["--cafile", str(folder / "ca.pem")] if scheme == "mqtts" else []
        before, began = Usage(pid), time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        spent, after = time.monotonic() - began, Usage(pid)
    if done.returncode or not done.stdout:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    if scenario == "connect":
        things = int(arguments.split()[-1])
        rate = found["connections_per_s"]
    else:
        things = found["published"] + found["delivered"]
        rate = found["delivered_per_s"]
    used = after.all - before.all
    return {
        "rate": rate,
        "all": used / things * 1e6,
        "engine": (after.engine - before.engine) / things * 1e6 if count > 1 else 0.0,
        "cores": used / spent,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rows", default="")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([*CURIER, "cert", name], check=True, stdout=subprocess.DEVNULL)
        print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors\n")
        print(f"| | one: rate | CPU µs | {options.workers} workers: rate | CPU µs | of it engine | cores |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for title, scheme, arguments in ROWS:
            if not re.search(options.rows, title):
                continue
            runs: dict[int, list[dict[str, float]]] = {1: [], options.workers: []}
            for _ in range(options.rounds):
                for count, found in runs.items():
                    found.append(measure(count, scheme, arguments, options.seconds, folder))
            one, many = (
                {key: statistics.median([run[key] for run in found]) for key in found[0]}
                for found in runs.values()
            )
            cells = [f"{one['rate']:,.0f}", f"{one['all']:.2f}", f"{many['rate']:,.0f}", f"{many['all']:.2f}"]
            cells += [f"{many['engine']:.2f}", f"{one['cores']:.2f}, {many['cores']:.2f}"]
            print(f"| {title} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
