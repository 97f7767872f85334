"""What it costs to find the receivers of a topic that the route cache does not know, beside one that it does.

    python -m bench.misses [--rounds N] [--instructions]

Nanoseconds of processor time for each look-up in the core's router, without the packet around it; the least
of all rounds. Topics are new ones, each asked for once: while the cache has room, and when it is full; beside
them 200 000 that it knows, gone through in turn. ``--instructions`` has callgrind count the instructions of
the compiled core in their place (valgrind has to be installed), which are the same on a busy machine.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import curier
from bench.subscriptions import Broker
from curier.broker.options import MIB
from curier.cli.collector import looking_once
from curier.codec.encode import encode
from curier.codec.packets import Subscribe

TOPICS: Final = 200_000  # of a round
COUNTED: Final = 20_000  # of them where instructions are counted
CLIENTS: Final = 100
LEVELS: Final = 5
MARK: Final = "CPyPy_core___BrokerCore___next_deadline"  # which nothing else calls here
CALLED: Final = "CPyPy_routing___Router___route"


def topic(number: int) -> bytes:
    return b"site/%d/device/%d/state" % (number % 1000, number)


def one() -> Iterator[str]:
    yield "site/#"


def mixed() -> Iterator[str]:
    """80 of 100 without a wildcard, 15 with '+', 5 with '#': of the topics some have one of these besides."""
    yield from one()
    for number in range(20_000):
        kind = number % 20
        device = f"site/{number % 1000}/device/{number}"
        yield f"{device}/state" if kind < 16 else f"{device}/+" if kind < 19 else f"{device}/#"


def shapes() -> Iterator[str]:
    """The same, and filters with wildcards in all the places that there are in so many levels."""
    yield from mixed()
    for levels in itertools.product(("+", "none"), repeat=LEVELS):
        yield "/".join(levels)
        yield "/".join((*levels, "#"))


CASES: Final[dict[str, Callable[[], Iterator[str]]]] = {"one": one, "mixed": mixed, "shapes": shapes}
NAMES: Final = {
    "one": "one subscription",
    "mixed": "20 000 mixed",
    "shapes": "20 000 mixed, and wildcards in every place",
}


def loaded(case: str) -> Broker:
    """A core with these subscriptions, and room for the topics of a round."""
    broker = Broker()
    broker.core.router.cache.limit = 128 * MIB
    clients = [broker.connect(f"c{number}") for number in range(CLIENTS)]
    for number, topic_filter in enumerate(CASES[case]()):
        broker.pass_in(clients[number % CLIENTS], encode(Subscribe(1, [(topic_filter, 0)]), 4))
    return broker


def look_up(broker: Broker, first: int, count: int) -> float:
    """Nanoseconds for each of these topics."""
    topics = [topic(number) for number in range(first, first + count)]
    route = broker.core.router.route
    begin = time.process_time_ns()
    for each in topics:
        route(each)
    return (time.process_time_ns() - begin) / count


def steps(broker: Broker, count: int) -> Iterator[float]:
    """New topics with room, those again, new ones without room."""
    broker.core.router.forget_all()
    yield look_up(broker, 0, count)
    yield look_up(broker, 0, count)
    cache = broker.core.router.cache
    limit = cache.limit
    cache.limit = cache.bytes
    yield look_up(broker, count, count)
    cache.limit = limit


def measured(case: str, rounds: int) -> list[float]:
    broker = loaded(case)
    with looking_once():
        columns = zip(*[list(steps(broker, TOPICS)) for _ in range(rounds)], strict=True)
        return [min(column) for column in columns]


def play(case: str) -> None:
    """Within callgrind, which writes what it has counted at each ``MARK``, first what is not wanted."""
    broker = loaded(case)
    with looking_once():
        broker.core.next_deadline()
        for _ in steps(broker, COUNTED):
            broker.core.next_deadline()


def counted(case: str) -> list[float]:
    """Instructions for each look-up, collector and allocation included."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", f"--dump-before={MARK}"]
        command += [f"--toggle-collect={CALLED}", sys.executable, "-m", "bench.misses", "--play", case]
        subprocess.run(command, capture_output=True, check=True)
        found = []
        for part in (2, 3, 4):
            total = re.search(r"^(?:summary|totals): (\d+)", Path(f"{out}.{part}").read_text(), re.MULTILINE)
            assert total is not None
            found.append(int(total[1]) / COUNTED)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="of which the least counts (5)")
    parser.add_argument("--instructions", action="store_true", help="count them, with callgrind")
    parser.add_argument("--play", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.play:
        play(arguments.play)
        return
    form = "compiled" if curier.COMPILED else "interpreted"
    what = "instructions" if arguments.instructions else "ns"
    print(f"curier {curier.__version__}, {form}; {what} a look-up")
    print("| subscriptions | new, kept | known | new, cache full |\n|---|---:|---:|---:|")
    for case, name in NAMES.items():
        new, known, full = counted(case) if arguments.instructions else measured(case, arguments.rounds)
        print(f"| {name} | {new:,.0f} | {known:,.0f} | {full:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
