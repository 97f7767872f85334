"""Brokers side by side: CPU microseconds per message in or out, as one Markdown table.

    python bench/compare.py [--rounds 3] [--seconds 3] [--scenarios REGEX] [--brokers REGEX]
    python bench/compare.py --against 'name=/opt/other/broker -p {port} --state {directory}'

Compares curier, as it is installed for this Python, with the brokers that are there: mosquitto on the path,
amqtt and aedes below .peers (`make peers`), and those that `--against` says. Each run has a fresh broker on
one core and `curier bench` on another one; brokers take turns within each scenario. All is in a network
namespace with Reno as congestion control where that may be made: others, as BBR, pace even local traffic.
What is measured is the same for all; a run in which a message went wrong does not count. Ctrl-C prints the
table of what was measured so far.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / ".peers"
IN_NAMESPACE = "CURIER_BENCH_NAMESPACE"
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
READY_SECONDS = 30.0
RUN_SECONDS = 300.0
NOT_SPOKEN = "does not speak MQTT 5.0"
"""What `curier bench` says of a broker that knows only 3.1.1; that is no failure."""


# ---- scenarios ----


@dataclass(frozen=True)
class Scenario:
    """A row: a run of `curier bench`. ``tells_latency``: latency is the broker's, not that of a queue."""

    name: str
    arguments: str
    tells_latency: bool = False


FLEET = "fanin --publishers 10 --payload 32 --spread 400"
STATES = "fanin --publishers 10 --payload 32 --spread 100"
READERS = "fanout --publishers 2 --subscribers 20 --payload 32 --spread 400"
LIKE = "--topics 1 --spread 0"
MIXED = (
    # as fleets publish: another topic and another size from one message to the next
    Scenario("qos0 mixed", FLEET),
    Scenario("qos1 mixed", f"{FLEET} --qos 1 --inflight 20"),
    Scenario("v5 qos1 mixed", f"{FLEET} --qos 1 --inflight 20 --mqtt 5.0"),
    Scenario("qos1 mixed fan-out", f"{READERS} --qos 1 --inflight 20"),
    Scenario("qos1 mixed, kept", f"{FLEET} --qos 1 --inflight 20 --kept"),
    Scenario("qos0 cold topics", f"{STATES} --topics 20000"),
    Scenario("qos1 cold topics", f"{STATES} --topics 20000 --qos 1 --inflight 20"),
    Scenario("qos0 retained state", f"{STATES} --retain"),
    Scenario("qos1 retained state", f"{STATES} --retain --qos 1 --inflight 20"),
    Scenario("v5 qos1 aliases", f"{FLEET} --topics 10 --qos 1 --inflight 20 --mqtt 5.0 --aliases"),
)
SCENARIOS = (
    *MIXED,
    # what brokers are fastest with: each publisher has one topic and one size
    Scenario("qos0 1:1", f"pubsub {LIKE}"),
    Scenario("qos1 1:1", f"pubsub {LIKE} --qos 1"),
    Scenario("qos2 1:1", f"pubsub {LIKE} --qos 2"),
    Scenario("qos0 fan-in 50:1", f"fanin {LIKE}"),
    Scenario("qos1 fan-in 50:1", f"fanin {LIKE} --qos 1 --inflight 20"),
    Scenario("qos0 fan-out 1:100", f"fanout {LIKE}"),
    Scenario("qos1 fan-out 1:100", f"fanout {LIKE} --qos 1"),
    Scenario("qos0 50 pairs", f"pairs {LIKE}"),
    Scenario("qos1 50 pairs", f"pairs {LIKE} --qos 1 --inflight 20"),
    Scenario("v5 qos1 50 pairs", f"pairs {LIKE} --qos 1 --inflight 20 --mqtt 5.0"),
    Scenario(
        "qos1 shared 10:4",
        f"pubsub {LIKE} --qos 1 --shared --publishers 10 --subscribers 4 --inflight 20",
    ),
    Scenario("qos0 1:0", "pub"),
    Scenario("qos0 1:1 1 KiB", f"pubsub {LIKE} --payload 1024"),
    Scenario("qos0 4 pairs 64 KiB", f"pairs {LIKE} --publishers 4 --payload 65536 --outstanding 100"),
    # a wake-up for each message
    Scenario("rr qos0", "rr", True),
    Scenario("rr qos1", "rr --qos 1", True),
    Scenario("qos0 10 pairs at 5k/s", f"pairs {LIKE} --publishers 10 --rate 5000", True),
    Scenario("qos1 10 pairs at 5k/s", f"pairs {LIKE} --publishers 10 --rate 5000 --qos 1", True),
    Scenario("qos1 1000 clients at 2k/s", f"pairs {LIKE} --publishers 500 --rate 2000 --qos 1", True),
    Scenario("connect 5000", "connect --connections 5000"),
)


# ---- brokers ----


@dataclass(frozen=True)
class Broker:
    """How to start one: ``command`` gets the port and an empty directory, where it runs."""

    name: str
    command: Callable[[int, Path], list[str]]
    environment: dict[str, str] = field(default_factory=dict)
    shares: bool = True  # does it know Shared Subscriptions?


def curier(port: int, directory: Path) -> list[str]:
    listen = f"tcp://127.0.0.1:{port}"
    return [
        sys.executable,
        "-m",
        "curier",
        "broker",
        "--memory",
        "--log-level",
        "warning",
        "--listen",
        listen,
    ]


def mosquitto(port: int, directory: Path, program: str) -> list[str]:
    """Without the limits that would make it drop messages, and without Nagle, which would make them late."""
    file = directory / "mosquitto.conf"
    file.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        "max_queued_messages 0\nmax_inflight_messages 0\npersistence false\nlog_type error\n"
    )
    return [program, "-c", str(file)]


def amqtt(port: int, directory: Path) -> list[str]:
    file = directory / "amqtt.yaml"
    file.write_text(
        f"listeners:\n  default:\n    type: tcp\n    bind: 127.0.0.1:{port}\n    max_connections: 100000\n"
        "plugins:\n  amqtt.plugins.authentication.AnonymousAuthPlugin:\n    allow_anonymous: true\n"
    )
    return [str(PEERS / "amqtt/bin/amqtt"), "-c", str(file)]


def aedes(port: int, directory: Path) -> list[str]:
    (directory / "node_modules").symlink_to(PEERS / "node_modules")
    program = (
        'import {Aedes} from "aedes"; import {createServer} from "node:net";'
        "const broker = await Aedes.createBroker();"
        f'createServer(broker.handle).listen({port}, "127.0.0.1", 1024);'
    )
    return ["node", "--input-type=module", "-e", program]


def installed(with_sources: bool) -> list[Broker]:
    """The brokers of this machine, curier first."""
    found = [Broker("curier", curier)]
    if with_sources:
        found.append(Broker("curier, interpreted", curier, {"PYTHONPATH": str(ROOT / "src")}))
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is not None:
        found.append(Broker("mosquitto", partial(mosquitto, program=program)))
    if (PEERS / "amqtt/bin/amqtt").exists():
        found.append(Broker("amqtt", amqtt, shares=False))
    if (PEERS / "node_modules/aedes").exists() and shutil.which("node"):
        found.append(Broker("aedes", aedes, shares=False))
    return found


def parse_broker(text: str) -> Broker:
    """``NAME=COMMAND``, whose words may have ``{port}`` and ``{directory}`` in them."""
    name, found, command = text.partition("=")
    if not (name and found and "{port}" in command):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COMMAND with {{port}} in it")

    def fill_in(port: int, directory: Path) -> list[str]:
        return [word.format(port=port, directory=directory) for word in shlex.split(command)]

    return Broker(name, fill_in)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def pin(core: int | None) -> Callable[[], None] | None:
    """What a new process does first, to stay on a core."""
    if core is None:
        return None
    return partial(os.sched_setaffinity, 0, {core})


@contextmanager
def running(broker: Broker, core: int | None) -> Iterator[tuple[int, int]]:
    """A broker that passes messages on: its process and its port. It is ended with all it has started."""
    with tempfile.TemporaryDirectory(prefix="curier-bench-", ignore_cleanup_errors=True) as name:
        directory, port = Path(name), free_port()
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen(
                broker.command(port, directory),
                cwd=directory,
                env=os.environ | broker.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its process group is its own, so that all of it can be ended
                preexec_fn=pin(core),
            )
        try:
            await_ready(process, port, directory / "log")
            yield process.pid, port
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                    break


def await_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Until messages come through it, which warms it up a little, too."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        with socket.socket() as sock:
            is_up = sock.connect_ex(("127.0.0.1", port)) == 0
        if is_up and generate(port, "rr --messages 50 --qos 1 --patience 2", None)["ok"]:
            return
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(
        f"it does not run: {log.read_text(errors='replace').strip()[-300:] or 'it says nothing'}"
    )


# ---- runs ----


def generate(port: int, arguments: str, core: int | None) -> dict[str, Any]:
    """The result of one `curier bench`."""
    scenario, *options = arguments.split()
    command = [
        sys.executable,
        "-m",
        "curier",
        "bench",
        scenario,
        f"tcp://127.0.0.1:{port}",
        "--json",
        *options,
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RUN_SECONDS, check=False, preexec_fn=pin(core)
    )
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        result = {"ok": False, "errors": [done.stderr.strip()[-300:] or f"exit code {done.returncode}"]}
    return result


@dataclass
class Cell:
    """The good runs of one broker in one scenario, and how many were not."""

    costs: list[float] = field(default_factory=list)
    latencies: list[tuple[float, float]] = field(default_factory=list)
    failures: int = 0

    def take(self, result: dict[str, Any]) -> str:
        """Note a result; what to say of it."""
        if any(NOT_SPOKEN in error for error in result["errors"]):
            return NOT_SPOKEN
        if not result["ok"]:
            self.failures += 1
            return f"FAILED: {'; '.join(result['errors']) or result['checks']}"
        usage = result["broker"]
        if usage is None:
            self.failures += 1
            return "FAILED: CPU time is not available here"
        cost = usage.get("cpu_us_per_message", usage.get("cpu_us_per_connection"))
        if cost is None:
            self.failures += 1
            return "FAILED: nothing came through"
        self.costs.append(cost)
        latency = result.get("latency_us")
        if latency is not None:
            self.latencies.append((latency["p50"], latency["p99"]))
        return f"{number(cost)} µs"

    def cost(self) -> float | None:
        return statistics.median(self.costs) if self.costs else None

    def told(self, base: float | None) -> str:
        """The median; how many times ``base`` that is; failures."""
        cost = self.cost()
        words = []
        if cost is not None:
            words.append(number(cost))
            if base:
                words.append(f"(×{number(cost / base)})")
        if self.failures:
            words.append(f"**{self.failures} failed**")
        return " ".join(words) or "–"

    def latency(self) -> str:
        """The medians of p50 and p99."""
        if not self.latencies:
            return "–"
        return " / ".join(number(statistics.median(values)) for values in zip(*self.latencies, strict=True))


Cells = dict[tuple[str, str], Cell]


def measure(
    scenarios: list[Scenario], brokers: list[Broker], options: argparse.Namespace, cells: Cells
) -> None:
    """All rounds, brokers in turns."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    own, other = (cores[0], cores[1]) if len(cores) > 1 else (None, None)
    total = options.rounds * len(scenarios) * len(brokers)
    began = time.monotonic()
    done = 0
    for _ in range(options.rounds):
        for scenario in scenarios:
            arguments = scenario.arguments
            if not arguments.startswith("connect"):
                arguments += f" --seconds {options.seconds} --warmup {options.seconds / 5}"
            for broker in brokers:
                cell = cells.setdefault((scenario.name, broker.name), Cell())
                done += 1
                if "--shared" in arguments and not broker.shares:
                    continue
                try:
                    with running(broker, own) as (pid, port):
                        said = cell.take(generate(port, f"{arguments} --pid {pid}", other))
                except (RuntimeError, subprocess.TimeoutExpired) as error:
                    cell.failures += 1
                    said = f"FAILED: {error}"
                progress = f"[{done:3}/{total}, {time.monotonic() - began:4.0f} s]"
                print(f"{progress} {scenario.name:22} {broker.name:20} {said}", file=sys.stderr, flush=True)


def number(value: float) -> str:
    """Three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_table(scenarios: list[Scenario], brokers: list[Broker], cells: Cells) -> None:
    names = [broker.name for broker in brokers]
    print(f"| CPU µs per message in or out | {' | '.join(names)} |")
    print(f"|---|{'---:|' * len(names)}")
    for scenario in scenarios:
        row = [cells.get((scenario.name, name), Cell()) for name in names]
        base = row[0].cost()
        told = [row[0].told(None), *(cell.told(base) for cell in row[1:])]
        print(f"| {scenario.name} | {' | '.join(told)} |")
    for scenario in scenarios:
        if scenario.tells_latency:
            row = [cells.get((scenario.name, name), Cell()) for name in names]
            print(
                f"| {scenario.name}: latency p50 / p99, µs | {' | '.join(cell.latency() for cell in row)} |"
            )


# ---- the network ----


def enter_namespace() -> None:
    """Run this program again in a network namespace of its own, if that is possible; there, set it up."""
    if IN_NAMESPACE in os.environ:
        import fcntl

        with socket.socket() as sock:  # SIOCSIFFLAGS: lo is up and running
            fcntl.ioctl(sock, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
        with suppress(OSError):
            CONGESTION.write_text("reno")
        return
    for unshare in (["unshare", "--net"], ["unshare", "--net", "--map-root-user"]):
        with suppress(OSError):
            if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0:
                os.environ[IN_NAMESPACE] = "1"
                os.execvp(unshare[0], [*unshare, sys.executable, *sys.orig_argv[1:]])


def congestion() -> str:
    with suppress(OSError):
        return CONGESTION.read_text().strip()
    return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median counts (3)")
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="of each run, after a fifth to warm up (3)"
    )
    parser.add_argument("--scenarios", default="", help="only those that this regular expression finds")
    parser.add_argument("--brokers", default="", help="only those that this finds; the first is compared to")
    parser.add_argument(
        "--interpreted", action="store_true", help="also curier's sources, interpreted, as a broker"
    )
    parser.add_argument(
        "--against", action="append", default=[], type=parse_broker, metavar="NAME=COMMAND",
        help="one more broker; its command has {port} in it, and perhaps {directory}",
    )  # fmt: skip
    options = parser.parse_args()
    scenarios = [one for one in SCENARIOS if re.search(options.scenarios, one.name)]
    known = [*installed(options.interpreted), *options.against]
    brokers = [one for one in known if re.search(options.brokers, one.name)]
    if not scenarios or not brokers:
        parser.error("there is no such scenario or broker here")
    enter_namespace()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is stopped then, too
    cells: Cells = {}
    try:
        measure(scenarios, brokers, options, cells)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    print_table(scenarios, brokers, cells)
    print(
        f"\nMedians of {options.rounds} rounds of {options.seconds:g} s, MQTT 3.1.1 unless said; "
        "mixed and its like: ten publishers, 100 topics each (cold: 20 000; aliases: 10), 32 to 432 bytes; "
        "others: 64 bytes; "
        f"connect: per connection; ×: as many times as {brokers[0].name}. Congestion control: {congestion()}."
    )


if __name__ == "__main__":
    main()
