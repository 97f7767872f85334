"""A connection is lost or refused: a client comes back, and how soon, or it does not."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random
from typing import Any

import pytest

import curier
from curier.client.keeper import ENDS, LATER, SOON, delay_after_refusal, delay_before, outlook
from curier.codec.packets import Connack, Connect, Disconnect, Pingreq, Pingresp, Publish
from tests.client.stage import Stage, Watch, settle, virtual

QUICK = curier.Reconnect(first=0.01, longest=0.02)


@virtual
async def test_a_lost_connection_comes_back(stage: Stage) -> None:
    async with stage.connect(client_id="me") as (client, wire), Watch(client) as watch:
        wire.cut(OSError("reset by peer"))
        second = await stage.wire()
        connect = await second.accept(session_present=True)
        assert not connect.clean_start
        assert connect.client_id == "me"
        await settle()
        assert client.is_connected
        assert watch.kinds() == ["ConnectionLost", "Reconnecting", "Connected"]
        lost = watch.events[0]
        assert isinstance(lost, curier.ConnectionLost)
        assert "reset by peer" in str(lost)
        back = watch.events[2]
        assert isinstance(back, curier.Connected)
        assert back.session_present


@pytest.mark.parametrize("is_at_once", [False, True])
@virtual
async def test_a_connection_that_ends_with_its_connack_comes_back(stage: Stage, is_at_once: bool) -> None:
    client = stage.client(reconnect=QUICK)
    entering = asyncio.ensure_future(client.connect())
    for _ in range(3):
        wire = await stage.wire()
        await wire.receive(Connect)
        wire.send(Connack(False, 0), Disconnect(0x8B))
        if is_at_once:  # before anybody could know of a connection
            wire.is_closed = True
            wire.protocol.connection_lost(None)
        else:
            wire.cut()
    wire = await stage.wire()
    await wire.accept()
    await entering
    await settle()
    assert client.is_connected
    assert client.statistics.connections == 4
    await client.close()


@virtual
async def test_nobody_waits_while_there_is_a_connection(stage: Stage) -> None:
    ours = asyncio.all_tasks()
    async with stage.connect(reconnect=QUICK) as (_, wire):
        await settle()
        assert asyncio.all_tasks() == ours  # a task, and what it waits for, would be 2 KiB of each client
        wire.cut()
        second = await stage.wire()
        assert len(asyncio.all_tasks()) == len(ours) + 1
        await second.accept()
        await settle()
        assert asyncio.all_tasks() == ours


@virtual
async def test_the_pauses_grow_and_vary(stage: Stage) -> None:
    async with stage.connect(reconnect=curier.Reconnect(first=1, longest=8)) as (client, wire):
        async with Watch(client) as watch:
            stage.down["server"] = curier.ConnectionLost("gone")
            wire.cut()
            await asyncio.sleep(200)
            pauses = [event for event in watch.events if isinstance(event, curier.Reconnecting)]
            assert [pause.attempt for pause in pauses] == list(range(1, len(pauses) + 1))
            assert len(pauses) > 10
            for pause in pauses:
                assert 0 <= pause.delay <= min(2 ** (pause.attempt - 1), 8)
            assert len({pause.delay for pause in pauses}) == len(pauses)
            waits = [after[0] - before[0] for before, after in pairwise(stage.dialled[1:])]
            assert waits == pytest.approx([pause.delay for pause in pauses[1 : len(waits) + 1]])


@pytest.mark.parametrize(("attempt", "most"), [(1, 1.0), (2, 2.0), (6, 32.0), (7, 60.0), (10_000, 60.0)])
def test_full_jitter(attempt: int, most: float) -> None:
    drawn = [delay_before(attempt, curier.Reconnect(), Random(seed)) for seed in range(300)]
    assert max(drawn) <= most
    assert max(drawn) > 0.9 * most
    assert min(drawn) < 0.1 * most


@virtual
async def test_as_many_attempts_as_are_allowed(stage: Stage) -> None:
    async def live() -> None:
        async with stage.connect(reconnect=curier.Reconnect(attempts=3)) as (_, wire):
            stage.down["server"] = curier.ConnectionLost("gone")
            wire.cut()
            await asyncio.sleep(1000)

    with pytest.raises(curier.ConnectionLost, match="gone"):
        await live()
    assert len(stage.dialled) == 4


@virtual
async def test_no_reconnection_if_none_is_wanted(stage: Stage) -> None:
    """Everybody who waits is told, who comes later as well; leaving has nothing to add."""
    async with stage.connect(reconnect=None) as (client, wire):
        reading = asyncio.ensure_future(client.subscribe("a").__anext__())
        await wire.subscribed()
        wire.cut()
        with pytest.raises(curier.ConnectionLost, match="the server closed the connection"):
            await reading
        with pytest.raises(curier.ConnectionLost):
            await client.publish("a", qos=1)
        with pytest.raises(curier.ConnectionLost):
            await client.subscribe("b").open()
    assert len(stage.dialled) == 1


CODES = [int(code) for code in curier.ReasonCode if code >= 0x80]
PASSING = [0x80, 0x83, 0x88, 0x89, 0x8B, 0x8D, 0x93, 0x96, 0x97, 0x98, 0x9C, 0x9F, 0xA0]
FOR_GOOD = [0x8E, 0x9D]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("by", ["CONNACK", "DISCONNECT"])
def test_what_a_reason_code_means_for_the_next_attempt(code: int, by: str) -> None:
    error: curier.MqttError = curier.ConnectRefused(code)
    if by == "DISCONNECT":
        error = curier.ConnectionLost("", code, by_server=True)
    passes = code in PASSING
    assert outlook(error, False, "retry") == (SOON if passes else ENDS)
    assert outlook(error, True, "retry") == (SOON if passes else ENDS if code in FOR_GOOD else LATER)
    assert outlook(error, True, "stop") == (SOON if passes else ENDS)
    for was_connected in (True, False):
        assert outlook(error, was_connected, {code: "stop"}) == ENDS
        assert outlook(error, was_connected, {code: "retry"}) == (SOON if passes else LATER)
    assert outlook(error, True, {0x01: "stop"}) == outlook(error, True, "retry")


def test_what_other_errors_mean() -> None:
    assert outlook(curier.ConnectionLost("cut", 0x87), False, "stop") == SOON
    assert outlook(curier.StoreError("full"), True, "retry") == ENDS
    assert outlook(curier.ConfigError("no such file"), False, "retry") == ENDS
    assert outlook(curier.ConfigError("no such file"), True, "retry") == LATER


def test_long_backoff() -> None:
    reconnect = curier.Reconnect()
    for refusal, most in ((1, 10.0), (2, 20.0), (5, 160.0), (6, 300.0), (10_000, 300.0)):
        drawn = [delay_after_refusal(refusal, reconnect, Random(seed)) for seed in range(300)]
        assert most / 2 <= min(drawn) <= 0.6 * most
        assert 0.9 * most <= max(drawn) <= most


@virtual
async def test_a_refusal_ends_the_client_where_that_is_wanted(stage: Stage) -> None:
    async with stage.connect(on_refused="stop") as (client, wire), Watch(client) as watch:
        receipt = client.publish_nowait("a", qos=1)
        wire.cut()
        second = await stage.wire()
        await second.receive(Connect)
        second.send(Connack(False, 0x86))
        with pytest.raises(curier.ConnectRefused, match="0x86"):
            await receipt
        await settle()
        assert watch.kinds()[-1] == "Closed"
        await asyncio.sleep(1000)
        assert len(stage.dialled) == 2


@virtual
async def test_a_refused_reconnection_is_tried_again_after_a_while(stage: Stage) -> None:
    """An auth service restarts; a token has expired. Nothing is lost meanwhile, and nobody is hurried."""
    async with stage.connect(client_id="me") as (client, wire), Watch(client) as watch:
        receipt = client.publish_nowait("a", qos=1)
        await wire.receive(Publish)
        wire.cut()
        for _ in range(8):
            wire = await stage.wire()
            await wire.receive(Connect)
            wire.send(Connack(False, 0x87))
        wire = await stage.wire()
        await wire.accept(session_present=True)
        await wire.published()
        await receipt
        pauses = [event for event in watch.events if isinstance(event, curier.Reconnecting)]
        delays = [pause.delay for pause in pauses[1:]]
        assert all(isinstance(pause.error, curier.ConnectRefused) for pause in pauses[1:])
        for delay, most in zip(delays, [10, 20, 40, 80, 160, 300, 300, 300], strict=True):
            assert most / 2 <= delay <= most


@virtual
async def test_an_administrators_disconnect_passes(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        wire.send(Disconnect(0x98))
        began = stage.now
        await (await stage.wire()).accept()
        assert stage.now - began < 2
        await settle()
        assert client.is_connected


@virtual
async def test_the_first_connection_may_be_refused_for_a_while(stage: Stage) -> None:
    """Where the program says so, code by code."""
    client = stage.client(retry_first_connect=True, on_refused={0x87: "retry"})
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0x87))
    await connecting
    await (await stage.wire()).accept()
    await settle()
    assert client.is_connected
    await client.close()


@virtual
async def test_a_session_that_was_accepted_before_is_refused_for_a_while(stage: Stage) -> None:
    """A sensor starts anew while the auth service is down: what it has kept is not given up."""
    session = curier.Session.memory()
    for life in (1, 2):
        client = stage.client(
            retry_first_connect=True, session=session, client_id="me", session_expiry=1000, reconnect=QUICK
        )
        connecting = asyncio.ensure_future(client.connect())
        wire = await stage.wire()
        await wire.receive(Connect)
        wire.send(Connack(False, 0x87 if life == 2 else 0))
        await connecting
        if life == 2:
            await (await stage.wire()).accept(session_present=True)
            await settle()
            assert client.is_connected
        await client.close()


@virtual
async def test_a_session_taken_over_is_not_fought_for(stage: Stage) -> None:
    async def live() -> None:
        async with stage.connect() as (_, wire):
            wire.send(Disconnect(0x8E))
            await asyncio.sleep(1000)

    with pytest.raises(curier.ConnectionLost, match="0x8E") as caught:
        await live()
    assert caught.value.by_server
    assert caught.value.reason_code == 0x8E
    assert len(stage.dialled) == 1


@virtual
async def test_a_server_that_shuts_down_is_waited_for(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        wire.send(Disconnect(0x8B))
        await (await stage.wire()).accept()
        await settle()
        assert client.is_connected


@virtual
async def test_a_dead_server_is_noticed(stage: Stage) -> None:
    async with stage.connect(keep_alive=10, ping_timeout=3) as (client, wire), Watch(client) as watch:
        began = stage.now
        await wire.receive(Pingreq)
        second = await stage.wire()
        assert 13 <= stage.now - began <= 15
        await second.accept()
        await settle()
        assert "PINGRESP" in str(watch.events[0])


@virtual
async def test_a_busy_server_is_not_taken_for_dead(stage: Stage) -> None:
    async with stage.connect(keep_alive=10, ping_timeout=3) as (client, wire):
        await wire.receive(Pingreq)
        for _ in range(30):  # no PINGRESP, but everything else
            await asyncio.sleep(1)
            wire.send(Publish("nobody/wants/this", b""))
        assert client.is_connected
        assert len(stage.dialled) == 1


@virtual
async def test_a_busy_loop_is_no_reason_to_give_up(stage: Stage) -> None:
    """The program computed for a minute; PINGRESP has long been there, unread."""
    async with stage.connect(keep_alive=10, ping_timeout=3) as (client, wire):
        await wire.receive(Pingreq)
        loop: Any = asyncio.get_running_loop()
        loop.now += 60
        loop.call_later(0.01, wire.send, Pingresp())
        await asyncio.sleep(1)
        assert client.is_connected
