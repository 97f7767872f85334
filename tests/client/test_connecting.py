"""A client connects: the first time or not at all, with which CONNECT, in which version; and it leaves."""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import pytest

import curier
from curier.client.dial import DialSettings
from curier.client.settings import LARGEST_PACKET, ClientSettings
from curier.client.urls import ServerUrl
from curier.codec.packets import Connack, Connect, Disconnect, Pingreq, Pingresp
from tests.client.stage import Stage, make_properties, settle, virtual

QUICK = curier.Reconnect(first=0.01, longest=0.02)


@virtual
async def test_a_connection_and_its_end(stage: Stage) -> None:
    async with stage.connect(client_id="me") as (client, wire):
        assert client.is_connected
        assert client.client_id == "me"
        assert client.version == 5
    packet = wire.packets[-1]
    assert isinstance(packet, Disconnect)
    assert packet.reason_code == 0
    assert packet.properties is not None
    assert packet.properties.session_expiry_interval == 0  # nobody will come back for it
    assert not client.is_connected


@virtual
async def test_connect_says_what_the_settings_say(stage: Stage) -> None:
    will = curier.Will(curier.Message("gone", b"me", curier.QoS(1), True, content_type="t"), delay=5)
    entering = stage.client(
        "mqtt://user:secret@server",
        client_id="me",
        keep_alive=7,
        will=will,
        session_expiry=100,
        receive_maximum=9,
        maximum_packet_size=5000,
        topic_alias_maximum=3,
        user_properties=[("a", "1"), ("a", "2")],
    )
    task = asyncio.ensure_future(entering.__aenter__())
    wire = await stage.wire()
    connect = await wire.accept()
    await task
    assert (connect.client_id, connect.keep_alive, connect.clean_start) == ("me", 7, True)
    assert (connect.username, connect.password) == ("user", b"secret")
    properties = connect.properties
    assert properties is not None
    assert properties.session_expiry_interval == 100
    assert properties.receive_maximum == 9
    assert properties.maximum_packet_size == 5000
    assert properties.topic_alias_maximum == 3
    assert properties.user_properties == [("a", "1"), ("a", "2")]
    assert connect.will is not None
    assert (connect.will.topic, connect.will.qos, connect.will.retain) == ("gone", 1, True)
    assert connect.will.properties is not None
    assert connect.will.properties.will_delay_interval == 5
    assert connect.will.properties.content_type == "t"
    await entering.disconnect(4)
    packet = await wire.disconnected()
    assert packet.reason_code == 4
    assert packet.properties is None  # the session outlives the program, as was asked for
    await entering.__aexit__(None, None, None)


@virtual
async def test_user_and_password_override_those_of_the_url(stage: Stage) -> None:
    client = stage.client("mqtt://user:secret@server", username="other", password="more")
    task = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    connect = await wire.accept()
    await task
    assert (connect.username, connect.password) == ("other", b"more")
    await client.disconnect()
    assert "more" not in repr(client.settings)


@virtual
async def test_the_first_connection_fails_fast(stage: Stage) -> None:
    stage.down["server"] = curier.ConnectionLost("no route")
    with pytest.raises(curier.ConnectionLost, match="no route"):
        await stage.client().__aenter__()
    assert len(stage.dialled) == 1


@virtual
async def test_the_first_connection_is_refused(stage: Stage) -> None:
    task = asyncio.ensure_future(stage.client().__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0x88, make_properties(reason_string="later")))
    with pytest.raises(curier.ConnectRefused) as caught:
        await task
    assert (caught.value.reason_code, caught.value.reason_string) == (0x88, "later")
    assert wire.is_closed


@virtual
async def test_entering_is_cancelled(stage: Stage) -> None:
    task = asyncio.ensure_future(stage.client().__aenter__())
    wire = await stage.wire()
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert wire.is_closed


@virtual
async def test_the_first_connection_is_tried_again_if_asked_for(stage: Stage) -> None:
    stage.down["server"] = curier.ConnectionLost("no route")
    async with stage.client(retry_first_connect=True) as client:
        assert not client.is_connected
        receipt = client.publish_nowait("a", b"x", qos=1)
        del stage.down["server"]
        wire = await stage.wire()
        await wire.accept()
        await wire.published()
        await receipt


@virtual
async def test_no_connack(stage: Stage) -> None:
    began = stage.now
    with pytest.raises(curier.ConnectionLost, match="no CONNACK within 3 seconds"):
        await stage.client(connect_timeout=3, version=5).__aenter__()
    assert stage.now - began == pytest.approx(3)
    assert (await stage.wire()).is_closed


@virtual
async def test_garbage_for_connack(stage: Stage) -> None:
    task = asyncio.ensure_future(stage.client().__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send_bytes(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(curier.ConnectionLost, match="mqtt://server"):
        await task
    assert wire.is_closed


@virtual
async def test_older_versions_where_the_server_refuses_the_newer(stage: Stage) -> None:
    client = stage.client()
    task = asyncio.ensure_future(client.__aenter__())
    first = await stage.wire()
    assert (await first.receive(Connect)).version == 5
    first.send_bytes(b"\x20\x02\x00\x01")  # a server of 3.1.1 knows no other way to say so
    second = await stage.wire()
    connect = await second.receive(Connect)
    assert (connect.version, connect.clean_start) == (4, True)
    second.send(Connack(False, 1))
    third = await stage.wire()
    connect = await third.accept()
    await task
    assert connect.version == 3
    assert 1 <= len(connect.client_id) <= 23
    assert client.version == 3
    third.cut()
    again = await (await stage.wire()).accept()
    assert again.version == 3  # which is remembered
    assert again.client_id == connect.client_id
    await client.disconnect()


@virtual
async def test_a_version_that_was_asked_for_is_the_only_one(stage: Stage) -> None:
    task = asyncio.ensure_future(stage.client(version=5).__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0x84))
    with pytest.raises(curier.ConnectRefused, match="0x84"):
        await task
    assert len(stage.dialled) == 1


@virtual
async def test_an_assigned_client_identifier_is_kept(stage: Stage) -> None:
    async with stage.connect(connack={"assigned_client_identifier": "auto-7"}) as (client, wire):
        assert client.client_id == "auto-7"
        wire.cut()
        connect = await (await stage.wire()).accept(session_present=True)
        assert connect.client_id == "auto-7"
        assert not connect.clean_start


@virtual
async def test_server_keep_alive(stage: Stage) -> None:
    async with stage.connect(keep_alive=60, connack={"server_keep_alive": 5}) as (_, wire):
        began = stage.now
        await wire.receive(Pingreq)
        assert stage.now - began == pytest.approx(5, abs=0.1)
        wire.send(Pingresp())


@virtual
async def test_the_end_by_an_error_of_the_body(stage: Stage) -> None:
    began = stage.now

    async def live() -> None:
        async with stage.connect() as (client, _):
            client.publish_nowait("a", qos=1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await live()
    assert stage.now == began  # it does not linger then


@virtual
async def test_leaving_waits_for_what_is_published(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        receipt = client.publish_nowait("a", qos=1)
        answering = asyncio.ensure_future(wire.published())
    assert receipt.done()
    await answering


@virtual
async def test_leaving_does_not_wait_for_ever(stage: Stage) -> None:
    async with stage.connect(linger=2) as (client, _):
        receipt = client.publish_nowait("a", qos=1)
        began = stage.now
    assert stage.now - began == pytest.approx(2)
    with pytest.raises(curier.ConnectionLost, match="closed"):
        receipt.result()


@virtual
async def test_before_and_after_the_context(stage: Stage) -> None:
    client = stage.client()
    with pytest.raises(curier.MqttError, match="async with"):
        client.subscribe("a")
    with pytest.raises(curier.MqttError, match="async with"):
        await client.publish("a")
    async with stage.connect() as (client, _):
        stream = client.subscribe("a")
    with pytest.raises(curier.ConnectionLost, match="closed"):
        await client.publish("a")
    with pytest.raises(curier.ConnectionLost, match="closed"):
        await stream.open()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": []}, "url"),
        ({"version": 6}, "version"),
        ({"offline": "sometimes"}, "offline"),
        ({"keep_alive": 65536}, "keep_alive: 0 to 65535"),
        ({"receive_maximum": 0}, "receive_maximum"),
        ({"linger": -1}, "linger"),
        ({"clean_start": False}, "client_id"),
        ({"reconnect": curier.Reconnect(5, 1)}, "reconnect"),
        ({"authentication": curier.Authentication()}, "authentication"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(curier.ConfigError, match=said):
        curier.connect(**settings)


def test_the_settings_are_the_parameters() -> None:
    for function in (curier.connect, curier.connect_sync):
        assert list(inspect.signature(function).parameters) == [*ClientSettings.__dataclass_fields__]


# ---- settings that are asked for, and servers that send on ----


@virtual
async def test_what_changes_is_asked_for_at_each_attempt(stage: Stage) -> None:
    count = 0

    def username() -> str:
        return f"user{count}"

    async def password() -> bytes:
        nonlocal count
        await asyncio.sleep(1)
        count += 1
        return b"token%d" % count

    async def url() -> list[str]:
        return ["mqtt://one"] if count < 2 else ["mqtt://two"]

    client = stage.client(url=url, username=username, password=password, client_id="me")
    assert "function" in repr(client)
    connecting = asyncio.ensure_future(client.connect())
    seen = []
    for _ in range(4):
        wire = await stage.wire()
        connect = await wire.accept()
        seen.append((wire.url.host, connect.username, connect.password))
        await settle()
        wire.cut()
    await connecting
    await client.close()
    assert seen == [
        ("one", "user0", b"token1"),
        ("one", "user1", b"token2"),
        ("two", "user2", b"token3"),
        ("two", "user3", b"token4"),
    ]


@virtual
async def test_headers_and_tls_are_asked_for(stage: Stage) -> None:
    contexts = [curier.TlsSettings(alpn=(name,)) for name in ("a", "b")]
    headers = [[("Authorization", name)] for name in ("one", "two")]
    client = stage.client(
        "wss://server", tls=iter(contexts).__next__, websocket_headers=iter(headers).__next__
    )
    connecting = asyncio.ensure_future(client.connect())
    for number in range(2):
        wire = await stage.wire()
        await wire.accept()
        await settle()
        assert stage.settings[number].tls is contexts[number]
        assert stage.settings[number].websocket_headers == tuple(headers[number])
        if not number:
            wire.cut()
    await connecting
    await client.close()


@virtual
async def test_a_function_that_fails_is_a_failed_connection(stage: Stage) -> None:
    """The service that gives tokens is down: at first that is told at once, later it is waited for."""
    answers: list[Any] = [RuntimeError("key=hunter2"), "good", OSError("down"), OSError("down"), "good"]

    async def password() -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return str(answer)

    client = stage.client(username="me", password=password)
    with pytest.raises(curier.ConnectionLost, match="password: its function has failed with") as caught:
        await client.connect()
    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value.__cause__, RuntimeError)
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.accept()
    await connecting
    wire.cut()
    await (await stage.wire()).accept()
    await settle()
    assert client.is_connected
    await client.close()


@virtual
async def test_a_function_that_never_answers(stage: Stage) -> None:
    client = stage.client(username="me", password=lambda: asyncio.Event().wait(), connect_timeout=3)
    began = stage.now
    with pytest.raises(curier.ConnectionLost, match="password"):
        await client.connect()
    assert stage.now - began == pytest.approx(3)


@virtual
async def test_a_function_that_returns_something_else(stage: Stage) -> None:
    with pytest.raises(TypeError, match="password: its function is to return text, bytes or None, not int"):
        await stage.client(username="me", password=lambda: 7).connect()
    with pytest.raises(curier.ConfigError, match="no server"):
        await stage.client(url=list).connect()


@pytest.mark.parametrize("most", [None, 64 * 2**20, 16])
async def test_a_packet_that_is_taken_is_taken_in_one_frame_as_well(
    most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[DialSettings] = []

    async def dial(url: ServerUrl, settings: DialSettings, *others: object) -> None:
        dialled.append(settings)
        raise curier.ConnectionLost("on purpose")

    monkeypatch.setattr("curier.client.connecting.dial", dial)
    with pytest.raises(curier.ConnectionLost, match="on purpose"):
        async with curier.connect("ws://127.0.0.1:1", maximum_packet_size=most):
            pass
    assert dialled[0].max_frame_bytes > (most or LARGEST_PACKET)
