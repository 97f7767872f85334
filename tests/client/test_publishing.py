"""What a client publishes: complete, refused, carried over to another connection, sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import curier
from curier.codec.packets import Puback, Pubcomp, Publish, Pubrec, Pubrel
from curier.types import to_bytes
from tests.client.stage import Stage, Watch, life_of, make_properties, settle, virtual


@pytest.mark.parametrize("qos", [0, 1, 2])
@virtual
async def test_a_publish_is_complete(stage: Stage, qos: int) -> None:
    async with stage.connect() as (client, wire):
        publishing = asyncio.ensure_future(client.publish("a/b", b"x", qos=qos, retain=True))
        publish = await wire.published()
        assert (publish.topic, publish.payload, publish.qos, publish.retain) == ("a/b", b"x", qos, True)
        assert await publishing == curier.PublishResult(0, "")


@virtual
async def test_a_publish_with_qos_2_is_complete_with_pubcomp(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        receipt = client.publish_nowait("a", qos=2)
        publish = await wire.receive(Publish)
        wire.send(Pubrec(publish.packet_id))
        await wire.receive(Pubrel)
        await settle()
        assert not receipt.done()
        with pytest.raises(asyncio.InvalidStateError):
            receipt.result()
        wire.send(Pubcomp(publish.packet_id))
        await receipt
        assert receipt.done()
        await receipt  # as often as one likes


@virtual
async def test_the_reason_code_of_success(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        publishing = asyncio.ensure_future(client.publish("a", qos=1))
        await wire.published(0x10, "nobody")
        assert await publishing == curier.PublishResult(0x10, "nobody")
        publishing = asyncio.ensure_future(client.publish("a", qos=2))
        await wire.published(0x10)
        assert (await publishing).reason_code == 0x10  # which PUBREC said, not PUBCOMP


@pytest.mark.parametrize("qos", [1, 2])
@virtual
async def test_a_refusal(stage: Stage, qos: int) -> None:
    async with stage.connect() as (client, wire):
        publishing = asyncio.ensure_future(client.publish("a", qos=qos))
        await wire.published(0x87, "not yours")
        with pytest.raises(curier.PublishRefused) as caught:
            await publishing
        assert (caught.value.reason_code, caught.value.reason_string) == (0x87, "not yours")


@virtual
async def test_properties(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        client.publish_nowait(
            "a",
            "text",
            message_expiry=60,
            content_type="t",
            response_topic="r",
            correlation_data=b"c",
            user_properties=[("k", "1"), ("k", "2")],
            payload_is_text=True,
        )
        properties = (await wire.receive(Publish)).properties
        assert properties == make_properties(
            payload_format_indicator=1,
            message_expiry_interval=60,
            content_type="t",
            response_topic="r",
            correlation_data=b"c",
            user_properties=[("k", "1"), ("k", "2")],
        )


@pytest.mark.parametrize(
    ("payload", "sent"),
    [
        (b"x", b"x"),
        ("é", b"\xc3\xa9"),
        (None, b""),
        (bytearray(b"y"), b"y"),
        (memoryview(b"abc")[1:], b"bc"),
        (7, b"7"),
        (-1.5, b"-1.5"),
        (2**70, b"1180591620717411303424"),
        (float("nan"), b"nan"),
    ],
)
def test_payloads(payload: Any, sent: bytes) -> None:
    assert to_bytes(payload) == sent


@pytest.mark.parametrize("payload", [True, 1j, {"a": 1}, [1], object()])
def test_what_is_no_payload(payload: Any) -> None:
    with pytest.raises(TypeError, match=type(payload).__name__):
        to_bytes(payload)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a\0b"])
@virtual
async def test_what_is_no_topic(stage: Stage, topic: str) -> None:
    async with stage.connect() as (client, _):
        with pytest.raises(curier.LocalProtocolError):
            await client.publish(topic)


@virtual
async def test_one_write_for_what_is_published_in_one_turn(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        before = wire.writes
        for number in range(50):
            client.publish_nowait(f"a/{number}", qos=number % 3)
        await settle()
        assert wire.writes == before + 1
        assert len(wire.packets) == 50
        for packet in list(wire.packets):
            assert isinstance(packet, Publish)
            if packet.qos:
                wire.send(Puback(packet.packet_id) if packet.qos == 1 else Pubrec(packet.packet_id, 0x80))


@virtual
async def test_a_cancelled_publish_is_delivered(stage: Stage) -> None:
    async with stage.connect(connack={"receive_maximum": 1}) as (client, wire):
        publishing = asyncio.ensure_future(client.publish("a", qos=1))
        publish = await wire.receive(Publish)
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        behind = client.publish_nowait("b", qos=1)
        await settle()
        assert wire.packets == []  # the quota is still taken
        wire.send(Puback(publish.packet_id))
        await wire.published()
        await behind


@pytest.mark.parametrize("qos", [1, 2])
@virtual
async def test_unfinished_publishes_go_on_in_the_session(stage: Stage, qos: int) -> None:
    async with stage.connect() as (client, wire):
        receipts = [client.publish_nowait("a", str(number), qos=qos) for number in range(3)]
        first = await wire.receive(Publish)
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=True)
        again = await second.receive(Publish)
        assert (again.packet_id, again.payload, again.dup) == (first.packet_id, b"0", True)
        await second.receive(Publish)
        await second.receive(Publish)
        for packet in second.log:
            if isinstance(packet, Publish):
                second.send(Puback(packet.packet_id) if qos == 1 else Pubrec(packet.packet_id))
        if qos == 2:
            for _ in range(3):
                second.send(Pubcomp((await second.receive(Pubrel)).packet_id))
        await asyncio.gather(*receipts)


@virtual
async def test_pubrel_goes_on_in_the_session(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        receipt = client.publish_nowait("a", qos=2)
        publish = await wire.receive(Publish)
        wire.send(Pubrec(publish.packet_id))
        await wire.receive(Pubrel)
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=True)
        assert (await second.receive(Pubrel)).packet_id == publish.packet_id
        second.send(Pubcomp(publish.packet_id))
        await receipt


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_unfinished_publishes_go_on_where_the_session_is_gone(stage: Stage, version: int) -> None:
    async with stage.connect(version=version) as (client, wire), Watch(client) as watch:
        one = client.publish_nowait("a/1", qos=1)
        two = client.publish_nowait("a/2", qos=2)
        taken = client.publish_nowait("a/3", qos=2)
        for _ in range(3):
            last = await wire.receive(Publish)
        wire.send(Pubrec(last.packet_id))
        await wire.receive(Pubrel)
        wire.cut()
        await settle()
        behind = client.publish_nowait("a/4", qos=1)
        second = await stage.wire()
        await second.accept(session_present=False)
        for topic in ("a/1", "a/2", "a/4"):
            publish = await second.published()
            assert (publish.topic, publish.dup) == (topic, False)
        await asyncio.gather(one, two, taken, behind)
        assert curier.SessionLost(2) in watch.events


@virtual
async def test_timed_re_sending_before_5(stage: Stage) -> None:
    async with stage.connect(version=4, retry_interval=20, keep_alive=0) as (client, wire):
        began = stage.now
        one = client.publish_nowait("a", qos=1)
        two = client.publish_nowait("b", qos=2)
        first = await wire.receive(Publish)
        second = await wire.receive(Publish)
        wire.send(Pubrec(second.packet_id))
        await wire.receive(Pubrel)
        released, again = await wire.receive(Pubrel), await wire.receive(Publish)
        assert stage.now - began == pytest.approx(20, abs=0.1)
        assert (again.packet_id, again.dup, first.dup) == (first.packet_id, True, False)
        assert released.packet_id == second.packet_id
        wire.send(Puback(again.packet_id), Pubcomp(released.packet_id))
        await asyncio.gather(one, two)
        await asyncio.sleep(100)
        assert wire.packets == []


@virtual
async def test_no_re_sending_in_5(stage: Stage) -> None:
    async with stage.connect(version=5, retry_interval=20, keep_alive=0) as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        publish = await wire.receive(Publish)
        await asyncio.sleep(1000)
        assert wire.packets == []
        wire.send(Puback(publish.packet_id))
        await receipt


@virtual
async def test_a_message_that_expires_while_it_waits(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stage.down["server"] = curier.ConnectionLost("away")
        wire.cut()
        await settle()
        receipt = client.publish_nowait("a", qos=1, message_expiry=10)
        keeps = client.publish_nowait("b", qos=1, message_expiry=10_000)
        await asyncio.sleep(30)
        del stage.down["server"]
        second = await stage.wire()
        await second.accept()
        publish = await second.published()
        assert publish.topic == "b"
        assert publish.properties is not None
        assert publish.properties.message_expiry_interval is not None
        assert publish.properties.message_expiry_interval < 9980
        with pytest.raises(curier.PublishRefused, match="Expiry"):
            await receipt
        await keeps


@pytest.mark.parametrize("qos", [0, 1, 2])
@virtual
async def test_publish_many(stage: Stage, qos: int) -> None:
    async with stage.connect() as (client, wire):
        pairs = ((f"a/{number}", b"x") for number in range(500))
        publishing = asyncio.ensure_future(client.publish_many(pairs, qos=qos, window=10))
        for number in range(500):
            assert (await wire.published()).topic == f"a/{number}"
            assert len(wire.packets) < (10 if qos else 500)
        assert await publishing == 500


@virtual
async def test_publish_many_of_an_async_source(stage: Stage) -> None:
    async def source() -> AsyncIterator[curier.Message | tuple[str, bytes]]:
        yield "a", b"1"
        await asyncio.sleep(5)
        yield curier.Message("b", b"2", curier.QoS(2), retain=True, content_type="t")

    async with stage.connect() as (client, wire):
        publishing = asyncio.ensure_future(client.publish_many(source(), qos=1))
        first, second = await wire.published(), await wire.published()
        assert await publishing == 2
        assert (first.topic, first.qos) == ("a", 1)
        assert (second.topic, second.qos, second.retain) == ("b", 2, True)
        assert second.properties == make_properties(content_type="t")


@virtual
async def test_publish_many_stops_at_a_refusal(stage: Stage) -> None:
    taken = []

    def source() -> Any:
        for number in range(100):
            taken.append(number)
            yield "a", str(number)

    async with stage.connect() as (client, wire):
        publishing = asyncio.ensure_future(client.publish_many(source(), qos=1, window=5))
        await wire.published()
        await wire.published(0x97, "enough")
        with pytest.raises(curier.PublishRefused, match="enough"):
            await publishing
        assert len(taken) < 10
        while wire.packets:
            await wire.published()


@virtual
async def test_a_burst_of_qos_0_lets_others_run(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        ran = 0

        async def other() -> None:
            nonlocal ran
            while True:
                ran += 1
                await asyncio.sleep(0)

        task = asyncio.ensure_future(other())
        for _ in range(1000):
            await client.publish("a")
        task.cancel()
        assert ran >= 10
        assert len(wire.packets) >= 900


@pytest.mark.parametrize("is_connected", [True, False])
@pytest.mark.parametrize("expiry", [-1, 2**32])
@virtual
async def test_an_expiry_that_cannot_be_sent(stage: Stage, expiry: int, is_connected: bool) -> None:
    """It is refused at once: accepted offline, it would end every connection that is to send it."""
    async with stage.connect() as (client, wire):
        if not is_connected:
            wire.cut()
            await settle()
        with pytest.raises(curier.LocalProtocolError, match="message_expiry"):
            client.publish_nowait("a", qos=1, message_expiry=expiry)
        with pytest.raises(curier.LocalProtocolError, match="message_expiry"):
            await client.publish_many([curier.Message("a", b"", message_expiry=expiry)])
        longest = client.publish_nowait("a", qos=1, message_expiry=2**32 - 1)
        if not is_connected:
            wire = await stage.wire()
            await wire.accept()
        properties = (await wire.published()).properties
        assert properties is not None
        assert properties.message_expiry_interval == 2**32 - 1
        await longest


@virtual
async def test_a_window_of_nothing(stage: Stage) -> None:
    async with stage.connect() as (client, _):
        with pytest.raises(curier.ConfigError, match="window"):
            await client.publish_many([("a", b"")], window=0)


@virtual
async def test_nothing_is_sent_again_while_the_network_takes_nothing(stage: Stage) -> None:
    """It would pile up behind what has not even left; when the network takes more, it goes on."""
    async with stage.connect(version=4, retry_interval=20, keep_alive=0) as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        await wire.receive(Publish)
        life_of(client).link.pause_writing()
        await asyncio.sleep(1000)
        assert wire.packets == []
        life_of(client).link.resume_writing()
        assert (await wire.published()).dup
        await receipt
