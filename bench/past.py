"""What it costs to keep what went by last: instructions of the turn for each message, without it and with it,
and where more goes by than is kept.

    python -m bench.past [--messages N] [--scenarios REGEX]
    python -m bench.past --reads

Each scenario is played thrice under callgrind (valgrind has to be installed), through the sockets of one
reactor; what that does is counted, and nothing of the system, of clients and of other programs. A message is
counted once when it comes and once for each receiver. "at once" is how many a publisher sends with one write.
"cycles" are an estimate: an instruction is 1, what the first cache lacks 10, what the last one lacks 100.

``--reads`` measures the processor's time of one read, with the making of its bytes, and needs no valgrind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic, process_time
from typing import Final

from bench.broker import SCENARIOS, Scenario, acknowledge
from curier.broker.core import BrokerCore
from curier.broker.entrances import Entrance
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.codec.encode import encode
from curier.codec.packets import Connect, Subscribe
from curier.codec.properties import Properties
from curier.listeners import Listener
from curier.net.clock import Clock
from curier.net.doors import Door
from curier.net.handshakes import Handshakes
from curier.net.reactor import Reactor
from curier.net.tape import ENTRY_BYTES, RATE, Tape
from curier.net.turn import Turn

COUNTED: Final = "CPyPy_reactor___Reactor___serve"
AT_ONCE: Final = (100, 1)

READS: Final = ((60, 200_000), (1000, 100_000), (8000, 30_000), (16_000, 20_000))  # bytes, and how often

# What is kept
NOTHING: Final = 0
ALL: Final = 1  # however much it is
NO_MORE: Final = 2  # the budget is spent


class Client:
    """The client's end of a connection."""

    def __init__(self, reactor: Reactor, door: Door, number: int) -> None:
        self.socket, theirs = socket.socketpair()
        self.socket.setblocking(False)
        reactor._take((theirs.detach(), f"127.0.0.1:{number}", None), "", door)

    def take(self) -> bytes:
        """All that the broker has written."""
        pieces = []
        with suppress(BlockingIOError):
            while True:
                pieces.append(self.socket.recv(1 << 20))
        return b"".join(pieces)


class Run:
    """One scenario, by the sockets of a reactor. ``count`` has the messages."""

    def __init__(self, scenario: Scenario, at_once: int, keeps: int) -> None:
        options = Options()
        options.sys_interval = 0.0
        self.now = monotonic()  # all the time: what is kept is a matter of rate
        clock = Clock()
        turn = Turn(BrokerCore(options, clock.now()), asyncio.new_event_loop(), clock, print)
        self.reactor = Reactor(turn, Handshakes(turn))
        self.door = Door("tcp://127.0.0.1:1", Listener("tcp://127.0.0.1:1"), Entrance())
        self.scenario = scenario
        self.count = 0
        self.receivers = [self._connect(f"s{number}") for number in range(scenario.subscribers)]
        for client in self.receivers:
            self._say(client, encode(Subscribe(1, [("bench/#", 2)]), scenario.version))
            client.take()
        self.senders = [self._connect(f"p{number}") for number in range(scenario.publishers)]
        self.chunks = [[*_cut(scenario.chunks(number), at_once)] for number in range(scenario.publishers)]
        self.at_once = at_once
        self.step = 0
        if keeps:
            turn.tape = self._filled() if keeps == ALL else Tape(rate=1, burst=1)

    def _filled(self) -> Tape:
        """A tape that is full, as that of any broker, with reads of this size."""
        tape = Tape(rate=1 << 40, burst=1 << 40)
        connection = next(iter(self.reactor.wires.values())).connection
        size = len(self.chunks[0][0])
        while not tape.lost:
            tape.came(connection, bytes(size), monotonic())
        return tape

    def _connect(self, client_id: str) -> Client:
        client = Client(self.reactor, self.door, len(self.reactor.wires))
        version = self.scenario.version
        properties = Properties() if version == 5 else None
        self._say(client, encode(Connect(version, client_id, True, 0, properties=properties), version))
        client.take()
        return client

    def _say(self, client: Client, data: bytes) -> None:
        client.socket.send(data)
        self._serve()

    def _serve(self) -> None:
        reactor = self.reactor
        while events := reactor.epoll.poll(0, 100):
            reactor.serve(events, self.now)

    def play(self, messages: int) -> None:
        """Until so many have gone by."""
        while self.count < messages:
            self.step += 1
            for sender, chunks in zip(self.senders, self.chunks, strict=True):
                self._say(sender, chunks[self.step % len(chunks)])
                self.count += self.at_once
                sender.take()
                self._acknowledge()

    def _acknowledge(self) -> None:
        is_quiet = False
        while not is_quiet:
            is_quiet = True
            for client in self.receivers:
                answer = acknowledge(client.take(), self)
                if answer:
                    client.socket.send(answer)
                    is_quiet = False
            self._serve()


def _cut(chunks: list[bytes], at_once: int) -> list[bytes]:
    """The same packets, so many in a chunk."""
    packets = []
    for chunk in chunks:
        pos = 0
        while pos < len(chunk):
            stop = pos + 2 + chunk[pos + 1]
            if chunk[pos + 1] > 127:
                stop = pos + 3 + (chunk[pos + 1] & 127 | chunk[pos + 2] << 7)
            packets.append(chunk[pos:stop])
            pos = stop
    return [b"".join(packets[at : at + at_once]) for at in range(0, len(packets), at_once)]


def play(name: str, at_once: int, keeps: int, messages: int) -> None:
    """Within callgrind."""
    (scenario,) = [one for one in SCENARIOS if one.name == name]
    run = Run(scenario, at_once, keeps)
    run.play(messages)
    print(run.count)


def cost(name: str, at_once: int, keeps: int, messages: int) -> tuple[float, float]:
    """Instructions of the turn, and cycles, for each message in or out."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "callgrind")
        command = [
            "valgrind",
            "--tool=callgrind",
            f"--callgrind-out-file={out}",
            f"--toggle-collect={COUNTED}",
            "--cache-sim=yes",
        ]
        command += [
            sys.executable,
            "-m",
            "bench.past",
            "--play",
            name,
            str(at_once),
            str(keeps),
            str(messages),
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        text = out.read_text()
        names = re.search(r"^events: (.*)", text, re.MULTILINE)
        totals = re.search(r"^totals: (.*)", text, re.MULTILINE)
        assert names is not None
        assert totals is not None
        found = dict(zip(names[1].split(), map(int, totals[1].split()), strict=False))
        first = found["I1mr"] + found["D1mr"] + found["D1mw"]
        last = found["ILmr"] + found["DLmr"] + found["DLmw"]
        count = int(done.stdout)
        return found["Ir"] / count, (found["Ir"] + 10 * first + 100 * last) / count


def reads() -> None:
    """What a read costs that is kept, and one that is not; and how many are kept in a second."""
    (scenario,) = [one for one in SCENARIOS if one.name == "QoS 1, 1:1"]
    run = Run(scenario, 1, NOTHING)
    connection = next(iter(run.reactor.wires.values())).connection
    session = connection.server_session
    print("| bytes | without | kept | not kept | most a second | so of a core |")
    print(f"|{'---:|' * 6}")
    for size, count in READS:
        best = [float("inf")] * 3
        for keeps in (NOTHING, ALL, NO_MORE) * 7:
            tape = Tape(rate=1 << 40, burst=1 << 40) if keeps == ALL else Tape(rate=1, burst=1)
            connection.tape_until, connection.tape_left = 0.0, 0
            connection.server_session = session if keeps else None  # of a stranger nothing is kept
            _seconds(tape, connection, size, count)  # it is full then
            best[keeps] = min(best[keeps], _seconds(tape, connection, size, count))
        most = RATE / (size + ENTRY_BYTES)
        row = [str(size), *(f"{one * 1e9:.0f}" for one in best), f"{most:.0f}"]
        print(f"| {' | '.join(row)} | {(best[ALL] - best[NOTHING]) * most:.2%} |", flush=True)


def _seconds(tape: Tape, connection: BrokerConnection, size: int, count: int) -> float:
    """Of the processor, for each of so many reads."""
    begin, now = bytes(size - 1), monotonic()
    began = process_time()
    for _ in range(count):
        tape.came(connection, begin + b"x", now)  # new bytes each time, as those of a read
    return (process_time() - began) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--messages", type=int, default=20_000, help="in and out, of each run (20000)")
    parser.add_argument("--scenarios", default="", metavar="REGEX", help="which of them (all)")
    parser.add_argument("--play", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--reads", action="store_true", help="the time of one read")
    arguments = parser.parse_args()
    if arguments.reads:
        reads()
        return
    if arguments.play:
        name, at_once, keeps, messages = arguments.play
        play(name, int(at_once), int(keeps), int(messages))
        return
    print("| scenario | at once | without | kept | | cycles | not kept | | cycles |")
    print(f"|---{'|---:' * 8}|")
    for scenario in SCENARIOS:
        if scenario.share or not re.search(arguments.scenarios, scenario.name):
            continue
        for at_once in AT_ONCE:
            row = [scenario.name, str(at_once)]
            off: tuple[float, float] | None = None
            for keeps in (NOTHING, ALL, NO_MORE):
                found = cost(scenario.name, at_once, keeps, arguments.messages)
                row.append(f"{found[0]:,.0f}")
                if off is not None:
                    row += [f"{one / before - 1:+.2%}" for one, before in zip(found, off, strict=True)]
                off = off or found
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
