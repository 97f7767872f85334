"""What one message costs the broker core, without a network: fast lane against general way, by scenario.

    python -m bench.broker [--messages N] [--rounds N] [--scenarios REGEX]

Publishers' chunks go in, receivers' output is taken and acknowledged, all in one process; the figures are
nanoseconds per message in or out, the best of all rounds, both lanes taking turns.
"""

from __future__ import annotations

import argparse
import re
import time
from typing import Protocol

import curier
from curier.broker.core import BrokerCore
from curier.broker.effects import Commit
from curier.broker.judging import Judge
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.codec.encode import encode
from curier.codec.packets import Connect, Subscribe
from curier.codec.properties import Properties
from curier.codec.publish import encode_expiry, encode_publish, encode_topic_alias
from curier.session.journal import Journal

BATCH = 100  # messages in a chunk, where nothing else is said


class Scenario:
    """Publishers, each with its chunks of messages, and subscribers.

    There are ``topics`` in all, which publishers go through in turn. Payloads have 64 bytes, or from 20 to
    20 + ``spread``. ``kind`` is what else a message has: "retain", "alias", "property", "expiry", "dup".
    ``disk`` is what is made durable (by nobody, at once): "retained" messages, or those and subscribers'
    "sessions". Subscribers have ``receiving`` as version, ``subscription`` as Subscription Options and
    ``identifier``; the broker has ``settings``.
    """

    def __init__(
        self,
        name: str,
        qos: int,
        publishers: int,
        subscribers: int,
        version: int = 4,
        share: str = "",
        topics: int = 0,
        spread: int = 0,
        kind: str = "",
        packet_size: int | None = None,
        others: int = 0,
        disk: str = "",
        receiving: int = 0,
        subscription: int = 2,
        identifier: int = 0,
        aliases: int | None = None,
        settings: dict[str, object] | None = None,
        at_once: int = BATCH,
    ) -> None:
        self.name = name
        self.qos = qos
        self.publishers = publishers
        self.subscribers = subscribers
        self.version = version
        self.share = share
        self.topics = topics if topics else publishers
        self.spread = spread
        self.kind = kind
        self.packet_size = packet_size  # Maximum Packet Size of the subscribers
        self.disk = disk
        self.receiving = receiving or version
        self.subscription = subscription
        self.identifier = identifier
        self.aliases = aliases  # Topic Alias Maximum of the subscribers
        self.settings = settings or {}
        self.at_once = at_once  # messages in a chunk
        self.others = others  # subscriptions of somebody else, of many kinds, that match nothing

    def chunks(self, publisher: int) -> list[bytes]:
        """What one publisher sends, chunk by chunk, again and again."""
        topics = range(publisher, self.topics, self.publishers)
        at_once = self.at_once
        count = max(at_once, len(topics) + -len(topics) % at_once)
        packets = [self._packet(topics[number % len(topics)], number, topics) for number in range(count)]
        return [b"".join(packets[start : start + at_once]) for start in range(0, count, at_once)]

    def _packet(self, topic: int, number: int, topics: range) -> bytes:
        payload = b"x" * (20 + number * 37 % self.spread if self.spread else 64)
        properties = b"" if self.version == 5 else None
        name = b"bench/topic/%d" % topic
        if self.kind == "alias":
            properties = encode_topic_alias(topics.index(topic) + 1)
            if number >= len(topics):
                name = b""
        elif self.kind == "property":
            properties = b"\x26\0\4kind\0\5bench"
        elif self.kind == "expiry":
            properties = encode_expiry(60)
        packet_id = number % BATCH + 1
        retain = self.kind == "retain"
        return encode_publish(name, payload, self.qos, self.kind == "dup", retain, packet_id, properties)


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
    Scenario("QoS 0, mixed 10:1", 0, 10, 1, topics=1000, spread=400),
    Scenario("QoS 1, mixed 10:1", 1, 10, 1, topics=1000, spread=400),
    Scenario("QoS 1, mixed 10:1, 5.0", 1, 10, 1, topics=1000, spread=400, version=5),
    Scenario("QoS 1, mixed 2:20", 1, 2, 20, topics=200, spread=400),
    Scenario("QoS 0, 200 000 topics 10:1", 0, 10, 1, topics=200_000, spread=100),
    Scenario("QoS 1, 200 000 topics 10:1", 1, 10, 1, topics=200_000, spread=100),
    Scenario("QoS 0, a million topics 10:1", 0, 10, 1, topics=1_000_000, spread=100, others=20_000),
    Scenario("QoS 0, retained state 10:1", 0, 10, 1, topics=1000, spread=100, kind="retain"),
    Scenario("QoS 1, retained state 10:1", 1, 10, 1, topics=1000, spread=100, kind="retain"),
    Scenario("QoS 1, mixed 10:1, sessions on disk", 1, 10, 1, topics=1000, spread=400, disk="sessions"),
    Scenario(
        "QoS 1, retained 10:1, on disk", 1, 10, 1, topics=1000, spread=100, kind="retain", disk="retained"
    ),
    Scenario("QoS 1, aliases 10:1, 5.0", 1, 10, 1, topics=100, spread=100, version=5, kind="alias"),
    Scenario("QoS 1, User Property 10:1, 5.0", 1, 10, 1, topics=1000, spread=100, version=5, kind="property"),
    Scenario("QoS 1, expiry 10:1, 5.0", 1, 10, 1, topics=1000, spread=100, version=5, kind="expiry"),
    Scenario("QoS 1, Maximum Packet Size 10:1", 1, 10, 1, 5, topics=1000, spread=400, packet_size=1 << 20),
)


class Counted(Protocol):
    """What counts messages."""

    count: int


class Run:
    """One scenario on one lane."""

    def __init__(self, scenario: Scenario, is_slow: bool, judge: Judge | None = None) -> None:
        options = Options()
        options.sys_interval = 0.0
        options.memory_limit = 4 << 30
        for setting, value in scenario.settings.items():
            setattr(options, setting, value)
        self.scenario = scenario
        self.core = BrokerCore(options, 0.0, journal=Journal() if scenario.disk else None)
        self.core.slow_lane_only = is_slow
        if judge is not None:
            self.core.judge_by(judge, 0.0)
        self._subscribe_others(scenario.others)
        self.receivers = [
            self._connect(f"s{number}", scenario.receiving, True) for number in range(scenario.subscribers)
        ]
        for receiver in self.receivers:
            asked = Properties() if scenario.identifier else None
            if asked is not None:
                asked.subscription_identifiers = [scenario.identifier]
            request = Subscribe(1, [(f"{scenario.share}bench/#", scenario.subscription)], asked)
            self._send(receiver, encode(request, scenario.receiving))
        self.senders = [
            self._connect(f"p{number}", scenario.version) for number in range(scenario.publishers)
        ]
        self.chunks = [scenario.chunks(number) for number in range(scenario.publishers)]
        self.turn = 0
        self.count = 0

    def _connect(self, client_id: str, version: int, receives: bool = False) -> BrokerConnection:
        connection = self.core.attach("bench", "bench", 0.0)
        lasts = receives and self.scenario.disk == "sessions"
        properties = Properties() if version == 5 else None
        if properties is not None and receives:
            properties.maximum_packet_size = self.scenario.packet_size
            properties.topic_alias_maximum = self.scenario.aliases
            properties.session_expiry_interval = 3600 if lasts else None
        packet = Connect(version, client_id, not lasts, 0, properties=properties)
        self._send(connection, encode(packet, version))
        return connection

    def _subscribe_others(self, count: int) -> None:
        """Others' subscriptions: 80 of 100 are for one topic, 15 for one level of many, 5 for all below."""
        for first in range(0, count, 100):
            if not first % 1000:
                other = self._connect(f"other{first}", self.scenario.version)
            filters = [
                f"other/{n}/state" if n % 20 < 16 else f"other/+/{n}" if n % 20 < 19 else f"other/{n}/#"
                for n in range(first, min(first + 100, count))
            ]
            self._send(other, encode(Subscribe(1, [(name, 1) for name in filters]), self.scenario.version))

    def _send(self, connection: BrokerConnection, data: bytes) -> None:
        self.core.receive(connection, data, 0.0)
        self._commit()
        self.core.take_dirty()
        connection.take_output()

    def _commit(self) -> None:
        """Say that all is durable, as a very fast disk would."""
        if self.scenario.disk:
            for effect in self.core.take_effects():
                if isinstance(effect, Commit):
                    self.core.committed(effect.batch.number, 1.0)

    def step(self) -> float:
        """Pass every publisher's chunk through; the seconds the core took."""
        core = self.core
        took = 0.0
        self.turn += 1
        for sender, chunks in zip(self.senders, self.chunks, strict=True):
            chunk = chunks[self.turn % len(chunks)]
            begin = time.perf_counter()
            core.receive(sender, chunk, 1.0)
            while core.has_more_work():
                core.continue_work(1.0)
            core.end_turn()
            self._commit()
            outputs = [(connection, connection.take_output()) for connection in core.take_dirty()]
            took += time.perf_counter() - begin
            self.count += self.scenario.at_once
            assert core.take_faults() == []
            while outputs:
                answers = [(connection, acknowledge(data, self)) for connection, data in outputs]
                begin = time.perf_counter()
                for connection, answer in answers:
                    if answer:
                        core.receive(connection, answer, 1.0)
                self._commit()
                outputs = [(connection, connection.take_output()) for connection in core.take_dirty()]
                took += time.perf_counter() - begin
        return took


def acknowledge(data: bytes, run: Counted) -> bytes:
    """What a client answers to ``data``; counts the messages in it."""
    out: list[bytes] = []
    pos = 0
    while pos < len(data):
        kind = data[pos] >> 4
        at = pos + 2
        size = data[pos + 1]
        if size > 127:  # the packets of this benchmark are short
            size = size & 127 | data[at] << 7
            at += 1
        stop = at + size
        if kind == 3:
            run.count += 1
            qos = data[pos] >> 1 & 3
            if qos:
                at += 2 + (data[at] << 8 | data[at + 1])
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
    parser.add_argument("--scenarios", default="", metavar="REGEX", help="which of them (all)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds, of which the best counts (7)")
    arguments = parser.parse_args()
    form = "compiled" if curier.COMPILED else "interpreted"
    print(f"curier {curier.__version__}, {form}; ns per message in or out")
    print("| scenario | fast lane | general way |\n|---|---:|---:|")
    for scenario in SCENARIOS:
        if not re.search(arguments.scenarios, scenario.name):
            continue
        fast, general = measure(scenario, arguments.messages, arguments.rounds)
        print(f"| {scenario.name} | {fast:,.0f} | {general:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
