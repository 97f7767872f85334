"""Mosquitto's bridges, which connect a Mosquitto to this broker: in, out, both, and over a kill of either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import curier
from tests.interop.mosquitto_process import MosquittoProcess
from tests.interop.process import BrokerProcess
from tests.ports import free_port
from tests.waiting import PATIENCE

pytestmark = pytest.mark.slow

TIMEOUT = 2 * PATIENCE
NUMBERS = [b"%d" % number for number in range(20)]
STATE = "$SYS/broker/connection/hall/state"

VERSIONS = pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv50", ""])
"""What ``bridge_protocol_version`` says; the last has everything by default."""


def bridge(folder: Path, remote: int, version: str) -> MosquittoProcess:
    """A Mosquitto with a bridge to the broker at ``remote``."""
    return MosquittoProcess(
        folder,
        "connection hall",
        f"address 127.0.0.1:{remote}",
        "remote_clientid hall",
        "cleansession false",
        "restart_timeout 1",
        "topic out/# out 1",
        "topic in/# in 1",
        "topic both/# both 1",
        *([f"bridge_protocol_version {version}"] if version else []),
    )


def kill(broker: BrokerProcess) -> None:
    broker.popen.kill()
    broker.popen.wait(TIMEOUT)
    broker.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[], BrokerProcess]]:
    """Starts the broker of a test, again on the same port and data; the test ends it."""
    port = free_port()
    started: list[BrokerProcess] = []

    def start() -> BrokerProcess:
        started.append(BrokerProcess(tmp_path, port=port))
        return started[-1]

    yield start
    for broker in started:
        broker.close()


@contextmanager
def watching(
    port: int, *filters: str, **settings: Any
) -> Iterator[tuple[curier.SyncClient, list[curier.SyncStream]]]:
    """A client there, with a stream for each filter."""
    with curier.connect_sync(f"mqtt://127.0.0.1:{port}", **settings) as client:
        streams = [client.subscribe(topic_filter, qos=1) for topic_filter in filters]
        for stream in streams:
            stream.__enter__()
        yield client, streams


def wait_for_bridge(port: int) -> None:
    """Until the bridge says at the broker that it is connected."""
    with watching(port, STATE) as (_, (state,)):
        while state.get(timeout=TIMEOUT).payload != b"1":
            pass


def payloads(stream: curier.SyncStream, last: bytes) -> list[bytes]:
    """What has come, until ``last``."""
    found: list[bytes] = []
    while not found or found[-1] != last:
        found.append(stream.get(timeout=TIMEOUT).payload)
    return found


@VERSIONS
def test_a_bridge_carries_messages_in_out_and_both_ways_once(tmp_path: Path, version: str) -> None:
    broker = BrokerProcess(tmp_path, memory=True)
    with closing(broker), closing(bridge(tmp_path, broker.port, version)) as mosquitto:
        wait_for_bridge(broker.port)
        with (
            watching(broker.port, "out/#", "both/#") as (here, (out, both_here)),
            watching(mosquitto.port, "in/#", "both/#") as (there, (into, both_there)),
        ):
            for number in NUMBERS:
                there.publish("out/a", number, qos=1)
                here.publish("in/a", number, qos=1)
                here.publish("both/here", b"here %b" % number, qos=1)
                there.publish("both/there", b"there %b" % number, qos=1)
            assert payloads(out, NUMBERS[-1]) == NUMBERS
            assert payloads(into, NUMBERS[-1]) == NUMBERS
            for stream in (both_here, both_there):
                seen = [stream.get(timeout=TIMEOUT) for _ in range(40)]
                for side in ("here", "there"):
                    expected = [f"{side} {number}".encode() for number in range(20)]
                    assert [one.payload for one in seen if one.topic == f"both/{side}"] == expected
            # Had anything come back, it would be there before what is published now.
            here.publish("both/last", b"last", qos=1)
            there.publish("both/last", b"last too", qos=1)
            for stream in (both_here, both_there):
                assert sorted(stream.get(timeout=TIMEOUT).payload for _ in range(2)) == [b"last", b"last too"]
            here.publish("in/kept", b"kept", qos=1, retain=True)
            payloads(into, b"kept")
            with watching(mosquitto.port, "in/kept") as (_, (late,)):
                kept = late.get(timeout=TIMEOUT)
            assert (kept.payload, kept.retain) == (b"kept", True)
        mosquitto.kill()
        with watching(broker.port, STATE) as (_, (state,)):
            payloads(state, b"0")
        broker.stop()


@pytest.mark.parametrize("version", ["mqttv311", "mqttv50"])
def test_nothing_is_lost_when_the_broker_is_killed(
    tmp_path: Path, start: Callable[[], BrokerProcess], version: str
) -> None:
    broker = start()
    stays: dict[str, Any] = {"client_id": "watch", "session_expiry": 3600, "clean_start": False}
    with closing(bridge(tmp_path, broker.port, version)) as mosquitto:
        wait_for_bridge(broker.port)
        with (
            watching(broker.port, "out/#", **stays) as (_, (out,)),
            watching(mosquitto.port) as (there, _),
        ):
            kill(broker)
            for number in NUMBERS:
                there.publish("out/a", number, qos=1)
            broker = start()
            assert payloads(out, NUMBERS[-1]) == NUMBERS
    broker.stop()


def test_nothing_is_lost_when_both_sides_are_killed(
    tmp_path: Path, start: Callable[[], BrokerProcess]
) -> None:
    """With 3.1.1: Mosquitto 2.0 asks for no Session Expiry Interval for its bridges of 5.0, so that nothing
    is kept for them while they are away [MQTT-3.1.2-23].
    """
    broker = start()
    with closing(bridge(tmp_path, broker.port, "mqttv311")) as mosquitto:
        wait_for_bridge(broker.port)
        mosquitto.kill()
        with watching(broker.port) as (here, _):
            for number in NUMBERS:
                here.publish("in/a", number, qos=1)
        kill(broker)
        mosquitto.start()
        with watching(mosquitto.port, "in/#") as (_, (into,)):
            broker = start()
            assert payloads(into, NUMBERS[-1]) == NUMBERS
    broker.stop()
