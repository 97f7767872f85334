"""What a million subscriptions, and a million retained messages, cost the broker core, without a network.

    python -m bench.subscriptions [--subscriptions N ...] [--retained N ...] [--clients N]

The core of the Python that runs this is measured, whole packets in, whole packets out. Subscriptions: bytes
of memory each, by kind of filter; how many a second one core takes; what a PUBLISH costs whose topic is in
the route cache (warm) and whose is not (cold); and how much a client that subscribes and unsubscribes in
a loop slows a publisher. Retained messages: storing and fetching one, and the longest turn meanwhile. All
times are processor time, so that other programs do not matter.
"""

from __future__ import annotations

import argparse
import gc
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable

import curier
from curier.broker.core import BrokerCore
from curier.broker.model import BrokerConnection
from curier.broker.options import Options
from curier.cli.collector import looking_once
from curier.codec.encode import encode
from curier.codec.packets import Connect, Publish, Subscribe, Unsubscribe

SITES = 1000
SAMPLE = 20_000  # topics published to
SAMPLES = 5
BATCH = 100  # messages of a publisher's chunk
FILTERS_A_PACKET = 10


def exact(number: int) -> str:
    return f"site/{number % SITES}/device/{number}/state"


def plus(number: int) -> str:
    return f"site/{number % SITES}/+/{number}/state"


def hash_(number: int) -> str:
    return f"site/{number % SITES}/device/{number}/#"


def mixed(number: int) -> str:
    """Of twenty filters 16 without a wildcard, three with +, one with #."""
    kind = number % 20
    return hash_(number) if kind == 0 else plus(number) if kind < 4 else exact(number)


KINDS: dict[str, Callable[[int], str]] = {"exact": exact, "+": plus, "#": hash_, "mixed": mixed}


class Broker:
    """A core and its clients."""

    def __init__(self) -> None:
        options = Options()
        options.sys_interval = 0.0
        self.core = BrokerCore(options, 0.0)
        self.longest = 0.0  # seconds that a turn took

    def connect(self, client_id: str) -> BrokerConnection:
        connection = self.core.attach("bench", "bench", 0.0)
        self.pass_in(connection, encode(Connect(4, client_id, True, 0), 4))
        return connection

    def pass_in(self, connection: BrokerConnection, data: bytes) -> float:
        """A turn with one chunk, whose output goes nowhere; the seconds it took."""
        begin = time.process_time()
        self.core.receive(connection, data, 1.0)
        self.write(1.0)
        took = time.process_time() - begin
        self.longest = max(self.longest, took)
        return took

    def write(self, now: float) -> list[bytes]:
        out = []
        for connection in self.core.take_dirty():
            data = connection.take_output()
            out.append(data)
            self.core.written(connection, len(data), 0, now)
        return out


def subscribe_all(
    broker: Broker, connections: list[BrokerConnection], kind: Callable[[int], str], count: int
) -> float:
    """Have the clients subscribe in turns; the seconds the core took."""
    took = 0.0
    for first in range(0, count, FILTERS_A_PACKET):
        filters = [(kind(number), 0) for number in range(first, min(first + FILTERS_A_PACKET, count))]
        packet = encode(Subscribe(1, filters), 4)
        took += broker.pass_in(connections[first // FILTERS_A_PACKET % len(connections)], packet)
    return took


def memory(kind: Callable[[int], str], count: int, clients: int) -> float:
    """Bytes for each subscription, its Topic Filter and its place in the session included."""
    broker = Broker()
    connections = [broker.connect(f"c{number}") for number in range(clients)]
    gc.collect()
    tracemalloc.start()
    subscribe_all(broker, connections, kind, count)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / count


def publish(broker: Broker, publisher: BrokerConnection, topics: list[str]) -> float:
    """Microseconds for each of these messages, in chunks."""
    packets = [encode(Publish(topic, b"x" * 64), 4) for topic in topics]
    chunks = [b"".join(packets[start : start + BATCH]) for start in range(0, len(packets), BATCH)]
    return sum([broker.pass_in(publisher, chunk) for chunk in chunks]) / len(topics) * 1e6


def batched(numbers: list[int], count: int) -> list[list[int]]:
    """``count`` lists of the same length."""
    size = len(numbers) // count
    return [numbers[start : start + size] for start in range(0, count * size, size)]


def churn(broker: Broker, publisher: BrokerConnection, topic_filter: str, topics: list[str]) -> float:
    """How many times the cost of publishing there is while another client subscribes and unsubscribes, once
    for each chunk of the publisher; what that client costs itself is not counted.
    """
    packets = [encode(Publish(topic, b"x" * 64), 4) for topic in topics]
    chunk = b"".join(packets * (BATCH // len(topics)))
    churner = broker.connect("churner")
    change = encode(Subscribe(1, [(topic_filter, 0)]), 4) + encode(Unsubscribe(2, [topic_filter]), 4)
    best = [float("inf"), float("inf")]
    for _ in range(5):
        for index, is_disturbed in enumerate((False, True)):
            took = 0.0
            for _ in range(500):
                if is_disturbed:
                    broker.pass_in(churner, change)
                took += broker.pass_in(publisher, chunk)
            best[index] = min(best[index], took)
    return best[1] / best[0]


def subscriptions(count: int, clients: int, seed: int) -> None:
    print(f"{count:,} subscriptions of {clients} clients")
    broker = Broker()
    connections = [broker.connect(f"c{number}") for number in range(clients)]
    broker.longest = 0.0
    took = subscribe_all(broker, connections, mixed, count)
    print(f"  subscribing (mixed): {count / took:,.0f} a second, longest turn {broker.longest * 1e3:.1f} ms")
    generator = random.Random(seed)
    publisher = broker.connect("publisher")
    times = []
    for numbers in batched(generator.sample(range(count), min(SAMPLES * SAMPLE, count)), SAMPLES):
        topics = [exact(number) for number in numbers]
        times.append((publish(broker, publisher, topics), publish(broker, publisher, topics)))
    cold, warm = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"  PUBLISH: cold {cold:.2f} us, warm {warm:.2f} us, one delivery each")
    other, own = exact(count + 1), topics[0]
    for name, topic_filter, used in (
        ("without wildcard, one topic", other, topics[:1]),
        ("'+', one topic", plus(count + 1), topics[:1]),
        ("of the publisher's own topic", own, topics[:1]),
        ("without wildcard, 100 topics", other, topics[:100]),
        ("'+', 100 topics", plus(count + 1), topics[:100]),
    ):
        print(f"  churn, {name}: publishing costs {churn(broker, publisher, topic_filter, used):.2f} times")
    # Last, for it leaves a heap full of holes, in which all that comes later is slower.
    sizes = ", ".join(f"{name} {memory(kind, count, clients):.0f}" for name, kind in KINDS.items())
    print(f"  bytes each: {sizes}")


def acknowledgements(data: bytes) -> bytes:
    """The PUBACKs for the QoS 1 messages in ``data``."""
    out: list[bytes] = []
    pos = 0
    while pos < len(data):
        length = data[pos + 1]
        body = pos + 2
        if length > 127:
            length = (length & 127) | data[body] << 7
            body += 1
        if data[pos] >> 4 == 3 and data[pos] & 2:
            at = body + 2 + (data[body] << 8 | data[body + 1])
            out.append(b"\x40\x02" + data[at : at + 2])
        pos = body + length
    return b"".join(out)


def retained(count: int) -> None:
    broker = Broker()
    publisher = broker.connect("publisher")
    took = 0.0
    for number in range(count):
        took += broker.pass_in(publisher, encode(Publish(exact(number), b"x" * 64, 1, False, True, 1), 4))
    each = took / count * 1e6
    longest = broker.longest * 1e3
    print(f"{count:,} retained messages of 64 bytes")
    print(f"  storing: {each:.2f} us each, longest turn {longest:.1f} ms")
    for qos in (0, 1):
        seconds, got, longest = fetch(broker, f"q{qos}", qos)
        print(
            f"  fetching with '#', QoS {qos}: {seconds / got * 1e6:.2f} us each"
            f" ({got:,}), longest turn {longest * 1e3:.1f} ms"
        )
    gc.collect()
    tracemalloc.start()  # after the times, which it would spoil
    small = Broker()
    publisher = small.connect("publisher")
    sample = min(count, 100_000)
    before = tracemalloc.get_traced_memory()[0]
    for number in range(sample):
        small.pass_in(publisher, encode(Publish(exact(number), b"x" * 64, 0, False, True), 4))
    size = (tracemalloc.get_traced_memory()[0] - before) / sample
    tracemalloc.stop()
    print(f"  {size:.0f} bytes each")


def fetch(broker: Broker, client_id: str, qos: int) -> tuple[float, int, float]:
    """Seconds for all, how many they were, and the longest turn."""
    core = broker.core
    subscriber = broker.connect(client_id)
    sent = core.traffic.publishes_sent
    took = longest = 0.0
    chunk = encode(Subscribe(1, [("#", qos)]), 4)
    while chunk or core.has_more_work():
        begin = time.process_time()
        if core.has_more_work():
            core.continue_work(1.0)
        if chunk:
            core.receive(subscriber, chunk, 1.0)
        data = b"".join(broker.write(1.0))
        turn = time.process_time() - begin
        took += turn
        longest = max(longest, turn)
        chunk = acknowledgements(data)
    return took, core.traffic.publishes_sent - sent, longest


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    counts = [1000, 100_000, 1_000_000]
    parser.add_argument("--subscriptions", type=int, nargs="*", default=counts, metavar="N")
    parser.add_argument("--retained", type=int, nargs="*", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument("--clients", type=int, default=1000, help="that subscribe (1000)")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of topics (1)")
    arguments = parser.parse_args()
    print(f"curier {curier.__version__}, {'compiled' if curier.COMPILED else 'interpreted'}")
    with looking_once():  # as the broker program does
        for count in arguments.subscriptions:
            subscriptions(count, min(arguments.clients, count), arguments.seed)
        for count in arguments.retained:
            retained(count)


if __name__ == "__main__":
    main()
