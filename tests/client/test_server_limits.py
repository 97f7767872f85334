"""A client publishes no more than its server takes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import curier
from curier.codec.packets import Publish
from tests.client.stage import Stage, settle, virtual


@virtual
async def test_receive_maximum_of_the_server(stage: Stage) -> None:
    async with stage.connect(connack={"receive_maximum": 3}) as (client, wire):
        receipts = [client.publish_nowait("a", str(number), qos=1) for number in range(8)]
        await settle()
        assert len(wire.packets) == 3
        seen = []
        for _ in range(8):
            seen.append((await wire.published()).payload)
            await settle()
            assert len(wire.packets) <= 3
        assert seen == [str(number).encode() for number in range(8)]
        assert all(receipt.done() for receipt in receipts)


@pytest.mark.parametrize(
    ("settings", "qos", "most"),
    [
        ({"version": 4}, 2, 20),
        ({"version": 4, "max_inflight": 10}, 2, 10),
        ({"version": 4, "max_inflight": 20}, 2, 20),
        ({"version": 4, "max_inflight": 30}, 1, 30),
        ({"version": 4, "max_inflight": 30}, 2, 19),
        ({"version": 3, "max_inflight": 21}, 2, 19),
        ({"version": 5}, 2, 50),
    ],
)
@virtual
async def test_how_many_are_under_way(stage: Stage, settings: dict[str, Any], qos: int, most: int) -> None:
    async with stage.connect(**settings) as (client, wire):
        for _ in range(50):
            client.publish_nowait("a", qos=qos)
        await settle()
        assert len(wire.packets) == most
        for _ in range(50):
            await wire.published()
            await settle()
            assert len(wire.packets) <= most
        assert client.statistics.unfinished == 0


@virtual
async def test_those_at_qos_2_are_fewer_and_the_order_stays(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Before 5.0: servers are about that lose more. Told once, however often it connects."""
    caplog.set_level("INFO", "curier.client")
    async with stage.connect(version=4, max_inflight=30, reconnect=curier.Reconnect(first=0.1)) as (
        client,
        wire,
    ):
        for number in range(25):
            client.publish_nowait(str(number), qos=2)
        client.publish_nowait("one", qos=1)
        await settle()
        assert len(wire.packets) == 19
        wire.cut()
        wire = await stage.wire()
        await wire.accept()
        await settle()
        assert len(wire.packets) == 19
        seen = []
        for _ in range(26):
            seen.append((await wire.published()).topic)
            await settle()
            assert len([packet for packet in wire.packets if getattr(packet, "qos", 0) == 2]) <= 19
        assert seen == [*map(str, range(25)), "one"]  # [MQTT-4.6.0-1]
        assert client.statistics.unfinished == 0
    assert [line for line in caplog.messages if "max_inflight" in line] == [
        "mqtt://server:1883: before MQTT 5.0 at most 19 messages with QoS 2 are unfinished at a time, not 30 "
        "(max_inflight): there are servers that lose what is more"
    ]


@virtual
async def test_maximum_packet_size_of_the_server(stage: Stage) -> None:
    async with stage.connect(connack={"maximum_packet_size": 50}) as (client, wire):
        with pytest.raises(curier.PublishRefused, match="50") as caught:
            await client.publish("a", b"x" * 60, qos=1)
        assert caught.value.reason_code == 0x95
        await settle()
        assert wire.packets == []
        publishing = asyncio.ensure_future(client.publish("a", b"x" * 30, qos=1))
        await wire.published()
        await publishing


@virtual
async def test_maximum_qos_and_retain_of_the_server(stage: Stage) -> None:
    async with stage.connect(connack={"maximum_qos": 0, "retain_available": 0}) as (client, _):
        with pytest.raises(curier.PublishRefused) as caught:
            await client.publish("a", qos=1)
        assert caught.value.reason_code == 0x9B
        with pytest.raises(curier.PublishRefused) as caught:
            client.publish_nowait("a", retain=True)
        assert caught.value.reason_code == 0x9A
        assert client.server_properties.maximum_qos == 0


@virtual
async def test_topic_aliases_are_chosen(stage: Stage) -> None:
    async with stage.connect(connack={"topic_alias_maximum": 1}) as (client, wire):
        for _ in range(2):
            await client.publish("a/topic/that/is/long/enough", b"x")
            await client.publish("another/topic/that/is/long/enough", b"y")
            await client.publish("a/short/topic", b"z")
        await settle()
        found = []
        for packet in wire.packets:
            assert isinstance(packet, Publish)
            alias = packet.properties.topic_alias if packet.properties is not None else None
            found.append((packet.topic, alias))
        one, two, short = "a/topic/that/is/long/enough", "another/topic/that/is/long/enough", "a/short/topic"
        assert found == [(one, 1), (two, None), (short, None), ("", 1), (two, None), (short, None)]
