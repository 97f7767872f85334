"""``curier bench`` against a real broker, and against one that makes every mistake it should find."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

import curier
from curier.cli import main
from curier.cli.bench import bench as command
from curier.codec.properties import Properties
from curier.loadgen import SCENARIOS, Traffic
from tests.cli.meddler import Meddle, Meddler
from tests.test_docs import ROOT, rows
from tests.waiting import in_longer, wait_until


class Ran:
    """What a command printed, and its exit code."""

    def __init__(self, arguments: tuple[object, ...]) -> None:
        done = CliRunner().invoke(main, ["bench", *map(str, arguments)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        self.code = done.exit_code
        self.out = done.stdout
        self.err = done.stderr

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def bench(*arguments: object) -> Ran:
    return Ran(arguments)


@pytest.fixture
def broker() -> Iterator[curier.Broker]:
    """curier itself, in a thread."""
    ready = threading.Event()
    found: list[curier.Broker] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
            found.append(broker)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(100)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


@pytest.fixture
def url(broker: curier.Broker) -> str:
    return f"tcp://127.0.0.1:{broker.port}"


COUNTS = {
    "pub": (300, 0),
    "pubsub": (300, 300),
    "fanout": (300, 900),
    "fanin": (300, 300),
    "pairs": (300, 300),
    "rr": (300, 300),
}
CLIENTS = {
    "fanout": ("--subscribers", 3),
    "fanin": ("--publishers", 7),
    "pairs": ("--publishers", 7),
}


LIKE = ("--topics", 1, "--spread", 0)
"""Messages that are alike, which are made and compared many at a time."""


class TestScenarios:
    @pytest.mark.parametrize("version", ["3.1.1", "5.0"])
    @pytest.mark.parametrize("qos", [0, 1, 2])
    @pytest.mark.parametrize("scenario", COUNTS)
    def test_every_message_arrives(self, url: str, scenario: str, qos: int, version: str) -> None:
        published, delivered = COUNTS[scenario]
        ran = bench(
            scenario, url, "--json", "--messages", published, "--qos", qos, "--mqtt", version,
            *CLIENTS.get(scenario, ()),
        )  # fmt: skip
        found = ran.json
        assert ran.code == 0, found
        assert (found["published"], found["delivered"]) == (published, delivered)
        assert found["acknowledged"] == (published if qos else 0)
        assert found["checks"] == {
            "received": delivered, "lost": 0, "doubled": 0, "reordered": 0, "corrupted": 0,
        }  # fmt: skip
        assert found["ok"] is True
        assert found["errors"] == []
        assert (found["latency_us"] is None) == (scenario == "pub")
        assert (found["ack_latency_us"] is None) == (qos == 0)

    def test_many_to_many(self, url: str) -> None:
        ran = bench(
            "pubsub", url, "--json", "--publishers", 3, "--subscribers", 4, "--messages", 3001,
            "--qos", 1, *LIKE,
        )  # fmt: skip
        assert ran.json["checks"]["received"] == 4 * 3001
        assert ran.code == 0

    @pytest.mark.parametrize("options", [("--mqtt", "5.0", "--qos", 1), ("--shared",), ("--qos", 2)])
    def test_a_fleet(self, broker: curier.Broker, url: str, options: tuple[object, ...]) -> None:
        ran = bench(
            "pubsub", url, "--json", "--publishers", 3, "--topics", 7, "--spread", 300, "--retain",
            "--messages", 500, *options,
        )  # fmt: skip
        assert ran.json["checks"]["received"] == ran.json["delivered"] == 500
        assert ran.code == 0, ran.json
        assert not broker.core.retained.may_match(b"curier-bench/#")

    def test_messages_are_mixed_where_nobody_says_otherwise(self, url: str) -> None:
        ran = bench("fanin", url, "--publishers", 2, "--messages", 300)
        assert "2 to 1, 64 to 464 bytes, 100 topics each\n" in ran.out
        found = bench("fanin", url, "--json", "--publishers", 2, "--messages", 300, "--payload", 100).json
        assert (found["payload_bytes"], found["spread_bytes"], found["topics"]) == (100, 0, 100)
        assert "1 to 1, 64 bytes\n" in bench("rr", url, "--messages", 3).out

    @pytest.mark.parametrize("version", ["3.1.1", "5.0"])
    def test_sessions_that_are_kept_are_removed(
        self, broker: curier.Broker, url: str, version: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = ("--json", "--kept", "--mqtt", version, "--qos", 1, "--messages", 200, "--publishers", 2)
        assert bench("pairs", url, *options).code == 0
        wait_until(lambda: not broker.core.sessions)
        with monkeypatch.context() as context:
            context.setattr(Traffic, "_forget_sessions", lambda self, target: None)
            assert bench("pairs", url, *options).code == 0
        wait_until(lambda: len(broker.core.sessions) == 2)

    def test_topic_aliases(self, url: str) -> None:
        options = ("--json", "--mqtt", "5.0", "--aliases", "--publishers", 2, "--messages", 300, "--qos", 1)
        for topics in (1, 3, 70):  # the broker takes less than 70
            ran = bench("fanin", url, *options, "--topics", topics)
            assert ran.code == 0, ran.json
            assert ran.json["checks"]["received"] == 300

    def test_a_shared_subscription_gets_each_message_once(self, url: str) -> None:
        ran = bench(
            "pubsub", url, "--json", "--shared", "--publishers", 3, "--subscribers", 4,
            "--messages", 900, *LIKE,
        )  # fmt: skip
        assert ran.json["checks"]["received"] == ran.json["delivered"] == 900
        assert ran.code == 0

    def test_large_messages(self, url: str) -> None:
        ran = bench("pairs", url, "--json", "--publishers", 2, "--payload", "300 KiB", "--messages", 20)
        assert ran.json["checks"]["received"] == 20
        assert ran.code == 0

    def test_a_rate(self, url: str) -> None:
        found = bench("pairs", url, "--json", "--publishers", 3, "--rate", 2000, "--messages", 500).json
        assert found["checks"]["received"] == 500
        assert found["lateness_us"] is not None
        assert found["seconds"] >= 0.24  # they were not sent before they were due

    def test_it_stops_by_itself(self, url: str) -> None:
        found = bench("pubsub", url, "--json", "--seconds", 0.3, "--warmup", 0.1).json
        assert found["ok"]
        assert found["published"] < found["checks"]["received"]  # the warm-up is checked, not counted

    def test_connect(self, url: str) -> None:
        ran = bench("connect", url, "--json", "--connections", 150, "--hold", 0.1)
        assert ran.code == 0
        assert ran.json["connections"] == 150
        assert ran.json["connect_latency_us"]["p50"] > 0

    def test_connect_at_a_rate(self, url: str) -> None:
        ran = bench("connect", url, "--json", "--connections", 31, "--rate", 100)
        assert ran.json["connections"] == 31
        assert ran.json["seconds"] >= 0.3  # the first one comes at once

    def test_sub_checks_what_pub_sends(self, url: str) -> None:
        program = [sys.executable, "-m", "curier", "bench", "sub", url, "--json", "--messages", "1000"]
        program += ["--topic", "my/test", "--seconds", "40", "--qos", "1"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as other:
            # Nobody knows when it has subscribed; what it has not seen from its beginning on is not lost.
            def has_it_all() -> bool:
                options = ("--messages", 400, "--publishers", 2, "--topic", "my/test", "--qos", 1)
                assert bench("pub", url, *options).code == 0
                return other.poll() is not None

            wait_until(has_it_all)
            out, _ = other.communicate()
        found = json.loads(out)
        assert other.returncode == 0
        assert found["checks"]["received"] >= 1000
        assert found["foreign"] == 0
        assert found["latency_us"]["p50"] > 0

    def test_this_process(self, url: str) -> None:
        """The broker is in a thread of it."""
        found = bench("pubsub", url, "--json", "--messages", 5000, "--pid", os.getpid()).json
        if sys.platform == "linux":
            assert found["broker"]["cpu_s"] > 0
            assert found["broker"]["rss_bytes"] > 1 << 20
            assert found["broker"]["cpu_us_per_message"] == pytest.approx(
                found["broker"]["cpu_s"] * 1e6 / 10_000, rel=0.01
            )
        else:
            assert found["broker"] is None


def at(which: int, instead: Callable[[bytes], list[bytes]]) -> Meddle:
    """Do something else with one message."""
    return lambda number, packet: instead(packet) if number == which else [packet]


def flipped(offset: int) -> Callable[[bytes], list[bytes]]:
    """The packet with a bit turned over; ``offset`` may count from the end."""

    def flip(packet: bytes) -> list[bytes]:
        damaged = bytearray(packet)
        damaged[offset] ^= 0x01
        return [bytes(damaged)]

    return flip


def swapped(which: int) -> Meddle:
    held: list[bytes] = []

    def meddle(number: int, packet: bytes) -> list[bytes]:
        if number == which:
            held[:] = [packet]
            return []
        return [packet, held.pop()] if held and number == which + 1 else [packet]

    return meddle


LAST = 1999
FAULTS = {
    "the first is lost": (at(0, lambda packet: []), {"lost": 1}),
    "one is lost": (at(700, lambda packet: []), {"lost": 1}),
    "the last is lost": (at(LAST, lambda packet: []), {"lost": 1}),
    "every tenth is lost": (lambda number, packet: [packet] if number % 10 else [], {"lost": 200}),
    "one comes twice": (at(700, lambda packet: [packet, packet]), {"doubled": 1}),
    "the last comes twice": (at(LAST, lambda packet: [packet, packet]), {"doubled": 1}),
    "two change places": (swapped(700), {"reordered": 1}),
    "the end of the payload": (at(700, flipped(-1)), {"corrupted": 1, "lost": 1}),
    "the check": (at(700, flipped(-33)), {"corrupted": 1, "lost": 1}),
    "the number": (at(700, flipped(-37)), {"corrupted": 1, "lost": 1}),
    "the time": (at(700, flipped(-56)), {"corrupted": 1, "lost": 1}),
    "the topic": (at(700, flipped(4)), {"corrupted": 1, "lost": 1}),
    "the retain flag": (at(700, flipped(0)), {"corrupted": 1, "lost": 1}),
}


def patiently(attempt: Callable[[float], Ran], holds: Callable[[Ran], bool]) -> Ran:
    """What a command says with ``--patience``, which a busy machine may exhaust before its time."""
    return in_longer(attempt, lambda ran: bool(ran.out) and holds(ran), (0.2, 2.0, 20.0))


def mistakes(ran: Ran) -> dict[str, int]:
    return {name: count for name, count in ran.json["checks"].items() if count and name != "received"}


class TestMistakes:
    @pytest.mark.parametrize("how", [("0", *LIKE), ("1", *LIKE), ("2", *LIKE), ("1",)])
    @pytest.mark.parametrize("fault", FAULTS)
    def test_it_finds(self, fault: str, how: tuple[object, ...]) -> None:
        meddle, expected = FAULTS[fault]

        def attempt(seconds: float) -> Ran:
            with Meddler(meddle) as broker:
                words = ("--messages", LAST + 1, "--patience", seconds, "--qos", *how)
                return bench("pubsub", broker.url, "--json", *words)

        ran = patiently(attempt, lambda ran: mistakes(ran) == expected and not ran.json["errors"])
        assert mistakes(ran) == expected
        assert ran.json["errors"] == []
        assert ran.code == 1

    def test_faults_are_told_by_topic(self) -> None:
        def attempt(seconds: float) -> Ran:
            with Meddler(at(5, lambda packet: [])) as broker:
                words = ("--messages", 10, "--topic", "a/b", "--patience", seconds)
                return bench("pubsub", broker.url, *words, *LIKE)

        told = "checked      9 messages: 1 lost\n  a/b/0: 9 received, 1 lost\n"
        ran = patiently(attempt, lambda ran: told in ran.out)
        assert told in ran.out
        assert ran.code == 1

    def test_an_honest_broker(self) -> None:
        with Meddler() as broker:
            ran = bench("pubsub", broker.url, "--qos", 2, "--messages", 2000)
        assert "checked      2,000 messages: all well" in ran.out
        assert ran.code == 0

    def test_a_shared_subscription_that_is_not_shared(self) -> None:
        with Meddler() as broker:
            ran = bench("pubsub", broker.url, "--json", "--shared", "--subscribers", 2, "--messages", 100)
        assert broker.filters[0].startswith("$share/")
        assert ran.json["checks"]["doubled"] == 100
        assert ran.code == 1

    def test_one_message_at_a_time_that_does_not_come(self) -> None:
        def attempt(seconds: float) -> Ran:
            with Meddler(at(5, lambda packet: [])) as broker:
                return bench("rr", broker.url, "--json", "--messages", 10, "--patience", seconds)

        ran = patiently(attempt, lambda ran: ran.json["stalls"] == 1 and not ran.json["errors"])
        assert ran.json["published"] == 10
        assert ran.json["stalls"] == 1
        assert ran.json["checks"]["lost"] == 1

    def test_messages_of_others(self) -> None:
        def meddle(number: int, packet: bytes) -> list[bytes]:
            return [b"\x30\x05\x00\x01xhi", packet]

        with Meddler(meddle) as broker:
            program = [sys.executable, "-m", "curier", "bench", "sub", broker.url, "--messages", "20"]
            with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as other:

                def has_it_all() -> bool:
                    bench("pub", broker.url, "--messages", 10)
                    return other.poll() is not None

                wait_until(has_it_all)
                out, _ = other.communicate()
        assert "messages that no `curier bench` has sent" in out
        assert other.returncode == 0


class TestBrokersThatSayNo:
    def test_no_broker(self) -> None:
        ran = bench("pubsub", "tcp://127.0.0.1:1")
        assert ran.code == 1
        assert ran.err == "Error: no broker at 127.0.0.1:1: Connection refused\n"

    def test_a_wrong_password(self) -> None:
        with Meddler() as broker:
            broker.connack = 4
            ran = bench("pubsub", f"mqtt://ana:se%20cret@127.0.0.1:{broker.port}")
        assert ran.code == 1
        assert "the user name or password is wrong" in ran.err
        assert "cret" not in ran.err + ran.out
        assert (broker.connects[0].username, broker.connects[0].password) == ("ana", b"se cret")

    def test_a_broker_that_knows_only_3_1_1(self) -> None:
        with Meddler() as broker:
            broker.answer = b"\x20\x02\x00\x01"
            ran = bench("pubsub", broker.url, "--mqtt", "5.0")
        assert ran.code == 1
        assert "the broker does not speak MQTT 5.0" in ran.err

    def test_the_password_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CURIER_PASSWORD", "hidden")
        with Meddler() as broker:
            bench("pub", broker.url, "--messages", 1, "--username", "ana")
        assert (broker.connects[0].username, broker.connects[0].password) == ("ana", b"hidden")

    def test_a_subscription_that_is_refused(self) -> None:
        with Meddler() as broker:
            broker.suback = 0x80
            ran = bench("pubsub", broker.url)
        assert ran.code == 1
        assert "refused with Reason Code 0x80 (Unspecified error): the subscription" in ran.err

    def test_a_lower_qos_than_asked_for(self) -> None:
        with Meddler() as broker:
            broker.suback = 0
            ran = bench("pubsub", broker.url, "--qos", 1)
        assert "QoS 0 is all it grants" in ran.err

    def test_limits_of_a_5_0_broker(self) -> None:
        with Meddler() as broker:
            broker.properties = Properties()
            broker.properties.maximum_qos = 1
            ran = bench("pubsub", broker.url, "--qos", 2, "--mqtt", "5.0")
            assert (ran.code, ran.err) == (2, "Error: the broker takes QoS 1 at most\n")
            broker.properties.maximum_packet_size = 100
            ran = bench("pubsub", broker.url, "--payload", 100, "--mqtt", "5.0")
            assert (ran.code, ran.err) == (2, "Error: the broker takes packets of 100 bytes at most\n")

    @pytest.mark.parametrize("qos", [1, 2])
    def test_messages_that_are_refused(self, qos: int) -> None:
        with Meddler() as broker:
            broker.puback = 0x97
            ran = bench("pub", broker.url, "--json", "--messages", 10, "--mqtt", "5.0", "--qos", qos)
        assert ran.json["refused"] == 10
        assert ran.json["acknowledged"] == 10
        assert ran.code == 1

    def test_no_acknowledgements(self) -> None:
        def attempt(seconds: float) -> Ran:
            with Meddler() as broker:
                broker.acknowledges = False
                words = ("--qos", 1, "--patience", seconds, "--messages", 500)
                return bench("pubsub", broker.url, "--json", *words)

        ran = patiently(attempt, lambda ran: "acknowledges nothing" in str(ran.json["errors"]))
        assert ran.code == 1
        assert "acknowledges nothing" in ran.json["errors"][0]
        assert "100 messages" in ran.json["errors"][1]

    def test_no_answer_to_a_ping(self) -> None:
        def attempt(seconds: float) -> Ran:
            with Meddler() as broker:
                broker.pongs = False
                return bench("pub", broker.url, "--json", "--patience", seconds, "--messages", 500)

        ran = patiently(attempt, lambda ran: "PINGREQ" in str(ran.json["errors"]))
        assert ran.code == 1
        assert "PINGREQ" in ran.json["errors"][0]

    def test_a_lost_connection(self) -> None:
        with Meddler() as broker:
            broker.closes_after = 50
            ran = bench("pubsub", broker.url, "--json", "--messages", 100_000, "--patience", 30)
        assert ran.code == 1
        assert "-p0: " in ran.json["errors"][0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("pubsub", "--payload", 31), "it takes from 32 to"),
        (("pairs", "--publishers", 2, "--subscribers", 3), "as many publishers as subscribers"),
        (("pub", "--subscribers", 1), "pub has no subscribers"),
        (("sub", "--publishers", 1), "sub has no publishers"),
        (("fanin", "--publishers", 0), "fanin needs a publisher"),
        (("fanout", "--subscribers", 0), "fanout needs a subscriber"),
        (("rr", "--shared"), "a Shared Subscription is for"),
        (("pubsub", "--inflight", 0), "expected 1 to 65000"),
        (("pubsub", "--outstanding", 0), "outstanding is 0"),
        (("pubsub", "--rate", 0), "expected a number above 0"),
        (("pubsub", "--topic", "a/#"), "not the beginning of a Topic Name"),
        (("pubsub", "tls://host"), "did you mean mqtts://?"),
        (("pubsub", "tcp://host/x"), "takes nothing after the port"),
        (("pubsub", "tcp://host:99999"), "expected a port of 1 to 65535"),
        (("pubsub", "--password", "x"), "without a user name"),
        (("pubsub", "--pid", 2**22 + 1), "there is no process 4194305"),
        (("dance",), "is not one of"),
    ],
)
def test_wrong_usage(arguments: tuple[object, ...], said: str) -> None:
    ran = bench(*arguments)
    assert ran.code == 2
    assert said in ran.err
    assert ran.out == ""


def test_an_url_that_is_wrong_does_not_show_the_password() -> None:
    assert "secret" not in bench("pubsub", "tls://ana:secret@host").err


def test_the_options_are_described_with_their_defaults() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    told = {}
    for names, default, _ in rows(page, "## curier bench"):
        for name in re.findall(r"`(--[\w-]+)`", names):
            told[name] = default.strip("`")
    options = {param.opts[0]: param for param in command.params if isinstance(param, click.Option)}
    assert set(told) == set(options)
    for name, param in options.items():
        if param.show_default:
            assert told[name] == str(param.default)


def test_the_scenarios_are_described_with_their_clients() -> None:
    page = (ROOT / "docs" / "bench.md").read_text()
    told = [row[:3] for row in rows(page, "## A first run")]
    assert told == [
        [f"`{one.name}`", str(one.publishers), str(one.subscribers)]
        if one.name != "connect"
        else ["`connect`", "", ""]
        for one in SCENARIOS.values()
    ]
    for one in SCENARIOS.values():
        assert re.search(
            rf"^ *{one.name} +({one.publishers}, {one.subscribers}|--connections)", command.help or "", re.M
        )


def test_a_machine_without_proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("curier.loadgen.process.PROC", tmp_path)
    monkeypatch.setattr("curier.loadgen.work.PROC", tmp_path)
    with Meddler() as broker:
        ran = bench("pubsub", broker.url, "--messages", 10, "--pid", os.getpid())
    assert ran.code == 0
    assert ran.out.endswith("\nbroker       CPU time and memory are not available here\n")


class TestInterrupted:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_it_gives_what_was_measured(self, number: int) -> None:
        with Meddler() as broker:
            program = [sys.executable, "-m", "curier", "bench", "pubsub", broker.url, "--json", "--qos", "1"]
            with subprocess.Popen(
                program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                assert broker.has_messages.wait(100)
                process.send_signal(number)
                out, err = process.communicate()
        found = json.loads(out)
        assert err == ""
        assert process.returncode == 0
        assert found["interrupted"] is True
        assert found["checks"]["received"] == found["published"] > 0
        assert found["checks"]["lost"] == 0

    def test_a_progress_bar_on_a_terminal(self) -> None:
        with Meddler() as broker:
            master, slave = pty.openpty()
            program = [sys.executable, "-m", "curier", "bench", "pubsub", broker.url, "--rate", "100"]
            with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=slave, text=True) as process:
                os.close(slave)
                said = b""
                while b"% publishing, " not in said:
                    said += os.read(master, 4096)
                process.send_signal(signal.SIGINT)
                out, _ = process.communicate()
            os.close(master)
        assert b"[" in said
        assert ", interrupted\n" in out
        assert process.returncode == 0
