"""What one message costs the broker core, without a network: fast lane against general way, by scenario.

    python -m bench.broker [--messages N] [--rounds N]

Publishers' chunks go in, receivers' output is taken and acknowledged, all in one process; the figures are
nanoseconds per message in or out, the best of all rounds, both lanes taking turns.
"""

from __future__ import annotations

import argparse
import time

import curier
from curier.broker.core import BrokerCore
from curier.broker.judging import Judge
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.codec.encode import encode
from curier.codec.packets import Connect, Publish, Subscribe

BATCH = 100  # messages in a chunk


class Scenario:
    """Publishers, each with a chunk of messages, and subscribers."""

    def __init__(
        self, name: str, qos: int, publishers: int, subscribers: int, version: int = 4, share: str = ""
    ) -> None:
        self.name = name
        self.qos = qos
        self.publishers = publishers
        self.subscribers = subscribers
        self.version = version
        self.share = share


SCENARIOS = (
    Scenario("QoS 0, 1:1", 0, 1, 1),
    Scenario("QoS 1, 1:1", 1, 1, 1),
    Scenario("QoS 2, 1:1", 2, 1, 1),
    Scenario("QoS 0, 50:1", 0, 50, 1),
    Scenario("QoS 1, 50:1", 1, 50, 1),
    Scenario("QoS 0, 1:100", 0, 1, 100),
    Scenario("QoS 1, 1:100", 1, 1, 100),
    Scenario("QoS 1, 1:1, 5.0", 1, 1, 1, version=5),
    Scenario("QoS 1, shared 10:4", 1, 10, 4, share="$share/group/"),
)


class Run:
    """One scenario on one lane."""

    def __init__(self, scenario: Scenario, is_slow: bool, judge: Judge | None = None) -> None:
        options = Options()
        options.sys_interval = 0.0
        self.scenario = scenario
        self.core = BrokerCore(options, 0.0)
        self.core.slow_lane_only = is_slow
        if judge is not None:
            self.core.judge_by(judge, 0.0)
        self.receivers = [self._connect(f"s{number}") for number in range(scenario.subscribers)]
        for receiver in self.receivers:
            self._send(receiver, encode(Subscribe(1, [(f"{scenario.share}bench/#", 2)]), scenario.version))
        self.senders = [self._connect(f"p{number}") for number in range(scenario.publishers)]
        self.chunks: list[bytes] = []
        for number in range(scenario.publishers):
            topic = f"bench/topic/{number}"
            packets = [
                encode(
                    Publish(topic, b"x" * 64, scenario.qos, packet_id=packet_id if scenario.qos else 0),
                    scenario.version,
                )
                for packet_id in range(1, BATCH + 1)
            ]
            self.chunks.append(b"".join(packets))
        self.count = 0

    def _connect(self, client_id: str) -> BrokerConnection:
        connection = self.core.attach("bench", "bench", 0.0)
        self._send(
            connection, encode(Connect(self.scenario.version, client_id, True, 0), self.scenario.version)
        )
        return connection

    def _send(self, connection: BrokerConnection, data: bytes) -> None:
        self.core.receive(connection, data, 0.0)
        self.core.take_dirty()
        connection.take_output()

    def step(self) -> float:
        """Pass every publisher's chunk through; the seconds the core took."""
        core = self.core
        took = 0.0
        for sender, chunk in zip(self.senders, self.chunks, strict=True):
            begin = time.perf_counter()
            core.receive(sender, chunk, 1.0)
            while core.has_more_work():
                core.continue_work(1.0)
            core.end_turn()
            outputs = [(connection, connection.take_output()) for connection in core.take_dirty()]
            took += time.perf_counter() - begin
            self.count += BATCH
            assert core.take_faults() == []
            while outputs:
                answers = [(connection, acknowledge(data, self)) for connection, data in outputs]
                begin = time.perf_counter()
                for connection, answer in answers:
                    if answer:
                        core.receive(connection, answer, 1.0)
                outputs = [(connection, connection.take_output()) for connection in core.take_dirty()]
                took += time.perf_counter() - begin
        return took


def acknowledge(data: bytes, run: Run) -> bytes:
    """What a client answers to ``data``; counts the messages in it."""
    out: list[bytes] = []
    pos = 0
    while pos < len(data):
        kind = data[pos] >> 4
        stop = pos + 2 + data[pos + 1]  # the packets of this benchmark are short
        if kind == 3:
            run.count += 1
            qos = data[pos] >> 1 & 3
            if qos:
                at = pos + 4 + (data[pos + 2] << 8 | data[pos + 3])
                out.append((b"\x40\x02" if qos == 1 else b"\x50\x02") + data[at : at + 2])
        elif kind == 5:
            out.append(b"\x62\x02" + data[pos + 2 : pos + 4])
        elif kind == 6:
            out.append(b"\x70\x02" + data[pos + 2 : pos + 4])
        pos = stop
    return b"".join(out)


def measure(scenario: Scenario, messages: int, rounds: int) -> tuple[float, float]:
    """Nanoseconds per message, on the fast lane and on the general way."""
    best = [float("inf"), float("inf")]
    runs = [Run(scenario, False), Run(scenario, True)]
    for _ in range(rounds):
        for index, run in enumerate(runs):
            run.count = 0
            took = 0.0
            while run.count < messages:
                took += run.step()
            best[index] = min(best[index], took / run.count * 1e9)
    return best[0], best[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--messages", type=int, default=20_000, help="messages in and out in one round (20000)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the best counts (7)")
    arguments = parser.parse_args()
    form = "compiled" if curier.COMPILED else "interpreted"
    print(f"curier {curier.__version__}, {form}; ns per message in or out")
    print("| scenario | fast lane | general way |\n|---|---:|---:|")
    for scenario in SCENARIOS:
        fast, general = measure(scenario, arguments.messages, arguments.rounds)
        print(f"| {scenario.name} | {fast:,.0f} | {general:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
