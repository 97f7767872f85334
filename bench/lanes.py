"""What the lanes cost: instructions of the compiled core for each message in or out, counted by callgrind.

    python -m bench.lanes [--messages N] [--scenarios REGEX] [--general]

The scenarios are those of ``bench.broker``, and more of what leaves trains or the fast lane. Each is played
under callgrind (valgrind has to be installed): what the core does with bytes, batches and output is counted,
and nothing of clients and of other programs, so the figures are the same on a busy machine. They say little
of time: copies of many KiB are counted by the byte.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from bench.broker import SCENARIOS, Run, Scenario

COUNTED: Final = (
    "CPyPy_core___BrokerCore___receive",
    "CPyPy_core___BrokerCore___continue_work",
    "CPyPy_core___BrokerCore___take_effects",
    "CPyPy_core___BrokerCore___committed",
    "CPyPy_broker___connection___ServedConnection___take_output",
)
MARK: Final = "CPyPy_core___BrokerCore___next_deadline"  # which nothing else calls here
MOST_TOPICS: Final = 200_000  # or it would take all day
BEGUN: Final = 2000  # messages that are not counted: all routes are in the cache then


def leaving(what: str, qos: int = 1, version: int = 5, publishers: int = 10, **kind: Any) -> Scenario:
    """What is in no train, or not even in the fast lane, because of one thing."""
    return Scenario(f"QoS {qos}, {what}", qos, publishers, 1, version, topics=1000, spread=100, **kind)


MORE: Final = (
    leaving("in a train"),
    leaving("from 3.1.1 to 5.0", version=4, receiving=5),
    leaving("to a subscription of QoS 0", subscription=0),
    leaving("to a client with Topic Aliases", aliases=10),
    leaving("to a Subscription Identifier", identifier=7),
    leaving("to No Local", subscription=2 | 4),
    leaving("RETAIN, to Retain As Published", kind="retain", subscription=2 | 8),
    leaving("RETAIN, to disk", qos=0, kind="retain", disk="retained"),
    leaving("to a session on disk", qos=0, disk="sessions"),
    leaving("to a session on disk, one at a time", disk="sessions", at_once=1),
    leaving("in a train, one at a time", at_once=1),
    leaving("shared", share="$share/group/"),
    leaving("DUP", kind="dup"),
    leaving("plain", qos=2),
    leaving("RETAIN", qos=2, kind="retain"),
    leaving("a User Property", qos=2, kind="property"),
    leaving("to a session on disk", qos=2, disk="sessions"),
    leaving("where maximum_qos is 1", settings={"maximum_qos": 1}),
)


def play(names: list[str], is_general: bool, messages: int) -> None:
    """Within callgrind, which writes what it has counted at each ``MARK``, first what is not wanted."""
    for scenario in (*SCENARIOS, *MORE):
        if scenario.name in names:
            run = Run(scenario, is_general)
            for until in (max(BEGUN, 2 * scenario.topics), messages):
                run.count = 0
                while run.count < until:
                    run.step()
                run.core.next_deadline()
            print(run.count, flush=True)


def instructions(names: list[str], is_general: bool, messages: int) -> list[float]:
    """For each message of each scenario, once all topics were met."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={MARK}"]
        command += [f"--toggle-collect={name}" for name in COUNTED]
        command += [sys.executable, "-m", "bench.lanes", "--messages", str(messages)]
        command += ["--play", str(int(is_general)), *names]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        found = []
        for index, count in enumerate(done.stdout.split()):
            part = Path(f"{out}.{2 * index + 2}").read_text()
            total = re.search(r"^(?:summary|totals): (\d+)", part, re.MULTILINE)
            assert total is not None
            found.append(int(total[1]) / int(count))
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=10_000, help="in and out, that are counted (10000)")
    parser.add_argument("--scenarios", default="", metavar="REGEX", help="which of them (all)")
    parser.add_argument("--general", action="store_true", help="count the general way as well")
    parser.add_argument("--play", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        play(arguments.play[1:], bool(int(arguments.play[0])), arguments.messages)
        return
    names = [
        one.name
        for one in (*SCENARIOS, *MORE)
        if re.search(arguments.scenarios, one.name) and one.topics <= MOST_TOPICS
    ]
    fast = instructions(names, False, arguments.messages)
    general = instructions(names, True, arguments.messages) if arguments.general else []
    print("| scenario | fast lane | general way |\n|---|---:|---:|")
    for index, name in enumerate(names):
        print(f"| {name} | {fast[index]:,.0f} | {f'{general[index]:,.0f}' if general else ''} |")


if __name__ == "__main__":
    main()
