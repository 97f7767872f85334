"""What a client receives: to which streams, when it is acknowledged, what is dropped, what comes again."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

import curier
from curier.codec.packets import Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel, Subscribe
from tests.client.stage import Stage, Watch, Wire, make_properties, settle, virtual


async def open_stream(client: curier.Client, wire: Wire, *filters: str, **options: Any) -> curier.Stream:
    """A stream whose subscription stands."""
    stream = client.subscribe(*filters, **options)
    opening = asyncio.ensure_future(stream.open())
    await wire.subscribed()
    await opening
    return stream


async def acks(wire: Wire) -> list[int]:
    """The Packet Identifiers that have been acknowledged since the last call, with PUBACK or PUBREC."""
    await settle()
    found, wire.packets = wire.packets, []
    ids = []
    for packet in found:
        assert isinstance(packet, (Puback, Pubrec)), packet
        ids.append(packet.packet_id)
    return ids


@virtual
async def test_subscribe_receive_unsubscribe(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = client.subscribe("a/+", curier.Subscription("b", curier.QoS(2)), qos=1, no_local=True)
        entering = asyncio.ensure_future(stream.__aenter__())
        subscribe = await wire.subscribed(1, 0)
        assert subscribe.subscriptions == [("a/+", 1 | 4), ("b", 2)]
        assert await entering is stream
        assert stream.granted == (1, 0)
        wire.send(Publish("a/x", b"1"), Publish("c", b""), Publish("b", b"2"))
        assert (await stream.get()).payload == b"1"
        assert (await stream.get()).payload == b"2"
        reading = asyncio.ensure_future(anext(stream, None))
        leaving = asyncio.ensure_future(stream.__aexit__(None, None, None))
        assert (await wire.unsubscribed()).topic_filters == ["a/+", "b"]
        await leaving
        assert await reading is None
        assert client.statistics.unclaimed == 1


@virtual
async def test_all_subscription_options(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = client.subscribe(
            "a",
            qos=2,
            retain_as_published=True,
            retain_handling=curier.RetainHandling.DO_NOT_SEND,
            user_properties=[("k", "v")],
        )
        opening = asyncio.ensure_future(stream.open())
        subscribe = await wire.subscribed()
        await opening
        assert subscribe.subscriptions == [("a", 2 | 8 | 32)]
        assert subscribe.properties == make_properties(user_properties=[("k", "v")])


@virtual
async def test_options_that_3_does_not_have_are_left_out(stage: Stage) -> None:
    async with stage.connect(version=4) as (client, wire):
        stream = client.subscribe("a", qos=1, retain_as_published=True, no_local=True)
        opening = asyncio.ensure_future(stream.open())
        assert (await wire.subscribed()).subscriptions == [("a", 1)]
        await opening


@virtual
async def test_a_message_with_everything(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "#", qos=1)
        properties = make_properties(
            payload_format_indicator=1,
            message_expiry_interval=9,
            content_type="t",
            response_topic="r",
            correlation_data=b"c",
            user_properties=[("k", "1"), ("k", "2")],
            subscription_identifiers=[5],
        )
        wire.send(Publish("a/b", b"x", 1, True, True, 7, properties))
        message = await stream.get()
        expected = curier.Message(
            "a/b",
            b"x",
            curier.QoS(1),
            True,
            payload_is_text=True,
            message_expiry=9,
            content_type="t",
            response_topic="r",
            correlation_data=b"c",
            user_properties=(("k", "1"), ("k", "2")),
            subscription_identifiers=(5,),
        )
        assert message == expected
        assert expected == message
        assert hash(message) == hash(expected)
        assert message.dup
        assert type(pickle.loads(pickle.dumps(message))) is curier.Message
        assert copy.copy(message) == expected
        assert message != curier.Message("a/b")
        with pytest.raises(AttributeError):
            message.topic = "z"  # type: ignore[misc]


@virtual
async def test_refused_subscriptions(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        opening = asyncio.ensure_future(client.subscribe("a", "b", "c").open())
        await wire.subscribed(0, 0x87, 0)
        assert (await wire.unsubscribed()).topic_filters == ["a", "b", "c"]
        with pytest.raises(curier.SubscribeRefused, match=r"b: .*0x87") as caught:
            await opening
        assert (caught.value.reason_code, caught.value.topic_filter) == (0x87, "b")


@pytest.mark.parametrize("topic_filter", ["", "a/#/b", "a+", "$share/x", "$share//a"])
@virtual
async def test_what_is_no_filter(stage: Stage, topic_filter: str) -> None:
    async with stage.connect() as (client, _):
        with pytest.raises(curier.LocalProtocolError):
            client.subscribe(topic_filter)
        with pytest.raises(curier.LocalProtocolError):
            client.subscribe()


@virtual
async def test_what_the_server_does_not_take_is_not_asked_for(stage: Stage) -> None:
    async with stage.connect(connack={"shared_subscription_available": 0}) as (client, wire):
        with pytest.raises(curier.LocalProtocolError, match="Shared"):
            await client.subscribe("$share/g/a").open()
        assert wire.packets == []


@virtual
async def test_cancelled_subscribing_unsubscribes(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        opening = asyncio.ensure_future(client.subscribe("a").open())
        subscribe = await wire.receive(Subscribe)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await wire.unsubscribed()
        wire.send_bytes(b"\x90\x04" + subscribe.packet_id.to_bytes(2, "big") + b"\x00\x00")
        assert client.is_connected


@pytest.mark.parametrize("qos", [1, 2])
@virtual
async def test_acknowledged_when_taken(stage: Stage, qos: int) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=qos)
        wire.send(*[Publish("a", b"", qos, packet_id=number) for number in (5, 6, 7)])
        assert await acks(wire) == []
        await stream.get()
        assert await acks(wire) == [5]
        assert stream.get_nowait() is not None
        await stream.get()
        assert stream.get_nowait() is None
        assert await acks(wire) == [6, 7]
        if qos == 2:
            wire.send(Pubrel(5))
            assert (await wire.receive(Pubcomp)).packet_id == 5


@virtual
async def test_acknowledgements_of_one_chunk_leave_with_one_write(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=1)

        async def read() -> None:
            async for _ in stream:
                pass

        reading = asyncio.ensure_future(read())
        await settle()
        before = wire.writes
        wire.send(*[Publish("a", b"", 1, packet_id=number) for number in range(1, 101)])
        assert await acks(wire) == list(range(1, 101))
        assert wire.writes == before + 1
        reading.cancel()


@virtual
async def test_manual_acknowledgement_in_the_order_of_receiving(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=1, ack="manual")
        wire.send(*[Publish("a", b"", 1, packet_id=number) for number in (1, 2, 3)])
        first, second, third = [await stream.get() for _ in range(3)]
        third.ack()
        second.ack(0x83, "broken")
        assert await acks(wire) == []
        first.ack()
        await settle()
        codes = [packet.reason_code for packet in wire.packets if isinstance(packet, Puback)]
        assert codes == [0, 0x83, 0]
        assert await acks(wire) == [1, 2, 3]
        first.ack()
        assert await acks(wire) == []


@virtual
async def test_overlapping_filters(stage: Stage) -> None:
    async with stage.connect(version=4) as (client, wire):  # for 5.0 see test_overlapping.py
        wide = await open_stream(client, wire, "a/#", qos=1)
        narrow = await open_stream(client, wire, "a/b", "a/+", qos=1)
        wire.send(Publish("a/b", b"1", 1, packet_id=1), Publish("a/b/c", b"2", 1, packet_id=2))
        assert len(wide) == 2
        assert len(narrow) == 1  # though two of its filters match
        await wide.get()
        await wide.get()
        assert await acks(wire) == []  # the other has not taken the first, and order is order
        await narrow.get()
        assert await acks(wire) == [1, 2]


@virtual
async def test_both_manual_streams_have_to_acknowledge(stage: Stage) -> None:
    async with stage.connect(version=4) as (client, wire):
        streams = [await open_stream(client, wire, name, qos=1, ack="manual") for name in ("a/#", "a/b")]
        wire.send(Publish("a/b", b"1", 1, packet_id=1))
        one, two = [await stream.get() for stream in streams]
        one.ack()
        one.ack()
        assert await acks(wire) == []
        two.ack()
        assert await acks(wire) == [1]


@virtual
async def test_shared_subscriptions(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "$share/group/a/+", qos=1)
        wire.send(Publish("a/b", b"1"))
        assert (await stream.get()).topic == "a/b"


@virtual
async def test_one_subscription_for_two_streams(stage: Stage) -> None:
    """The server has one for each filter: with the higher QoS, until the last stream has left."""
    async with stage.connect(version=4) as (client, wire):
        one = await open_stream(client, wire, "a", qos=2)
        opening = asyncio.ensure_future(client.subscribe("a", "b", qos=0).open())
        subscribe = await wire.subscribed()
        assert subscribe.subscriptions == [("a", 2), ("b", 0)]
        two = await opening
        wire.send(Publish("a", b""))
        assert len(one) == len(two) == 1
        await one.close()
        await settle()
        assert wire.packets == []
        closing = asyncio.ensure_future(two.close())
        assert (await wire.unsubscribed()).topic_filters == ["a", "b"]
        await closing


@pytest.mark.parametrize(
    ("overflow", "left"), [("drop_oldest", [b"2", b"3", b"4"]), ("drop_newest", [b"0", b"1", b"2"])]
)
@virtual
async def test_overflow_at_qos_0_is_counted(stage: Stage, overflow: str, left: list[bytes]) -> None:
    async with stage.connect() as (client, wire), Watch(client) as watch:
        stream = await open_stream(client, wire, "a", buffer=3, overflow=overflow)
        wire.send(*[Publish("a", str(number).encode()) for number in range(5)])
        await settle()
        assert stream.dropped == 2
        assert [(await stream.get()).payload for _ in range(3)] == left
        assert [event for event in watch.events if isinstance(event, curier.MessagesDropped)] == [
            curier.MessagesDropped(("a",), 2)
        ]


@virtual
async def test_qos_1_is_never_dropped(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=1, buffer=2, overflow="drop_oldest")
        sent: list[Packet] = [
            Publish("a", str(number).encode(), 1, packet_id=number) for number in range(1, 6)
        ]
        wire.send(*sent, Publish("a", b"0"))
        await settle()
        assert stream.dropped == 1
        assert [(await stream.get()).payload for _ in range(5)] == [b"1", b"2", b"3", b"4", b"5"]


@virtual
async def test_a_cancelled_read_loses_nothing(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a")
        for number in range(20):
            reading = asyncio.ensure_future(stream.get())
            await settle()
            if number % 2:  # the message comes first, the cancellation right behind it
                wire.send(Publish("a", b"x"))
                reading.cancel()
            else:
                reading.cancel()
                wire.send(Publish("a", b"x"))
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert len(stream) == 1
            await stream.get()


@virtual
async def test_a_cancelled_reader_passes_on_its_turn(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a")
        one, two = asyncio.ensure_future(stream.get()), asyncio.ensure_future(stream.get())
        await settle()
        wire.send(Publish("a", b"x"))
        one.cancel()
        assert (await two).payload == b"x"
        with pytest.raises(asyncio.CancelledError):
            await one


@virtual
async def test_a_read_with_a_timeout(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a")
        began = stage.now
        with pytest.raises(TimeoutError):
            await stream.get(timeout=3)
        assert stage.now - began == pytest.approx(3)
        wire.send(Publish("a", b"x"))
        assert (await stream.get(timeout=3)).payload == b"x"


@virtual
async def test_a_stream_opens_when_it_is_read(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = client.subscribe("a")
        readers = [asyncio.ensure_future(stream.get()) for _ in range(2)]
        await wire.subscribed()
        wire.send(Publish("a", b"1"), Publish("a", b"2"))
        assert {(await reader).payload for reader in readers} == {b"1", b"2"}
        assert wire.packets == []  # it has subscribed once


@virtual
async def test_leaving_acknowledges_what_was_not_taken(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=1)
        wire.send(Publish("a", b"1", 1, packet_id=1), Publish("a", b"2", 1, packet_id=2))
        closing = asyncio.ensure_future(stream.close())
        assert (await wire.receive(Puback)).packet_id == 1
        assert (await wire.receive(Puback)).packet_id == 2
        wire.send(Publish("a", b"3", 1, packet_id=3))  # was on its way
        await wire.unsubscribed()
        await closing
        assert await acks(wire) == [3]
        with pytest.raises(curier.ConnectionLost, match="closed"):
            await stream.get()
        await stream.close()


@virtual
async def test_subscriptions_are_made_anew_for_a_lost_session(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        one = await open_stream(client, wire, "a", qos=1)
        await open_stream(client, wire, "b", "c")
        receipt = client.publish_nowait("p", qos=1)
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=False)
        assert (await second.subscribed()).subscriptions == [("a", 1)]  # before anything is published
        assert (await second.subscribed()).subscriptions == [("b", 0), ("c", 0)]
        await second.published()
        await receipt
        second.send(Publish("a", b"again"))
        assert (await one.get()).payload == b"again"


@virtual
async def test_subscriptions_of_a_session_that_is_present_stand(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a")
        opening = asyncio.ensure_future(client.subscribe("b").open())
        await wire.receive(Subscribe)
        wire.cut()  # before it is answered
        second = await stage.wire()
        await second.accept(session_present=True)
        assert (await second.subscribed()).subscriptions == [("b", 0)]
        await opening
        second.send(Publish("a", b"x"))
        await stream.get()
        assert second.packets == []


@virtual
async def test_an_interrupted_restoration_is_taken_up_again(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        await open_stream(client, wire, "a")
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=False)
        await second.receive(Subscribe)
        second.cut()
        third = await stage.wire()
        await third.accept(session_present=True)  # the new session, which may not know the subscription
        assert (await third.subscribed()).subscriptions == [("a", 0)]


@virtual
async def test_a_subscription_that_is_refused_later(stage: Stage) -> None:
    async with stage.connect() as (client, wire), Watch(client) as watch:
        stream = await open_stream(client, wire, "a")
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=False)
        await second.subscribed(0x87)
        with pytest.raises(curier.SubscribeRefused, match="a: "):
            await stream.get()
        await settle()
        assert curier.SubscriptionLost("a", 0x87, "") in watch.events


@virtual
async def test_unsubscribing_that_was_cut_off_is_done_later(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a")
        closing = asyncio.ensure_future(stream.close())
        await settle()
        wire.cut()
        await closing
        second = await stage.wire()
        await second.accept(session_present=True)
        assert (await second.unsubscribed()).topic_filters == ["a"]


@pytest.mark.parametrize("qos", [1, 2])
@virtual
async def test_sent_again_and_not_delivered_twice(stage: Stage, qos: int) -> None:
    """Messages that were not acknowledged when the connection ended come again; the streams have them."""
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=qos)
        wire.send(*[Publish("a", str(number).encode(), qos, packet_id=number) for number in (1, 2, 3)])
        wire.cut()
        await settle()
        assert (await stream.get()).payload == b"1"  # taken while there is no connection
        second = await stage.wire()
        await second.accept(session_present=True)
        second.send(
            *[Publish("a", str(number).encode(), qos, True, packet_id=number) for number in (1, 2, 3)]
        )
        assert await acks(second) == [1]
        assert len(stream) == 2
        assert (await stream.get()).payload == b"2"
        assert (await stream.get()).payload == b"3"
        assert await acks(second) == [2, 3]


@virtual
async def test_an_identifier_used_again_is_another_message(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=1)
        wire.send(Publish("a", b"old", 1, packet_id=1))
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=False)
        await second.subscribed()
        second.send(Publish("a", b"new", 1, packet_id=1))
        assert [(await stream.get()).payload for _ in range(2)] == [b"old", b"new"]
        assert await acks(second) == [1]


@virtual
async def test_a_manual_acknowledgement_after_its_connection(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=2, ack="manual")
        wire.send(Publish("a", b"x", 2, packet_id=4))
        message = await stream.get()
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=True)
        second.send(Publish("a", b"x", 2, True, packet_id=4))
        assert await acks(second) == []
        message.ack()
        assert await acks(second) == [4]
        assert len(stream) == 0


@virtual
async def test_a_resumed_session_brings_messages_before_anyone_subscribes(stage: Stage) -> None:
    settings = {"client_id": "me", "clean_start": False, "session_present": True}
    async with stage.connect(**settings) as (client, wire):
        wire.send(Publish("a", b"1", 1, packet_id=1), Publish("b", b"2", 1, packet_id=2))
        assert await acks(wire) == []
        stream = await open_stream(client, wire, "a", qos=1)
        wire.send(Publish("a", b"3", 1, packet_id=3))
        assert [(await stream.get()).payload for _ in range(2)] == [b"1", b"3"]
        assert await acks(wire) == [1]  # the other still waits for somebody
        other = await open_stream(client, wire, "b", qos=1)
        assert (await other.get()).payload == b"2"
        assert await acks(wire) == [2, 3]


@virtual
async def test_what_nobody_claims_is_let_go(stage: Stage) -> None:
    settings = {"client_id": "me", "clean_start": False, "session_present": True, "claim_timeout": 5}
    async with stage.connect(**settings) as (client, wire), Watch(client) as watch:
        wire.send(Publish("a", b"1", 1, packet_id=1))
        await asyncio.sleep(4)
        assert wire.packets == []
        await asyncio.sleep(2)
        assert await acks(wire) == [1]
        assert client.statistics.unclaimed == 1
        assert curier.MessagesDropped((), 1) in watch.events


@virtual
async def test_leaving_a_stream_of_a_session_that_outlives_the_program(stage: Stage) -> None:
    async with stage.connect(client_id="me", clean_start=False) as (client, wire):
        stream = client.subscribe("a", qos=1)
        entering = asyncio.ensure_future(stream.__aenter__())
        await wire.subscribed()
        await entering
        wire.send(Publish("a", b"1", 1, packet_id=1), Publish("a", b"2", 1, packet_id=2))
        await stream.get()
        assert await acks(wire) == [1]
        await stream.__aexit__(None, None, None)
        wire.send(Publish("a", b"3", 1, packet_id=3))
        assert await acks(wire) == []  # neither unsubscribed nor acknowledged
        again = await open_stream(client, wire, "a", qos=1)
        assert [(await again.get()).payload for _ in range(2)] == [b"2", b"3"]
        assert await acks(wire) == [2, 3]


@virtual
async def test_a_stream_ends_with_the_client(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a")
        wire.send(Publish("a", b"1"))
        reading = asyncio.ensure_future(client.subscribe("b").get())
        await wire.subscribed()
    assert (await stream.get()).payload == b"1"  # what was there can be read
    with pytest.raises(curier.ConnectionLost, match="closed"):
        await stream.get()
    with pytest.raises(curier.ConnectionLost, match="closed"):
        await reading


@virtual
async def test_receive_maximum_is_enforced_and_a_slow_reader_harms_nobody(stage: Stage) -> None:
    async with stage.connect(receive_maximum=3) as (client, wire):
        stream = await open_stream(client, wire, "a", qos=1)
        wire.send(*[Publish("a", b"", 1, packet_id=number) for number in (1, 2, 3)])
        publishing = asyncio.ensure_future(client.publish("b", qos=1))
        await wire.published()
        await publishing  # though nobody reads
        await stream.get()
        assert await acks(wire) == [1]
        wire.send(Publish("a", b"", 1, packet_id=4), Publish("a", b"", 1, packet_id=5))  # one too many
        await wire.closed()


@virtual
async def test_garbage_ends_the_connection_and_not_the_client(stage: Stage) -> None:
    async with stage.connect() as (client, wire), Watch(client) as watch:
        wire.send_bytes(b"\xff\xff\xff\xff\xff\xff")
        await wire.closed()
        second = await stage.wire()
        await second.accept()
        await settle()
        assert client.is_connected
        assert watch.kinds()[0] == "ConnectionLost"


@virtual
async def test_many_subscriptions_are_asked_for_little_by_little(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        opening = [asyncio.ensure_future(client.subscribe(f"a/{number}").open()) for number in range(1000)]
        await settle()
        assert len(wire.packets) == 256
        for _ in range(1000):
            await wire.subscribed()
        await asyncio.gather(*opening)
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=False)
        for _ in range(1000):
            await second.subscribed()
