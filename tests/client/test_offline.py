"""What is published and cannot be sent yet: it waits, within bounds and in order, or is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import curier
from curier.codec.packets import Packet, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.client.stage import Stage, life_of, settle, virtual


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
