"""A message that servers end the connection for is given up, and no other is."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

import curier
from curier.codec.packets import Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel
from tests.client.stage import Stage, Watch, Wire, settle, virtual

QUICK = curier.Reconnect(first=0.1, longest=0.1)


def topics(wire: Wire) -> list[str]:
    """Of all PUBLISH packets that came."""
    return [packet.topic for packet in wire.log if isinstance(packet, Publish)]


async def ended(stage: Stage, wire: Wire, error: Exception | None = None) -> Wire:
    """The server reads what comes, and ends the connection; the next one."""
    await settle()
    is_kept = wire.version == 5  # by default no session of 3.1.1 outlives its connection
    wire.cut(error)
    wire = await stage.wire()
    await wire.accept(session_present=is_kept)
    await settle()
    return wire


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("error", [None, ConnectionResetError("reset")])
@virtual
async def test_what_the_server_ends_connections_for_is_given_up(
    stage: Stage, qos: int, error: Exception | None, version: int
) -> None:
    async with stage.connect(version=version, reconnect=QUICK) as (client, wire), Watch(client) as watch:
        poison = client.publish_nowait("poison", b"x" * 1000, qos=qos)
        behind = [client.publish_nowait(f"behind/{number}", qos=1 + number % 2) for number in range(4)]
        for number in range(5):
            await settle()
            assert topics(wire) == ["poison", *(f"behind/{n}" for n in range(4))][: 5 if number < 2 else 1]
            assert not poison.done()
            wire = await ended(stage, wire, error)
        with pytest.raises(curier.PublishRefused, match=r"5 connections in a row .*'poison' with 1000 bytes"):
            await poison
        assert topics(wire) == [f"behind/{number}" for number in range(4)]
        for packet in list(wire.log):
            if isinstance(packet, Publish):
                wire.send(Puback(packet.packet_id) if packet.qos == 1 else Pubrec(packet.packet_id))
        for _ in range(2):
            wire.send(Pubcomp((await wire.find(Pubrel)).packet_id))
        await asyncio.gather(*behind)
        (event,) = [event for event in watch.events if isinstance(event, curier.PublishGivenUp)]
        assert (event.topic, event.size) == ("poison", 1000)


@virtual
async def test_who_stands_before_the_guilty_one_is_innocent(stage: Stage) -> None:
    """The server takes what it gets alone, and only ends the connection for the second message."""
    async with stage.connect(reconnect=QUICK) as (client, wire):
        first = client.publish_nowait("first", qos=1)
        guilty = client.publish_nowait("guilty", qos=1)
        last = client.publish_nowait("last", qos=1)
        seen = []
        while not guilty.done():
            await settle()
            found = topics(wire)
            seen.append(found)
            if found[-1:] == ["first"]:
                await wire.published()
                await settle()
                assert topics(wire) == ["first", "guilty", "last"]  # which may be sent with it again
            wire = await ended(stage, wire)
        assert (await first).reason_code == 0
        with pytest.raises(curier.PublishRefused, match="'guilty'"):
            await guilty
        assert (await wire.published()).topic == "last"
        await last
        assert seen[2] == ["first"]


@pytest.mark.parametrize("error", [TimeoutError("timed out"), OSError(113, "No route to host")])
@virtual
async def test_a_bad_network_accuses_nobody(stage: Stage, error: Exception) -> None:
    async with stage.connect(reconnect=QUICK, keep_alive=5, ping_timeout=5) as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        for number in range(20):
            if number % 2:
                wire = await ended(stage, wire, error)
            else:  # silence
                await wire.closed()
                wire = await stage.wire()
                await wire.accept(session_present=True)
        await wire.published()
        await receipt


@virtual
async def test_progress_acquits(stage: Stage) -> None:
    """A server that comes and goes, but takes a message each time."""
    async with stage.connect(reconnect=QUICK) as (client, wire):
        receipts = [client.publish_nowait(f"a/{number}", qos=1) for number in range(20)]
        for _ in range(20):
            await wire.published()
            wire = await ended(stage, wire)
        assert {(await receipt).reason_code for receipt in receipts} == {0}


@virtual
async def test_never_is_never(stage: Stage) -> None:
    async with stage.connect(reconnect=QUICK, refuse_after=None) as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        for _ in range(30):
            wire = await ended(stage, wire)
        await wire.published()
        await receipt


@pytest.mark.parametrize("expiry", [0, None])
@virtual
async def test_what_the_server_said_is_what_the_receipt_says(stage: Stage, expiry: int | None) -> None:
    async with stage.connect(reconnect=QUICK, refuse_after=3, session_expiry=expiry) as (client, wire):
        receipt = client.publish_nowait("a", b"x", qos=1)
        for _ in range(3):
            await wire.receive(Publish)
            wire.send(Disconnect(0x97))
            wire = await stage.wire()
            await wire.accept(session_present=expiry is None)
        with pytest.raises(curier.PublishRefused, match=r"0x97.*3 connections in a row"):
            await receipt


@pytest.mark.parametrize("seed", range(10))
@virtual
async def test_whatever_is_lost_comes_again_in_its_first_order(stage: Stage, seed: int) -> None:
    """QoS mixed, with cuts and acknowledgements at any time [MQTT-4.6.0-1] [MQTT-4.4.0-1]."""
    dice = Random(seed)
    most = dice.choice((3, 10, 100))
    async with stage.connect(reconnect=QUICK, connack={"receive_maximum": most}, linger=0) as (client, wire):
        first: dict[str, int] = {}
        number = 0
        for _ in range(30):
            for _ in range(dice.randint(0, 5)):
                number += 1
                client.publish_nowait(f"{number}", qos=dice.choice((0, 1, 1, 2, 2)))
            await settle()
            sent = [packet for packet in wire.log if isinstance(packet, Publish) and packet.qos]
            places = [first.setdefault(packet.topic, len(first)) for packet in sent]
            assert places == sorted(places)
            for packet in sent:
                if dice.random() < 0.2:
                    wire.send((Puback if packet.qos == 1 else Pubrec)(packet.packet_id))
            if dice.random() < 0.3:
                wire.cut(TimeoutError("cut"))
                wire = await stage.wire()
                await wire.accept(session_present=True, receive_maximum=most)


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("takes", [0, 1])
@virtual
async def test_a_server_that_bears_no_more_than_a_few_at_a_time(
    stage: Stage, qos: int, version: int, takes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends the connection for the sixth unfinished one, and has answered none of them by then, or one."""
    async with stage.connect(version=version, reconnect=QUICK, max_inflight=20) as (client, wire):
        receipts = [client.publish_nowait(str(number), qos=qos) for number in range(40)]
        seen: list[str] = []
        connections = 1
        while not all(receipt.done() for receipt in receipts):
            await settle()
            if len([packet for packet in wire.packets if isinstance(packet, Publish)]) > 5:
                for _ in range(takes):
                    seen.append((await wire.published()).topic)
                wire = await ended(stage, wire, ConnectionResetError("reset"))
                connections += 1
            else:
                seen.append((await wire.published()).topic)
        assert seen == [str(number) for number in range(40)]
        assert connections == 5  # 20 and 20 at a time, 10 and 10, 5
        assert client.statistics.connections == connections
        assert [line for line in caplog.messages if "unfinished" in line] == [
            "mqtt://server:1883: connections ended whose first message is taken when it is sent alone: "
            f"from now on at most {most} are unfinished at a time"
            for most in (10, 5)
        ]


@virtual
async def test_ends_of_connections_that_had_gone_well_say_nothing_of_numbers(stage: Stage) -> None:
    async with stage.connect(reconnect=QUICK, max_inflight=4) as (client, wire):
        for _ in range(10):
            receipts = [client.publish_nowait("a", qos=1) for _ in range(9)]
            await settle()
            for _ in range(5):
                await wire.published()
            await settle()
            assert len(wire.packets) == 4
            wire = await ended(stage, wire)
            for _ in range(4):
                await wire.published()
            await asyncio.gather(*receipts)
