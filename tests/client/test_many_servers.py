"""A client of several servers: the next takes over, a cluster shares, one sends it on to another."""

from __future__ import annotations

import asyncio

import pytest

import curier
from curier.codec.packets import Connack, Connect, Disconnect
from tests.client.stage import Stage, make_properties, settle, virtual

QUICK = curier.Reconnect(first=0.01, longest=0.02)


@virtual
async def test_another_server_is_asked_where_one_refuses(stage: Stage) -> None:
    async with stage.connect(url=["mqtt://one", "mqtt://two"]) as (client, wire):
        wire.cut()
        wire = await stage.wire()
        assert wire.url.host == "one"
        wire.send(Connack(False, 0x87))
        wire = await stage.wire()
        assert wire.url.host == "two"
        await wire.accept()
        await settle()
        assert client.is_connected


@virtual
async def test_the_next_server_takes_over(stage: Stage) -> None:
    servers = ["mqtt://one", "mqtt://two", "mqtt://three"]
    stage.down["one"] = curier.ConnectionLost("down")
    async with stage.connect(url=servers) as (_, wire):
        assert wire.url.host == "two"
        wire.cut()
        again = await stage.wire()
        assert again.url.host == "two"
        await again.accept()
        stage.down["two"] = curier.ConnectionLost("down too")
        again.cut()
        third = await stage.wire()
        assert third.url.host == "three"
        connect = await third.accept()
        assert connect.clean_start  # what it may have kept of us is older than what "two" has
    assert [url for _, url in stage.dialled][:2] == ["mqtt://one:1883", "mqtt://two:1883"]


@virtual
async def test_the_nodes_of_a_cluster_share_the_session(stage: Stage) -> None:
    async with stage.connect(url=["mqtt://one", "mqtt://two"], shared_sessions=True) as (_, wire):
        stage.down["one"] = curier.ConnectionLost("down")
        wire.cut()
        second = await stage.wire()
        assert second.url.host == "two"
        assert not (await second.accept(session_present=True)).clean_start


@virtual
async def test_all_servers_are_down(stage: Stage) -> None:
    stage.down |= {"one": curier.ConnectionLost("cable"), "two": curier.ConnectionLost("fire")}
    with pytest.raises(curier.ConnectionLost, match=r"(?s)cable.*fire"):
        await stage.client(["mqtt://one", "mqtt://two"]).__aenter__()


@virtual
async def test_use_another_server(stage: Stage) -> None:
    async with stage.connect(url=["mqtt://one", "mqtt://two"]) as (_, wire):
        wire.send(Disconnect(0x9C))
        second = await stage.wire()
        assert second.url.host == "two"
        await second.accept()


SENT_ON = [0x9C, 0x9D]


@pytest.mark.parametrize("code", SENT_ON)
@virtual
async def test_the_server_reference_of_connack_is_followed(stage: Stage, code: int) -> None:
    client = stage.client("mqtt://one:1884", username="ana", follow_server_reference=True)
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, code, make_properties(server_reference="[::1]:1885 :x two")))
    wire = await stage.wire()
    assert str(wire.url) == "mqtt://[::1]:1885"
    assert (await wire.accept()).username == "ana"
    await connecting
    assert "[::1]:1885" in repr(client)
    wire.cut()
    wire = await stage.wire()
    assert str(wire.url) == ("mqtt://one:1884" if code == 0x9C else "mqtt://[::1]:1885")
    await wire.accept()
    await settle()
    await client.close()


@pytest.mark.parametrize("code", SENT_ON)
@virtual
async def test_the_server_reference_of_disconnect_is_followed(stage: Stage, code: int) -> None:
    async with stage.connect(follow_server_reference=True) as (client, wire):
        wire.send(Disconnect(code, make_properties(server_reference="two")))
        wire = await stage.wire()
        assert str(wire.url) == "mqtt://two:1883"
        assert (await wire.accept()).clean_start  # it has no session of ours
        await settle()
        assert client.is_connected


@virtual
async def test_servers_that_send_in_a_circle(stage: Stage) -> None:
    client = stage.client("mqtt://one", follow_server_reference=True)
    connecting = asyncio.ensure_future(client.connect())
    for other in ("two", "one"):
        wire = await stage.wire()
        await wire.receive(Connect)
        wire.send(Connack(False, 0x9C, make_properties(server_reference=other)))
    with pytest.raises(curier.ConnectRefused, match="use the server one"):
        await connecting


@virtual
async def test_servers_that_send_on_for_ever(stage: Stage) -> None:
    client = stage.client("mqtt://a0", follow_server_reference=True)
    connecting = asyncio.ensure_future(client.connect())
    for number in range(6):
        wire = await stage.wire()
        await wire.receive(Connect)
        wire.send(Connack(False, 0x9C, make_properties(server_reference=f"a{number + 1}")))
    with pytest.raises(curier.ConnectRefused, match="use the server a6"):
        await connecting
