"""What cannot be asked of a client: said at once, with the name of the argument and the way out."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

import curier
from curier.client.arguments import OWN
from curier.codec.packets import Connect
from tests.client.stage import Stage, virtual


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"session_expiry": -1}, "session_expiry: 0 to 4294967295, not -1"),
        ({"linger": float("nan")}, "linger: 0.0 to 86400.0, not nan"),
        ({"reconnect": curier.Reconnect(attempts=-1)}, "reconnect: attempts"),
        ({"response_prefix": "a/#"}, "response_prefix: 'a/#' is no Topic Name"),
        ({"url": "localhost:1883"}, "write mqtt://localhost:1883"),
        ({"url": "tcp://localhost"}, "did you mean mqtt://"),
        ({"url": ["mqtt://a", "mqtt://b:x"]}, "port"),
        ({"proxy": "ftp://a"}, "expected http://, socks5://"),
        ({"will": curier.Will(curier.Message("a/#"))}, "will: 'a/#' is no Topic Name"),
        ({"will": curier.Will(curier.Message("a"), -1)}, "will: delay: 0 to"),
        ({"will": curier.Will(curier.Message("a", qos=3))}, "will: QoS 0, 1 or 2, not 3"),  # type: ignore[arg-type]
        ({"will": curier.Will(curier.Message("a", message_expiry=-1))}, "will: message_expiry: 0 to"),
        ({"will": curier.Will(curier.Message("a", b"x" * 65536))}, "will: 65535 bytes"),
        ({"will": curier.Will(curier.Message("a", response_topic="+"))}, "will: response_topic"),
        ({"on_refused": "again"}, 'on_refused: "retry" or "stop", or a mapping to them, not \'again\''),
        ({"on_refused": {0x87: "again"}}, "not 'again'"),
        ({"reconnect": curier.Reconnect(first_refused=9, longest_refused=1)}, "first_refused <= longest"),
    ],
)
def test_settings(settings: dict[str, Any], said: str) -> None:
    for connect in (curier.connect, curier.connect_sync):
        with pytest.raises(curier.ConfigError, match=re.escape(said)):
            connect(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"session_expiry": "1h"}, "session_expiry: a number, 0 to 4294967295, not '1h'"),
        ({"session_expiry": 1.5}, "session_expiry: a whole number, 0 to 4294967295, not 1.5"),
        ({"keep_alive": 1.5}, "keep_alive: a whole number, 0 to 65535, not 1.5"),
        ({"keep_alive": None}, "keep_alive: a number"),
        ({"keep_alive": True}, "keep_alive: a number"),
        ({"connect_timeout": "soon"}, "connect_timeout: a number"),
        ({"offline_messages": 1.0}, "offline_messages: a whole number"),
        ({"client_id": 7}, "client_id: text, not int"),
        ({"client_id": b"me"}, "client_id: text, not bytes"),
        ({"username": b"ana"}, "username: text or None, not bytes"),
        ({"clean_start": "no"}, "clean_start: True, False or None"),
        ({"retry_first_connect": 1}, "retry_first_connect: True or False"),
        ({"reconnect": False}, "reconnect: a curier.Reconnect, or None for never, not bool"),
        ({"reconnect": curier.Reconnect(first="1s")}, "reconnect: first"),  # type: ignore[arg-type]
        ({"session": "outbox"}, "session: curier.Session.disk(path)"),
        ({"tls": True}, "tls: a curier.TlsSettings"),
        ({"authentication": curier.Authentication}, "authentication: an object of a subclass"),
        ({"user_properties": {"a": "b"}}, "user_properties: a list of pairs"),
        ({"user_properties": [("a", 1)]}, "user_properties: a list of pairs"),
        ({"url": 1883}, "url: text, or a list of texts, not int"),
        ({"url": ["mqtt://a", None]}, "url: text, or a list of texts"),
        ({"will": ("a", b"x")}, "will: a curier.Will or None, not tuple"),
        ({"will": curier.Will("a")}, "will: a curier.Will(curier.Message("),  # type: ignore[arg-type]
        ({"will": curier.Will(curier.Message(b"a"))}, "will: a Topic Name is text, not bytes"),  # type: ignore[arg-type]
        ({"will": curier.Will(curier.Message("a", content_type=b"x"))}, "content_type: str"),  # type: ignore[arg-type]
        ({"version": "5"}, "version: 5, 4 (for 3.1.1)"),
        ({"offline": 1}, 'offline: "queue"'),
        ({"on_refused": True}, 'on_refused: "retry" or "stop"'),
        ({"on_refused": {"0x87": "stop"}}, "on_refused: the keys are Reason Codes"),
        ({"proxy": True}, "proxy: text or None"),
        ({"websocket_headers": {"a": "b"}}, "websocket_headers: a list of pairs"),
    ],
)
def test_settings_of_another_type(settings: dict[str, Any], said: str) -> None:
    for connect in (curier.connect, curier.connect_sync):
        with pytest.raises(TypeError, match=re.escape(said)):
            connect(**settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"password": ["hunter2"]},
        {"websocket_headers": [("Authorization", b"hunter2")]},
        {"url": "mqtt://ana:hunter2@a:b:c"},
        {"proxy": "http://ana:hunter2@a/b"},
    ],
)
def test_settings_that_are_secret_are_not_repeated(settings: dict[str, Any]) -> None:
    with pytest.raises((curier.ConfigError, TypeError)) as caught:
        curier.connect(**settings)
    assert "hunter2" not in str(caught.value)


@virtual
async def test_a_will_of_text(stage: Stage) -> None:
    client = stage.client(will=curier.Will(curier.Message("a", "gone")))  # type: ignore[arg-type]
    entering = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    will = (await wire.accept()).will
    assert isinstance(wire.log[0], Connect)
    assert will is not None
    assert will.payload == b"gone"
    await entering
    await client.__aexit__(None, None, None)


def test_messages_have_bytes() -> None:
    given: Any
    for given, payload in (("\u00e9", b"\xc3\xa9"), (None, b""), (bytearray(b"x"), b"x")):
        message = curier.Message("a", given)
        assert message.payload == payload
        assert message == curier.Message("a", payload)
    given = {}
    with pytest.raises(TypeError, match="a payload is bytes, str, int, float or None, not dict"):
        curier.Message("a", given)


SUBSCRIBING: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    (("a",), {"ack": "maunal"}, curier.ConfigError, "ack: 'auto' or 'received' or 'manual', not 'maunal'"),
    (("a",), {"overflow": "drop"}, curier.ConfigError, "overflow: 'block' or 'drop_oldest' or 'drop_newest'"),
    (
        ("a",),
        {"buffer": 0},
        curier.ConfigError,
        "buffer: a whole number of messages, 1 or more, or None, not 0",
    ),
    (("a",), {"buffer": -1, "overflow": "drop_newest"}, curier.ConfigError, "messages, 0 or more"),
    (("a",), {"buffer": "10"}, TypeError, "buffer: a whole number, not '10'"),
    (("a",), {"buffer": True}, TypeError, "buffer: a whole number, not True"),
    (("a",), {"buffer": 1.5}, TypeError, "buffer: a whole number, not 1.5"),
    (("a",), {"overflow": 1}, TypeError, "overflow: 'block' or 'drop_oldest' or 'drop_newest', not 1"),
    (("a",), {"ack": None}, TypeError, "ack: 'auto' or 'received' or 'manual', not None"),
    (("a",), {"keep": 1}, TypeError, "keep: True or False, not 1"),
    (("a",), {"retain_handling": "SEND"}, TypeError, "retain_handling: a curier.RetainHandling, not 'SEND'"),
    ((curier.Subscription("a", identifier="7"),), {}, TypeError, "identifier: a whole number"),  # type: ignore[arg-type]
    ((["a", "b"],), {}, TypeError, 'write them one by one: subscribe("a", "b")'),
    ((("a", "b"),), {}, TypeError, "write them one by one"),
    ((("a", 1),), {}, TypeError, 'curier.Subscription("a/b", curier.QoS(1))'),
    (("a", 1), {}, TypeError, 'subscribe("a/b", qos=1)'),
    ((b"a",), {}, TypeError, "b'a' is no Topic Filter: write it as text"),
    ((curier.Subscription(b"a"),), {}, TypeError, "write it as text"),  # type: ignore[arg-type]
    (("\ud800",), {}, curier.LocalProtocolError, "UTF-8"),
    (("a",), {"qos": 3}, curier.LocalProtocolError, "QoS 3 is not 0, 1 or 2"),
    (("a",), {"qos": "1"}, TypeError, "qos: 0, 1 or 2, not '1'"),
    (("a",), {"retain_handling": 3}, curier.LocalProtocolError, "retain_handling: a curier.RetainHandling"),
    (("a",), {"no_local": "yes"}, TypeError, "no_local: True or False"),
    (("a",), {"user_properties": {"a": "b"}}, TypeError, "user_properties: a list of pairs"),
    ((curier.Subscription("a", identifier=0),), {}, curier.LocalProtocolError, "identifier: 1 to"),
    ((curier.Subscription("a", identifier=OWN),), {}, curier.LocalProtocolError, "the client's own"),
    (
        (curier.Subscription("a", identifier=1), curier.Subscription("b", identifier=2)),
        {},
        curier.LocalProtocolError,
        "make a stream for each",
    ),
]


@pytest.mark.parametrize(("filters", "options", "error", "said"), SUBSCRIBING)
@virtual
async def test_subscribing(
    stage: Stage, filters: tuple[Any, ...], options: dict[str, Any], error: type[Exception], said: str
) -> None:
    async with stage.connect() as (client, wire):
        with pytest.raises(error, match=re.escape(said)):
            client.subscribe(*filters, **options)
        assert wire.packets == []


@virtual
async def test_unsubscribing(stage: Stage) -> None:
    async with stage.connect() as (client, _):
        filters: Any = ["a"]
        with pytest.raises(TypeError, match="one by one"):
            await client.unsubscribe(filters)
        with pytest.raises(curier.LocalProtocolError):
            await client.unsubscribe("a/#/b")


PUBLISHING: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    ("a", {"qos": 3}, curier.LocalProtocolError, "QoS 3 is not 0, 1 or 2"),
    ("a", {"qos": "1"}, TypeError, "qos: 0, 1 or 2, not '1'"),
    ("a", {"retain": 1}, TypeError, "retain: True or False, not 1"),
    (b"a", {}, TypeError, "a topic is text, not bytes"),
    ("\ud800", {}, curier.LocalProtocolError, "UTF-8"),
    (
        "a",
        {"message_expiry": -1},
        curier.LocalProtocolError,
        "message_expiry: 0 to 4294967295 seconds, not -1",
    ),
    ("a", {"message_expiry": "1h"}, TypeError, "message_expiry: a number of seconds, not '1h'"),
    ("a", {"message_expiry": True}, TypeError, "message_expiry: a number of seconds, not True"),
    ("a", {"user_properties": {"a": "b"}}, TypeError, "user_properties: a list of pairs"),
    ("a", {"content_type": 5}, TypeError, "content_type: str, not int"),
    ("a", {"correlation_data": "x"}, TypeError, "correlation_data: bytes, not str"),
]


@pytest.mark.parametrize(("topic", "options", "error", "said"), PUBLISHING)
@virtual
async def test_publishing(
    stage: Stage, topic: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    async with stage.connect() as (client, wire):
        with pytest.raises(error, match=re.escape(said)):
            await client.publish(topic, "x", **options)
        with pytest.raises(error, match=re.escape(said)):
            client.publish_nowait(topic, "x", **options)
        if isinstance(topic, str):
            with pytest.raises(error, match=re.escape(said)):
                await client.publish_many([curier.Message(topic, b"x", **options)])
        assert wire.packets == []


@pytest.mark.parametrize("window", [0, -1])
@virtual
async def test_a_window_that_lets_nothing_through(stage: Stage, window: int) -> None:
    async with stage.connect() as (client, _):
        with pytest.raises(curier.ConfigError, match="window: a whole number of messages, at least 1"):
            await client.publish_many([("a", "x")], window=window)


@pytest.mark.parametrize("window", [1.5, "100", None, True])
@virtual
async def test_a_window_that_is_no_number(stage: Stage, window: Any) -> None:
    async with stage.connect() as (client, _):
        with pytest.raises(TypeError, match="window: a whole number, not "):
            await client.publish_many([("a", "x")], window=window)


@pytest.mark.parametrize("item", [5, ("a",), ("a", "x", 1), None])
@virtual
async def test_an_item_that_is_no_pair(stage: Stage, item: Any) -> None:
    async with stage.connect() as (client, _):
        with pytest.raises(TypeError, match="each item of publish_many is a pair of topic and payload"):
            await client.publish_many([item])


@pytest.mark.parametrize("words", [{"reason_code": "4"}, {"reason_code": None}, {"session_expiry": "1h"}])
@virtual
async def test_a_disconnect_in_words(stage: Stage, words: dict[str, Any]) -> None:
    async with stage.connect() as (client, _):
        with pytest.raises(TypeError, match="a whole number, not "):
            await client.disconnect(**words)
        assert client.is_connected
