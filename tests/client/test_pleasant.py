"""What makes a client pleasant: its log, words for Reason Codes, matching topics, proxies, signatures."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import pydoc
import re
from typing import Any

import pytest

import curier
from curier.client.dialing.environment import environment_proxy
from curier.client.misnamed import ELSEWHERE
from curier.client.urls import parse_server_url
from curier.codec.packets import (
    Connack,
    Connect,
    Disconnect,
    Publish,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
)
from curier.types import reason_name
from tests.client.stage import Stage, settle, virtual


@virtual
async def test_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Quiet at WARNING, and without secrets at any level."""
    caplog.set_level(logging.INFO, "curier.client")
    client = stage.client("mqtt://ana:hunter2@server", client_id="gw")
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.accept()
    await connecting
    wire.send(Disconnect(0x8B))
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0x87))
    wire = await stage.wire()
    await wire.accept(session_present=True)
    await settle()
    await client.close()
    lines = [record.getMessage() for record in caplog.records if record.name == "curier.client"]
    assert all(record.levelno == logging.INFO for record in caplog.records)
    expected = [
        "gw: connected to mqtt://server:1883, MQTT 5.0",
        r"gw: lost: .*0x8B \(Server shutting down\)",
        r"gw: reconnecting in 0\.. s \(attempt 1\): .*0x8B",
        r"gw: reconnecting in \d+\.. s \(attempt 2\): refused with Reason Code 0x87 \(Not authorized\)",
        r"gw: connected to mqtt://server:1883, MQTT 5\.0, session present",
        "gw: closed",
    ]
    assert len(lines) == len(expected)
    for pattern, line in zip(expected, lines, strict=True):
        assert re.fullmatch(pattern, line[: len(line)]) or re.match(pattern, line), line
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (0x00, "0x00 (Success)"),
        (0x84, "0x84 (Unsupported Protocol Version)"),
        (0x87, "0x87 (Not authorized)"),
        (0x8B, "0x8B (Server shutting down)"),
        (0x9B, "0x9B (QoS not supported)"),
        (0x77, "0x77"),
    ],
)
def test_reason_codes_have_names(code: int, name: str) -> None:
    assert reason_name(code) == name
    for kind in (curier.ConnectRefused, curier.SubscribeRefused, curier.PublishRefused):
        assert name in str(kind(code, "why"))
        assert "why" in str(kind(code, "why"))


def test_every_reason_code_has_a_name() -> None:
    for code in curier.ReasonCode:
        assert re.fullmatch(r"0x[0-9A-F]{2} \([A-Z][A-Za-z0-9 -]+\)", reason_name(code))


@pytest.mark.parametrize(
    ("topic_filter", "topic", "is_match"),
    [
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("#", "$SYS/x", False),
        ("é/+", "é/ü", True),
        ("$share/group/a/+", "a/b", True),
        ("$share/group/a/+", "c/b", False),
    ],
)
def test_topic_matches(topic_filter: str, topic: str, is_match: bool) -> None:
    assert curier.topic_matches(topic_filter, topic) is is_match


def test_what_cannot_match() -> None:
    with pytest.raises(curier.LocalProtocolError, match="a/#/b"):
        curier.topic_matches("a/#/b", "a")
    given: Any
    for given in ((b"a", "a"), ("a", b"a"), ("a", None)):
        with pytest.raises(TypeError):
            curier.topic_matches(*given)


@virtual
async def test_messages_match(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        opening = asyncio.ensure_future(client.subscribe("#").open())
        await wire.subscribed()
        stream = await opening
        wire.send(Publish("a/b", b"x"))
        message = await stream.get()
        assert message.topic_matches("a/+")
        assert not message.topic_matches("b/+")


@virtual
async def test_unsubscribe_takes_user_properties(stage: Stage) -> None:
    """Each UNSUBSCRIBE has its own, over a reconnection as well."""
    pairs = {"a": [("why", "a")], "b": [("why", "a")], "c": [("why", "c")], "d": []}
    async with stage.connect(client_id="me") as (client, wire):
        tasks = [
            asyncio.ensure_future(client.unsubscribe("a", "b", user_properties=pairs["a"])),
            asyncio.ensure_future(client.unsubscribe("c", user_properties=pairs["c"])),
            asyncio.ensure_future(client.unsubscribe("d")),
        ]
        for connection in (1, 2):
            seen = {}
            packets = []
            for _ in range(3):
                packet = await wire.receive(Unsubscribe)
                packets.append(packet)
                found = packet.properties.user_properties if packet.properties is not None else []
                seen.update(dict.fromkeys(packet.topic_filters, found))
            assert seen == pairs
            if connection == 1:
                wire.cut()
                wire = await stage.wire()
                await wire.accept(session_present=True)
        for packet in packets:
            wire.send(Unsuback(packet.packet_id, [0] * len(packet.topic_filters)))
        await asyncio.gather(*tasks)
        with pytest.raises(TypeError, match="user_properties"):
            await client.unsubscribe("a", user_properties={"a": "b"})  # type: ignore[arg-type]


# ---- the proxy of the environment ----


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("mqtt://a", {}, None),
        ("mqtt://a", {"all_proxy": "socks5://p:1"}, "socks5://p:1"),
        ("mqtt://a", {"ALL_PROXY": "socks5://p:1"}, "socks5://p:1"),
        ("mqtt://a", {"http_proxy": "http://p:1/"}, "http://p:1"),
        ("mqtt://a", {"https_proxy": "http://p:1"}, None),
        ("mqtts://a", {"https_proxy": "p:1"}, "http://p:1"),
        ("mqtt://a", {"mqtt_proxy": "http://m", "all_proxy": "http://p"}, "http://m"),
        ("wss://a", {"https_proxy": "http://s", "all_proxy": "http://p"}, "http://s"),
        ("ws://a", {"http_proxy": "http://s"}, "http://s"),
        ("mqtt://a.example", {"all_proxy": "http://p", "no_proxy": ".example"}, None),
        ("mqtt://a.example", {"all_proxy": "http://p", "no_proxy": "b.example"}, "http://p"),
        ("mqtt://a.example:1883", {"all_proxy": "http://p", "no_proxy": "*"}, None),
        ("unix:///run/x", {"all_proxy": "http://p"}, None),
    ],
)
def test_the_proxy_of_the_environment(
    url: str, environment: dict[str, str], proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http", "https", "all", "no", "mqtt", "mqtts", "ws", "wss"):
        for written in (name, name.upper()):
            monkeypatch.delenv(f"{written}_proxy", raising=False)
            monkeypatch.delenv(f"{written}_PROXY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert environment_proxy(parse_server_url(url)) == proxy


async def test_it_is_used_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("mqtt_proxy", "http://127.0.0.1:1")
    async with curier.Broker(listen=["tcp://127.0.0.1:0"]) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        with pytest.raises(curier.ConnectionLost, match=r"the proxy http://127\.0\.0\.1:1"):
            await curier.connect(url, proxy="env").connect()
        async with curier.connect(url) as client:
            assert client.is_connected


# ---- what people and tools see ----


@pytest.mark.parametrize("name", curier.__all__)
def test_everything_public_can_be_shown(name: str) -> None:
    """``help`` and ``inspect.signature``, compiled or not."""
    thing = getattr(curier, name)
    if inspect.isclass(thing) or inspect.isfunction(thing):
        assert thing.__doc__
        assert str(inspect.signature(thing))
        assert name in pydoc.plain(pydoc.render_doc(thing))


@pytest.mark.parametrize("method", ["publish", "publish_nowait", "subscribe", "unsubscribe", "request"])
def test_the_blocking_client_shows_its_parameters(method: str) -> None:
    blocking = inspect.signature(getattr(curier.SyncClient, method))
    asynchronous = inspect.signature(getattr(curier.Client, method))
    assert list(blocking.parameters) == list(asynchronous.parameters)
    assert "more" not in blocking.parameters


def test_a_reply_shows_its_parameters() -> None:
    blocking = inspect.signature(curier.SyncRequest.reply)
    assert list(blocking.parameters) == list(inspect.signature(curier.Request.reply).parameters)
    # As publish, but for where the response goes and what it carries.
    publish = set(inspect.signature(curier.Client.publish).parameters)
    assert set(blocking.parameters) == publish - {"topic", "correlation_data"}


def test_the_face_shows_nothing_of_the_house() -> None:
    public = {name for name in dir(curier.Client) if not name.startswith("_")}
    assert not {name for name in public if name.startswith("on_") or name in ("tell", "make_link")}


# ---- other loops than asyncio's ----


def test_without_a_loop_of_asyncio() -> None:
    """As in trio: said in plain words."""
    connecting = curier.connect().connect()
    with pytest.raises(curier.MqttError, match="use connect_sync"):
        connecting.send(None)


@pytest.mark.parametrize("connect", [curier.connect, curier.connect_sync])
@pytest.mark.parametrize(
    ("args", "settings", "way_out"),
    [
        (("127.0.0.1", 1883), {}, 'the port is part of the URL: connect("mqtt://HOST:PORT", client_id="gw")'),
        (("127.0.0.1",), {"port": 1883}, 'port is part of the URL: connect("mqtt://HOST:PORT")'),
        ((), {"hostname": "127.0.0.1"}, 'hostname is part of the URL: connect("mqtt://HOST:PORT")'),
        ((), {"session_expiry_interval": 60}, "session_expiry_interval is session_expiry here, in seconds"),
        ((), {"usrname": "ana"}, "usrname is no setting; did you mean username?"),
        ((), {"password_": "hunter2"}, "password_ is no setting; did you mean password?"),
        ((), {"xyz": 1}, "xyz is no setting; there are url, client_id, "),
        (("mqtt://a",), {"url": "mqtt://b"}, "several servers are a list of URLs"),
    ],
)
def test_a_setting_that_is_none_says_what_it_is_called_here(
    connect: Any, args: tuple[Any, ...], settings: dict[str, Any], way_out: str
) -> None:
    with pytest.raises(TypeError) as met:
        connect(*args, **settings)
    assert way_out in str(met.value)
    assert "hunter2" not in str(met.value)


def test_what_other_libraries_call_a_setting_is_none_of_ours() -> None:
    assert not {one.name for one in dataclasses.fields(curier.ClientSettings)} & ELSEWHERE.keys()


def test_a_client_is_not_made_of_a_url() -> None:
    url: Any = "mqtt://server"
    with pytest.raises(TypeError, match=re.escape("made by curier.connect(URL)")):
        curier.Client(url)


@virtual
async def test_a_stream_can_be_awaited(stage: Stage) -> None:
    client = stage.client("mqtt://server")
    connecting = asyncio.ensure_future(client.connect())
    wire = await stage.wire()
    await wire.accept()
    await connecting

    async def subscribe() -> curier.Stream:
        return await client.subscribe("a/#")

    subscribing = asyncio.ensure_future(subscribe())
    asked = await wire.receive(Subscribe)
    wire.send(Suback(asked.packet_id, [0]))
    stream = await subscribing
    assert stream.is_open
    wire.send(Publish("a/b", b"x"))
    assert (await stream.get()).payload == b"x"
    await client.close()
