"""What waits to be read: nothing is lost unasked, memory is bounded, what holds the client up is named."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

import curier
from curier.client.buffers import OVERHEAD
from curier.codec.packets import Packet, Pingreq, Pingresp, Puback, Publish, Pubrec, Pubrel
from tests.client.stage import Stage, Watch, Wire, settle, virtual
from tests.client.test_receiving import acks, open_stream


def numbered(topic: str, count: int, size: int = 0) -> list[Packet]:
    return [Publish(topic, b"%0*d" % (size, number)) for number in range(count)]


def reads(wire: Wire) -> bool:
    """Does the client read what is sent by this wire?"""
    return wire.is_read


def told(watch: Watch) -> list[curier.HeldUp]:
    return [event for event in watch.events if isinstance(event, curier.HeldUp)]


async def reading(stream: AsyncIterator[curier.ReceivedMessage], into: list[bytes]) -> None:
    async for message in stream:
        into.append(message.payload)


# ---- nothing is dropped before its reader had a turn ----


@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "drop_newest"])
@pytest.mark.parametrize("ahead", [False, True])
@virtual
async def test_a_ready_reader_gets_all_of_a_chunk(
    stage: Stage, overflow: curier.Overflow, ahead: bool
) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", buffer=10, overflow=overflow)
        other = await open_stream(client, wire, "b", buffer=10, overflow=overflow)
        got: list[bytes] = []
        more: list[bytes] = []
        readers = [asyncio.ensure_future(reading(stream, got)), asyncio.ensure_future(reading(other, more))]
        await settle()
        for _ in range(3):
            if ahead:  # a turn is scheduled already, and stands before the readers
                client.publish_nowait("x")
            wire.send(*numbered("a", 1000), *numbered("b", 1000))
            await settle()
        assert len(got) == len(more) == 3000
        assert stream.dropped == other.dropped == 0
        assert client.statistics.dropped == {}
        for reader in readers:
            reader.cancel()


@virtual
async def test_by_default_a_stream_holds_more_than_a_chunk(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a")
        for _ in range(5):
            wire.send(*numbered("a", 5000))
            await settle()
        assert len(stream) == 25_000
        assert reads(wire)


# ---- what is full is not read ----


@virtual
async def test_full_buffers_stop_the_reading_until_half_is_free(stage: Stage) -> None:
    most = 10 * (OVERHEAD + 101)
    async with stage.connect(buffer_bytes=most) as (client, wire):
        one = await open_stream(client, wire, "a")
        two = await open_stream(client, wire, "b")
        wire.send(*numbered("a", 6, 100), *numbered("b", 4, 100))
        await settle()
        assert reads(wire)  # just full
        wire.send(*numbered("b", 1, 100))
        await settle()
        assert not reads(wire)
        wire.send(*numbered("a", 2, 100))
        assert len(one) + len(two) == 11  # those two wait in the network
        for _ in range(6):
            assert not reads(wire)
            await one.get()
        assert reads(wire)
        await settle()
        assert [(await one.get()).payload[-1:] for _ in range(2)] == [b"0", b"1"]
        assert [int((await two.get()).payload) for _ in range(5)] == [0, 1, 2, 3, 0]
        assert one.dropped == two.dropped == 0


@virtual
async def test_a_stream_may_have_a_bound_of_its_own(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", buffer=4)
        wire.send(*numbered("a", 3))
        await settle()
        assert reads(wire)
        wire.send(*numbered("a", 3))
        await settle()
        assert not reads(wire)
        for _ in range(4):
            await stream.get()
        assert reads(wire)
        wire.send(*numbered("a", 9))
        await settle()
        assert not reads(wire)
        closing = asyncio.ensure_future(stream.close())  # and with it goes what it held
        await settle()
        assert reads(wire)
        await wire.unsubscribed()
        await closing


@virtual
async def test_who_waits_for_suback_is_not_waited_for(stage: Stage) -> None:
    """Retained messages may come before SUBACK (3.8.4), and nobody can take them before it is read."""
    async with stage.connect(buffer_bytes=1000) as (client, wire):
        opening = asyncio.ensure_future(client.subscribe("a").open())
        await settle()
        wire.send(*numbered("a", 50))
        await settle()
        assert reads(wire)
        await wire.subscribed()
        stream = await opening
        await settle()
        assert not reads(wire)
        for _ in range(50):
            await stream.get()
        assert reads(wire)


@virtual
async def test_a_server_that_is_not_read_is_not_dead(stage: Stage) -> None:
    """It gets our PINGREQ in time, and may be silent as long as nobody reads; then silence counts anew."""
    async with stage.connect(keep_alive=30, ping_timeout=10, buffer_bytes=1000) as (client, wire):
        stream = await open_stream(client, wire, "a")
        wire.send(*numbered("a", 10))
        for _ in range(5):
            await wire.receive(Pingreq)
            wire.send(Pingresp())
        assert not wire.is_closed
        assert stage.now >= 1000 + 5 * 30
        del wire.unread[:]  # as if it had never answered
        while len(stream):
            await stream.get()
        assert reads(wire)
        began = stage.now
        await wire.closed()
        assert began + 10 <= stage.now <= began + 11


@virtual
async def test_what_is_not_answered_is_not_sent_again_while_nobody_reads(stage: Stage) -> None:
    async with stage.connect(version=4, retry_interval=5, buffer_bytes=1000) as (client, wire):
        stream = await open_stream(client, wire, "a")
        receipt = client.publish_nowait("b", b"", qos=1)
        publish = await wire.receive(Publish)
        wire.send(*numbered("a", 10))
        await settle()
        wire.send(Puback(publish.packet_id))
        await asyncio.sleep(30)
        assert [packet for packet in wire.packets if isinstance(packet, Publish)] == []
        while len(stream):
            await stream.get()
        assert (await receipt).reason_code == 0


@virtual
async def test_the_next_connection_is_not_read_either(stage: Stage) -> None:
    async with stage.connect(buffer_bytes=1000) as (client, wire):
        stream = await open_stream(client, wire, "a")
        wire.send(*numbered("a", 10))
        await settle()
        wire.cut()
        wire = await stage.wire()
        await wire.accept(session_present=True)
        await settle()
        assert not reads(wire)
        while len(stream):
            await stream.get()
        assert reads(wire)


@virtual
async def test_qos_1_and_2_count_as_well(stage: Stage) -> None:
    async with stage.connect(version=4, buffer_bytes=1000) as (client, wire):
        stream = await open_stream(client, wire, "a", qos=1)
        wire.send(*[Publish("a", b"x", 1, packet_id=number) for number in range(1, 6)])
        await settle()
        assert not reads(wire)
        assert wire.packets == []
        for _ in range(5):
            await stream.get()
        assert reads(wire)
        assert await acks(wire) == [1, 2, 3, 4, 5]


# ---- drops, where they were asked for ----


@virtual
async def test_over_the_bytes_of_the_client_a_stream_drops_that_wants_to(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "curier.client")
    async with stage.connect(buffer_bytes=10 * (OVERHEAD + 2)) as (client, wire), Watch(client) as watch:
        lossy = await open_stream(client, wire, "a", overflow="drop_oldest")
        whole = await open_stream(client, wire, "b")
        wire.send(*numbered("b", 3))
        wire.send(*numbered("a", 10))
        await settle()
        assert [len(lossy), len(whole)] == [7, 3]
        assert reads(wire)
        wire.send(*numbered("a", 10))
        await settle()
        assert [len(lossy), len(whole)] == [7, 3]
        assert client.statistics.dropped == {("a",): 13}
        assert lossy.dropped == 13
        assert watch.kinds().count("MessagesDropped") == 1
        assert [record.message for record in caplog.records] == [
            "the stream of a drops messages: 7 wait to be read already (buffer, buffer_bytes)"
        ]


@virtual
async def test_who_can_drop_too_little_drops_nothing(stage: Stage) -> None:
    """It would lose its messages and make no room."""
    async with stage.connect(buffer_bytes=10 * (OVERHEAD + 2)) as (client, wire):
        lossy = await open_stream(client, wire, "a", overflow="drop_oldest")
        await open_stream(client, wire, "b")
        wire.send(*numbered("a", 2), *numbered("b", 30))
        await settle()
        assert (len(lossy), lossy.dropped, reads(wire)) == (2, 0, False)


@virtual
async def test_acknowledged_messages_are_not_dropped(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        stream = await open_stream(client, wire, "a", qos=1, buffer=1, overflow="drop_oldest", ack="received")
        wire.send(*[Publish("a", b"%d" % n, n % 2, packet_id=n if n % 2 else 0) for n in range(1, 7)])
        await settle()
        assert [int((await stream.get()).payload) for _ in range(len(stream))] == [1, 3, 5]
        assert stream.dropped == 3


# ---- ack="received" ----


@virtual
async def test_received_is_acknowledged_before_it_is_read(stage: Stage) -> None:
    async with stage.connect(buffer_bytes=5 * (OVERHEAD + 2)) as (client, wire):
        stream = await open_stream(client, wire, "a", qos=2, ack="received")
        wire.send(Publish("a", b"1", 1, packet_id=7), Publish("a", b"2", 2, packet_id=8))
        assert await acks(wire) == [7, 8]
        wire.send(Publish("a", b"2", 2, True, packet_id=8))  # sent again: answered, and not delivered
        assert await acks(wire) == [8]
        assert len(stream) == 2
        wire.send(*[Publish("a", b"3", 1, packet_id=number) for number in range(1, 5)])
        await settle()
        assert not reads(wire)  # what bounds it
        message = await stream.get()
        message.ack()  # does nothing
        assert (await stream.get()).payload == b"2"


@virtual
async def test_of_overlapping_streams_each_acknowledges_its_own_way(stage: Stage) -> None:
    async with stage.connect(version=4) as (client, wire):
        await open_stream(client, wire, "a/#", qos=1, ack="received")
        taking = await open_stream(client, wire, "a/b", qos=1)
        wire.send(Publish("a/b", b"", 1, packet_id=1))
        assert await acks(wire) == []
        await taking.get()
        assert await acks(wire) == [1]


# ---- who holds up the client ----


@virtual
async def test_after_a_second_the_full_stream_is_named(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "curier.client")
    async with stage.connect(buffer_bytes=10_000) as (client, wire), Watch(client) as watch:
        await open_stream(client, wire, "little")
        stream = await open_stream(client, wire, "much/#")
        wire.send(*numbered("little", 2), *numbered("much/x", 30))
        await asyncio.sleep(0.9)
        assert told(watch) == []
        await asyncio.sleep(10)
        (event,) = told(watch)
        assert (event.topic_filters, event.waiting) == (("much/#",), 30)
        assert "nothing more is taken from the network" in event.why
        (record,) = caplog.records
        assert "the stream of much/# is read too slowly" in record.message
        while len(stream):
            await stream.get()
        await asyncio.sleep(2)
        wire.send(*numbered("much/x", 30))  # and again
        await asyncio.sleep(3)
        assert len(told(watch)) == 2


@pytest.mark.parametrize("version", [4, 5])
@virtual
async def test_after_a_second_the_stream_is_named_whose_messages_are_not_acknowledged(
    stage: Stage, version: int
) -> None:
    async with stage.connect(version=version, receive_maximum=20) as (client, wire), Watch(client) as watch:
        unread = await open_stream(client, wire, "unread", qos=1)
        await open_stream(client, wire, "other", qos=1)
        wire.send(*[Publish("unread", b"", 1, packet_id=number) for number in range(1, 21)])
        await asyncio.sleep(0.9)
        assert told(watch) == []
        await asyncio.sleep(10)
        (event,) = told(watch)
        assert (event.topic_filters, event.waiting) == (("unread",), 20)
        assert "20 messages are not acknowledged" in event.why
        while len(unread):
            await unread.get()
            await asyncio.sleep(0.5)
        assert len(told(watch)) == 1
        assert len(await acks(wire)) == 20


@virtual
async def test_few_messages_that_hold_up_nobody_are_no_event(stage: Stage) -> None:
    async with stage.connect() as (client, wire), Watch(client) as watch:
        unread = await open_stream(client, wire, "unread", qos=1)
        other = await open_stream(client, wire, "other", qos=1)
        wire.send(Publish("unread", b"", 1, packet_id=1))
        await asyncio.sleep(10)
        assert told(watch) == []
        wire.send(Publish("other", b"", 1, packet_id=2))  # its acknowledgement waits behind that
        await other.get()
        await asyncio.sleep(10)
        assert [event.topic_filters for event in told(watch)] == [("unread",)]
        await unread.get()
        assert await acks(wire) == [1, 2]


@virtual
async def test_what_the_program_has_and_does_not_acknowledge_is_named_too(stage: Stage) -> None:
    async with stage.connect(receive_maximum=1) as (client, wire), Watch(client) as watch:
        stream = await open_stream(client, wire, "a", qos=2, ack="manual")
        wire.send(Publish("a", b"", 2, packet_id=1))
        message = await stream.get()
        await asyncio.sleep(5)
        assert [(event.topic_filters, event.waiting) for event in told(watch)] == [(("a",), 0)]
        message.ack()
        await wire.receive(Pubrec)
        wire.send(Pubrel(1))


@virtual
async def test_a_slow_but_steady_reader_is_no_event(stage: Stage) -> None:
    async with stage.connect(receive_maximum=20) as (client, wire), Watch(client) as watch:
        stream = await open_stream(client, wire, "a", qos=1)
        wire.send(*[Publish("a", b"", 1, packet_id=number) for number in range(1, 21)])
        for _ in range(20):
            await asyncio.sleep(0.8)
            await stream.get()
        assert told(watch) == []


@virtual
async def test_what_no_stream_has_claimed_is_named_as_such(stage: Stage) -> None:
    settings = {"client_id": "c", "clean_start": False, "receive_maximum": 3}
    async with stage.connect(session_present=True, **settings) as (client, wire), Watch(client) as watch:
        wire.send(*[Publish("a", b"", 1, packet_id=number) for number in range(1, 4)])
        await asyncio.sleep(5)
        assert [(event.topic_filters, event.waiting) for event in told(watch)] == [((), 3)]
