"""The tables that say how curier stands: mixed traffic, and what durability costs, beside other brokers.

    python -m bench.table [--rounds 3] [--seconds 3] [--scenarios REGEX] [--skip-durable]
    python -m bench.table --against 'name=/opt/other/broker -p {port} --state {directory}'

One command for all of it: `bench.compare` with the rows of traffic as fleets send it, then `bench.durable`
with one message at a time, a steady 2000 a second, and fifty publishers with twenty in flight, the subscriber
away. curier keeps what it acknowledges there (`fsync`); Mosquitto, if it is installed, writes a snapshot now
and then, and the brokers of `--against` do what their command says. Below stand the conditions.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import curier
from bench import compare, durable
from bench.compare import Broker, number

CASES = (
    "1 at a time, subscriber away",
    "1 at 2000/s, subscriber away",
    "50 x 20 in flight, subscriber away",
)
MESSAGES = {CASES[0]: 5000, CASES[2]: 100_000}
"""Of one round, where there is no rate."""


def keeping(name: str) -> Callable[[int, Path], list[str]]:
    """How to start one of those that `bench.durable` knows."""
    return lambda port, directory: durable.commands(port, directory)[name]


def durable_brokers(others: list[Broker]) -> list[Broker]:
    with tempfile.TemporaryDirectory() as name:
        known = durable.commands(1, Path(name))
    wanted = [one for one in ("curier, fsync", "mosquitto, persistence") if one in known]
    return [*(Broker(name, keeping(name)) for name in wanted), *others]


def run_durable(broker: Broker, case: durable.Case, seconds: float, place: str | None) -> durable.Figures:
    with tempfile.TemporaryDirectory(prefix="curier-bench-", dir=place) as name:
        port, directory = compare.free_port(), Path(name)
        with durable.running(broker.command(port, directory), directory) as process:
            durable.wait_for(port)
            messages = int(case.rate * seconds) if case.rate else MESSAGES[case.name]
            return durable.run(process.pid, port, case, messages)


def print_durable(brokers: list[Broker], rounds: int, seconds: float, place: str | None) -> None:
    """Medians; brokers in turns."""
    names = [broker.name for broker in brokers]
    print(f"\n| acknowledged: messages/s; p50 ms; CPU µs a message | {' | '.join(names)} |")
    print(f"|---|{'---:|' * len(names)}")
    for case in (case for case in durable.CASES if case.name in CASES):
        found: dict[str, list[durable.Figures]] = {name: [] for name in names}
        for _ in range(rounds):
            for broker in brokers:
                found[broker.name].append(run_durable(broker, case, seconds, place))
                print(f"{case.name} {broker.name}", file=sys.stderr, flush=True)
        print(f"| {case.name} | {' | '.join(told(found[name], case) for name in names)} |", flush=True)


def told(runs: list[durable.Figures], case: durable.Case) -> str:
    """Rate, median latency and CPU of all processes; where there is a rate, the share of a core as well."""
    rate = statistics.median(one.rate for one in runs)
    p50 = statistics.median(one.p50 for one in runs)
    cpu = statistics.median(one.cpu + one.store_cpu for one in runs)
    words = f"{rate:,.0f}; {number(p50)}; {number(cpu)}"
    if case.rate:
        words += f" ({cpu * rate / 1e4:.0f} % of a core)"
    lost = sum(one.lost for one in runs)
    return f"{words} **{lost} lost**" if lost else words


def conditions() -> str:
    """The machine, and what else it did."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    form = "compiled" if curier.COMPILED else "interpreted"
    return (
        f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, {platform.system()} "
        f"{platform.release()}; load {load} at the end; curier {curier.__version__} {form}, Python "
        f"{platform.python_version()} ({platform.python_compiler()}); {mosquitto_version()}. "
        f"Congestion control: {compare.congestion()}."
    )


def mosquitto_version() -> str:
    for broker in compare.installed(False):
        if broker.name == "mosquitto":
            program = broker.command(1, Path(tempfile.gettempdir()))[0]
            said = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
            return said.partition("\n")[0]
    return "no Mosquitto"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, of which the median counts (3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run (3)")
    parser.add_argument("--scenarios", default="", help="only those rows that this regular expression finds")
    parser.add_argument("--all", action="store_true", help="the rows of floods and of single messages, too")
    parser.add_argument("--skip-durable", action="store_true", help="traffic only")
    parser.add_argument(
        "--directory", help="where durable data is kept for the time (the system's own place)"
    )
    parser.add_argument(
        "--against", action="append", default=[], type=compare.parse_broker, metavar="NAME=COMMAND",
        help="one more broker; its command has {port} in it, and perhaps {directory}",
    )  # fmt: skip
    options = parser.parse_args()
    rows = compare.SCENARIOS if options.all else compare.MIXED
    scenarios = [one for one in rows if re.search(options.scenarios, one.name)]
    known = [*compare.installed(False), *options.against]
    brokers = [one for one in known if one.name not in ("amqtt", "aedes")]
    compare.enter_namespace()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cells: compare.Cells = {}
    try:
        compare.measure(scenarios, brokers, options, cells)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    compare.print_table(scenarios, brokers, cells)
    if not options.skip_durable:
        print_durable(durable_brokers(options.against), options.rounds, options.seconds, options.directory)
    print(f"\nMedians of {options.rounds} rounds of {options.seconds:g} s. {conditions()}")


if __name__ == "__main__":
    main()
