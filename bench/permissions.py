"""What permissions cost: a message on a known route, a question, a route, reading the rules, changing them.

    python -m bench.permissions [--rules N] [--clients N]
    valgrind --tool=callgrind python -m bench.permissions --lane on|off --messages N

Without ``--lane`` it prints tables, in processor time. With it, it does nothing but pass messages through the
fast lane, for counting instructions: the difference of two numbers of messages is what the further ones cost.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import curier
from bench.broker import BATCH, Run, Scenario
from curier.broker.core import BrokerCore
from curier.broker.judging import Judge, Who
from curier.broker.options import Options
from curier.codec.encode import encode
from curier.codec.packets import Connect, Subscribe
from curier.permissions.reading import read_rules
from curier.permissions.tree import PUBLISH, RECEIVE

ALL = '[[rule]]\nallow = "all"\ntopics = ["bench/#", "u/+/#"]\n'
QUESTIONS = 20_000


def rules_of(text: str) -> Judge:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "acl"
        path.write_text(text)
        return read_rules(path)


def ours(count: int) -> str:
    """A rule for each of so many users, and two for all."""
    users = "".join(
        f'[[rule]]\nusers = "user{n}"\nallow = "all"\ntopics = "site{n % 100}/line{n}/#"\n'
        for n in range(count)
    )
    return f'{users}[[rule]]\nallow = "write"\ntopics = "devices/{{client_id}}/#"\n{ALL}'


def mosquittos(count: int) -> str:
    users = "".join(f"user user{n}\ntopic site{n % 100}/line{n}/#\n" for n in range(count))
    return f"{users}pattern write devices/%c/#\n"


def per_question(judge: Judge, count: int, action: int) -> float:
    """Microseconds, asked about the last user, with all that a denial is told with."""
    rights = judge.rights(Who(f"user{count - 1}", "c1"))
    ask: Callable[[bytes], bool] = (
        rights.may_receive if action == RECEIVE else lambda topic: rights.may_publish(topic, 0, False)
    )
    topics = (
        f"site{(count - 1) % 100}/line{count - 1}/temperature".encode(),
        b"devices/c1/x",
        b"elsewhere/x",
    )
    best = float("inf")
    for _ in range(5):
        begin = time.process_time()
        for _ in range(QUESTIONS // len(topics)):
            for topic in topics:
                ask(topic)
        best = min(best, time.process_time() - begin)
    return best / QUESTIONS * 1e6


def tell_questions(most: int) -> None:
    print("| rules | read in | memory | publish? | receive? |")
    print("|---|---:|---:|---:|---:|")
    for name, make in (("ours", ours), ("Mosquitto's", mosquittos)):
        for count in (10, 1000, most):
            text = make(count)
            begin = time.process_time()
            judge = rules_of(text)
            took = time.process_time() - begin
            publish, receive = (per_question(judge, count, action) for action in (PUBLISH, RECEIVE))
            del judge
            tracemalloc.start()
            kept = rules_of(text)
            size = tracemalloc.get_traced_memory()[0] / 2**20
            tracemalloc.stop()
            del kept
            print(
                f"| {count} {name} | {took:.2f} s | {size:.1f} MiB | {publish:.1f} us | {receive:.1f} us |",
                flush=True,
            )


def fleet(judge: Judge | None, clients: int) -> BrokerCore:
    """So many clients, all subscribed to one topic."""
    options = Options()
    options.sys_interval = 0.0
    options.max_connections = clients + 1
    core = BrokerCore(options, 0.0)
    if judge is not None:
        core.judge_by(judge, 0.0)
    subscribe = encode(Subscribe(1, [("bench/t", 0)]), 4)
    for number in range(clients):
        connection = core.attach("bench", "bench", 0.0)
        core.receive(connection, encode(Connect(4, f"c{number}", True, 0), 4) + subscribe, 0.0)
        core.take_dirty()
        connection.take_output()
    return core


def tell_changes(clients: int) -> None:
    """How long a route takes, and the longest turn of a change of rules."""
    for name, text in (
        ("off", ""),
        ("on", ALL),
        ("on, by client id", ALL.replace("bench/#", "{client_id}/#", 1) + ALL),
    ):
        core = fleet(rules_of(text) if text else None, clients)
        routes = []
        for _ in range(3):
            core.router.forget_all()
            begin = time.process_time()
            core.router.route(b"bench/t")
            routes.append(time.process_time() - begin)
        print(f"{clients} receivers, permissions {name}: a route in {min(routes) * 1e3:.0f} ms", flush=True)
    core = fleet(rules_of(ALL), clients)
    none = rules_of('[[rule]]\nallow = "read"\ntopics = "nothing"\n')
    now, longest, begin = 1.0, 0.0, time.process_time()
    core.judge_by(none, now)
    turns = 0
    while core.next_deadline() <= now + 0.01:
        now = core.next_deadline()
        turn = time.process_time()
        core.deadline_reached(now)
        core.take_effects()
        core.take_dirty()
        longest = max(longest, time.process_time() - turn)
        turns += 1
    left = core.statistics.subscriptions
    took = time.process_time() - begin
    told = f"{took:.2f} s, {turns} turns, the longest {longest * 1e3:.1f} ms"
    print(f"{clients} subscriptions end in {told}; {left} are left")


def lane(is_on: bool, qos: int, messages: int) -> None:
    run = Run(Scenario("", qos, 1, 1), False, rules_of(ALL) if is_on else None)
    for _ in range(messages // BATCH):
        run.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=100_000)
    parser.add_argument("--lane", choices=("on", "off"))
    parser.add_argument("--qos", type=int, default=0)
    parser.add_argument("--messages", type=int, default=100_000)
    arguments = parser.parse_args()
    if arguments.lane is not None:
        lane(arguments.lane == "on", arguments.qos, arguments.messages)
        return
    print(f"curier {curier.__version__}, {'compiled' if curier.COMPILED else 'interpreted'}")
    tell_questions(arguments.rules)
    tell_changes(arguments.clients)


if __name__ == "__main__":
    main()
