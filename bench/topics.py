"""What the trees of ``curier.topics`` cost: nanoseconds of processor time per operation and bytes per entry.

Bytes are those of the structure itself, without the Topic Filter or Topic Name, the key and the value. The
build that is measured is the one that Python imports: put ``src`` or a compiled build on PYTHONPATH.

    PYTHONPATH=src python bench/topics.py --entries 100000 1000000
"""

from __future__ import annotations

import argparse
import gc
import random
import time
import tracemalloc
from collections.abc import Callable

from curier.topics import table as table_module
from curier.topics.retained import RetainedTree
from curier.topics.table import SubscriptionTable
from curier.topics.tree import Subscriber, SubscriptionTree

SITES = 1000
SAMPLE = 20_000


def device(number: int) -> bytes:
    return b"site/%d/device/%d" % (number % SITES, number)


def exact(number: int) -> bytes:
    return device(number) + b"/state"


def plus(number: int) -> bytes:
    return device(number) + b"/+"


def plus_inside(number: int) -> bytes:
    return b"site/%d/+/%d/state" % (number % SITES, number)


def hash_(number: int) -> bytes:
    return device(number) + b"/#"


def mixed(number: int) -> bytes:
    """Of ten filters eight without a wildcard, one with + and one with #."""
    kind = number % 10
    return plus(number) if kind == 0 else hash_(number) if kind == 1 else exact(number)


def one_filter(_number: int) -> bytes:
    return b"site/+/alarm"


SUBSCRIPTIONS: dict[str, Callable[[int], bytes]] = {
    "exact": exact,
    "plus": plus,
    "plus-inside": plus_inside,
    "hash": hash_,
    "mixed": mixed,
    "one-filter": one_filter,
}


def flat(number: int) -> bytes:
    return b"flat/%d" % number


RETAINED: dict[str, Callable[[int], bytes]] = {"flat": flat, "deep": exact}


class Stopwatch:
    """Nanoseconds of processor time per operation of the piece of work inside."""

    def __init__(self, operations: int) -> None:
        self.operations = operations
        self.ns = 0.0

    def __enter__(self) -> Stopwatch:
        gc.collect()
        gc.disable()
        self.start = time.process_time_ns()
        return self

    def __exit__(self, *_: object) -> None:
        self.ns = (time.process_time_ns() - self.start) / self.operations
        gc.enable()


def subscriptions(entries: int, name: str, seed: int, in_tree: bool) -> None:
    make = SUBSCRIPTIONS[name]
    filters = [make(number) for number in range(entries)]
    subscribers = [Subscriber(key) for key in range(entries)]
    generator = random.Random(seed)
    topics = [exact(generator.randrange(entries)) for _ in range(SAMPLE)]
    tree: SubscriptionTree[Subscriber] | SubscriptionTable[Subscriber]
    tree = SubscriptionTree() if in_tree else SubscriptionTable()
    with Stopwatch(entries) as adding:
        for subscriber, topic_filter in zip(subscribers, filters, strict=True):
            tree.add(topic_filter, subscriber)
    found = 0
    with Stopwatch(SAMPLE) as matching:
        for topic in topics:
            found += len(tree.match(topic))
    pairs = list(enumerate(filters))
    generator.shuffle(pairs)
    with Stopwatch(entries) as removing:
        for key, topic_filter in pairs:
            tree.remove(topic_filter, key)
    del pairs
    gc.collect()
    tracemalloc.start()
    for subscriber, topic_filter in zip(subscribers, filters, strict=True):
        tree.add(topic_filter, subscriber)
    size = tracemalloc.get_traced_memory()[0] / entries
    tracemalloc.stop()
    print(
        f"{entries:>9} {name:<12} {adding.ns:>7.0f} {matching.ns:>7.0f} {removing.ns:>7.0f} {size:>7.0f}"
        f"   {found / SAMPLE:.2f} found per match"
    )


def retained(entries: int, name: str, seed: int) -> None:
    topics = [RETAINED[name](number) for number in range(entries)]
    value = object()
    tree: RetainedTree[object] = RetainedTree()
    with Stopwatch(entries) as setting:
        for topic in topics:
            tree.set(topic, value)
    generator = random.Random(seed)
    order = topics[:]
    generator.shuffle(order)
    with Stopwatch(entries) as getting:
        for topic in order:
            tree.get(topic)
    walk = tree.walk(b"#")
    longest = 0
    with Stopwatch(entries) as walking:
        while not walk.done:
            start = time.process_time_ns()
            walk.next(100)
            longest = max(longest, time.process_time_ns() - start)
    with Stopwatch(entries) as removing:
        for topic in order:
            tree.remove(topic)
    del order
    gc.collect()
    tracemalloc.start()
    for topic in topics:
        tree.set(topic, value)
    size = tracemalloc.get_traced_memory()[0] / entries
    tracemalloc.stop()
    print(
        f"{entries:>9} {name:<12} {setting.ns:>7.0f} {getting.ns:>7.0f} {removing.ns:>7.0f} {size:>7.0f}"
        f"   walk: {walking.ns:.0f} a value, next(100) at most {longest / 1000:.0f} us"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--entries", type=int, nargs="+", default=[100_000, 1_000_000], metavar="N")
    parser.add_argument("--seed", type=int, default=1, help="of the order of look-ups (default: 1)")
    parser.add_argument("--tree", action="store_true", help="all filters in the tree of levels, no table")
    parser.add_argument("--only", nargs="+", choices=[*SUBSCRIPTIONS, *RETAINED], help="some of the shapes")
    arguments = parser.parse_args()
    chosen = arguments.only or [*SUBSCRIPTIONS, *RETAINED]
    form = "interpreted" if str(table_module.__file__).endswith(".py") else "compiled"
    print(f"{form}, from {table_module.__file__}\n")
    print(f"{'entries':>9} {'subscribe':<12} {'add ns':>7} {'match':>7} {'remove':>7} {'bytes':>7}")
    for entries in arguments.entries:
        for name in (each for each in SUBSCRIPTIONS if each in chosen):
            subscriptions(entries, name, arguments.seed, arguments.tree)
    print(f"\n{'entries':>9} {'retained':<12} {'set ns':>7} {'get':>7} {'remove':>7} {'bytes':>7}")
    for entries in arguments.entries:
        for name in (each for each in RETAINED if each in chosen):
            retained(entries, name, arguments.seed)


if __name__ == "__main__":
    main()
