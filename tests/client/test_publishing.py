"""What a client publishes: complete, refused, waiting, carried over, within what the server takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import curier
from curier.codec.packets import Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel
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


@virtual
async def test_queued_while_offline_and_sent_in_order(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        wire.cut()
        await settle()
        receipts = [client.publish_nowait(f"a/{number}", qos=number % 3) for number in range(6)]
        assert not any(receipt.done() for receipt in receipts)
        second = await stage.wire()
        await second.accept()
        for number in range(6):
            assert (await second.receive(Publish)).topic == f"a/{number}"
        answers: list[Packet] = []
        for packet in second.log:
            if isinstance(packet, Publish) and packet.qos:
                kind = Puback if packet.qos == 1 else Pubrec
                answers.append(kind(packet.packet_id))
        second.send(*answers)
        for _ in range(2):
            second.send(Pubcomp((await second.receive(Pubrel)).packet_id))
        await asyncio.gather(*receipts)


@virtual
async def test_the_queue_is_bounded_in_messages(stage: Stage) -> None:
    async with stage.connect(offline_messages=2, linger=0) as (client, wire):
        wire.cut()
        await settle()
        client.publish_nowait("a", qos=1)
        client.publish_nowait("a", qos=0)
        with pytest.raises(curier.QueueFull, match="offline_messages"):
            client.publish_nowait("a", qos=1)
        waiting = asyncio.ensure_future(client.publish("a/3"))  # which is patient
        second = await stage.wire()
        assert not waiting.done()
        await second.accept()
        await second.published()
        await second.published()
        assert (await second.published()).topic == "a/3"
        await waiting


@virtual
async def test_who_awaits_waits_for_room_in_order(stage: Stage) -> None:
    settings: dict[str, Any] = {"offline_messages": 3, "connack": {"receive_maximum": 2}}
    async with stage.connect(**settings) as (client, wire):
        waiting = [asyncio.ensure_future(client.publish(f"a/{number}", qos=1)) for number in range(50)]
        await settle()
        assert len(life_of(client).link.connection.client_session.outgoing.queue) == 3
        waiting[20].cancel()
        late = asyncio.ensure_future(client.publish("late", qos=1))
        seen = [(await wire.published()).topic for _ in range(50)]
        assert seen == [*(f"a/{number}" for number in range(50) if number != 20), "late"]
        assert (await late).reason_code == 0
        waiting.pop(20)
        assert {(await one).reason_code for one in waiting} == {0}


@virtual
async def test_more_than_ever_fits_waits_until_nothing_else_does(stage: Stage) -> None:
    async with stage.connect(offline_bytes=100, connack={"receive_maximum": 1}) as (client, wire):
        client.publish_nowait("a", b"x" * 50, qos=1)
        client.publish_nowait("a", b"x" * 50, qos=1)
        large = asyncio.ensure_future(client.publish("b", b"x" * 500, qos=1))
        assert [(await wire.published()).topic for _ in range(3)] == ["a", "a", "b"]
        await large


@virtual
async def test_a_message_is_withdrawn_while_it_has_not_begun(stage: Stage) -> None:
    settings: dict[str, Any] = {"connack": {"receive_maximum": 1}, "offline_messages": 3}
    async with stage.connect(**settings) as (client, wire):
        under_way, next_one, last = [client.publish_nowait(f"a/{n}", qos=1) for n in range(3)]
        waiting = [asyncio.ensure_future(client.publish(f"b/{n}", qos=1)) for n in range(2)]
        await settle()
        assert client.statistics.unfinished == 4
        assert not under_way.withdraw()
        assert next_one.withdraw()
        assert not next_one.withdraw()
        with pytest.raises(curier.PublishWithdrawn):
            await next_one
        assert client.statistics.unfinished == 3
        await settle()
        assert client.statistics.unfinished == 4  # there was room for another
        assert [(await wire.published()).topic for _ in range(4)] == ["a/0", "a/2", "b/0", "b/1"]
        await asyncio.gather(last, *waiting)
        assert not last.withdraw()
        assert client.statistics.unfinished == 0
        assert not client.publish_nowait("c").withdraw()


@virtual
async def test_what_waits_again_for_a_new_session_has_begun(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        sent = client.publish_nowait("a", qos=1)
        await wire.receive(Publish)
        wire.cut()
        await settle()
        waits = client.publish_nowait("b", qos=0)
        assert (sent.withdraw(), waits.withdraw()) == (False, True)
        second = await stage.wire()
        await second.accept(session_present=False)
        assert (await second.published()).topic == "a"
        await sent


@virtual
async def test_the_queue_is_bounded_in_bytes(stage: Stage) -> None:
    async with stage.connect(offline_bytes=100, linger=0, connack={"receive_maximum": 1}) as (client, _):
        client.publish_nowait("a", qos=1)  # takes the quota; the others wait behind it
        client.publish_nowait("a", b"x" * 60, qos=1)
        with pytest.raises(curier.QueueFull, match="offline_bytes"):
            client.publish_nowait("a", b"x" * 60, qos=1)


@virtual
async def test_offline_raise(stage: Stage) -> None:
    async with stage.connect(offline="raise") as (client, wire):
        wire.cut()
        await settle()
        with pytest.raises(curier.ConnectionLost, match="no connection"):
            await client.publish("a", qos=1)


@virtual
async def test_offline_wait(stage: Stage) -> None:
    async with stage.connect(offline="wait") as (client, wire):
        wire.cut()
        await settle()
        with pytest.raises(curier.QueueFull, match="await publish"):
            client.publish_nowait("a")
        waiting = [asyncio.ensure_future(client.publish(f"a/{number}", qos=1)) for number in range(5)]
        waiting.append(asyncio.ensure_future(client.publish("a/5")))
        await settle()
        waiting[1].cancel()
        second = await stage.wire()
        await second.accept()
        seen = [(await second.published()).topic for _ in range(5)]
        assert seen == ["a/0", "a/2", "a/3", "a/4", "a/5"]
        assert [type(result) for result in await asyncio.gather(*waiting, return_exceptions=True)] == [
            curier.PublishResult,
            asyncio.CancelledError,
            *[curier.PublishResult] * 4,
        ]


@virtual
async def test_offline_wait_waits_for_room_as_well(stage: Stage) -> None:
    settings: dict[str, Any] = {"offline": "wait", "offline_messages": 1, "connack": {"receive_maximum": 1}}
    async with stage.connect(**settings) as (client, wire):
        waiting = [asyncio.ensure_future(client.publish(f"a/{number}", qos=1)) for number in range(6)]
        for number in range(6):
            await settle()
            assert len(wire.packets) == 1
            assert len(life_of(client).link.connection.client_session.outgoing.queue) <= 1
            assert (await wire.published()).topic == f"a/{number}"
        await asyncio.gather(*waiting)


@virtual
async def test_what_waits_ends_with_the_client(stage: Stage) -> None:
    async with stage.connect(offline="wait") as (client, wire):
        wire.cut()
        await settle()
        waiting = asyncio.ensure_future(client.publish("a"))
        await settle()
    with pytest.raises(curier.ConnectionLost, match="closed"):
        await waiting


@virtual
async def test_a_slow_network_makes_publish_wait(stage: Stage) -> None:
    async with stage.connect(offline_bytes=1000) as (client, wire):
        life_of(client).link.pause_writing()
        wire.stuck_bytes = 900
        waiting = asyncio.ensure_future(client.publish("a", b"x"))
        await settle()
        assert not waiting.done()
        client.publish_nowait("a", b"y" * 50)
        with pytest.raises(curier.QueueFull):
            client.publish_nowait("a", b"y" * 200)
        wire.stuck_bytes = 0
        life_of(client).link.resume_writing()
        await waiting


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


@pytest.mark.parametrize("offline", ["queue", "wait", "raise"])
@virtual
async def test_where_nothing_may_wait_what_need_not_is_sent(stage: Stage, offline: str) -> None:
    async with stage.connect(offline=offline, offline_messages=0, offline_bytes=0) as (client, wire):
        for qos in (0, 1):
            publishing = asyncio.ensure_future(client.publish("a", b"x", qos=qos))
            await wire.published()
            await publishing
        life_of(client).link.pause_writing()
        waiting = [asyncio.ensure_future(client.publish("a", str(number))) for number in range(3)]
        await settle()
        assert not any(one.done() for one in waiting)
        waiting.pop(0).cancel()
        await settle()
        life_of(client).link.resume_writing()
        await asyncio.gather(*waiting)
        assert [(await wire.receive(Publish)).payload for _ in range(2)] == [b"1", b"2"]


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
