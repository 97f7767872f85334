"""Clients and curier's own broker over loopback, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

import curier
from curier.broker.options import Options
from tests.client.any_server import overlapping_streams_each_get_a_message_once
from tests.client.servers import on_every_loop
from tests.client.stage import Watch
from tests.net import doors
from tests.waiting import PATIENCE, until

pytestmark = pytest.mark.slow

DOORS = True


def url_of(broker: curier.Broker) -> str:
    return doors.current().url(broker.port)


@pytest.mark.parametrize("version", [3, 4, 5])
@on_every_loop
async def test_every_qos_there_and_back(version: int) -> None:
    async with (
        curier.Broker(listen=[doors.here()]) as broker,
        curier.connect(url_of(broker), client_id="me", version=version) as client,
        client.subscribe("a/#", qos=2) as stream,
    ):
        for qos in (0, 1, 2):
            result = await client.publish(f"a/{qos}", str(qos), qos=qos)
            assert result.reason_code == 0
            message = await stream.get(timeout=PATIENCE)
            assert message == curier.Message(f"a/{qos}", str(qos).encode(), curier.QoS(qos))


@pytest.mark.parametrize("qos", [0, 1, 2])
@on_every_loop
async def test_many_messages_in_order(qos: int) -> None:
    count = 3000
    async with (
        curier.Broker(listen=[doors.here()]) as broker,
        curier.connect(url_of(broker)) as client,
        client.subscribe("a", qos=qos, buffer=count) as stream,
    ):
        pairs = (("a", str(number)) for number in range(count))
        publishing = asyncio.ensure_future(client.publish_many(pairs, qos=qos))
        found = [int((await stream.get(timeout=100)).payload) for _ in range(count)]
        assert await publishing == count
        assert found == list(range(count))
        assert client.statistics.messages_received == count


@on_every_loop
async def test_large_messages() -> None:
    payload = bytes(range(256)) * 8192
    async with (
        curier.Broker(listen=[doors.here()]) as broker,
        curier.connect(url_of(broker)) as client,
        client.subscribe("a", qos=1) as stream,
    ):
        for qos in (0, 1, 2):
            publishing = asyncio.ensure_future(client.publish("a", payload, qos=qos))
            assert (await stream.get(timeout=100)).payload == payload
            await publishing


@on_every_loop
async def test_request_and_serve() -> None:
    async with (
        curier.Broker(listen=[doors.here()]) as broker,
        curier.connect(url_of(broker)) as asker,
        curier.connect(url_of(broker)) as server,
        server.serve("upper") as requests,
    ):

        async def answer() -> None:
            async for request in requests:
                await request.reply(request.payload.upper())

        answering = asyncio.ensure_future(answer())
        asked = [asker.request("upper", f"word {number}", timeout=100) for number in range(50)]
        replies = await asyncio.gather(*asked)
        assert [reply.payload for reply in replies] == [f"WORD {number}".encode() for number in range(50)]
        with pytest.raises(curier.PublishRefused, match="nobody"):
            await asker.request("lower", "x", timeout=100)
        answering.cancel()
        await asyncio.wait([answering])


@on_every_loop
async def test_a_broker_that_restarts_with_its_memory_gone() -> None:
    """Nothing that was accepted is lost, subscriptions are back, and the program notices only if it looks."""
    listener = doors.here()
    broker = curier.Broker(listen=[listener])
    await broker.start()
    again = replace(listener, url=listener.url.replace(":0", f":{broker.port}"))
    reconnect = curier.Reconnect(first=0.05, longest=0.2)
    async with (
        curier.connect(url_of(broker), reconnect=reconnect) as client,
        Watch(client) as watch,
        client.subscribe("a", qos=1) as stream,
    ):
        await client.publish("a", "0", qos=1)
        await broker.stop()
        receipts = [client.publish_nowait("a", str(number), qos=1) for number in range(1, 50)]
        broker = curier.Broker(listen=[again])
        await broker.start()
        await asyncio.gather(*receipts)
        found = [(await stream.get(timeout=100)).payload for _ in range(50)]
        assert found == [str(number).encode() for number in range(50)]
        assert {"ConnectionLost", "Reconnecting", "Connected", "SessionLost"} <= set(watch.kinds())
    await broker.stop()


@on_every_loop
async def test_messages_published_while_the_program_was_away() -> None:
    async with curier.Broker(listen=[doors.here()]) as broker:
        async with curier.connect(url_of(broker), client_id="me", clean_start=False) as client:
            async with client.subscribe("a", qos=2):
                pass
        async with curier.connect(url_of(broker)) as other:
            for number in range(20):
                await other.publish("a", str(number), qos=2)
        async with curier.connect(url_of(broker), client_id="me", clean_start=False) as client:
            await asyncio.sleep(0.05)  # they come before anybody subscribes
            async with client.subscribe("a", qos=2) as stream:
                found = [(await stream.get(timeout=100)).payload for _ in range(20)]
                assert found == [str(number).encode() for number in range(20)]
                await stream.close()
            assert client.statistics.unclaimed == 0
        async with curier.connect(url_of(broker), client_id="me", clean_start=False) as client, Watch(client):
            assert client.statistics.messages_received == 0  # all were acknowledged


@on_every_loop
async def test_shared_subscriptions_divide_the_work() -> None:
    async with (
        curier.Broker(listen=[doors.here()]) as broker,
        curier.connect(url_of(broker)) as client,
        curier.connect(url_of(broker)) as other,
        client.subscribe("$share/workers/job", qos=1) as one,
        other.subscribe("$share/workers/job", qos=1) as two,
    ):
        await client.publish_many((("job", str(number)) for number in range(100)), qos=1)
        found: Counter[bytes] = Counter()

        def all_came() -> bool:
            for stream in (one, two):
                while (message := stream.get_nowait()) is not None:
                    found[message.payload] += 1
            return sum(found.values()) >= 100

        await until(all_came)
        assert set(found.values()) == {1}


@on_every_loop
async def test_a_small_receive_maximum_on_both_sides() -> None:
    options = Options()
    options.receive_maximum = 2
    async with (
        curier.Broker(listen=[doors.here()], options=options) as broker,
        curier.connect(url_of(broker), receive_maximum=1) as client,
        client.subscribe("a", qos=2) as stream,
    ):
        assert client.server_properties.receive_maximum == 2
        publishing = asyncio.ensure_future(
            client.publish_many((("a", str(number)) for number in range(100)), qos=2)
        )
        for number in range(100):
            assert len(stream) <= 1
            assert (await stream.get(timeout=100)).payload == str(number).encode()
        assert await publishing == 100


@on_every_loop
async def test_two_clients_of_one_name() -> None:
    async def live(client: curier.Client) -> None:
        async with client:
            await asyncio.sleep(30)

    async with curier.Broker(listen=[doors.here()]) as broker:
        first = curier.connect(url_of(broker), client_id="me")
        living = asyncio.ensure_future(live(first))
        await until(lambda: first.is_connected)
        async with curier.connect(url_of(broker), client_id="me") as second:
            with pytest.raises(curier.ConnectionLost, match="0x8E"):
                async with first.subscribe("a") as stream:
                    await stream.get(timeout=100)
            assert second.is_connected
        living.cancel()
        await asyncio.wait([living])


@on_every_loop
async def test_streams_that_overlap_each_get_a_message_once() -> None:
    async with curier.Broker(listen=[doors.here()]) as broker:
        await overlapping_streams_each_get_a_message_once(url_of(broker))
