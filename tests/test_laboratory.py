"""A broker that breaks its own connections on purpose: at every kind of listener, loudly, only when asked."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from click.testing import CliRunner

import curier
from curier.cli import main
from curier.codec.encode import encode
from curier.codec.packets import Connect, Pingreq, Publish
from curier.laboratory import Laboratory
from curier.testing import Faults
from curier.trace.events import FAULT, Happening, Packet
from tests.net import doors
from tests.waiting import PATIENCE, until

PING = encode(Pingreq(), 5)
CONNACK_TYPE = 0x20


def broker_of(name: str, *rules: str, use_reactor: bool = True) -> curier.Broker:
    broker = curier.Broker(doors.DOORS[name].listener(), use_reactor=use_reactor)
    broker.lab = Laboratory(Faults(*rules))
    return broker


@pytest.mark.parametrize("use_reactor", [True, False])
@pytest.mark.parametrize("name", ["tcp", "wss"])
async def test_rules_are_obeyed_and_told(
    name: str, use_reactor: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    rules = ("lose 1st PUBACK to me", "cut after 1st PUBACK to me", "delay 2nd PUBLISH from me by 20ms")
    async with broker_of(name, *rules, use_reactor=use_reactor) as broker:
        door = doors.DOORS[name]
        url = door.url(broker.port)
        tls = doors.trusting() if name == "wss" else None
        reconnect = curier.Reconnect(first=0.01)
        async with (
            curier.connect(url, tls=tls, client_id="witness") as witness,
            witness.subscribe("a", qos=1) as seen,
            curier.connect(url, tls=tls, client_id="me", reconnect=reconnect) as me,
        ):
            async with asyncio.timeout(PATIENCE):
                await me.publish("a", b"x", qos=1)
                payloads = [(await anext(aiter(seen))).payload for _ in range(2)]
            assert payloads == [b"x", b"x"]
    told = [record.getMessage() for record in caplog.records if record.name == "curier.lab"]
    assert told[0].startswith(
        "LABORATORY: this broker breaks its own connections on purpose, by 3 rules: lose"
    )
    assert [line.partition(", by")[0] for line in told[1:]] == [
        "LABORATORY: me: PUBACK id 1: lost",
        "LABORATORY: me: PUBACK id 1: cut after",
        "LABORATORY: me: PUBLISH (DUP) id 1: delayed by 0.02 s",
    ]


async def test_what_is_held_back_is_neither_lost_nor_doubled_when_it_goes_on() -> None:
    broker = broker_of("tcp", "stop reading after CONNECT from me")
    async with broker:
        assert broker.lab is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(encode(Connect(4, "me"), 4) + PING * 3)
        assert await reader.readexactly(4) == b"\x20\x02\x00\x00"
        writer.write(PING * 2)
        await until(lambda: bool(broker.lab and broker.lab.faults.fired))
        broker.lab.faults.clear()
        assert await reader.readexactly(10) == b"\xd0\x00" * 5
        writer.close()


async def test_what_was_lost_is_lost_in_the_trace() -> None:
    async with broker_of("tcp", "lose 1st PINGREQ", "lose 2nd PINGRESP") as broker:
        trace = broker.trace()
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(encode(Connect(4, "me"), 4) + PING * 3)
        assert await reader.readexactly(6) == b"\x20\x02\x00\x00" + b"\xd0\x00"
        await until(lambda: len(broker.lab.faults.fired) == 2 if broker.lab else False)
        packets = [one for one in trace.take() if isinstance(one, Packet)]
        assert [one.data[0] >> 4 for one in packets if one.lost] == [12, 13]
        assert [one.data[0] >> 4 for one in packets if not one.lost] == [1, 2, 12, 13, 12]
        writer.close()


async def test_an_answer_in_the_brokers_place_and_a_refusal() -> None:
    async with broker_of(
        "tcp", "answer PUBLISH from me with 0x97", "answer CONNECT from you with 0x88"
    ) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        trace = broker.trace(client_id="me")
        async with curier.connect(url, client_id="me") as me:
            with pytest.raises(curier.PublishRefused) as refused:
                await me.publish("a", b"x", qos=1)
            assert refused.value.reason_code == 0x97
        faults = [one for one in trace.take() if isinstance(one, Happening) and one.kind == FAULT]
        assert [(one.client_id, one.topic, one.wire and one.wire.version) for one in faults] == [
            ("me", "a", 5)
        ]
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(encode(Connect(5, "you"), 5))
        assert (await reader.read(-1))[:4] == b"\x20\x03\x00\x88"
        writer.close()


async def test_too_much_that_is_held_back_ends_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curier.laboratory.MOST_HELD", 100_000)
    async with broker_of("tcp", "stop reading after CONNECT from me") as broker:
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(encode(Connect(4, "me"), 4))
        await reader.readexactly(4)
        writer.write(encode(Publish("a", bytes(60_000)), 4) * 2)
        assert await reader.read(-1) == b""
        writer.close()


async def test_a_broker_that_nobody_asked_has_none() -> None:
    async with curier.Broker("tcp://127.0.0.1:0") as broker:
        assert broker.lab is None
        reader, writer = await asyncio.open_connection("127.0.0.1", broker.port)
        writer.write(encode(Connect(5, "me"), 5))
        assert (await reader.read(1))[0] == CONNACK_TYPE
        writer.close()


def test_a_wrong_rule_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text('rules = ["lose PUBAK"]\n')
    result = CliRunner().invoke(
        main, ["broker", "--memory", "--listen", "tcp://127.0.0.1:0", "--lab", str(file)]
    )
    assert result.exit_code != 0
    assert "did you mean 'PUBACK'?" in str(result.exception) + result.output
