"""What TLS and WebSocket cost a broker: curier beside Mosquitto, one Markdown table of ratios and goals.

    python bench/doors.py [--rounds 3] [--seconds 3] [--rows REGEX] [--batched]

Each run has a fresh broker on one core and `curier bench` on another; brokers take turns within each row.
Figures are CPU µs of the broker per message in or out, per handshake with CONNECT, and so on. The generator
sends each packet as a record or frame of its own, which is what most clients do and flatters nobody; with
--batched, those of one write share them. Python's generator is not faster than a fast broker: where it used
more CPU time than the broker, the cell says so (g): the rate was the generator's, and the broker found less
to do at once than it could. Each broker has its plain TCP listener beside the others.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.compare import (
    LIKE,
    READY_SECONDS,
    ROOT,
    RUN_SECONDS,
    congestion,
    enter_namespace,
    free_port,
    number,
    pin,
)

CURIER = [sys.executable, "-m", "curier"]
CONNECTIONS = 2000


@dataclass(frozen=True)
class Row:
    """One line of the table. ``goal``: of Mosquitto's figure."""

    name: str
    scheme: str
    arguments: str
    goal: float | None = None


MESSAGES = (
    ("50 pairs, QoS 0", f"pairs {LIKE}"),
    ("50 pairs, QoS 1", f"pairs --qos 1 --inflight 20 {LIKE}"),
    ("50 pairs at 5000/s", f"pairs --rate 5000 {LIKE}"),
    ("fan-out 1:100, QoS 0", f"fanout {LIKE}"),
)
GOALS = {"mqtts": (0.2, 0.2, 1.0, 0.07), "ws": (0.15, 0.15, 1.1, 0.08), "wss": (None,) * 4}
NAMES = {"mqtts": "TLS", "ws": "WebSocket", "wss": "WebSocket in TLS"}

ROWS = (
    Row("TLS 1.3 handshake and CONNECT: CPU µs", "mqtts", f"connect --connections {CONNECTIONS}", 1.0),
    *(
        Row(f"{NAMES[scheme]}, {name}", scheme, arguments, goal)
        for scheme, goals in GOALS.items()
        for (name, arguments), goal in zip(MESSAGES, goals, strict=True)
    ),
)
PER_SECOND = "TLS 1.3 handshakes and CONNECTs: a second"
MEMORY = "idle TLS connection: KiB"
BESIDE = "ten plain pairs at 200/s, beside TLS handshakes, as many as the generator can: p99, ms"
HELLOS = "ten plain pairs at 200/s, beside 1000 ClientHellos a second that are answered: p99, ms"


# ---- brokers ----


@dataclass(frozen=True)
class Started:
    """A broker that runs: its process, and where it is reached by each scheme."""

    pid: int
    urls: dict[str, str]


def curier(ports: dict[str, int], certificates: Path, directory: Path) -> list[str]:
    listens = [
        f"tcp://127.0.0.1:{ports['mqtt']}",
        f"tls://127.0.0.1:{ports['mqtts']}",
        f"ws://127.0.0.1:{ports['ws']}/mqtt",
        f"wss://127.0.0.1:{ports['wss']}/mqtt",
    ]
    return [
        *CURIER,
        "broker",
        "--memory",
        *("--log-level", "warning"),
        *(word for url in listens for word in ("--listen", url)),
        *("--certificate", str(certificates / "server.pem")),
        *("--key", str(certificates / "server.key")),
    ]


def mosquitto(ports: dict[str, int], certificates: Path, directory: Path) -> list[str]:
    """Without the limits that would make it drop messages, and without Nagle, which would make them late."""
    files = f"certfile {certificates / 'server.pem'}\nkeyfile {certificates / 'server.key'}\n"
    lines = (
        "user root\nset_tcp_nodelay true\nmax_queued_messages 0\nmax_inflight_messages 0\npersistence false\n"
        f"log_type error\nallow_anonymous true\nlistener {ports['mqtt']} 127.0.0.1\n"
        f"listener {ports['mqtts']} 127.0.0.1\n{files}"
        f"listener {ports['ws']} 127.0.0.1\nprotocol websockets\n"
        f"listener {ports['wss']} 127.0.0.1\nprotocol websockets\n{files}"
    )
    (directory / "mosquitto.conf").write_text(lines)
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    return [program or "mosquitto", "-c", str(directory / "mosquitto.conf")]


BROKERS = {"curier": curier, "mosquitto": mosquitto}


@contextmanager
def running(name: str, certificates: Path, core: int | None) -> Iterator[Started]:
    """A broker that passes messages on by every door. It is ended with all it has started."""
    ports = {scheme: free_port() for scheme in ("mqtt", *GOALS)}
    urls = {scheme: f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()}
    with tempfile.TemporaryDirectory(prefix="curier-bench-", ignore_cleanup_errors=True) as folder:
        directory = Path(folder)
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                BROKERS[name](ports, certificates, directory),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its process group is its own, so that all of it can be ended
                preexec_fn=pin(core),
            )
        try:
            until = time.monotonic() + READY_SECONDS
            for scheme, url in urls.items():
                while not generate(url, "rr --messages 50 --qos 1 --patience 2", certificates, None)["ok"]:
                    if process.poll() is not None or time.monotonic() > until:
                        said = (directory / "log").read_text(errors="replace").strip()[-300:]
                        raise RuntimeError(f"{name} does not serve {scheme}: {said or 'it says nothing'}")
                    time.sleep(0.05)
            yield Started(process.pid, urls)
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                    break


# ---- runs ----


def command(url: str, arguments: str, certificates: Path) -> list[str]:
    scenario, *options = arguments.split()
    trusted = ["--cafile", str(certificates / "ca.pem")] if url.startswith(("mqtts", "wss")) else []
    return [*CURIER, "bench", scenario, url, "--json", *trusted, *options]


def generate(url: str, arguments: str, certificates: Path, core: int | None) -> dict[str, Any]:
    """The result of one `curier bench`."""
    done = subprocess.run(
        command(url, arguments, certificates),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
        preexec_fn=pin(core),
    )
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        result = {"ok": False, "errors": [done.stderr.strip()[-300:] or f"exit code {done.returncode}"]}
    return result


def good(result: dict[str, Any]) -> dict[str, Any]:
    """The result; ``RuntimeError`` of one in which something went wrong."""
    if not result["ok"]:
        raise RuntimeError("; ".join(result["errors"]) or f"{result['checks']}")
    return result


@dataclass
class Cell:
    """The figures of one broker in one row."""

    values: list[float] = field(default_factory=list)
    loads: list[float] = field(default_factory=list)  # the generator's CPU time, of the broker's
    failures: int = 0
    rates: list[float] = field(default_factory=list)  # of what was beside it, a second

    def value(self) -> float | None:
        return statistics.median(self.values) if self.values else None

    def told(self) -> str:
        value = self.value()
        words = [] if value is None else [number(value)]
        if len(self.values) > 1 and value:
            words.append(f"±{(max(self.values) - min(self.values)) / 2 / value:.0%}")
        if self.rates:
            words.append(f"(at {number(statistics.median(self.rates))}/s)")
        if self.loads and statistics.median(self.loads) > 1:
            words.append("g")
        if self.failures:
            words.append(f"**{self.failures} failed**")
        return " ".join(words) or "–"


class Table:
    """All cells, by row and broker."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], Cell] = {}
        self.goals: dict[str, float | str | None] = {}

    def note(self, row: str, broker: str, value: float, load: float = 0.0) -> None:
        cell = self.cell(row, broker)
        cell.values.append(value)
        cell.loads.append(load)
        print(f"{row:60} {broker:10} {number(value)}", file=sys.stderr, flush=True)

    def cell(self, row: str, broker: str) -> Cell:
        return self.cells.setdefault((row, broker), Cell())

    def print(self) -> None:
        print("| | mosquitto | curier | curier / mosquitto | goal |\n|---|---:|---:|---:|---:|")
        for row, goal in self.goals.items():
            own, other = self.cell(row, "curier"), self.cell(row, "mosquitto")
            mine, theirs = own.value(), other.value()
            ratio = number(mine / theirs) if mine is not None and theirs else "–"
            wanted = "" if goal is None else goal if isinstance(goal, str) else f"{goal:g}"
            print(f"| {row} | {other.told()} | {own.told()} | {ratio} | {wanted} |")


class Bench:
    """What is measured, and with what."""

    def __init__(self, options: argparse.Namespace, certificates: Path) -> None:
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.core: int | None = cores[0] if len(cores) > 1 else None
        self.other: int | None = cores[1] if len(cores) > 1 else None
        self.options = options
        self.certificates = certificates
        self.table = Table()
        self.brokers = [name for name in BROKERS if re.search(options.brokers, name)]

    def run(self) -> None:
        """All rounds, brokers in turns."""
        wanted = re.compile(self.options.rows)
        rows = [row for row in ROWS if wanted.search(row.name)]
        goals = self.table.goals
        for row in rows:
            goals[row.name] = row.goal
            if row.arguments.startswith("connect"):
                goals[PER_SECOND] = "1 or more"
        others = (
            (MEMORY, self._memory, "1; 20"),
            (BESIDE, self._beside_handshakes, "20"),
            (HELLOS, self._beside_hellos, "20"),
        )
        goals |= {name: said for name, _, said in others if wanted.search(name)}
        for _ in range(self.options.rounds):
            for row in rows:
                for broker in self.brokers:
                    self._try(row.name, broker, lambda at, row=row: self._row(at[0], at[1], row))
            for name, measure, _ in others:
                if wanted.search(name):
                    for broker in self.brokers:
                        self._try(name, broker, lambda at, measure=measure: measure(*at))

    def _try(self, row: str, broker: str, measure: Any) -> None:
        try:
            with running(broker, self.certificates, self.core) as started:
                measure((broker, started))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            self.table.cell(row, broker).failures += 1
            print(f"{row:60} {broker:10} FAILED: {error}", file=sys.stderr, flush=True)

    def _generate(self, started: Started, scheme: str, arguments: str) -> dict[str, Any]:
        arguments += f" --pid {started.pid}"
        return good(generate(started.urls[scheme], arguments, self.certificates, self.other))

    def _row(self, broker: str, started: Started, row: Row) -> None:
        seconds = self.options.seconds
        if row.arguments.startswith("connect"):
            found = self._generate(started, row.scheme, row.arguments)
            usage = found["broker"]
            load = found["generator_cpu_s"] / usage["cpu_s"]
            self.table.note(row.name, broker, usage["cpu_us_per_connection"], load)
            self.table.note(PER_SECOND, broker, found["connections_per_s"], load)
            return
        arguments = f"{row.arguments} --seconds {seconds} --warmup {seconds / 5}"
        if self.options.batched:
            arguments += " --batched"
        found = self._generate(started, row.scheme, arguments)
        usage = found["broker"]
        load = 0.0 if "--rate" in arguments else found["generator_cpu_s"] / usage["cpu_s"]
        self.table.note(row.name, broker, usage["cpu_us_per_message"], load)

    def _memory(self, broker: str, started: Started) -> None:
        """What the second thousand of 2000 adds: the first brings what all share."""
        with running(broker, self.certificates, self.core) as other:
            grown = [
                self._generate(one, "mqtts", f"connect --connections {count} --hold 2")["broker"]
                for one, count in ((started, 1000), (other, 2000))
            ]
        less, more = (usage["rss_growth_bytes"] for usage in grown)
        self.table.note(MEMORY, broker, (more - less) / 1000 / 1024)

    def _beside_handshakes(self, broker: str, started: Started) -> None:
        connections = int((self.options.seconds + 2) * 1000)
        arguments = f"connect --rate 1000 --connections {connections} --concurrency 1000"
        said = self._beside(
            BESIDE, broker, started, command(started.urls["mqtts"], arguments, self.certificates)
        )
        self.table.cell(BESIDE, broker).rates.append(said["connections_per_s"])

    def _beside_hellos(self, broker: str, started: Started) -> None:
        host, _, port = started.urls["mqtts"].rpartition("//")[2].partition(":")
        program = [sys.executable, "-m", "bench.hellos", host, port, "1000", str(self.options.seconds + 2)]
        said = self._beside(HELLOS, broker, started, program)
        self.table.cell(HELLOS, broker).rates.append(said["answered_per_s"])

    def _beside(self, row: str, broker: str, started: Started, program: list[str]) -> dict[str, Any]:
        """Latency of pairs while another program runs; returns what that says."""
        other = subprocess.Popen(
            program, stdout=subprocess.PIPE, text=True, cwd=ROOT, preexec_fn=pin(self.other)
        )
        try:
            time.sleep(1)
            pairs = f"pairs {LIKE} --publishers 10 --rate 200 --seconds {self.options.seconds}"
            found = self._generate(started, "mqtt", pairs)
            said: dict[str, Any] = json.loads(other.communicate(timeout=RUN_SECONDS)[0])
        finally:
            other.kill()
        self.table.note(row, broker, found["latency_us"]["p99"] / 1000)
        return said


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median counts (3)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each run, after a fifth to warm up (3)"
    )
    parser.add_argument("--rows", default="", help="only those that this regular expression finds")
    parser.add_argument("--brokers", default="", help="only those that this regular expression finds")
    parser.add_argument("--batched", action="store_true", help="a record, a frame for each write")
    options = parser.parse_args()
    enter_namespace()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped then, too
    with tempfile.TemporaryDirectory(prefix="curier-bench-") as folder:
        certificates = Path(folder)
        subprocess.run([*CURIER, "cert", folder], check=True, stdout=subprocess.DEVNULL)
        bench = Bench(options, certificates)
        try:
            bench.run()
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
        bench.table.print()
    packing = "all packets of one write in one" if options.batched else "one for each packet"
    print(
        f"\nMedians of {options.rounds} rounds of {options.seconds:g} s, ± half the range; 64 bytes, MQTT "
        f"3.1.1. Records and frames to the broker: {packing}. g: the generator used more CPU time than the "
        f"broker. Congestion control: {congestion()}."
    )


if __name__ == "__main__":
    main()
