"""Our proxy between other people's clients and Debian's Mosquitto: they notice nothing, but what rules do."""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from curier.faults.line import Faults
from curier.faults.rules import PACKET_TYPES
from curier.proxy.proxy import Proxy, settings_for
from curier.trace.events import FAULT, Event, Happening, Packet
from tests.conftest import require_peer
from tests.interop.mosquitto_process import MosquittoProcess

NAMES = {number: name for name, number in PACKET_TYPES.items()}


@asynccontextmanager
async def before_mosquitto(folder: Path, *rules: str) -> AsyncIterator[tuple[Proxy, list[Event]]]:
    broker = MosquittoProcess(folder)
    events: list[Event] = []
    settings = settings_for("tcp://127.0.0.1:0", f"tcp://127.0.0.1:{broker.port}")
    try:
        async with Proxy(settings, faults=Faults(*rules), tell=events.append) as proxy:
            yield proxy, events
    finally:
        broker.close()


def words(events: list[Event]) -> list[str]:
    """The packets of a recording, ``>`` to the broker."""
    return [
        f"{'>' if one.to_server else '<'}{NAMES[one.data[0] >> 4]}{' lost' if one.lost else ''}"
        for one in events
        if isinstance(one, Packet)
    ]


@pytest.mark.parametrize("version", ["311", "5"])
async def test_mosquitto_pub_publishes_through_it(version: str, tmp_path: Path) -> None:
    command = [require_peer("mosquitto_pub"), "-V", version, "-q", "2", "-t", "a/b", "-m", "hello"]
    async with before_mosquitto(tmp_path) as (proxy, events):
        process = await asyncio.create_subprocess_exec(
            *command, "-h", "127.0.0.1", "-p", str(proxy.port), stderr=subprocess.PIPE
        )
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (0, b"")
        assert words(events) == [
            ">CONNECT",
            "<CONNACK",
            ">PUBLISH",
            "<PUBREC",
            ">PUBREL",
            "<PUBCOMP",
            ">DISCONNECT",
        ]


async def test_paho_sends_again_what_a_lost_puback_left_open(tmp_path: Path) -> None:
    """It does so when it connects again, which a cut has it do: DUP, and acknowledged then."""
    rules = ("lose 1st PUBACK to me", "cut after 1st PUBACK to me")
    async with before_mosquitto(tmp_path, *rules) as (proxy, events):
        published, connected = threading.Event(), threading.Event()
        client = paho.Client(CallbackAPIVersion.VERSION2, "me", clean_session=False)
        client.reconnect_delay_set(1, 1)
        client.on_publish = lambda *_: published.set()
        client.on_connect = lambda *_: connected.set()
        client.connect("127.0.0.1", proxy.port)
        client.loop_start()
        try:
            assert await asyncio.to_thread(connected.wait, 40)
            client.publish("a/b", b"x", qos=1)
            assert await asyncio.to_thread(published.wait, 40)
        finally:
            client.disconnect()
            client.loop_stop()
        seen = words(events)
        assert seen[:4] == [">CONNECT", "<CONNACK", ">PUBLISH", "<PUBACK lost"]
        assert seen[4:8] == [">CONNECT", "<CONNACK", ">PUBLISH", "<PUBACK"]
        publishes = [one.data[0] for one in events if isinstance(one, Packet) and one.data[0] >> 4 == 3]
        assert publishes == [0x32, 0x3A]
        whys = [one.why for one in events if isinstance(one, Happening) and one.kind == FAULT]
        assert [why.partition(":")[0] for why in whys] == ["PUBACK id 1", "PUBACK id 1"]
