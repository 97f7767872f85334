"""Request and response, both sides; enhanced authentication, which is a conversation as well."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable

import pytest

import curier
from curier.codec.packets import Auth, Connack, Connect, Disconnect, Puback, Publish, Subscribe
from tests.client.stage import Stage, make_properties, settle, virtual


@virtual
async def test_a_request_and_its_response(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        asking = asyncio.ensure_future(client.request("service", b"hi", timeout=5, content_type="t"))
        subscribe = await wire.subscribed()
        publish = await wire.published()
        assert publish.properties is not None
        topic = publish.properties.response_topic
        assert subscribe.subscriptions == [(topic, 1)]
        assert topic is not None
        assert topic.startswith("curier/reply/")
        assert publish.properties.content_type == "t"
        data = publish.properties.correlation_data
        wire.send(
            Publish(topic, b"not for us", 0, properties=make_properties(correlation_data=b"?")),
            Publish(topic, b"not for anybody"),
            Publish(topic, b"answer", 1, packet_id=1, properties=make_properties(correlation_data=data)),
        )
        response = await asking
        assert response.payload == b"answer"
        await settle()
        assert [type(packet).__name__ for packet in wire.packets] == ["Puback"]


@virtual
async def test_many_requests_one_subscription(stage: Stage) -> None:
    async with stage.connect(response_prefix="replies") as (client, wire):
        asking = [
            asyncio.ensure_future(client.request("service", str(number), timeout=5)) for number in range(10)
        ]
        await wire.subscribed()
        questions = [await wire.published() for _ in range(10)]
        for question in reversed(questions):
            properties = question.properties
            assert properties is not None
            assert properties.response_topic is not None
            assert properties.response_topic.startswith("replies/")
            answer = make_properties(correlation_data=properties.correlation_data)
            wire.send(Publish(properties.response_topic, b"re: " + question.payload, properties=answer))
        assert [(await each).payload for each in asking] == [f"re: {n}".encode() for n in range(10)]
        assert wire.packets == []


@virtual
async def test_no_response(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        began = stage.now
        asking = asyncio.ensure_future(client.request("service", timeout=5))
        await wire.subscribed()
        publish = await wire.published()
        with pytest.raises(TimeoutError):
            await asking
        assert stage.now - began == pytest.approx(5)
        late = publish.properties
        assert late is not None
        assert late.response_topic is not None
        answer = make_properties(correlation_data=late.correlation_data)
        wire.send(Publish(late.response_topic, b"too late", properties=answer))
        for_ever = asyncio.ensure_future(client.request("service", timeout=math.inf))
        await wire.published()
        await asyncio.sleep(10_000)
        assert not for_ever.done()
        for_ever.cancel()


@virtual
async def test_nobody_serves(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        asking = asyncio.ensure_future(client.request("service", timeout=5))
        await wire.subscribed()
        await wire.published(0x10)
        with pytest.raises(curier.PublishRefused, match="nobody subscribes to service"):
            await asking


@virtual
async def test_the_response_subscription_is_refused(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        asking = asyncio.ensure_future(client.request("service", timeout=5))
        await wire.subscribed(0x87)
        with pytest.raises(curier.SubscribeRefused, match="curier/reply"):
            await asking


@virtual
async def test_a_request_ends_with_the_client(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        asking = asyncio.ensure_future(client.request("service", timeout=math.inf))
        await wire.subscribed()
        await wire.published()
    with pytest.raises(curier.ConnectionLost, match="closed"):
        await asking


@virtual
async def test_requests_need_5(stage: Stage) -> None:
    async with stage.connect(version=4) as (client, _):
        with pytest.raises(curier.LocalProtocolError, match=r"5\.0"):
            await client.request("service", timeout=1)


@virtual
async def test_serving(stage: Stage) -> None:
    async with stage.connect() as (client, wire):
        service = client.serve("service/+")
        entering = asyncio.ensure_future(service.__aenter__())
        assert (await wire.subscribed()).subscriptions == [("service/+", 1)]
        await entering
        asked = make_properties(response_topic="there", correlation_data=b"7")
        wire.send(Publish("service/a", b"hi", 1, packet_id=1, properties=asked), Publish("service/b", b"x"))
        request = await service.get(timeout=1)
        assert (request.topic, request.payload) == ("service/a", b"hi")
        replying = asyncio.ensure_future(request.reply("answer", content_type="t"))
        assert (await wire.receive(Puback)).packet_id == 1
        reply = await wire.published()
        await replying
        assert (reply.topic, reply.payload, reply.qos) == ("there", b"answer", 1)
        assert reply.properties == make_properties(correlation_data=b"7", content_type="t")
        request = await anext(service)
        with pytest.raises(curier.LocalProtocolError, match="no Response Topic"):
            await request.reply()
        leaving = asyncio.ensure_future(service.__aexit__(None, None, None))
        await wire.unsubscribed()
        await leaving


class Secret(curier.Authentication):
    """Challenge and response, in both directions."""

    method = "SECRET"

    def __init__(self, later: bool = False) -> None:
        self.later = later

    def begin(self) -> bytes:
        return b"begin"

    async def _later(self, data: bytes | None) -> bytes:
        await asyncio.sleep(1)
        return b"re: " + (data or b"")

    def answer(self, data: bytes | None) -> bytes | Awaitable[bytes]:
        if data == b"nonsense":
            raise ValueError("no challenge")
        return self._later(data) if self.later else b"re: " + (data or b"")

    def finish(self, data: bytes | None) -> None:
        if data == b"impostor":
            raise curier.ConnectRefused(0x87, "this is not the server")


@pytest.mark.parametrize("later", [False, True])
@virtual
async def test_enhanced_authentication(stage: Stage, later: bool) -> None:
    client = stage.client(authentication=Secret(later))
    entering = asyncio.ensure_future(client.__aenter__())
    wire = await stage.wire()
    connect = await wire.receive(Connect)
    assert connect.properties is not None
    assert connect.properties.authentication_method == "SECRET"
    assert connect.properties.authentication_data == b"begin"
    for challenge in (b"one", b"two"):
        wire.send(Auth(0x18, make_properties(authentication_method="SECRET", authentication_data=challenge)))
        answer = await wire.receive(Auth)
        assert answer.reason_code == 0x18
        assert answer.properties is not None
        assert answer.properties.authentication_data == b"re: " + challenge
    wire.send(Connack(False, 0, make_properties(authentication_method="SECRET")))
    await entering
    again = asyncio.ensure_future(client.reauthenticate())
    assert (await wire.receive(Auth)).reason_code == 0x19
    wire.send(Auth(0, make_properties(authentication_method="SECRET")))
    await again
    await client.disconnect()


@pytest.mark.parametrize("challenge", [b"nonsense", b"impostor"])
@virtual
async def test_an_authentication_that_fails_here(stage: Stage, challenge: bytes) -> None:
    entering = asyncio.ensure_future(stage.client(authentication=Secret()).__aenter__())
    wire = await stage.wire()
    await wire.receive(Connect)
    properties = make_properties(authentication_method="SECRET", authentication_data=challenge)
    wire.send(Connack(False, 0, properties) if challenge == b"impostor" else Auth(0x18, properties))
    with pytest.raises(curier.ConnectRefused, match=r"not the server|no challenge"):
        await entering
    assert wire.is_closed
    assert len(stage.dialled) == 1


@virtual
async def test_nothing_to_authenticate_anew(stage: Stage) -> None:
    async with stage.connect() as (client, _):
        with pytest.raises(curier.LocalProtocolError):
            await client.reauthenticate()


@virtual
async def test_a_re_authentication_that_the_server_refuses(stage: Stage) -> None:
    async def live() -> None:
        async with client:
            await client.reauthenticate()

    client = stage.client(authentication=Secret())
    living = asyncio.ensure_future(live())
    wire = await stage.wire()
    await wire.receive(Connect)
    wire.send(Connack(False, 0, make_properties(authentication_method="SECRET")))
    await wire.receive(Auth)
    wire.send(Disconnect(0x87))
    with pytest.raises(curier.ConnectionLost, match="0x87"):
        await living


@virtual
async def test_subscribe_before_requests_of_a_lost_session(stage: Stage) -> None:
    """The answer of somebody quick must not come before anyone listens."""
    async with stage.connect() as (client, wire):
        asking = asyncio.ensure_future(client.request("service", timeout=50))
        await wire.subscribed()
        await wire.receive(Publish)
        wire.cut()
        second = await stage.wire()
        await second.accept(session_present=False)
        await settle()
        assert [type(packet) for packet in second.packets] == [Subscribe, Publish]
        asking.cancel()
